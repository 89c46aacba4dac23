package disk

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
)

// Triple makes writes atomic on a device that promises nothing about an interrupted one: not
// that it is old or new, not that it can be told from a good one. It keeps three copies of each
// unit, in the three thirds of a device, and writes them one after the other, each behind a
// flush. With Y written over X and the write in flight marked ?, a crash leaves
//
//	?XX   Y?X   YY?
//
// and one rule reads them all: if the first two copies agree they are right, else the third one
// is. That is what most copies say wherever two agree, and in Y?X, where none do, it is X.
//
// It needs no checksum, three writes and three flushes. Where a read can tell good content from
// bad, two copies do (see [Stable] with Careful): ?X and Y? are then read without a third.
//
// It is the construction on which a commit record could stand if sectors were not atomic; the
// volume does not use it, for its log records carry checksums.
type Triple struct {
	copies [3]Device
	unit   int64
	size   int64

	mu sync.RWMutex
}

// NewTriple uses three thirds of a device, in units of so many bytes, a multiple of its sectors.
// What the device holds must be the same in all three (as it is when all is zero), or Recover
// makes it so.
func NewTriple(under Device, unit int) (*Triple, error) {
	if unit <= 0 {
		return nil, fmt.Errorf("units of %d bytes: %w", unit, ErrRange)
	}
	t := &Triple{unit: int64(unit)}
	t.size = under.Size() / 3 / t.unit * t.unit
	for i := range t.copies {
		t.copies[i] = NewStripe(under, int64(i)*t.size, t.size)
	}
	return t, nil
}

// Size implements [Device].
func (t *Triple) Size() int64 { return t.size }

// Flush implements [Device]; every write is durable when it returns.
func (t *Triple) Flush() error { return nil }

// WriteAt implements [Device] for whole units: each becomes durable, and does so at once or not
// at all.
func (t *Triple) WriteAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, t.size); err != nil {
		return 0, err
	}
	if off%t.unit != 0 || int64(len(p))%t.unit != 0 {
		return 0, fmt.Errorf("%d bytes at %d in units of %d: %w", len(p), off, t.unit, ErrUnaligned)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := int64(0); n < int64(len(p)); n += t.unit {
		for i := range t.copies {
			if err := t.put(i, p[n:n+t.unit], off+n); err != nil {
				return int(n), err
			}
		}
	}
	return len(p), nil
}

// put brings one copy of a unit to the medium.
func (t *Triple) put(i int, p []byte, off int64) error {
	if _, err := t.copies[i].WriteAt(p, off); err != nil {
		return err
	}
	return t.copies[i].Flush()
}

// ReadAt implements [Device]. A unit of which the third copy would decide, and cannot be read, is
// ErrBadSector.
func (t *Triple) ReadAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, t.size); err != nil {
		return 0, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for n := 0; n < len(p); {
		at := (off + int64(n)) / t.unit * t.unit
		u, err := t.get(at)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], u.right[off+int64(n)-at:])
	}
	return len(p), nil
}

// unit is what the copies of one hold; nil is one that cannot be read.
type unit struct {
	copies [3][]byte
	right  []byte
}

// get reads a unit by the rule.
func (t *Triple) get(at int64) (u unit, err error) {
	for i, d := range t.copies {
		p := make([]byte, t.unit)
		switch err := ReadFull(d, p, at); {
		case err == nil:
			u.copies[i] = p
		case !isBad(err):
			return u, err
		}
	}
	c := &u.copies
	switch {
	case c[0] != nil && bytes.Equal(c[0], c[1]):
		u.right = c[0]
	case c[2] != nil:
		u.right = c[2]
	default:
		return u, fmt.Errorf("three copies at %d: two differ, and the third: %w", at, ErrBadSector)
	}
	return u, nil
}

// ReadChecked implements [Device].
func (t *Triple) ReadChecked(p []byte, c Check, places ...int64) (int, error) {
	return CheckedRead(t, p, c, places...)
}

// Recover makes the copies agree, as they must before the next write. It may be interrupted and
// repeated. Where the third copy is right the second is rewritten before the first: the other way
// round a crash could leave a first copy that is torn between Y and X exactly as the second was,
// and two copies that agree are believed. Units that are lost stay as they are; the error is
// that of the first of them, when all others are done.
func (t *Triple) Recover() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lost error
	for at := int64(0); at < t.size; at += t.unit {
		u, err := t.get(at)
		if errors.Is(err, ErrBadSector) {
			if lost == nil {
				lost = err
			}
			continue
		}
		if err != nil {
			return err
		}
		for _, i := range []int{2, 1, 0} {
			if bytes.Equal(u.copies[i], u.right) {
				continue
			}
			if err := t.put(i, u.right, at); err != nil {
				return err
			}
		}
	}
	return lost
}
