//go:build !linux && !darwin

package transfer

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

const nonblock = 0

// stat is what fs.FileInfo does not say; here it says all that is known.
type stat struct {
	id           hostID
	links        uint64
	uid, gid     uint32
	atime        time.Time
	major, minor uint32
	allocated    uint64 // bytes
}

func statOf(info fs.FileInfo) stat {
	return stat{links: 1, atime: info.ModTime(), allocated: uint64(max(0, info.Size()))}
}

// nextData is the rest of the file: that it has holes is not asked.
func nextData(_ *os.File, off, size int64) (start, end int64, err error) { return off, size, nil }

func mknod(*os.Root, string, uint32, uint32, uint32) error { return errors.ErrUnsupported }

func setTimes(root *os.Root, rel string, link bool, atime, mtime time.Time) error {
	if link {
		return errors.ErrUnsupported
	}
	return root.Chtimes(rel, atime, mtime)
}

// noXattrs reports whether an error says that there are no attributes to be had.
func noXattrs(err error) bool { return errors.Is(err, errors.ErrUnsupported) }

// readXattrs: the system has none.
func readXattrs(*os.Root, string) (map[string][]byte, error) { return nil, nil }

// withXattrs: the system has none.
func withXattrs(*os.Root, string, func(set func(name string, value []byte) error) error) error {
	return errors.ErrUnsupported
}

// quickXattrs and quickRead are for systems where they are quicker.
func (d *hostDir) quickXattrs(string) (map[string][]byte, bool, error) { return nil, false, nil }
func (d *hostDir) quickRead(string, fs.FileInfo, []byte) bool          { return false }
