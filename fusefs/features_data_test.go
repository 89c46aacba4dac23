//go:build linux

package fusefs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// aligned is n bytes at an address that O_DIRECT takes.
func aligned(n int, fill byte) []byte {
	p := make([]byte, n+page)
	skip := page - int(uintptr(unsafe.Pointer(&p[0]))%page)
	p = p[skip : skip+n]
	for i := range p {
		p[i] = fill
	}
	return p
}

var dataFeatures = []feature{
	{"direct input and output", func(c *caller) {
		c.run("open b f rw,creat 600")
		d := c.open("f", unix.O_RDWR|unix.O_DIRECT)
		n, err := unix.Pwrite(d, aligned(2*page, 'd'), 0)
		c.say("write", n, err)
		c.run("pread b 0 9000; pwrite b 100 buffered")
		p := aligned(4*page, 0)
		n, err = unix.Pread(d, p, 0)
		c.say("read", n, err, text(p[:max(n, 0)]))
		n, err = unix.Pread(d, p, 2*page)
		c.say("read at the end", n, err)
		n, err = unix.Pwrite(d, aligned(page, 'e'), 5*page)
		c.say("write behind it", n, err)
		c.run("get f; fstat b")
	}},
	{"direct writing appends", func(c *caller) {
		c.run("put f 4096*a")
		d := c.open("f", unix.O_WRONLY|unix.O_DIRECT|unix.O_APPEND)
		n, err := unix.Write(d, aligned(page, 'd'))
		c.say("write", n, err)
		c.run("get f")
	}},
	{"sendfile to a file and to a pipe", func(c *caller) {
		c.run("put f 100000*x; open g g rw,creat 600")
		f := c.open("f", unix.O_RDONLY)
		off := int64(10)
		n, err := unix.Sendfile(c.fds["g"], f, &off, 50000)
		c.say("sendfile", n, err, off)
		c.run("stat g; get g")
		var p [2]int
		c.say("pipe", unix.Pipe(p[:]))
		defer c.closeAll(p[:])
		n, err = unix.Sendfile(p[1], f, nil, 5000)
		c.say("sendfile", n, err)
		buf := make([]byte, 6000)
		n, err = unix.Read(p[0], buf)
		c.say("read", n, err)
		n, err = unix.Sendfile(c.open(".", unix.O_RDONLY), f, nil, 10)
		c.say("to a directory", n, err)
		n, err = unix.Sendfile(c.open("g", unix.O_WRONLY|unix.O_APPEND), f, nil, 10)
		c.say("to the end", n, err)
	}},
	{"splice from a file and to it", func(c *caller) {
		c.run("put f 10000*x; open g g rw,creat 600")
		var p [2]int
		c.say("pipe", unix.Pipe(p[:]))
		defer c.closeAll(p[:])
		off := int64(5)
		n, err := unix.Splice(c.open("f", unix.O_RDONLY), &off, p[1], nil, 8000, 0)
		c.say("splice", n, err, off)
		to := int64(100)
		n, err = unix.Splice(p[0], nil, c.fds["g"], &to, 8000, 0)
		c.say("splice", n, err, to)
		c.run("get g")
	}},
	{"reading and writing with vectors", func(c *caller) {
		fd, err := c.openNew("f", unix.O_RDWR|unix.O_CREAT, 0o600)
		c.say("open", err)
		n, err := unix.Pwritev(fd, [][]byte{[]byte("one"), nil, []byte("two"), bytes.Repeat([]byte("3"), 2<<20)}, 10)
		c.say("pwritev", n, err)
		a, b := make([]byte, 14), make([]byte, 5)
		n, err = unix.Preadv(fd, [][]byte{a, b}, 2)
		c.say("preadv", n, err, text(a), text(b))
		n, err = unix.Writev(fd, [][]byte{[]byte("x"), []byte("yz")})
		c.say("writev", n, err)
		n, err = unix.Pwritev2(fd, [][]byte{[]byte("end")}, 0, unix.RWF_APPEND)
		c.say("append", n, err)
		n, err = unix.Pwritev2(fd, [][]byte{[]byte("sync")}, 0, unix.RWF_DSYNC)
		c.say("dsync", n, err)
		n, err = unix.Preadv2(fd, [][]byte{a}, 0, unix.RWF_HIPRI)
		c.say("hipri", n, err)
		c.run("stat f")
		big := make([]byte, 3<<20)
		n, err = unix.Preadv(fd, [][]byte{big[:1], big[1:]}, 0)
		c.say("preadv", n, err, text(big[:n]))
	}},
	{"appending from many sides loses nothing", func(c *caller) {
		c.run("put f \"\"")
		var wg sync.WaitGroup
		for i := range 4 {
			fd := c.open("f", unix.O_WRONLY|unix.O_APPEND)
			wg.Go(func() {
				for range 100 {
					_, _ = unix.Write(fd, bytes.Repeat([]byte{'a' + byte(i)}, 50))
				}
			})
		}
		wg.Wait()
		p, err := os.ReadFile(c.path("f"))
		whole := 0
		for i := 0; i+50 <= len(p); i += 50 {
			if bytes.Count(p[i:i+50], p[i:i+1]) == 50 {
				whole++
			}
		}
		c.say("records", whole, len(p), err)
	}},
	{"copy_file_range from another file system", func(c *caller) {
		dir, err := os.MkdirTemp("", "holdfast-copy-")
		c.say("directory", err)
		defer os.RemoveAll(dir)
		other := filepath.Join(dir, "f")
		c.say("create", os.WriteFile(other, bytes.Repeat([]byte("x"), 5000), 0o600))
		from, err := unix.Open(other, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		c.say("open", err)
		defer unix.Close(from)
		c.run("open g g rw,creat 600")
		n, err := unix.CopyFileRange(from, nil, c.fds["g"], nil, 5000, 0)
		c.say("copy", n, err)
		c.run("get g")
	}},
	{"copy_file_range moves the offsets", func(c *caller) {
		c.run("put f 0123456789; open f f r; open g g rw,creat 600; read f 2")
		n, err := unix.CopyFileRange(c.fds["f"], nil, c.fds["g"], nil, 3, 0)
		c.say("copy", n, err)
		c.run("read f 9; seek g set 0; read g 9")
		_, err = unix.CopyFileRange(c.fds["f"], nil, c.fds["g"], nil, 3, 1)
		c.say("flags", err)
	}},
	{"copy_file_range of much and of holes", func(c *caller) {
		c.run("open f f rw,creat 600; pwrite f 3000000 100*x; open g g rw,creat 600")
		total := 0
		for {
			n, err := unix.CopyFileRange(c.fds["f"], nil, c.fds["g"], nil, 1<<30, 0)
			if n <= 0 {
				c.say("end", n, err)
				break
			}
			total += n
		}
		c.say("copied", total)
		c.run("get g; stat g")
	}},
	{"advice", func(c *caller) {
		c.run("put f 10000*x; open f f rw; open d . r")
		for _, advice := range []int{unix.FADV_NORMAL, unix.FADV_RANDOM, unix.FADV_SEQUENTIAL, unix.FADV_WILLNEED, unix.FADV_DONTNEED, unix.FADV_NOREUSE, 99} {
			c.say("fadvise", advice, unix.Fadvise(c.fds["f"], 0, 5000, advice))
		}
		c.say("fadvise", unix.Fadvise(c.fds["f"], 0, -1, 0))
		_, _, errno := unix.Syscall(unix.SYS_READAHEAD, uintptr(c.fds["f"]), 0, 10000)
		c.say("readahead", errno)
		_, _, errno = unix.Syscall(unix.SYS_READAHEAD, uintptr(c.fds["d"]), 0, 10000)
		c.say("readahead of a directory", errno)
		c.say("sync_file_range", unix.SyncFileRange(c.fds["f"], 0, 5000, unix.SYNC_FILE_RANGE_WRITE))
		c.say("sync_file_range", unix.SyncFileRange(c.fds["d"], 0, 5000, unix.SYNC_FILE_RANGE_WRITE))
		n, err := unix.IoctlGetInt(c.fds["f"], unix.TIOCINQ)
		c.say("fionread", n, err)
	}},
	{"a descriptor may be told to append and to sync", func(c *caller) {
		c.run("put f abc; open f f rw")
		_, err := unix.FcntlInt(uintptr(c.fds["f"]), unix.F_SETFL, unix.O_APPEND)
		c.say("setfl", err)
		c.run("write f def; get f")
		_, err = unix.FcntlInt(uintptr(c.fds["f"]), unix.F_SETFL, unix.O_DIRECT)
		c.say("setfl", err)
		fl, err := unix.FcntlInt(uintptr(c.fds["f"]), unix.F_GETFL, 0)
		c.say("getfl", fl&(unix.O_APPEND|unix.O_DIRECT|unix.O_ACCMODE), err)
	}},
	{"asynchronous input and output", func(c *caller) {
		c.run("put f 8192*x; open f f rw")
		var ctx uintptr
		if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, 4, uintptr(unsafe.Pointer(&ctx)), 0); errno != 0 {
			c.say("io_setup", errno)
			return
		}
		defer unix.Syscall(unix.SYS_IO_DESTROY, ctx, 0, 0)
		buf := aligned(page, 'w')
		for i, op := range []uint16{1, 0, 2} { // write, read, fsync
			cb := iocb{data: uint64(i), op: op, fd: uint32(c.fds["f"]), buf: uint64(uintptr(unsafe.Pointer(&buf[0]))), n: page, off: page}
			if op == 2 {
				cb.buf, cb.n, cb.off = 0, 0, 0
			}
			list := []*iocb{&cb}
			n, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, ctx, 1, uintptr(unsafe.Pointer(&list[0])))
			c.say("submit", n, errno)
			if errno != 0 {
				continue
			}
			var event [4]uint64
			n, _, errno = unix.Syscall6(unix.SYS_IO_GETEVENTS, ctx, 1, 1, uintptr(unsafe.Pointer(&event)), 0, 0)
			c.say("event", n, errno, event[0], event[2])
		}
		c.run("get f")
	}},
}

// iocb is struct iocb of <linux/aio_abi.h>.
type iocb struct {
	data   uint64
	_      [2]uint32
	op     uint16
	_      int16
	fd     uint32
	buf, n uint64
	off    int64
	_      [2]uint64
}
