package volume

import (
	"math/rand/v2"
	"testing"
)

// TestGroupSet holds next to a walk of one group after the other.
func TestGroupSet(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := 1 + rnd.Uint64N(40)
		var s groupSet
		in := map[uint64]bool{}
		for range rnd.IntN(80) {
			g, on := rnd.Uint64N(n), rnd.IntN(3) > 0
			s.set(g, on)
			in[g] = on
		}
		start, i := rnd.Uint64N(n), rnd.Uint64N(n+3)
		want := i
		for want < n && in[(start+want)%n] {
			want++
		}
		if got := s.next(start, i, n); got != want {
			t.Fatalf("start %d, step %d of %d: %d, want %d, in %v", start, i, n, got, want, in)
		}
	}
}
