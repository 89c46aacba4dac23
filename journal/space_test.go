package journal

import (
	"errors"
	"testing"

	"holdfast/layout"
)

// headKeeper fails the test when a sector of the log is written over one that the older of the
// two headers on the device still counts as part of it: that header may have to be used.
type headKeeper struct {
	*medium
	t       *testing.T
	g       *layout.Geometry
	sectors uint64
	closest uint64 // how near a write has come to what must be kept, in sectors
}

func (k *headKeeper) WriteAt(p []byte, off int64) (int, error) {
	size := int64(k.g.SectorSize)
	for at := int64(0); at+size <= int64(len(p)); at += size {
		in := off + at - runOffset(k.g, 0)
		if in < 0 || in >= int64(k.sectors)*size {
			continue
		}
		h, ok := layout.PeekLogSector(p[at : at+size])
		if !ok {
			k.t.Fatalf("a write into the log at %d is no log sector", off+at)
		}
		tail := h.Pos
		for copy := range 2 {
			block := k.g.LogHead(copy)
			head, err := layout.DecodeLogHead(k.Bytes()[int64(block)*int64(k.g.BlockSize):], copy, block, testSeeds)
			if err != nil {
				k.t.Fatal(err)
			}
			tail = min(tail, head.Tail)
		}
		if h.Pos >= tail+k.sectors {
			k.t.Fatalf("position %d is written in a run of %d sectors, and the older header's tail is %d", h.Pos, k.sectors, tail)
		}
		k.closest = min(k.closest, tail+k.sectors-h.Pos)
	}
	return k.medium.WriteAt(p, off)
}

// Log space is used again up to the tail of the older header, also by the largest transactions.
func TestOlderTail(t *testing.T) {
	for _, largest := range []bool{true, false} {
		g := geometry(t, 512, 300, 40)
		m, s := mkfs(t, g)
		n, err := runSectors(g)
		if err != nil {
			t.Fatal(err)
		}
		rng := random(seed(t))
		k := &headKeeper{medium: m, t: t, g: g, sectors: n, closest: n}
		c := open(t, k, g, s, rng)
		for i := range 300 {
			revoked := (c.log.MaxTx() - layout.CommitSize) / 12
			if !largest {
				revoked = 1 + rng.IntN(revoked)
			}
			for {
				tx := &Tx{Revoked: make([]uint64, revoked)}
				for j := range tx.Revoked {
					tx.Revoked[j] = g.Blocks - 1 - uint64(j)
				}
				err := c.log.Commit(tx)
				if err == nil {
					break
				}
				if !errors.Is(err, ErrTooLarge) {
					t.Fatalf("transaction %d: %v", i, err)
				}
				revoked--
			}
		}
		if err := c.log.Close(); err != nil {
			t.Fatal(err)
		}
		if largest && k.closest > n/4 {
			t.Errorf("no write came nearer than %d of %d sectors: the test does not reach the rule", k.closest, n)
		}
	}
}
