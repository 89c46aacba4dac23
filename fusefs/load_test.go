//go:build linux

package fusefs_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// A load is a process that does everything on a mount: to names that it shares with the others, and to files of
// its own, of which it says when fsync has returned.
type load struct {
	*rand.Rand
	own   string
	files int
	rare  int // one fsync for so many of some operations
}

// loadMain runs until the mount is gone, in a process of its own.
func loadMain(dir, seed string) {
	n, err := strconv.ParseUint(seed, 10, 64)
	if err == nil {
		err = os.Chdir(dir)
	}
	unix.Umask(0)
	l := &load{Rand: rand.New(rand.NewPCG(n, 2)), own: "own" + seed}
	l.rare, _ = strconv.Atoi(os.Getenv("FUSEFS_RARE"))
	l.rare = max(l.rare, 1)
	if err == nil {
		err = os.MkdirAll(l.own, 0o755)
	}
	var st unix.Statfs_t
	if errors.Is(err, unix.ENOSPC) && unix.Statfs(".", &st) == nil && st.Bavail < 64 {
		err = nil // the loads before have filled it, and it says so
	}
	for err == nil {
		err = l.step()
	}
	gone := func(err error) bool { return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED) }
	if errors.Is(err, unix.EIO) && gone(unix.Statfs(".", &unix.Statfs_t{})) {
		return // so the kernel says of a request that the server was just taking when it was killed
	}
	if !gone(err) {
		fmt.Println("error", err)
	}
}

// harmless is what operations on names that come and go may say.
var harmless = []error{unix.ENOENT, unix.EEXIST, unix.EACCES, unix.ENOTDIR, unix.EISDIR, unix.ENOTEMPTY, unix.EINVAL, unix.EPERM, unix.ELOOP, unix.ENODATA,
	unix.EBADF, unix.ENXIO, unix.ENODEV, unix.EOPNOTSUPP, unix.ENOSPC, unix.ESPIPE, unix.ESTALE, unix.EBUSY, unix.ETXTBSY, unix.E2BIG, unix.ERANGE}

func (l *load) step() error {
	what := l.any
	if l.IntN(7) == 0 {
		what = l.file
	}
	err := what()
	for _, h := range harmless {
		if errors.Is(err, h) {
			return nil
		}
	}
	return err
}

// file writes one of its own, in pieces, and says what it holds once it is durable.
func (l *load) file() error {
	l.files++
	name := fmt.Sprint(l.own, "/", l.files)
	f, err := os.Create(name + ".new")
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	for range 1 + l.IntN(3) {
		p := l.bytes(1 + l.IntN(20_000))
		sum.Write(p)
		if _, err := f.Write(p); errors.Is(err, unix.ENOSPC) {
			return errors.Join(os.Remove(name+".new"), f.Truncate(0)) // which makes room, soon
		} else if err != nil {
			return err
		}
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	if l.IntN(l.rare) != 0 {
		return nil
	}
	if err := f.Sync(); err != nil {
		return err
	}
	fmt.Printf("synced %s %x\n", name, sum.Sum(nil))
	return nil
}

func (l *load) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(l.Uint32())
	}
	return p
}

// name is one of a few that all share, in a few directories.
func (l *load) name() string {
	name := fmt.Sprint("n", l.IntN(6))
	for range l.IntN(3) {
		name = fmt.Sprint("n", l.IntN(6), "/", name)
	}
	return name
}

// any does one operation to one of the shared names.
func (l *load) any() error {
	name, other := l.name(), l.name()
	switch l.IntN(20) {
	case 0, 1:
		return unix.Mkdir(name, 0o755)
	case 2, 3:
		return unix.Rename(name, other)
	case 4:
		flag := []uint{unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, unix.RENAME_WHITEOUT}[l.IntN(3)]
		return unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, other, flag)
	case 5:
		return unix.Link(name, other)
	case 6:
		return unix.Symlink(string("xyz"[l.IntN(3)])+other, name)
	case 7:
		return unix.Unlink(name)
	case 8:
		return unix.Rmdir(name)
	case 9:
		return unix.Mknod(name, []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR}[l.IntN(3)]|0o600, int(unix.Mkdev(1, 3)))
	case 10:
		return unix.Chmod(name, uint32(l.IntN(0o10000)))
	case 11:
		return unix.Lchown(name, l.IntN(3), l.IntN(3))
	case 12:
		return unix.Lsetxattr(name, fmt.Sprint("trusted.a", l.IntN(3)), l.bytes(l.IntN(3000)), 0)
	case 13:
		return unix.Lremovexattr(name, fmt.Sprint("trusted.a", l.IntN(3)))
	case 14:
		return unix.Truncate(name, l.Int64N(100_000))
	case 15:
		return l.temp(other)
	case 16:
		_, err := os.ReadDir(".")
		return err
	default:
		return l.open(name)
	}
}

// temp makes a file without a name, which may get one.
func (l *load) temp(name string) error {
	fd, err := unix.Open(".", unix.O_TMPFILE|unix.O_RDWR, 0o640)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, l.bytes(l.IntN(20_000))); err != nil || l.IntN(3) == 0 {
		return err
	}
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", fd), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
}

// open works on the content of a file, which may lose its name meanwhile.
func (l *load) open(name string) error {
	flags := unix.O_RDWR | unix.O_CREAT | unix.O_NONBLOCK
	for _, f := range []int{unix.O_APPEND, unix.O_TRUNC, unix.O_EXCL} {
		if l.IntN(6) == 0 {
			flags |= f
		}
	}
	if l.IntN(10*l.rare) == 0 {
		flags |= unix.O_SYNC
	}
	fd, err := unix.Open(name, flags, 0o666)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for range 1 + l.IntN(4) {
		if err := l.change(fd, name); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) change(fd int, name string) error {
	if l.IntN(5*l.rare) == 0 {
		if l.IntN(2) == 0 {
			return unix.Fsync(fd)
		}
		return unix.Fdatasync(fd)
	}
	off, length := l.Int64N(100_000), 1+l.Int64N(30_000)
	switch l.IntN(40) {
	case 0, 12:
		return unix.Ftruncate(fd, off)
	case 1, 13, 14:
		modes := []uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_ZERO_RANGE, unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE}
		return unix.Fallocate(fd, modes[l.IntN(len(modes))], off, length)
	case 4:
		return l.mapped(fd)
	case 5, 15:
		to := l.Int64N(100_000)
		_, err := unix.CopyFileRange(fd, &off, fd, &to, min(int(length), max(1, int(to-off))), 0)
		return err
	case 6:
		return unix.Unlink(name)
	case 7:
		return unix.Fchmod(fd, 0o600)
	case 8, 16, 17:
		_, err := unix.Pread(fd, make([]byte, length), off)
		return err
	default:
		_, err := unix.Pwrite(fd, l.bytes(int(length)), off)
		return err
	}
}

// mapped writes to a shared mapping. When the file gets shorter, or the server is killed, that is a fault.
func (l *load) mapped(fd int) (err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size == 0 {
		return err
	}
	p, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(p)
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if recover() != nil {
			err = nil
		}
	}()
	at := l.IntN(len(p))
	end := min(len(p), at+5000)
	for i := range p[at:end] {
		p[at+i] = byte(at)
	}
	return unix.Msync(p, unix.MS_SYNC)
}
