//go:build linux

package fusefs_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// caller runs the system calls of one case in one directory, and writes down what each answers. Its words
// are described in testdata/conformance.txt.
type caller struct {
	dir   string
	fds   map[string]int
	snaps map[string]unix.Stat_t
	more  []int    // other descriptors
	maps  [][]byte // mappings
	out   strings.Builder
}

// newCaller makes the thread, which is the caller's alone and ends with it, one whose working directory,
// umask, user and groups are its own.
func newCaller(dir string) *caller {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		panic(err)
	}
	c := &caller{dir: dir, fds: map[string]int{}, snaps: map[string]unix.Stat_t{}}
	c.groups(nil)
	unix.Umask(0)
	return c
}

// end closes what is open.
func (c *caller) end() {
	for _, m := range c.maps {
		_ = unix.Munmap(m)
	}
	for _, fd := range c.more {
		unix.Close(fd)
	}
	for _, fd := range c.fds {
		unix.Close(fd)
	}
}

// as makes the thread another user, without the capabilities of root; the functions of package unix would
// change the whole process.
func (c *caller) as(uid, gid int) {
	const keep = ^uintptr(0)
	c.must(unix.SYS_SETRESUID, keep, 0, keep)
	c.must(unix.SYS_SETRESGID, keep, uintptr(gid), keep)
	c.must(unix.SYS_SETRESUID, keep, uintptr(uid), keep)
}

// groups sets the supplementary groups of the thread.
func (c *caller) groups(words []string) {
	list := make([]uint32, len(words)+1)
	for i, w := range words {
		list[i] = uint32(number(w))
	}
	c.must(unix.SYS_SETGROUPS, uintptr(len(words)), uintptr(unsafe.Pointer(&list[0])), 0)
}

func (c *caller) must(trap, a, b, d uintptr) {
	if _, _, errno := unix.RawSyscall(trap, a, b, d); errno != 0 {
		panic(errno)
	}
}

// run runs a case: calls separated by ";".
func (c *caller) run(script string) {
	for call := range strings.SplitSeq(script, ";") {
		words := strings.Fields(call)
		answer, err := c.call(words[0], words[1:])
		if err != nil {
			answer = errName(err)
		}
		fmt.Fprintf(&c.out, "%s: %s\n", strings.Join(words, " "), answer)
	}
}

func errName(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// path is the path that a word means, in the case's directory: "" is the empty path, N*c is the letter c N times, N!name is name
// behind so many "./" that the path has N bytes; ~name is from the working directory.
func (c *caller) path(w string) string {
	if w == `""` {
		return ""
	}
	if rest, ok := strings.CutPrefix(w, "~"); ok {
		return expand(rest)
	}
	if length, name, ok := strings.Cut(w, "!"); ok {
		fill := int(number(length)) - len(c.dir) - 1 - len(name)
		return c.dir + "/" + strings.Repeat("/", fill%2) + strings.Repeat("./", fill/2) + name
	}
	return c.dir + "/" + expand(w)
}

var repeat = regexp.MustCompile(`(\d+)\*([^/.])`)

func expand(w string) string {
	if w == `""` {
		return ""
	}
	return repeat.ReplaceAllStringFunc(w, func(m string) string {
		count, what, _ := strings.Cut(m, "*")
		return strings.Repeat(what, int(number(count)))
	})
}

func number(w string) int64 {
	n, err := strconv.ParseInt(w, 0, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func octal(w string) uint32 {
	n, err := strconv.ParseUint(w, 8, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

var bits = map[string]int{
	"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR, "creat": unix.O_CREAT, "excl": unix.O_EXCL, "trunc": unix.O_TRUNC,
	"append": unix.O_APPEND, "dir": unix.O_DIRECTORY, "nofollow": unix.O_NOFOLLOW, "path": unix.O_PATH, "tmpfile": unix.O_TMPFILE,
	"sync": unix.O_SYNC, "dsync": unix.O_DSYNC, "direct": unix.O_DIRECT, "nonblock": unix.O_NONBLOCK,
	"noreplace": unix.RENAME_NOREPLACE, "exchange": unix.RENAME_EXCHANGE, "whiteout": unix.RENAME_WHITEOUT, "bad": 1 << 20,
	"create": unix.XATTR_CREATE, "replace": unix.XATTR_REPLACE,
	"keep": unix.FALLOC_FL_KEEP_SIZE, "punch": unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, "punchonly": unix.FALLOC_FL_PUNCH_HOLE,
	"zero": unix.FALLOC_FL_ZERO_RANGE, "alloc": 0, "data": unix.SEEK_DATA, "hole": unix.SEEK_HOLE, "set": unix.SEEK_SET, "end": unix.SEEK_END,
	"-": 0,
}

func flags(w string) int {
	n := 0
	for f := range strings.SplitSeq(w, ",") {
		b, ok := bits[f]
		if !ok {
			panic("no flag " + f)
		}
		n |= b
	}
	return n
}

// bytesOf is what a word says to write: text, or N*c.
func bytesOf(w string) []byte { return []byte(expand(w)) }

// text is how bytes are written down: short ones as they are, runs as counts.
func text(p []byte) string {
	var out []string
	for len(p) > 0 {
		n := 1
		for n < len(p) && p[n] == p[0] {
			n++
		}
		switch {
		case n > 3:
			out = append(out, fmt.Sprintf("%d*%q", n, p[:1]))
		default:
			out = append(out, fmt.Sprintf("%q", p[:n]))
		}
		p = p[n:]
	}
	return fmt.Sprint(out)
}

func ok(err error) (string, error) { return "ok", err }

func (c *caller) call(name string, a []string) (string, error) {
	arg := func(i int) string {
		if i < len(a) {
			return a[i]
		}
		return ""
	}
	fd := func(i int) int {
		if n, ok := c.fds[arg(i)]; ok {
			return n
		}
		return -1
	}
	switch name {
	case "as":
		c.as(int(number(a[0])), int(number(a[1])))
		return "", nil
	case "groups":
		c.groups(a)
		return "", nil
	case "cd":
		return ok(unix.Chdir(c.path(a[0])))
	case "cwd":
		buf := make([]byte, unix.PathMax)
		_, err := unix.Getcwd(buf)
		return "", err
	case "umask":
		unix.Umask(int(octal(a[0])))
		return "", nil
	case "mkdir":
		return ok(unix.Mkdir(c.path(a[0]), octal(a[1])))
	case "rmdir":
		return ok(unix.Rmdir(c.path(a[0])))
	case "unlink":
		return ok(unix.Unlink(c.path(a[0])))
	case "mknod":
		kind := map[string]uint32{"f": unix.S_IFREG, "p": unix.S_IFIFO, "s": unix.S_IFSOCK, "c": unix.S_IFCHR, "b": unix.S_IFBLK, "d": unix.S_IFDIR, "l": unix.S_IFLNK}[a[1]]
		dev := 0
		if len(a) > 3 {
			dev = int(unix.Mkdev(uint32(number(a[3])), uint32(number(a[4]))))
		}
		return ok(unix.Mknod(c.path(a[0]), kind|octal(a[2]), dev))
	case "link":
		return ok(unix.Link(c.path(a[0]), c.path(a[1])))
	case "symlink": // the target is as it is
		return ok(unix.Symlink(strings.ReplaceAll(expand(a[0]), "@", c.dir), c.path(a[1])))
	case "readlink":
		buf := make([]byte, 5000)
		n, err := unix.Readlink(c.path(a[0]), buf)
		return strings.ReplaceAll(string(buf[:max(n, 0)]), c.dir, "@"), err
	case "rename":
		f := 0
		if len(a) > 2 {
			f = flags(a[2])
		}
		return ok(unix.Renameat2(unix.AT_FDCWD, c.path(a[0]), unix.AT_FDCWD, c.path(a[1]), uint(f)))
	case "put": // a file with content
		return ok(os.WriteFile(c.path(a[0]), bytesOf(arg(1)), 0o644))
	case "get":
		p, err := os.ReadFile(c.path(a[0]))
		return text(p), err
	case "ls":
		return c.list(a[0])
	case "stat", "lstat", "fstat":
		st, err := c.stat(name, a[0])
		return describe(st), err
	case "blocks": // whether there are any
		st, err := c.stat("stat", a[0])
		return fmt.Sprint(st.Blocks > 0), err
	case "links": // of directories, which describe leaves out
		st, err := c.stat("stat", a[0])
		return fmt.Sprint(st.Nlink), err
	case "snap":
		return c.snap(a[0])
	case "moved":
		return c.moved(a[0])
	case "same": // whether two names are one inode
		x, err := c.stat("lstat", a[0])
		if err != nil {
			return "", err
		}
		y, err := c.stat("lstat", a[1])
		return fmt.Sprint(x.Ino == y.Ino), err
	case "access":
		return ok(unix.Faccessat(unix.AT_FDCWD, c.path(a[0]), octal(a[1]), unix.AT_EACCESS))
	case "chmod":
		return ok(unix.Chmod(c.path(a[0]), octal(a[1])))
	case "lchmod":
		return ok(unix.Fchmodat(unix.AT_FDCWD, c.path(a[0]), octal(a[1]), unix.AT_SYMLINK_NOFOLLOW))
	case "fchmod":
		return ok(unix.Fchmod(fd(0), octal(a[1])))
	case "chown", "lchown":
		f := 0
		if name == "lchown" {
			f = unix.AT_SYMLINK_NOFOLLOW
		}
		return ok(unix.Fchownat(unix.AT_FDCWD, c.path(a[0]), int(number(a[1])), int(number(a[2])), f))
	case "fchown":
		return ok(unix.Fchown(fd(0), int(number(a[1])), int(number(a[2]))))
	case "utime", "lutime":
		return c.utime(name, a)
	case "times":
		st, err := c.stat("lstat", a[0])
		return fmt.Sprintf("%d.%09d %d.%09d", st.Atim.Sec, st.Atim.Nsec, st.Mtim.Sec, st.Mtim.Nsec), err
	case "mtime":
		st, err := c.stat("lstat", a[0])
		return fmt.Sprintf("%d.%09d", st.Mtim.Sec, st.Mtim.Nsec), err
	case "futime": // a descriptor, both times now
		return ok(unix.UtimesNanoAt(fd(0), "", nil, unix.AT_EMPTY_PATH))
	case "utimenull": // both times now, as utime(2) without times
		return ok(unix.Utimes(c.path(a[0]), nil))
	case "born": // whether the time of birth is there, and not behind that of the last change
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, c.path(a[0]), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME|unix.STATX_BASIC_STATS, &st)
		before := st.Btime.Sec < st.Ctime.Sec || st.Btime.Sec == st.Ctime.Sec && st.Btime.Nsec <= st.Ctime.Nsec
		return fmt.Sprint(st.Mask&unix.STATX_BTIME != 0, st.Btime.Sec > 0, before), err
	case "birth": // whether two files were born at the same time
		var x, y unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, c.path(a[0]), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &x); err != nil {
			return "", err
		}
		err := unix.Statx(unix.AT_FDCWD, c.path(a[1]), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &y)
		return fmt.Sprint(x.Btime == y.Btime), err
	case "truncate":
		return ok(unix.Truncate(c.path(a[0]), number(a[1])))
	case "ftruncate":
		return ok(unix.Ftruncate(fd(0), number(a[1])))
	case "open":
		mode := uint32(0)
		if len(a) > 3 {
			mode = octal(a[3])
		}
		n, err := unix.Open(c.path(a[1]), flags(a[2])|unix.O_CLOEXEC, mode)
		if err == nil {
			if old, open := c.fds[a[0]]; open {
				unix.Close(old)
			}
			c.fds[a[0]] = n
		}
		return ok(err)
	case "close":
		n := fd(0)
		delete(c.fds, a[0])
		return ok(unix.Close(n))
	case "write":
		n, err := unix.Write(fd(0), bytesOf(arg(1)))
		return fmt.Sprint(n), err
	case "pwrite":
		n, err := unix.Pwrite(fd(0), bytesOf(a[2]), number(a[1]))
		return fmt.Sprint(n), err
	case "read":
		p := make([]byte, number(a[1]))
		n, err := unix.Read(fd(0), p)
		return text(p[:max(n, 0)]), err
	case "pread":
		p := make([]byte, number(a[2]))
		n, err := unix.Pread(fd(0), p, number(a[1]))
		return text(p[:max(n, 0)]), err
	case "seek":
		n, err := unix.Seek(fd(0), number(a[2]), flags(a[1]))
		return fmt.Sprint(n), err
	case "fallocate":
		return ok(unix.Fallocate(fd(0), uint32(flags(a[1])), number(a[2]), number(a[3])))
	case "copy":
		from, to := number(a[1]), number(a[3])
		n, err := unix.CopyFileRange(fd(0), &from, fd(2), &to, int(number(a[4])), 0)
		return fmt.Sprint(n), err
	case "limit": // another call, with a limit of the size of files
		signal.Ignore(unix.SIGXFSZ)
		var before unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
			return "", err
		}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(number(a[0])), Max: before.Max}); err != nil {
			return "", err
		}
		defer unix.Setrlimit(unix.RLIMIT_FSIZE, &before)
		return c.call(a[1], a[2:])
	case "splicefrom": // so much of a file into a pipe
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			return "", err
		}
		defer unix.Close(pipe[1])
		defer unix.Close(pipe[0])
		n, err := unix.Splice(fd(0), nil, pipe[1], nil, int(number(a[1])), 0)
		if err != nil || n == 0 {
			return fmt.Sprint(n), err
		}
		p := make([]byte, n)
		m, err := unix.Read(pipe[0], p)
		return text(p[:max(m, 0)]), err
	case "splice": // text from a pipe
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			return "", err
		}
		defer unix.Close(pipe[0])
		n, err := unix.Write(pipe[1], bytesOf(a[1]))
		unix.Close(pipe[1])
		if err != nil {
			return "", err
		}
		m, err := unix.Splice(pipe[0], nil, fd(0), nil, n, 0)
		return fmt.Sprint(m), err
	case "fsync":
		return ok(unix.Fsync(fd(0)))
	case "fdatasync":
		return ok(unix.Fdatasync(fd(0)))
	case "syncfs":
		return ok(unix.Syncfs(fd(0)))
	case "linkfd":
		return ok(unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd(0)), unix.AT_FDCWD, c.path(a[1]), unix.AT_SYMLINK_FOLLOW))
	case "dents": // whether getdents gives anything
		n, err := unix.Getdents(fd(0), make([]byte, 4096))
		return fmt.Sprint(n > 0), err
	case "linkempty": // linkat with an empty path and AT_EMPTY_PATH
		return ok(unix.Linkat(fd(0), "", unix.AT_FDCWD, c.path(a[1]), unix.AT_EMPTY_PATH))
	case "flock":
		return ok(unix.Flock(fd(0), unix.LOCK_EX|unix.LOCK_NB))
	case "setx":
		f := 0
		if len(a) > 3 {
			f = flags(a[3])
		}
		return ok(unix.Lsetxattr(c.path(a[0]), a[1], value(a[2]), f))
	case "getx":
		p := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(c.path(a[0]), expand(a[1]), p)
		return text(p[:max(n, 0)]), err
	case "getxsize": // into a buffer of so many bytes
		p := make([]byte, number(a[2]))
		n, err := unix.Lgetxattr(c.path(a[0]), a[1], p)
		return fmt.Sprint(n), err
	case "fsetx":
		return ok(unix.Fsetxattr(fd(0), a[1], value(a[2]), 0))
	case "fgetx":
		p := make([]byte, 1<<16)
		n, err := unix.Fgetxattr(fd(0), a[1], p)
		return text(p[:max(n, 0)]), err
	case "frmx":
		return ok(unix.Fremovexattr(fd(0), a[1]))
	case "lsxsize": // the names into a buffer of so many bytes
		p := make([]byte, number(a[1]))
		n, err := unix.Llistxattr(c.path(a[0]), p)
		return fmt.Sprint(n), err
	case "rmx":
		return ok(unix.Lremovexattr(c.path(a[0]), a[1]))
	case "lsx":
		p := make([]byte, 1<<16)
		n, err := unix.Llistxattr(c.path(a[0]), p)
		names := strings.Split(strings.TrimSuffix(string(p[:max(n, 0)]), "\x00"), "\x00")
		slices.Sort(names)
		return fmt.Sprint(names), err
	case "namemax":
		var st unix.Statfs_t
		err := unix.Statfs(c.path(a[0]), &st)
		return fmt.Sprint(st.Namelen, st.Bsize), err
	}
	panic("no call " + name)
}

// value is an attribute's value: text, N*c, hex:..., or acl:u7,g5,m7,o0,U1000=6,G1000=4.
func value(w string) []byte {
	if h, ok := strings.CutPrefix(w, "hex:"); ok {
		p, err := hex.DecodeString(h)
		if err != nil {
			panic(err)
		}
		return p
	}
	list, isACL := strings.CutPrefix(w, "acl:")
	if !isACL {
		return bytesOf(w)
	}
	var out bytes.Buffer
	out.Write([]byte{2, 0, 0, 0})
	for e := range strings.SplitSeq(list, ",") {
		tag := map[byte]uint16{'u': 1, 'U': 2, 'g': 4, 'G': 8, 'm': 16, 'o': 32}[e[0]]
		id, perm := int64(-1), e[1:]
		if who, p, ok := strings.Cut(perm, "="); ok {
			id, perm = number(who), p
		}
		entry := struct {
			tag, perm uint16
			id        uint32
		}{tag, uint16(number(perm)), uint32(id)}
		out.Write((*[8]byte)(unsafe.Pointer(&entry))[:])
	}
	return out.Bytes()
}

func (c *caller) stat(how, w string) (st unix.Stat_t, err error) {
	switch how {
	case "fstat":
		n, known := c.fds[w]
		if !known {
			n = -1
		}
		err = unix.Fstat(n, &st)
	case "stat":
		err = unix.Stat(c.path(w), &st)
	default:
		err = unix.Lstat(c.path(w), &st)
	}
	return st, err
}

// describe leaves out what file systems may choose: the sizes and link counts of directories.
func describe(st unix.Stat_t) string {
	s := fmt.Sprintf("%06o %d:%d", st.Mode, st.Uid, st.Gid)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return s
	case unix.S_IFCHR, unix.S_IFBLK:
		s += fmt.Sprintf(" dev=%d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	case unix.S_IFLNK:
		return s + fmt.Sprintf(" links=%d", st.Nlink)
	}
	return s + fmt.Sprintf(" links=%d size=%d", st.Nlink, st.Size)
}

func (c *caller) list(w string) (string, error) {
	entries, err := os.ReadDir(c.path(w))
	var names []string
	for _, e := range entries {
		names = append(names, fmt.Sprintf("%s%s", e.Type().String()[:1], e.Name()))
	}
	return fmt.Sprint(names), err
}

// snap remembers the times of a file, and waits until a change would show: file systems of the host take
// the time of the last tick.
func (c *caller) snap(w string) (string, error) {
	st, err := c.stat("lstat", w)
	if err != nil {
		return "", err
	}
	c.snaps[w] = st
	for now := (unix.Timespec{}); ; {
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
			return "", err
		}
		if now.Nano() > max(st.Ctim.Nano(), st.Mtim.Nano()) {
			return "", nil
		}
	}
}

// moved says which times have changed since snap.
func (c *caller) moved(w string) (string, error) {
	st, err := c.stat("lstat", w)
	old := c.snaps[w]
	var s []string
	if st.Atim != old.Atim {
		s = append(s, "atime")
	}
	if st.Mtim != old.Mtim {
		s = append(s, "mtime")
	}
	if st.Ctim != old.Ctim {
		s = append(s, "ctime")
	}
	return fmt.Sprint(s), err
}

// utime sets the access and the modification time: seconds.nanoseconds, now or omit.
func (c *caller) utime(name string, a []string) (string, error) {
	var ts [2]unix.Timespec
	for i, w := range a[1:3] {
		switch w {
		case "now":
			ts[i].Nsec = unix.UTIME_NOW
		case "omit":
			ts[i].Nsec = unix.UTIME_OMIT
		default:
			sec, nsec, _ := strings.Cut(w, ".")
			ts[i].Sec = number(sec)
			if nsec != "" {
				d, err := time.ParseDuration("0." + nsec + "s")
				if err != nil {
					panic(err)
				}
				ts[i].Nsec = int64(d)
			}
		}
	}
	f := 0
	if name == "lutime" {
		f = unix.AT_SYMLINK_NOFOLLOW
	}
	return ok(unix.UtimesNanoAt(unix.AT_FDCWD, c.path(a[0]), ts[:], f))
}
