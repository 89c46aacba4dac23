package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteBack asks the host to begin writing. An error here will be the flush's to tell.
func startWriteBack(f *os.File, off, n int64) {
	_ = onDescriptor(f, func(fd int) error { return unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE) })
}
