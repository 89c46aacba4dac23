package layout

import (
	"math/rand/v2"
	"testing"
)

// TestReseed holds a checksum that was moved to another seed to the one computed from it.
func TestReseed(t *testing.T) {
	const seed = 11
	r := rand.New(rand.NewPCG(seed, 0))
	for _, n := range []int{1, 7, 512, 1024, 4096, 65536} {
		to, p := ReseedOf(n), make([]byte, n)
		for range 100 {
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			from := r.Uint32()
			if got, want := to.Sum(from, Sum(0, p)), Sum(from, p); got != want {
				t.Fatalf("%d bytes, seed %#x: %#x, want %#x (random seed %d)", n, from, got, want, seed)
			}
		}
	}
}
