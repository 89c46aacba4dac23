package disk

import "errors"

// runReader is a device that can read a run of structures at once, for each of them to be checked
// on its own: a file can, and what is put together of files. What readRun gives is what a checked
// read of each would look at first; it mends nothing, and whatever it cannot do is an error.
// newest: of several versions that pass the newest is wanted. Devices that choose or count by the
// structure do not have it.
type runReader interface {
	readRun(p []byte, off int64, newest bool) error
}

// errNoRun says that a run has to be read structure by structure.
var errNoRun = errors.New("no run")

func readRun(d Device, p []byte, off int64, newest bool) error {
	if r, ok := d.(runReader); ok {
		return r.readRun(p, off, newest)
	}
	return errNoRun
}

// Peek fills p with what checked reads of the structures there would look at, where that is one
// and the device can read it at once: what it shows to be unwanted need not be read checked. It
// mends nothing. An error says only that each has to be looked at by itself.
func Peek(d Device, p []byte, off int64) error { return readRun(d, p, off, true) }

// ReadChecks fills p from off on with structures of size bytes each, one behind the other: check
// says what structure i must satisfy. It is a checked read of each of them, in as few reads as the
// device allows. It returns how many were read before the error, which is that of ReadChecked.
func ReadChecks(d Device, p []byte, size int, check func(i int) Check, off int64) (int, error) {
	n := len(p) / size
	if n == 0 {
		return 0, nil
	}
	newest := check(0).Version != nil
	run := n > 1 && readRun(d, p, off, newest) == nil
	for i := range n {
		part, c := p[i*size:(i+1)*size], check(i)
		if run && (newest || c.Version == nil) && c.Pass(part) {
			continue
		}
		if _, err := d.ReadChecked(part, c, off+int64(i*size)); err != nil {
			return i, err
		}
	}
	return n, nil
}

func (d *File) readRun(p []byte, off int64, _ bool) error {
	_, err := d.ReadAt(p, off)
	return err
}

func (s *Stripe) readRun(p []byte, off int64, newest bool) error {
	if err := inRange(len(p), off, s.len); err != nil {
		return err
	}
	return readRun(s.under, p, s.off+off, newest)
}

// readRun reads the first replica; what does not pass there is for ReadChecked to look at, and to
// mend. Of versions the replicas may have several.
func (s *Stable) readRun(p []byte, off int64, newest bool) error {
	if err := inRange(len(p), off, s.size); err != nil {
		return err
	}
	switch only, n := s.keeper(off, off+int64(len(p))); {
	case n < int64(len(p)) || only < 0 && newest:
		return errNoRun
	case only >= 0:
		return readRun(s.rep[only], p, off, newest)
	}
	return readRun(s.rep[0], p, off, false)
}

func (o *Overlay) readRun(p []byte, off int64, newest bool) error {
	o.mu.RLock()
	defer o.mu.RUnlock() // the base may unwind through us
	if !o.untouched(len(p), off) {
		return errNoRun
	}
	return readRun(o.base, p, off, newest)
}
