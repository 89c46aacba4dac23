//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// onDescriptor runs do on the descriptor of f, again while a signal interrupts it.
func onDescriptor(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) {
		for {
			if result = do(int(fd)); !errors.Is(result, unix.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return os.ErrClosed // nothing else keeps Control from running
	}
	return result
}

// isMediumError reports whether the host says that the medium cannot give the data.
func isMediumError(err error) bool { return errors.Is(err, unix.EIO) }

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = dir.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil // this file system has no such thing
	}
	return err
}
