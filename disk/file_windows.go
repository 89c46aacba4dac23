package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile locks one byte far beyond the end of any image: a lock on Windows is mandatory for
// the bytes that it covers, and it is to keep out those who ask, not those who force.
func lockFile(f *os.File, exclusive bool, _, _ int64) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	var result error
	err = raw.Control(func(fd uintptr) {
		result = windows.LockFileEx(windows.Handle(fd), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	})
	if err != nil {
		return err
	}
	if errors.Is(result, windows.ERROR_LOCK_VIOLATION) {
		return ErrInUse
	}
	return result
}

// syncFile puts the file on stable storage.
func syncFile(f *os.File) error { return f.Sync() }

// isMediumError reports whether the host says that the medium cannot give the data.
func isMediumError(err error) bool {
	return errors.Is(err, windows.ERROR_CRC) || errors.Is(err, windows.ERROR_SECTOR_NOT_FOUND) ||
		errors.Is(err, windows.ERROR_READ_FAULT) || errors.Is(err, windows.ERROR_IO_DEVICE)
}

// syncDir does nothing: a directory cannot be flushed here, and NTFS journals its names.
func syncDir(string) error { return nil }
