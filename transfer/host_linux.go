package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"
	"unsafe"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"holdfast/volume"
)

// nonblock keeps an open from waiting, should a FIFO take a file's place.
const nonblock = syscall.O_NONBLOCK

// stat is what fs.FileInfo does not say.
type stat struct {
	id           hostID
	links        uint64
	uid, gid     uint32
	atime        time.Time
	major, minor uint32
	allocated    uint64 // bytes
}

func statOf(info fs.FileInfo) stat {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stat{links: 1, atime: info.ModTime(), allocated: uint64(info.Size())}
	}
	t := stat{id: hostID{uint64(s.Dev), s.Ino}, links: uint64(s.Nlink), uid: s.Uid, gid: s.Gid,
		atime: time.Unix(s.Atim.Unix()), allocated: uint64(s.Blocks) * 512}
	if info.Mode()&fs.ModeDevice != 0 {
		t.major, t.minor = unix.Major(uint64(s.Rdev)), unix.Minor(uint64(s.Rdev))
	}
	return t
}

// nextData is the first range of data at or behind off, lseek(2) with SEEK_DATA and SEEK_HOLE;
// size and size if there is none. A file system that knows no holes has only data.
func nextData(f *os.File, off, size int64) (start, end int64, err error) {
	start, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case err != nil:
		return off, size, nil
	}
	end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
	if err != nil || end <= start {
		end = size
	}
	return min(start, size), min(end, size), nil
}

// in parent calls fn with the directory of rel and the last component.
func inParent(root *os.Root, rel string, fn func(dir int, name string) error) error {
	d, err := root.Open(path.Dir(rel))
	if err != nil {
		return err
	}
	defer d.Close()
	return fn(int(d.Fd()), path.Base(rel))
}

// mknod makes a FIFO, socket or device; mode is that of POSIX.
func mknod(root *os.Root, rel string, mode, major, minor uint32) error {
	if major > volume.MaxMajor || minor > volume.MaxMinor {
		return fmt.Errorf("there is no device %d, %d: %w", major, minor, errors.ErrUnsupported)
	}
	return inParent(root, rel, func(dir int, name string) error {
		return unix.Mknodat(dir, name, mode, int(unix.Mkdev(major, minor)))
	})
}

// setTimes sets the times of rel itself, also of a symbolic link.
func setTimes(root *os.Root, rel string, _ bool, atime, mtime time.Time) error {
	return inParent(root, rel, func(dir int, name string) error {
		ts := make([]unix.Timespec, 2)
		for i, t := range [2]time.Time{atime, mtime} {
			var err error
			if ts[i], err = unix.TimeToTimespec(t); err != nil {
				return err
			}
		}
		return unix.UtimesNanoAt(dir, name, ts, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// noXattrs reports whether an error says that there are no attributes to be had.
func noXattrs(err error) bool {
	return errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS)
}

// readXattrs reads the attributes of rel itself, also of a symbolic link. What cannot be opened
// without side effects is named through its directory in /proc.
func readXattrs(root *os.Root, rel string) (m map[string][]byte, err error) {
	info, err := root.Lstat(rel)
	if err != nil {
		return nil, err
	}
	if t := info.Mode().Type(); t == 0 || t == fs.ModeDir {
		return openXattrs(root, rel)
	}
	err = inParent(root, rel, func(dir int, name string) error {
		p := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
		var err error
		m, err = collectXattrs(func() ([]string, error) { return xattr.LList(p) },
			func(name string) ([]byte, error) { return xattr.LGet(p, name) })
		if errors.Is(err, fs.ErrNotExist) { // no /proc
			err = nil
		}
		return err
	})
	return m, err
}

// withXattrs calls fn with what sets an attribute of rel itself.
func withXattrs(root *os.Root, rel string, fn func(set func(name string, value []byte) error) error) error {
	info, err := root.Lstat(rel)
	if err != nil {
		return err
	}
	if t := info.Mode().Type(); t == 0 || t == fs.ModeDir {
		return openWithXattrs(root, rel, fn)
	}
	return inParent(root, rel, func(dir int, base string) error {
		p := fmt.Sprintf("/proc/self/fd/%d/%s", dir, base)
		return fn(func(name string, value []byte) error { return bareXattr(xattr.LSet(p, name, value)) })
	})
}

// quickXattrs reads the attributes of what is in an open directory without opening it; ok is
// false if that cannot be.
func (d *hostDir) quickXattrs(name string) (m map[string][]byte, ok bool, err error) {
	if d.file == nil {
		return nil, false, nil
	}
	if d.bare(name) {
		return nil, true, nil
	}
	p := fmt.Sprintf("/proc/self/fd/%d/%s", d.file.Fd(), name)
	m, err = collectXattrs(func() ([]string, error) { return xattr.LList(p) },
		func(name string) ([]byte, error) { return xattr.LGet(p, name) })
	return m, err == nil, err
}

// bare answers whether listxattrat(2), which Linux has from 6.13 on, knows that a file has no attributes:
// most have none, and it walks no path through /proc.
func (d *hostDir) bare(name string) bool {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return false
	}
	n, _, errno := unix.Syscall6(unix.SYS_LISTXATTRAT, d.file.Fd(), uintptr(unsafe.Pointer(p)), unix.AT_SYMLINK_NOFOLLOW, 0, 0, 0)
	return errno == 0 && n == 0
}

// quickRead reads a regular file, of which info is what Lstat says, into p with few calls: ok
// is false where it is not as info says, and nothing else is known.
func (d *hostDir) quickRead(name string, info fs.FileInfo, p []byte) (ok bool) {
	want, known := info.Sys().(*syscall.Stat_t)
	if d.file == nil || !known {
		return false
	}
	fd, err := unix.Openat(int(d.file.Fd()), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	same := func() bool {
		var st syscall.Stat_t
		return syscall.Fstat(fd, &st) == nil && st.Dev == want.Dev && st.Ino == want.Ino && st.Mode == want.Mode &&
			st.Size == want.Size && st.Mtim == want.Mtim
	}
	if !same() {
		return false
	}
	for len(p) > 0 {
		n, err := unix.Read(fd, p)
		if n <= 0 || err != nil {
			return false
		}
		p = p[n:]
	}
	return same()
}
