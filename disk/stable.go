package disk

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
)

// StableOptions says how replicas are written. The zero value is what [NewStable] uses.
type StableOptions struct {
	// SectorSize in bytes, 512 if 0: the unit of damage, and of repair.
	SectorSize int
	// Careful writes one replica after the other, reads each back and writes again what is
	// not there, so that a null write is found at once. It costs a read for each write.
	Careful bool
	// Serial writes one replica after the other even if they could be written at once, so
	// that a recording of them is always the same. Replicas in one device are always serial.
	Serial bool
}

// StableCounts is what a [Stable] found and mended since it was made.
type StableCounts struct {
	Fallbacks int64 // reads that one replica could not serve and the other did
	Mixed     int64 // reads that took some sectors from one replica and the rest from the other
	Repaired  int64 // replicas rewritten with verified content
	Failed    int64 // repairs that failed (a read-only replica, a write error)
	Rewritten int64 // careful writes that had to be done again
}

// Stable is two replicas as one device: the stable storage of Lampson and Sturgis ("Crash
// Recovery in a Distributed Data Storage System", 1979). Every write goes to both. A checked
// read serves content that verifies, from the first replica if it can, and rewrites the
// replica that failed at once (the repair is durable after the next flush). A plain read falls
// back to the second replica when the first has a bad sector; it cannot verify, and repairs
// nothing.
//
// After a crash the replicas may differ in what was in flight; each holds old or new content
// by itself, and which of them is served is the checks' affair.
type Stable struct {
	rep    [2]Device
	size   int64
	sector int64
	opt    StableOptions
	shared Device // the device that both replicas are windows of, or nil

	// mu: writers share it, a repair has it alone, so that a repair cannot put back what a
	// write replaces at the same time.
	mu sync.RWMutex

	fallbacks, mixed, repaired, failed, rewritten atomic.Int64
}

// NewStable makes one device of the replicas a and b. Its size is that of the smaller one. If
// both are stripes of one device, a flush flushes that once.
func NewStable(a, b Device) *Stable { return NewStableWith(a, b, StableOptions{}) }

// NewStableWith is NewStable with options. It panics if SectorSize is negative.
func NewStableWith(a, b Device, opt StableOptions) *Stable {
	if opt.SectorSize == 0 {
		opt.SectorSize = 512
	}
	s := &Stable{
		rep: [2]Device{a, b}, size: min(a.Size(), b.Size()),
		sector: mustSector(opt.SectorSize), opt: opt,
	}
	sa, oka := a.(*Stripe)
	sb, okb := b.(*Stripe)
	if oka && okb && reflect.TypeOf(sa.under).Comparable() && sa.under == sb.under {
		s.shared = sa.under
	}
	return s
}

// Counts is what was found and mended so far.
func (s *Stable) Counts() StableCounts {
	return StableCounts{
		Fallbacks: s.fallbacks.Load(), Mixed: s.mixed.Load(), Repaired: s.repaired.Load(),
		Failed: s.failed.Load(), Rewritten: s.rewritten.Load(),
	}
}

// Size implements [Device].
func (s *Stable) Size() int64 { return s.size }

// both does one thing to both replicas, at once where that is allowed, and gives both errors.
func (s *Stable) both(do func(d Device) error) error {
	if s.shared != nil || s.opt.Serial || s.opt.Careful {
		return errors.Join(replicaError(0, do(s.rep[0])), replicaError(1, do(s.rep[1])))
	}
	second := make(chan error, 1)
	go func() { second <- do(s.rep[1]) }()
	first := do(s.rep[0])
	return errors.Join(replicaError(0, first), replicaError(1, <-second))
}

func replicaError(i int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("replica %d: %w", i, err)
}

// Flush implements [Device]: both replicas are durable when it returns nil.
func (s *Stable) Flush() error {
	if s.shared != nil {
		return s.shared.Flush()
	}
	return s.both(Device.Flush)
}

// WriteAt implements [Device]. An error means that at least one replica failed; the other may
// hold the new content.
func (s *Stable) WriteAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, s.size); err != nil {
		return 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	err := s.both(func(d Device) error {
		if s.opt.Careful {
			return s.put(d, p, off)
		}
		_, err := d.WriteAt(p, off)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// careful bounds how often a careful write is tried.
const careful = 3

// put is the careful put of Lampson and Sturgis: write until reading gives what was written.
func (s *Stable) put(d Device, p []byte, off int64) error {
	back := make([]byte, len(p))
	var err error
	for i := range careful {
		if i > 0 {
			s.rewritten.Add(1)
		}
		if _, err = d.WriteAt(p, off); err != nil {
			return err
		}
		if err = ReadFull(d, back, off); err == nil && bytes.Equal(back, p) {
			return nil
		}
		if err != nil && !isBad(err) {
			return err
		}
	}
	if err == nil {
		err = fmt.Errorf("%d bytes at %d do not read back: %w", len(p), off, ErrBadSector)
	}
	return err
}

// ReadAt implements [Device].
func (s *Stable) ReadAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, s.size); err != nil {
		return 0, err
	}
	n, err := s.rep[0].ReadAt(p, off)
	if err == nil || !errors.Is(err, ErrBadSector) {
		return n, err
	}
	if err := ReadFull(s.rep[1], p, off); err == nil {
		s.fallbacks.Add(1)
		return len(p), nil
	} else if !errors.Is(err, ErrBadSector) {
		return 0, err
	}
	if err := s.mix(p, off); err != nil {
		return 0, err
	}
	s.mixed.Add(1)
	return len(p), nil
}

// mix reads sector by sector, each from the first replica that gives it.
func (s *Stable) mix(p []byte, off int64) error {
	for pos, end := off, off+int64(len(p)); pos < end; {
		next := min((pos/s.sector+1)*s.sector, end)
		part := p[pos-off : next-off]
		err := ReadFull(s.rep[0], part, pos)
		if err != nil {
			if !isBad(err) {
				return err
			}
			if err = ReadFull(s.rep[1], part, pos); err != nil {
				return err
			}
		}
		pos = next
	}
	return nil
}

// ReadChecked implements [Device]. A place stands for itself on both replicas, the first
// replica first.
func (s *Stable) ReadChecked(p []byte, c Check, places ...int64) (int, error) {
	result := ErrBadSector
	for i, off := range places {
		if err := inRange(len(p), off, s.size); err != nil {
			return 0, err
		}
		good, err := s.read(p, c, off)
		switch {
		case err == nil:
			if good != 0 {
				if good == 1 {
					s.fallbacks.Add(1)
				} else {
					s.mixed.Add(1)
				}
				s.repair(len(p), c, off)
			}
			return i, nil
		case !passedOver(err):
			return 0, err
		case !isBad(err):
			result = ErrChecksum
		}
	}
	return 0, result
}

// read fills p with content of the place that passes and says which replica had it: 0, 1, or
// 2 if it took both.
func (s *Stable) read(p []byte, c Check, off int64) (int, error) {
	_, first := s.rep[0].ReadChecked(p, c, off)
	if first == nil || !passedOver(first) {
		return 0, first
	}
	_, second := s.rep[1].ReadChecked(p, c, off)
	if second == nil {
		return 1, nil
	}
	if !passedOver(second) {
		return 0, second
	}
	if int64(len(p)) > s.sector && isBad(first) {
		// One decay in each replica, in different sectors, is no decay of a pair.
		if err := s.mix(p, off); err == nil && c.Pass(p) {
			return 2, nil
		}
	}
	if isBad(first) && isBad(second) {
		return 0, ErrBadSector
	}
	return 0, ErrChecksum
}

// repair makes the replicas that do not pass at off hold what does. It reads the n bytes again
// under the lock, for the place may have been written meanwhile.
func (s *Stable) repair(n int, c Check, off int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := make([]byte, n)
	if good, err := s.read(fresh, c, off); err != nil || good == 0 {
		return // another repair was faster, or what we read is no longer current
	}
	for i, d := range s.rep {
		back := make([]byte, n)
		if _, err := d.ReadChecked(back, c, off); err == nil {
			continue
		}
		if err := s.rewrite(i, fresh, off); err != nil {
			s.failed.Add(1)
			continue
		}
		s.repaired.Add(1)
	}
}

// rewrite puts p on a replica, in whole sectors. Where p covers a part of a sector, the rest
// is the replica's own, or, if that cannot be read, its twin's: a sector that is bad has lost
// that too.
func (s *Stable) rewrite(i int, p []byte, off int64) error {
	start := off / s.sector * s.sector
	end := min((off+int64(len(p))+s.sector-1)/s.sector*s.sector, s.size)
	whole := p
	if start != off || end != off+int64(len(p)) {
		whole = make([]byte, end-start)
		for pos := start; pos < end; pos += s.sector {
			if pos >= off && pos+s.sector <= off+int64(len(p)) {
				continue // all of it is p's
			}
			part := whole[pos-start : min(pos+s.sector, end)-start]
			err := ReadFull(s.rep[i], part, pos)
			if err != nil && isBad(err) {
				err = ReadFull(s.rep[1-i], part, pos)
			}
			if err != nil {
				return err
			}
		}
		copy(whole[off-start:], p)
	}
	if s.opt.Careful {
		return s.put(s.rep[i], whole, start)
	}
	_, err := s.rep[i].WriteAt(whole, start)
	return err
}
