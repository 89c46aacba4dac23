package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"holdfast/disk"
	"holdfast/fusefs"
)

// leaveTimeout bounds how long is waited for a server to let go of its image.
const leaveTimeout = 5 * time.Minute

// runUmount unmounts, and returns when the server has made all durable and let go of the image. A lazy
// one does not wait: who has files open may keep them for long.
func runUmount(dir string, lazy, force bool) error {
	m, err := mountedOn(dir)
	if err != nil {
		return err
	}
	flags := 0
	if lazy {
		flags |= syscall.MNT_DETACH
	}
	if force {
		flags |= syscall.MNT_FORCE
	}
	if err := fusefs.Unmount(m, flags); err != nil || lazy {
		return err
	}
	for end := time.Now().Add(leaveTimeout); ; time.Sleep(leavePoll) {
		f, err := disk.OpenFile(m.Source, disk.FileOptions{ReadOnly: true})
		switch {
		case err == nil:
			return f.Close()
		case !errors.Is(err, disk.ErrInUse):
			return nil // it cannot be looked at: nothing more to wait for
		case time.Now().After(end):
			return fmt.Errorf("%s: unmounted, but still in use", m.Source)
		}
	}
}
