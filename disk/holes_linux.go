package disk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// nextData is lseek(2) with SEEK_DATA; reads and writes name their place, so nobody misses the
// position that it moves. A host that cannot tell, or a block device, has only data.
func (d *File) nextData(off int64) int64 {
	var at int64
	err := onDescriptor(d.f, func(fd int) (err error) {
		at, err = unix.Seek(fd, d.off+off, unix.SEEK_DATA)
		return err
	})
	switch {
	case errors.Is(err, unix.ENXIO):
		return d.size
	case err != nil:
		return off
	}
	return min(max(at-d.off, off), d.size)
}
