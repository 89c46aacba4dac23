package disk

import (
	"os"
	"sync/atomic"
)

// longWrite is from how many bytes on a write is a long one, of which there are likely to be more.
const longWrite = 256 << 10

// behind is how much is written to a file in long runs before the host is asked to begin
// putting it on the medium.
const behind = 8 << 20

// writeBehind starts the host's write-back of a file while it is being written in long runs, so
// that the flush at their end finds most of its work done. It is a hint: what it starts says
// nothing about what is durable.
type writeBehind struct {
	waiting atomic.Int64 // bytes written since the last start
	// cannot: the host makes no room in advance. A block device is never asked: Linux before 6.7 refuses, but forgets
	// what of the range is in its cache first, unwritten or not.
	cannot atomic.Bool
}

// before has the host find the room for a long write of n bytes at off at once: it would look for it page by page,
// which takes a sixth of the time of writing a file of 2 GiB. No content changes. It is a hint too: where there is no
// room the write says so.
func (w *writeBehind) before(f *os.File, n int, off int64) {
	if n >= longWrite && !w.cannot.Load() && !makeRoom(f, off, int64(n)) {
		w.cannot.Store(true)
	}
}

// wrote takes note of a write of n bytes that ended at end, and says what to start writing back:
// n bytes from off, or none. Short writes do not count: operations that flush one by one would
// pay for it and gain nothing.
func (w *writeBehind) wrote(n int, end int64) (off, length int64) {
	if n < longWrite || w.waiting.Add(int64(n)) < behind {
		return 0, 0
	}
	sum := w.waiting.Swap(0)
	if sum < behind { // somebody else was faster
		w.waiting.Add(sum)
		return 0, 0
	}
	off = max(0, end-2*sum) // several workers write the runs, in nearly this order
	return off, end - off
}
