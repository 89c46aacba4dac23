package disk

import (
	"fmt"
	"sync"
)

// Stripe is a window of a device: half of it, or the part that a partition is.
type Stripe struct {
	under    Device
	off, len int64
}

// NewStripe is the window of length bytes at off of under. It panics unless the window lies
// inside under. A Flush of a stripe flushes all of under.
func NewStripe(under Device, off, length int64) *Stripe {
	if size := under.Size(); off < 0 || length < 0 || off > size || length > size-off {
		panic(fmt.Sprintf("disk: stripe of %d bytes at %d of a device of %d bytes", length, off, size))
	}
	return &Stripe{under: under, off: off, len: length}
}

// Size implements [Device].
func (s *Stripe) Size() int64 { return s.len }

// Flush implements [Device].
func (s *Stripe) Flush() error { return s.under.Flush() }

// ReadAt implements [Device].
func (s *Stripe) ReadAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, s.len); err != nil {
		return 0, err
	}
	return s.under.ReadAt(p, s.off+off)
}

// WriteAt implements [Device].
func (s *Stripe) WriteAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, s.len); err != nil {
		return 0, err
	}
	return s.under.WriteAt(p, s.off+off)
}

// placeLists keeps the shifted places of checked reads, so that a read through a stripe does
// not allocate.
var placeLists = sync.Pool{New: func() any { return new([]int64) }}

// ReadChecked implements [Device]; it is one checked read below.
func (s *Stripe) ReadChecked(p []byte, c Check, places ...int64) (int, error) {
	list := placeLists.Get().(*[]int64)
	shifted := (*list)[:0]
	for i, off := range places {
		if err := inRange(len(p), off, s.len); err != nil {
			if i == 0 {
				return 0, err
			}
			// The places before this one come first, as everywhere.
			n, rerr := s.under.ReadChecked(p, c, shifted...)
			if rerr == nil || !passedOver(rerr) {
				return n, rerr
			}
			return 0, err
		}
		shifted = append(shifted, s.off+off)
	}
	n, err := s.under.ReadChecked(p, c, shifted...)
	*list = shifted
	placeLists.Put(list)
	return n, err
}
