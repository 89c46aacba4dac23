package volume

import (
	"fmt"
	"testing"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// A block that a transaction freed holds what the state before it needs, and that is the state
// to which recovery goes back where the last transaction before attestation is lost. So no
// transaction writes into what the one just before it freed.
func TestReuseWaits(t *testing.T) {
	mem := disk.NewMemory(1 << 20)
	if err := Format(mem, testFormat(1024)); err != nil {
		t.Fatal(err)
	}
	v := must[*Volume](t)(Open(mem, Options{Clock: testClock}))
	f := mkfile(t, v, "f")
	block := func(ino Ino) uint64 {
		t.Helper()
		o := &op{v: v}
		in := must[layout.Inode](t)(o.inode(ino))
		e, found, err := extents.Lookup(o, &v.g, uint64(ino), &in, 0)
		if err != nil || !found {
			t.Fatal("no block: ", err)
		}
		return e.Block
	}
	put := func(ino Ino, i int) uint64 {
		t.Helper()
		if _, err := v.Write(ino, noise(uint64(i), 1024), 0); err != nil {
			t.Fatal(err)
		}
		if err := v.Sync(); err != nil {
			t.Fatal(err)
		}
		return block(ino)
	}
	before, freed, reused := put(f, 0), uint64(0), 0
	seen := map[uint64]bool{}
	for i := range 20 {
		if i%2 == 1 { // another file, which is offered the place as well
			if b := put(mkfile(t, v, fmt.Sprint(i)), i); b == freed {
				t.Fatalf("round %d: block %d is written by the transaction behind the one that freed it", i, b)
			}
			freed = 0
			continue
		}
		now := put(f, i)
		if now == freed || now == before {
			t.Fatalf("round %d: block %d is written again", i, now)
		}
		if seen[now] {
			reused++
		}
		before, freed = now, before
		seen[now], seen[freed] = true, true
	}
	if reused == 0 {
		t.Error("no block was ever used again: the test does not reach the rule")
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}
