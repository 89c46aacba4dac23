package disk

// reserver is a device that can make room on its medium before it is written.
type reserver interface {
	// reserve asks for the room of n bytes at off, or gives back what of it was not written. Both are hints.
	reserve(off, n int64, give bool)
}

// Reserve says that n bytes at off, all of which are zeros, are about to be written: a host finds room for all of
// them at once, where it would look for it a write at a time. It is a hint, and changes no content; what has not
// been written in the end is to be given back by [Unreserve].
func Reserve(d Device, off, n int64) { reserve(d, off, n, false) }

// Unreserve gives back the room of n bytes at off that were reserved and never written.
func Unreserve(d Device, off, n int64) { reserve(d, off, n, true) }

func reserve(d Device, off, n int64, give bool) {
	if r, ok := d.(reserver); ok && n > 0 && inRange(int(n), off, d.Size()) == nil {
		r.reserve(off, n, give)
	}
}

func (d *File) reserve(off, n int64, give bool) {
	if d.fresh {
		allocate(d.f, d.off+off, n, give)
	}
}

func (s *Stripe) reserve(off, n int64, give bool) { reserve(s.under, s.off+off, n, give) }

func (s *Stable) reserve(off, n int64, give bool) {
	for _, d := range s.rep {
		reserve(d, off, n, give)
	}
}
