package transfer

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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
		atime: time.Unix(s.Atimespec.Unix()), allocated: uint64(s.Blocks) * 512}
	if info.Mode()&fs.ModeDevice != 0 {
		t.major, t.minor = unix.Major(uint64(s.Rdev)), unix.Minor(uint64(s.Rdev))
	}
	return t
}

// nextData is the rest of the file: that it has holes is not asked.
func nextData(_ *os.File, off, size int64) (start, end int64, err error) { return off, size, nil }

// mknod is not done: the system has no mknodat, and a path could lead outside the root.
func mknod(*os.Root, string, uint32, uint32, uint32) error { return errors.ErrUnsupported }

// setTimes sets the times of rel itself, also of a symbolic link.
func setTimes(root *os.Root, rel string, _ bool, atime, mtime time.Time) error {
	d, err := root.Open(path.Dir(rel))
	if err != nil {
		return err
	}
	defer d.Close()
	ts := make([]unix.Timespec, 2)
	for i, t := range [2]time.Time{atime, mtime} {
		if ts[i], err = unix.TimeToTimespec(t); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(int(d.Fd()), path.Base(rel), ts, unix.AT_SYMLINK_NOFOLLOW)
}

// noXattrs reports whether an error says that there are no attributes to be had.
func noXattrs(err error) bool { return errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) }

// readXattrs reads the attributes of files and directories; others have none that are kept.
func readXattrs(root *os.Root, rel string) (map[string][]byte, error) {
	info, err := root.Lstat(rel)
	if err != nil {
		return nil, err
	}
	if t := info.Mode().Type(); t != 0 && t != fs.ModeDir {
		return nil, nil
	}
	return openXattrs(root, rel)
}

// withXattrs calls fn with what sets an attribute of rel itself.
func withXattrs(root *os.Root, rel string, fn func(set func(name string, value []byte) error) error) error {
	info, err := root.Lstat(rel)
	if err != nil {
		return err
	}
	if t := info.Mode().Type(); t != 0 && t != fs.ModeDir {
		return errors.ErrUnsupported
	}
	return openWithXattrs(root, rel, fn)
}

// quickXattrs and quickRead are for systems where they are quicker.
func (d *hostDir) quickXattrs(string) (map[string][]byte, bool, error) { return nil, false, nil }
func (d *hostDir) quickRead(string, fs.FileInfo, []byte) bool          { return false }
