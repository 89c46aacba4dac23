package disk

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes an open-file-description lock on length bytes at off (0: all that follow).
func lockFile(f *os.File, exclusive bool, off, length int64) error {
	lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart, Start: off, Len: length}
	if exclusive {
		lock.Type = unix.F_WRLCK
	}
	err := onDescriptor(f, func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock) })
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrInUse
	}
	return err
}

// syncFile puts the file's data, and what is needed to find it, on stable storage.
func syncFile(f *os.File) error {
	return onDescriptor(f, unix.Fdatasync)
}
