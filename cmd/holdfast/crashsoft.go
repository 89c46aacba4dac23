package main

import (
	"sync/atomic"

	"holdfast/disk"
)

// soft is a device on which every read fails once, with an error that goes away on retry. A
// checked read is not touched: retrying is part of it.
type soft struct {
	disk.Device
	reads atomic.Uint64
}

// ReadAt fails at every other attempt, the first one included.
func (s *soft) ReadAt(p []byte, off int64) (int, error) {
	if s.reads.Add(1)%2 == 1 {
		return 0, disk.ErrSoft
	}
	return s.Device.ReadAt(p, off)
}
