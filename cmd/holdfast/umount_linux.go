package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"holdfast/disk"
	"holdfast/fusefs"
)

// runUmount unmounts, and returns when the server, if this was its last mount, has made all durable and let go of
// the image. A lazy one does not wait: who has files open may keep them for long.
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
	// What its server cannot make durable now is lost, and who asks later does not hear of it. Lazily or by force
	// a mount goes away whether its server answers or not.
	var lost error
	if !lazy && !force {
		if _, err := ask(context.Background(), request{Command: "sync", Name: m.Source}, nil); err != nil && !errors.Is(err, errNotServed) {
			lost = fmt.Errorf("what has changed last is lost: %w", err)
		}
	}
	if err := fusefs.Unmount(m, flags); err != nil || lazy {
		return errors.Join(lost, err)
	}
	// The server goes on where the volume is mounted once more, by a bind mount or in another mount namespace.
	f, err := openWhenLeft(m.Source, disk.FileOptions{ReadOnly: true})
	if err != nil {
		return lost // or the image cannot be looked at: nothing to wait for
	}
	return errors.Join(lost, f.Close())
}
