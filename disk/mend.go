package disk

import (
	"errors"
	"fmt"
)

// ErrOneReplica is why something is reported that nobody has to miss: its other replica has it.
var ErrOneReplica = errors.New("one copy is damaged or stale")

// Copy is what was found of one replica of a place, and what became of it.
type Copy uint8

const (
	CopyNone    Copy = iota // this device keeps no such replica
	CopyUnknown             // it was not read
	CopyGood                // it passes, and no other replica has a newer version
	CopyHealed              // it did not, and was rewritten
	CopyLost                // it did not, and is not rewritten: nothing passes, or the write failed
)

func (c Copy) String() string {
	switch c {
	case CopyNone:
		return "none"
	case CopyUnknown:
		return "unknown"
	case CopyGood:
		return "good"
	case CopyHealed:
		return "healed"
	case CopyLost:
		return "lost"
	}
	return fmt.Sprintf("Copy(%d)", uint8(c))
}

// Mender is a device that may keep more than one replica of a place.
type Mender interface {
	Device

	// Mend is ReadChecked of one place that reads every replica, and rewrites those that do not
	// hold what passes (the newest version of it, if c tells versions apart). It says of each
	// replica what it found; the repair is durable after the next flush. If the error is not
	// nil no replica passes, as far as they could be read.
	Mend(p []byte, c Check, off int64) ([2]Copy, error)
}

// Mend reads all replicas of a place of d and heals those that are damaged or stale, as [Mender]
// says. Of a device without replicas, which is replica 0, it is a checked read.
func Mend(d Device, p []byte, c Check, off int64) ([2]Copy, error) {
	if m, ok := d.(Mender); ok {
		return m.Mend(p, c, off)
	}
	_, err := d.ReadChecked(p, c, off)
	return only(err)
}

// only is what a checked read of the only replica says of it.
func only(err error) ([2]Copy, error) {
	switch {
	case err == nil:
		return [2]Copy{CopyGood, CopyNone}, nil
	case passedOver(err):
		return [2]Copy{CopyLost, CopyNone}, err
	}
	return [2]Copy{}, err
}

// Mend implements [Mender]: what was never written is mended by the base, if that can.
func (o *Overlay) Mend(p []byte, c Check, off int64) ([2]Copy, error) {
	o.mu.RLock()
	defer o.mu.RUnlock() // the base may unwind through us
	if o.untouched(len(p), off) {
		return Mend(o.base, p, c, off)
	}
	return only(o.checkHere(p, &c, off))
}

// Mend implements [Mender]; it counts as one read.
func (d *Counter) Mend(p []byte, c Check, off int64) ([2]Copy, error) {
	d.reads.Add(1)
	d.bytesRead.Add(int64(len(p)))
	return Mend(d.under, p, c, off)
}

// Replicated is a device that is put together of replicas.
type Replicated interface {
	Device

	// Replicas is how many there are: 1 where the other one is missing.
	Replicas() int
}

// Replicas is how many replicas d is put together of, 0 if it is a plain device.
func Replicas(d Device) int {
	if r, ok := d.(Replicated); ok {
		return r.Replicas()
	}
	return 0
}

// Replicas implements [Replicated].
func (s *Stable) Replicas() int { return 2 }

// Replicas implements [Replicated].
func (o *Overlay) Replicas() int { return Replicas(o.base) }

// Replicas implements [Replicated].
func (d *Counter) Replicas() int { return Replicas(d.under) }
