package disk

import "testing"

// TestWriteBehind: long runs start the write-back of everything that was written, once; short
// writes start nothing.
func TestWriteBehind(t *testing.T) {
	var w writeBehind
	for i := range 4 * behind / 4096 {
		if _, n := w.wrote(4096, int64(i+1)*4096); n != 0 {
			t.Fatalf("write %d of 4096 bytes started %d", i, n)
		}
	}
	const run = 1 << 20
	started := int64(0) // all before it has been started
	for end := int64(run); end <= 10*behind; end += run {
		off, n := w.wrote(run, end)
		if n == 0 {
			continue
		}
		if off > started || off+n != end {
			t.Fatalf("run that ends at %d: started %d at %d, with all before %d started", end, n, off, started)
		}
		started = end
	}
	if started != 10*behind {
		t.Fatalf("started %d of %d", started, 10*behind)
	}
}
