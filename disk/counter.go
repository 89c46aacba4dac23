package disk

import "sync/atomic"

// Counts is what a device was asked to do, failed calls included.
type Counts struct {
	Reads        int64 // calls of ReadAt and ReadChecked
	BytesRead    int64 // bytes asked for (a checked read counts one place)
	Writes       int64 // calls of WriteAt
	BytesWritten int64 // bytes; divided by 4096 they are the blocks of the benchmark table
	Flushes      int64 // calls of Flush
}

// Sub is what happened between o and c, o being the earlier one.
func (c Counts) Sub(o Counts) Counts {
	return Counts{
		Reads:        c.Reads - o.Reads,
		BytesRead:    c.BytesRead - o.BytesRead,
		Writes:       c.Writes - o.Writes,
		BytesWritten: c.BytesWritten - o.BytesWritten,
		Flushes:      c.Flushes - o.Flushes,
	}
}

// Counter is a device that counts what it hands on to another.
type Counter struct {
	under                                           Device
	reads, bytesRead, writes, bytesWritten, flushes atomic.Int64
}

// NewCounter counts what under is asked to do through the counter.
func NewCounter(under Device) *Counter { return &Counter{under: under} }

// Counts is what was counted since the counter was made or reset. Taken while calls run, its
// fields may belong to slightly different moments.
func (d *Counter) Counts() Counts {
	return Counts{
		Reads:        d.reads.Load(),
		BytesRead:    d.bytesRead.Load(),
		Writes:       d.writes.Load(),
		BytesWritten: d.bytesWritten.Load(),
		Flushes:      d.flushes.Load(),
	}
}

// Reset starts the count at zero again.
func (d *Counter) Reset() {
	for _, n := range []*atomic.Int64{&d.reads, &d.bytesRead, &d.writes, &d.bytesWritten, &d.flushes} {
		n.Store(0)
	}
}

// Size implements [Device].
func (d *Counter) Size() int64 { return d.under.Size() }

// ReadAt implements [Device].
func (d *Counter) ReadAt(p []byte, off int64) (int, error) {
	d.reads.Add(1)
	d.bytesRead.Add(int64(len(p)))
	return d.under.ReadAt(p, off)
}

// ReadChecked implements [Device].
func (d *Counter) ReadChecked(p []byte, c Check, places ...int64) (int, error) {
	d.reads.Add(1)
	d.bytesRead.Add(int64(len(p)))
	return d.under.ReadChecked(p, c, places...)
}

// WriteAt implements [Device].
func (d *Counter) WriteAt(p []byte, off int64) (int, error) {
	d.writes.Add(1)
	d.bytesWritten.Add(int64(len(p)))
	return d.under.WriteAt(p, off)
}

// Flush implements [Device].
func (d *Counter) Flush() error {
	d.flushes.Add(1)
	return d.under.Flush()
}
