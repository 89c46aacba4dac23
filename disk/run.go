package disk

// RunReader is a device that can read a run of structures at once, for each of them to be checked
// on its own: a file can, and what is put together of files. ReadRun fills the beginning of p with
// what a checked read of each structure there would look at first, and returns how many bytes of
// it: 0 where each has to be read by itself. It mends nothing. newest: of several versions that
// pass the newest is wanted. Devices that choose or count by the structure do not have it.
type RunReader interface {
	ReadRun(p []byte, off int64, newest bool) int
}

func readRun(d Device, p []byte, off int64, newest bool) int {
	if r, ok := d.(RunReader); ok {
		return r.ReadRun(p, off, newest)
	}
	return 0
}

// Peek fills the beginning of p with what checked reads of the structures there would look at,
// where that is one and the device can read it at once: what it shows to be unwanted need not be
// read checked. It mends nothing. It returns the length of that beginning; what comes then has to
// be looked at by itself.
func Peek(d Device, p []byte, off int64) int { return readRun(d, p, off, true) }

// ReadChecks fills p from off on with structures of size bytes each, one behind the other: check
// says what structure i must satisfy. It is a checked read of each of them, in as few reads as the
// device allows. It returns how many were read before the error, which is that of ReadChecked.
func ReadChecks(d Device, p []byte, size int, check func(i int) Check, off int64) (int, error) {
	n := len(p) / size
	if n == 0 {
		return 0, nil
	}
	newest := check(0).Version != nil
	run := 0 // so far p holds what a run gave
	for i := range n {
		at := i * size
		part, c := p[at:at+size], check(i)
		if at+size > run && i < n-1 {
			run = at + readRun(d, p[at:n*size], off+int64(at), newest)
		}
		if at+size <= run && (newest || c.Version == nil) && c.Pass(part) {
			continue
		}
		if _, err := d.ReadChecked(part, c, off+int64(at)); err != nil {
			return i, err
		}
	}
	return n, nil
}

// ReadRun implements [RunReader].
func (d *File) ReadRun(p []byte, off int64, _ bool) int {
	n, _ := d.ReadAt(p, off)
	return n
}

// ReadRun implements [RunReader].
func (s *Stripe) ReadRun(p []byte, off int64, newest bool) int {
	if inRange(len(p), off, s.len) != nil {
		return 0
	}
	return readRun(s.under, p, s.off+off, newest)
}

// ReadRun implements [RunReader]: it reads the first replica. What does not pass there is for
// ReadChecked to look at, and to mend. Of versions the replicas may have several.
func (s *Stable) ReadRun(p []byte, off int64, newest bool) int {
	if inRange(len(p), off, s.size) != nil {
		return 0
	}
	only, n := s.keeper(off, off+int64(len(p)))
	switch p = p[:n]; {
	case only >= 0:
		return readRun(s.rep[only], p, off, newest)
	case newest:
		return 0
	}
	return readRun(s.rep[0], p, off, false)
}

// ReadRun implements [RunReader].
func (o *Overlay) ReadRun(p []byte, off int64, newest bool) int {
	o.mu.RLock()
	defer o.mu.RUnlock() // the base may unwind through us
	if inRange(len(p), off, o.size) != nil {
		return 0
	}
	pg, n := o.run(off, off+int64(len(p)))
	if pg != nil {
		return 0
	}
	return readRun(o.base, p[:n], off, newest)
}
