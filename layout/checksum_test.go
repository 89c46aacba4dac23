package layout

import "testing"

// The residue rule is what makes one checked read serve every self-checked structure.
func TestResidue(t *testing.T) {
	p := make([]byte, 100)
	for i := range p {
		p[i] = byte(i * 7)
	}
	for _, seed := range []uint32{0, 1, 0xdeadbeef} {
		Seal(p, seed)
		if !Sealed(p, seed) || Sum(seed, p) != Residue {
			t.Fatalf("seed %#x: %#x", seed, Sum(seed, p))
		}
		p[3] ^= 1
		if Sealed(p, seed) {
			t.Fatal("a changed byte passes")
		}
		p[3] ^= 1
	}
}
