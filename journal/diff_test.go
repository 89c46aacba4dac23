package journal

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"holdfast/layout"
)

// What diff finds, applied to the base, is the new version; and the insertion of an entry into
// a sorted block costs a few bytes, not half the block.
func TestDiff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := make([]byte, 1024)
		for i := range rapid.IntRange(0, 1024).Draw(t, "filled") {
			base[i] = byte(rapid.IntRange(0, 3).Draw(t, "byte"))
		}
		p := bytes.Clone(base)
		for range rapid.IntRange(0, 6).Draw(t, "changes") {
			at := rapid.IntRange(0, 1000).Draw(t, "at")
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				p[at]++
			case 1:
				copy(p[min(at+16, 1024):], bytes.Clone(p[at:]))
			case 2:
				copy(p[at:], bytes.Clone(p[min(at+24, 1024):]))
			}
		}
		for _, b := range [][]byte{base, nil} {
			got := bytes.Clone(b)
			if b == nil {
				got = make([]byte, 1024)
			}
			ranges := diff(nil, b, p)
			rec := layout.AppendCommit(layout.AppendDelta(nil, 9, b == nil, ranges), 1)
			r, _, err := layout.NextRecord(rec, 0, 1024)
			if err != nil {
				t.Fatal(err)
			}
			if layout.Apply(got, r.Ranges); !bytes.Equal(got, p) {
				t.Fatalf("%v makes\n%x, want\n%x", ranges, got, p)
			}
		}
	})
	base := make([]byte, 4096)
	for i := range 4000 {
		base[i] = byte(i*7 + i/16*3)
	}
	p := bytes.Clone(base)
	copy(p[1016:], base[1000:4000])
	copy(p[1000:], "a new entry of 1")
	if n := layout.DeltaSize(diff(nil, base, p)); n > 100 {
		t.Fatalf("an insertion costs %d bytes of log", n)
	}
}
