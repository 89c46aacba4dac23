package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// leaving says to others that this process is about to close the image: by a lock of flock(2), which has no
// other use here, and which the end of the process takes away. Where it cannot be had nobody waits.
func leaving(name string) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		go func() { _ = unix.Flock(fd, unix.LOCK_EX) }() // others only try, and for a moment
	}
}

// isLeaving is whether somebody has said so.
func isLeaving(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK
}
