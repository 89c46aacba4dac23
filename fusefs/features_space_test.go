//go:build linux

package fusefs_test

import (
	"fmt"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

func (c *caller) statfs() (st unix.Statfs_t) {
	if err := unix.Statfs(c.dir, &st); err != nil {
		c.say("statfs", err)
	}
	return st
}

var spaceFeatures = []feature{
	{"statfs counts blocks and inodes", func(c *caller) {
		c.run("open f f rw,creat 600; fsync f")
		a := c.statfs()
		c.run("fallocate f alloc 0 1048576; fsync f")
		b := c.statfs()
		c.say("blocks", a.Bfree-b.Bfree >= 256, a.Bfree-b.Bfree < 270, a.Blocks == b.Blocks, b.Bavail <= b.Bfree)
		c.run("mkdir d 755; put d/f x; symlink x d/l; mknod d/p p 600")
		e := c.statfs()
		c.say("inodes", b.Ffree-e.Ffree, b.Files == e.Files)
		var st unix.Statfs_t
		c.say("fstatfs", unix.Fstatfs(c.fds["f"], &st), st.Blocks == e.Blocks, st.Bsize, st.Frsize, st.Namelen)
		c.run("unlink d/p; unlink d/l; unlink d/f; rmdir d; unlink f; close f")
		for end := time.Now().Add(10 * time.Second); c.statfs().Ffree != b.Ffree+1 && time.Now().Before(end); { // the kernel forgets inodes in its own time
			runtime.Gosched()
		}
		c.say("inodes", c.statfs().Ffree-b.Ffree)
	}},
	{"a file in a full file system", func(c *caller) {
		c.run("open f f rw,creat 600; put g 4096*x; open g g rw")
		free := int64(c.statfs().Bfree) * 4096
		c.say("too much", unix.Fallocate(c.fds["f"], 0, 0, free*2))
		c.run("truncate f 0; ftruncate f 1000000000000; fstat f; truncate f 0")
		chunk := make([]byte, 1<<20)
		var err error
		for off := int64(0); err == nil && off < free*2; {
			var n int
			n, err = unix.Pwrite(c.fds["f"], chunk, off)
			off += int64(n)
		}
		c.say("full", err)
		for err, i := error(nil), 0; err == nil && i < 1000; i++ { // the last blocks
			err = unix.Mkdir(c.path(fmt.Sprintf("d%d", i)), 0o755)
		}
		for i := range 1000 {
			_ = unix.Rmdir(c.path(fmt.Sprintf("d%d", i)))
		}
		c.run("pwrite g 0 overwritten; pread g 0 11; fsync g")
		c.run("unlink f; close f; put i 100000*x; stat i; unlink i; ls .")
	}},
	{"statx", func(c *caller) {
		c.run("put f 5000*x; mkdir d 755; symlink x l")
		for _, name := range []string{"f", "d", "l", "none"} {
			var st unix.Statx_t
			err := unix.Statx(unix.AT_FDCWD, c.path(name), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
			c.say(name, err, fmt.Sprintf("%o", st.Mode), st.Blksize, st.Mask&(unix.STATX_BASIC_STATS|unix.STATX_BTIME))
			for _, flag := range []int{unix.AT_STATX_FORCE_SYNC, unix.AT_STATX_DONT_SYNC, unix.AT_STATX_FORCE_SYNC | unix.AT_STATX_DONT_SYNC, unix.AT_EMPTY_PATH} {
				c.say("flag", flag, unix.Statx(unix.AT_FDCWD, c.path(name), flag|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MODE, &st))
			}
		}
		c.open("f", unix.O_RDONLY)
		var st unix.Statx_t
		c.say("of a descriptor", unix.Statx(c.open("f", unix.O_PATH), "", unix.AT_EMPTY_PATH, unix.STATX_SIZE, &st), st.Size)
		c.say("a reserved mask", unix.Statx(unix.AT_FDCWD, c.path("f"), 0, 1<<31, &st))
	}},
	{"times have nanoseconds and move on", func(c *caller) {
		c.run("put f x")
		var a, b unix.Stat_t
		c.say("stat", unix.Stat(c.path("f"), &a))
		for range 1 << 20 {
			if err := unix.Chmod(c.path("f"), 0o600); err != nil {
				c.say("chmod", err)
				return
			}
			if err := unix.Stat(c.path("f"), &b); err != nil || b.Ctim != a.Ctim {
				c.say("stat", err)
				break
			}
		}
		c.say("later", b.Ctim.Nano() > a.Ctim.Nano(), b.Mtim == a.Mtim)
	}},
	{"blocks of a file", func(c *caller) {
		c.run("put f 40960*x; open f f rw; fsync f")
		blocks := func() {
			var st unix.Stat_t
			err := unix.Fstat(c.fds["f"], &st)
			c.say("blocks", st.Blocks, st.Blksize, err)
		}
		blocks()
		c.run("fallocate f punch 8192 8192; fsync f")
		blocks()
		c.run("ftruncate f 4096; fsync f")
		blocks()
		c.run("fallocate f keep 0 16384; fsync f")
		blocks()
		c.run("pwrite f 1048576 x; fsync f")
		blocks()
	}},
	{"a limit of the process on sizes", func(c *caller) {
		signal.Ignore(unix.SIGXFSZ)
		defer signal.Reset(unix.SIGXFSZ)
		var old unix.Rlimit
		c.say("getrlimit", unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
		limit := old
		limit.Cur = 1 << 30 // above what the other cases and the rest of the process write
		c.run("open f f rw,creat 600")
		c.say("setrlimit", unix.Setrlimit(unix.RLIMIT_FSIZE, &limit))
		c.run("pwrite f 1073741820 123456789; fstat f; pwrite f 1073741824 x; ftruncate f 1073741825; truncate f 1073741824; fallocate f alloc 1073741820 100; fstat f")
		c.say("setrlimit", unix.Setrlimit(unix.RLIMIT_FSIZE, &old))
		c.run("truncate f 0")
	}},
}
