package disk

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
)

// Recorder hands everything on to another device and keeps the [Trace] of it.
//
// Writes, flushes and marks are done one at a time, in the order in which they are recorded; a
// flush that failed is not recorded, a write that failed is, for it may have reached the medium.
type Recorder struct {
	under  Device
	size   int64
	sector int

	mu     sync.Mutex
	base   []byte
	events []Event
	err    error // why the base could not be read
}

// NewRecorder copies the whole of under, which is the base of the trace, and records from then
// on. If under cannot be read, Err says why, and every write and flush fails with it: there
// is no trace then. It panics unless sectorSize is positive.
func NewRecorder(under Device, sectorSize int) *Recorder {
	mustSector(sectorSize)
	r := &Recorder{under: under, size: under.Size(), sector: sectorSize}
	r.base = make([]byte, r.size)
	const step = 1 << 20
	for off := int64(0); off < r.size; off += step {
		if err := ReadFull(under, r.base[off:min(off+step, r.size)], off); err != nil {
			r.err = fmt.Errorf("base of the trace: %w", err)
			break
		}
	}
	return r
}

// Err is the error that kept the base from being read, or nil.
func (r *Recorder) Err() error { return r.err }

// Size implements [Device].
func (r *Recorder) Size() int64 { return r.size }

// ReadAt implements [Device].
func (r *Recorder) ReadAt(p []byte, off int64) (int, error) { return r.under.ReadAt(p, off) }

// ReadChecked implements [Device].
func (r *Recorder) ReadChecked(p []byte, c Check, places ...int64) (int, error) {
	return r.under.ReadChecked(p, c, places...)
}

// WriteAt implements [Device]. It refuses what is not whole sectors with [ErrUnaligned].
func (r *Recorder) WriteAt(p []byte, off int64) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if err := inRange(len(p), off, r.size); err != nil {
		return 0, err
	}
	if err := wholeSectors(len(p), off, int64(r.sector)); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, Event{Kind: EventWrite, Off: off, Data: bytes.Clone(p)})
	return r.under.WriteAt(p, off)
}

// Flush implements [Device].
func (r *Recorder) Flush() error {
	if r.err != nil {
		return r.err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.under.Flush(); err != nil {
		return err
	}
	r.events = append(r.events, Event{Kind: EventFlush})
	return nil
}

// Mark notes text in the trace: an operation started, finished, synced.
func (r *Recorder) Mark(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, Event{Kind: EventMark, Mark: text})
}

// Trace is what was recorded so far. It shares its bytes with the recorder and with later
// traces; nobody may change them.
func (r *Recorder) Trace() *Trace {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Trace{SectorSize: r.sector, Base: r.base, Events: slices.Clip(r.events)}
}
