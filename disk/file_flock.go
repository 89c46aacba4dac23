//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes a lock on the whole file; there are none on ranges here that would belong to
// the open file and not to the process.
func lockFile(f *os.File, exclusive bool, _, _ int64) error {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	err := onDescriptor(f, func(fd int) error { return unix.Flock(fd, how|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}

// syncFile puts the file on stable storage (on darwin Sync is F_FULLFSYNC).
func syncFile(f *os.File) error { return f.Sync() }
