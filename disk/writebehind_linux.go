package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// startWriteBack asks the host to begin writing. An error here will be the flush's to tell.
func startWriteBack(f *os.File, off, n int64) {
	_ = onDescriptor(f, func(fd int) error { return unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE) })
}

// makeRoom asks the host for room, and reports whether it makes sense to ask again.
func makeRoom(f *os.File, off, n int64) bool {
	err := onDescriptor(f, func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n) })
	return err == nil || errors.Is(err, unix.EINTR)
}
