package volume

import (
	"bytes"
	"runtime"
	"testing"

	"holdfast/disk"
)

// TestBackgroundCommit: with Background a commit begins by itself once an eighth of DirtyBytes waits,
// and not before; what writers do meanwhile is kept, also in pages that have been used before.
func TestBackgroundCommit(t *testing.T) {
	const limit = 8 << 20
	mem := disk.NewMemory(96 << 20)
	if err := Format(mem, testFormat(4096)); err != nil {
		t.Fatal(err)
	}
	count := disk.NewCounter(mem)
	v, err := Open(count, Options{Clock: testClock, CacheBytes: 1 << 20, DirtyBytes: limit, Background: true})
	if err != nil {
		t.Fatal(err)
	}
	a, err := v.Create(Root, "f", NewNode{Mode: 0o100644})
	if err != nil {
		t.Fatal(err)
	}
	count.Reset()
	want := make([]byte, 3*limit)
	for i := range want {
		want[i] = byte(i >> 12 * 7)
	}
	const step = 100 << 10
	for off := 0; off < len(want); off += step {
		part := want[off:min(off+step, len(want))]
		if _, err := v.Write(a.Ino, part, int64(off)); err != nil {
			t.Fatal(err)
		}
		if n := count.Counts().Flushes; off+step < limit/8 && n != 0 {
			t.Fatalf("%d flushes with %d bytes written", n, off+step)
		}
		if off/step == limit/8/step+1 {
			for count.Counts().Flushes == 0 { // nobody asks for one
				runtime.Gosched()
			}
		}
	}
	check := func(when string) {
		t.Helper()
		got := make([]byte, len(want))
		if n, err := v.Read(a.Ino, got, 0); err != nil || n != len(got) || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes, %v, other content", when, n, err)
		}
	}
	check("written")
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if v, err = Open(mem, Options{ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	check("opened again")
}
