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
	// Only lists, for each replica, the ranges (bytes, ascending, apart from each other) that are
	// kept there and not on the other one: what is written twice by its owner already, as the two
	// runs of a log are, need not be written four times.
	Only [2][]Extent
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
// replica that failed at once, carefully (the repair is durable after the next flush); with a
// [Check.Version] it reads both and serves the newer. [Mend] always reads both. A plain read
// falls back to the second replica when the first has a bad sector; it cannot verify, and
// repairs nothing.
//
// After a crash the replicas may differ in what was in flight; each holds old or new content
// by itself, and which of them is served is the checks' affair. Whoever recovers from the crash
// rewrites or mends all that was in flight (the cleanup of Lampson and Sturgis): until then one
// decay may take the only good replica of it.
type Stable struct {
	rep    [2]Device
	size   int64
	sector int64
	opt    StableOptions
	shared Device // the device that both replicas are windows of, or nil
	below  Device // the device on which both lie in the end, or nil

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
	first, _ := Below(a, 0, 0)
	if second, _ := Below(b, 0, 0); reflect.TypeOf(first).Comparable() && first == second {
		s.below = first
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

// Replica is replica 0 or 1 as it is: for whoever reads much of both and looks closer, by
// [Mend], where they are not alike. What is written to it is not mirrored.
func (s *Stable) Replica(i int) Device { return s.rep[i] }

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
	for done := 0; done < len(p); {
		only, n := s.keeper(off+int64(done), off+int64(len(p)))
		part, pos := p[done:done+int(n)], off+int64(done)
		write := func(d Device) error {
			if s.opt.Careful {
				return s.put(d, part, pos)
			}
			_, err := d.WriteAt(part, pos)
			return err
		}
		var err error
		if only >= 0 {
			err = replicaError(only, write(s.rep[only]))
		} else {
			err = s.both(write)
		}
		if err != nil {
			return done, err
		}
		done += int(n)
	}
	return len(p), nil
}

// keeper says which replica alone keeps the bytes from off on, -1 if both do, and for how many
// bytes, at most to end, that holds.
func (s *Stable) keeper(off, end int64) (only int, n int64) {
	n = end - off
	for i, list := range s.opt.Only {
		for _, e := range list {
			switch {
			case off >= e.Off && off < e.End():
				return i, min(n, e.End()-off)
			case e.Off > off:
				n = min(n, e.Off-off)
			}
		}
	}
	return -1, n
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
	for done := 0; done < len(p); {
		only, n := s.keeper(off+int64(done), off+int64(len(p)))
		part, pos := p[done:done+int(n)], off+int64(done)
		var m int
		var err error
		if only >= 0 {
			m, err = s.rep[only].ReadAt(part, pos)
		} else {
			m, err = s.readEither(part, pos)
		}
		if err != nil {
			return done + m, err
		}
		done += int(n)
	}
	return len(p), nil
}

// readEither is a plain read of what both replicas keep.
func (s *Stable) readEither(p []byte, off int64) (int, error) {
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

// maxDoubt bounds the sectors in which replicas may differ for all mixes of them to be tried.
const maxDoubt = 4

// puzzle fills p with content that passes, of which some sectors come from one replica and the
// rest from the other: what only one of them gives is taken from there, and where both give
// something else all mixes are tried, unless there are too many.
func (s *Stable) puzzle(p []byte, c *Check, off int64) (ok bool, err error) {
	q := make([]byte, len(p))
	var doubt [][2]int64 // from and to, in p
	for pos, end := off, off+int64(len(p)); pos < end; {
		next := min((pos/s.sector+1)*s.sector, end)
		lo, hi := pos-off, next-off
		first := ReadFull(s.rep[0], p[lo:hi], pos)
		second := ReadFull(s.rep[1], q[lo:hi], pos)
		switch {
		case first != nil && !isBad(first):
			return false, first
		case second != nil && !isBad(second):
			return false, second
		case first != nil && second != nil:
			return false, nil
		case first != nil:
			copy(p[lo:hi], q[lo:hi])
		case second == nil && !bytes.Equal(p[lo:hi], q[lo:hi]):
			doubt = append(doubt, [2]int64{lo, hi})
		}
		pos = next
	}
	if len(doubt) > maxDoubt {
		return false, nil
	}
	mix := make([]byte, len(p))
	for which := range 1 << len(doubt) {
		copy(mix, p)
		for i, d := range doubt {
			if which>>i&1 != 0 {
				copy(mix[d[0]:d[1]], q[d[0]:d[1]])
			}
		}
		if c.Pass(mix) {
			copy(p, mix)
			return true, nil
		}
	}
	return false, nil
}

// ReadChecked implements [Device]. A place stands for itself on both replicas, the first
// replica first.
func (s *Stable) ReadChecked(p []byte, c Check, places ...int64) (int, error) {
	if s.below != nil && len(places) > 1 {
		if at, ok := s.apart(len(p), places); ok {
			return s.below.ReadChecked(p, c, at...)
		}
	}
	result := ErrBadSector
	for i, off := range places {
		if err := inRange(len(p), off, s.size); err != nil {
			return 0, err
		}
		found, err := s.look(p, &c, off, c.Version != nil)
		switch {
		case err == nil:
			switch found {
			case [2]Copy{CopyLost, CopyGood}:
				s.fallbacks.Add(1)
			case [2]Copy{CopyLost, CopyLost}:
				s.mixed.Add(1)
			}
			if found[0] == CopyLost || found[1] == CopyLost {
				s.repair(len(p), &c, off)
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

// twins is memory for the second replica's content.
var twins = sync.Pool{New: func() any { return new([]byte) }}

// look fills p with content of the place that passes, and says which replicas have it; if both
// are lost, p has sectors of both. Unless all is set, the second replica is only read if the
// first does not pass, and is unknown otherwise.
func (s *Stable) look(p []byte, c *Check, off int64, all bool) (found [2]Copy, err error) {
	if only, _ := s.keeper(off, off+int64(len(p))); only >= 0 {
		found[only] = CopyGood
		_, err := s.rep[only].ReadChecked(p, *c, off)
		return found, err
	}
	_, first := s.rep[0].ReadChecked(p, *c, off)
	if first != nil && !passedOver(first) {
		return found, first
	}
	if first == nil && !all {
		return [2]Copy{CopyGood, CopyUnknown}, nil
	}
	q := p
	if first == nil {
		room := twins.Get().(*[]byte)
		defer twins.Put(room)
		if cap(*room) < len(p) {
			*room = make([]byte, len(p))
		}
		q = (*room)[:len(p)]
	}
	_, second := s.rep[1].ReadChecked(q, *c, off)
	switch {
	case second != nil && !passedOver(second):
		return found, second
	case first == nil && second == nil:
		if bytes.Equal(p, q) {
			return [2]Copy{CopyGood, CopyGood}, nil
		}
		if c.Version == nil || c.Version(p) == c.Version(q) {
			return [2]Copy{CopyGood, CopyGood}, nil // each is right for whoever asks
		}
		if c.Version(p) > c.Version(q) {
			return [2]Copy{CopyGood, CopyLost}, nil
		}
		copy(p, q)
		return [2]Copy{CopyLost, CopyGood}, nil
	case first == nil:
		return [2]Copy{CopyGood, CopyLost}, nil
	case second == nil:
		return [2]Copy{CopyLost, CopyGood}, nil
	}
	if int64(len(p)) > s.sector && !c.Whole {
		// One decay in each replica, in different sectors, is no decay of a pair.
		ok, err := s.puzzle(p, c, off)
		if err != nil {
			return found, err
		}
		if ok {
			return [2]Copy{CopyLost, CopyLost}, nil
		}
	}
	if isBad(first) && isBad(second) {
		return [2]Copy{CopyLost, CopyLost}, ErrBadSector
	}
	return [2]Copy{CopyLost, CopyLost}, ErrChecksum
}

// repair makes the replicas that do not hold what passes at off hold it. It reads the n bytes
// again under the lock, for the place may have been written meanwhile.
func (s *Stable) repair(n int, c *Check, off int64) {
	_, _ = s.mend(make([]byte, n), c, off)
}

// mend is Mend with writers kept out.
func (s *Stable) mend(p []byte, c *Check, off int64) (found [2]Copy, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err = s.look(p, c, off, true)
	if err != nil {
		return found, err
	}
	for i := range found {
		if found[i] != CopyLost {
			continue
		}
		if err := s.rewrite(i, p, off); err != nil {
			s.failed.Add(1)
			continue
		}
		s.repaired.Add(1)
		found[i] = CopyHealed
	}
	return found, nil
}

// Mend implements [Mender].
func (s *Stable) Mend(p []byte, c Check, off int64) ([2]Copy, error) {
	if err := inRange(len(p), off, s.size); err != nil {
		return [2]Copy{}, err
	}
	if ok, err := s.mendPair(p, &c, off); ok {
		return [2]Copy{CopyUnknown, CopyUnknown}, err
	}
	found, err := s.look(p, &c, off, true)
	if err != nil || found[0] != CopyLost && found[1] != CopyLost {
		return found, err
	}
	return s.mend(p, &c, off)
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
	return s.put(s.rep[i], whole, start) // a repair that did not happen would be none
}
