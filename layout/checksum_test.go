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

// Every part of an address is in the seed: what lies at one place, or belonged to another owner,
// does not pass at another.
func TestSeeds(t *testing.T) {
	a, b := NewSeeds([16]byte{1}), NewSeeds([16]byte{2})
	seen := map[uint32]string{}
	for name, seed := range map[string]uint32{
		"block 1": a.Block(1), "block 2": a.Block(2), "block 1 of another volume": b.Block(1),
		"inode 1": a.Inode(1), "inode 2": a.Inode(2),
		"data": a.Data(1, 1, 1, 1), "data in block 2": a.Data(2, 1, 1, 1), "of inode 2": a.Data(1, 2, 1, 1),
		"of generation 2": a.Data(1, 1, 2, 1), "at 2": a.Data(1, 1, 1, 2),
		"log 1": a.Log(1), "log 2": a.Log(2), "head 0": a.Head(0), "head 1": a.Head(1),
	} {
		if other, twice := seen[seed]; twice {
			t.Errorf("%s has the seed of %s", name, other)
		}
		seen[seed] = name
	}
}

// A seed is the Sum of what it is of, byte for byte, in every byte of a word: the format says so.
func TestSeedIsSum(t *testing.T) {
	s := NewSeeds([16]byte{3})
	for i := range 64 {
		w := [4]uint64{1 << i, ^(uint64(1) << i), 0x0123456789abcdef << i, uint64(i)}
		p := []byte{seedData}
		for _, x := range w {
			p = le.AppendUint64(p, x)
		}
		if got, want := s.words(seedData, w[:]...), Sum(s.base, p); got != want {
			t.Fatalf("%#x: %#x, want %#x", w, got, want)
		}
	}
}
