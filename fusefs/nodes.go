//go:build linux

package fusefs

import (
	"errors"
	"sync"

	"holdfast/volume"
)

// nodes counts the lookups of each inode that the kernel has not forgotten. An inode with any is
// held in the volume once: what is unlinked stays readable, and no other file gets its number.
type nodes struct {
	v       *volume.Volume
	mu      sync.Mutex
	lookups map[volume.Ino]uint64
}

// add counts one lookup of the inode that a describes, and gives its attributes as they are once it is
// held. ErrStale: it is gone, or another inode has its number by now.
func (n *nodes) add(a volume.Attr) (volume.Attr, error) {
	if n.again(a.Ino) {
		return a, nil // held, so its number means what it meant
	}
	if err := n.v.Hold(a.Ino); err != nil {
		return a, err
	}
	now, err := n.v.Getattr(a.Ino)
	if err == nil && now.Generation != a.Generation {
		err = volume.ErrStale
	}
	if err != nil {
		return a, errors.Join(err, n.v.Release(a.Ino))
	}
	return now, n.addHeld(a.Ino)
}

// again counts a lookup of an inode that has some.
func (n *nodes) again(ino volume.Ino) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lookups[ino] == 0 {
		return false
	}
	n.lookups[ino]++
	return true
}

// addHeld counts one lookup of an inode that the caller has held for it.
func (n *nodes) addHeld(ino volume.Ino) error {
	n.mu.Lock()
	n.lookups[ino]++
	first := n.lookups[ino] == 1
	n.mu.Unlock()
	if first {
		return nil
	}
	return n.v.Release(ino) // somebody else's hold serves both
}

// forget undoes lookups; the inode is let go of with the last.
func (n *nodes) forget(ino volume.Ino, lookups uint64) error {
	n.mu.Lock()
	have := n.lookups[ino]
	last := have > 0 && have <= lookups
	if last {
		delete(n.lookups, ino)
	} else if have > 0 {
		n.lookups[ino] = have - lookups
	}
	n.mu.Unlock()
	if last {
		return n.v.Release(ino)
	}
	return nil
}

// releaseAll forgets everything.
func (n *nodes) releaseAll() error {
	n.mu.Lock()
	all := n.lookups
	n.lookups = map[volume.Ino]uint64{}
	n.mu.Unlock()
	var errs []error
	for ino := range all {
		errs = append(errs, n.v.Release(ino))
	}
	return errors.Join(errs...)
}
