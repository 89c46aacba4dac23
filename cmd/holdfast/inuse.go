package main

import (
	"errors"
	"time"

	"holdfast/disk"
)

// umount(8) of a mount returns before its server has committed the last changes and given the lock of the
// image back. Who opens the image next waits for that, and does not fail.

const (
	// leaveGrace is how long a lock may be held until it is said that the image is in use: a server needs a
	// moment to see that it is unmounted.
	leaveGrace = 300 * time.Millisecond
	// leavePoll is how long a waiter sleeps.
	leavePoll = 5 * time.Millisecond
)

// openWhenLeft is disk.OpenFile that waits for a server which is about to leave.
func openWhenLeft(name string, o disk.FileOptions) (*disk.File, error) {
	start := time.Now()
	for {
		f, err := disk.OpenFile(name, o)
		if !errors.Is(err, disk.ErrInUse) || time.Since(start) > leaveGrace && !isLeaving(name) {
			return f, err
		}
		time.Sleep(leavePoll)
	}
}
