package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate asks the host for blocks that read as zeros, or takes them away again. Where it cannot be done, or there
// is no room, it is the writes that say so.
func allocate(f *os.File, off, n int64, free bool) {
	mode := uint32(unix.FALLOC_FL_KEEP_SIZE)
	if free {
		mode |= unix.FALLOC_FL_PUNCH_HOLE
	}
	_ = onDescriptor(f, func(fd int) error { return unix.Fallocate(fd, mode, off, n) })
}
