package volume_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// fillMixed makes a tree in which every purpose of a block occurs.
func (im *image) fillMixed(names int) {
	im.tb.Helper()
	im.add("d/", "d/e/", "small", "d/link -> "+strings.Repeat("x", 300), "pipe|")
	for i := range names { // a directory with an index
		im.add(fmt.Sprintf("d/e/%s-%d", strings.Repeat("n", 60), i))
	}
	f, err := im.Tree().Create("sparse") // a map with an index
	if err != nil {
		im.tb.Fatal(err)
	}
	for i := range 40 {
		if _, err := f.WriteAt([]byte("island"), int64(i)*40_000); err != nil {
			im.tb.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		im.tb.Fatal(err)
	}
	if err := im.Setxattr(im.ino("small"), "user.long", []byte(strings.Repeat("a", 3000)), 0); err != nil {
		im.tb.Fatal(err)
	}
	if err := im.Tree().WriteFile("big", []byte(strings.Repeat("0123456789", 70_000)), 0o600); err != nil {
		im.tb.Fatal(err)
	}
}

func scrub(t testing.TB, im *image) *volume.ScrubReport {
	t.Helper()
	r, err := im.Scrub(context.Background(), volume.ScrubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestUsesAreTheBitmap holds the walk to an independent witness: the blocks that it names are
// those that the bitmaps say are used, each once.
func TestUsesAreTheBitmap(t *testing.T) {
	for _, bs := range []int{1024, 4096} {
		im := newImage(t, bs, 16<<20)
		im.fillMixed(150)
		im.reopen()
		s, err := volume.ReadSuperblock(im.dev)
		if err != nil {
			t.Fatal(err)
		}
		g, err := layout.NewGeometry(s)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[uint64]volume.Use{}
		purposes := map[volume.Purpose]bool{}
		err = im.Uses(func(u volume.Use) bool {
			purposes[u.Purpose] = true
			for i := range u.Count {
				if other, ok := seen[u.Block+i]; ok {
					t.Errorf("block %d: %v and %v", u.Block+i, other, u)
				}
				seen[u.Block+i] = u
			}
			return true
		}, func(u volume.Use, err error) { t.Errorf("%v: %v", u, err) })
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range volume.Purposes {
			if !purposes[p] && p != volume.PurposeLog {
				t.Errorf("no block for %s: the test is too small", p)
			}
		}
		p := make([]byte, bs)
		for group := range g.Groups {
			if err := disk.ReadFull(im.dev, p, int64(g.BitmapBlock(group))*int64(bs)); err != nil {
				t.Fatal(err)
			}
			for i := g.GroupTables(group); i < g.GroupLen(group); i++ {
				no := g.GroupStart(group) + i
				if u, ok := seen[no]; ok != layout.Bit(layout.BlockBody(p), i) {
					t.Errorf("block size %d, block %d: used %v, but %v", bs, no, !ok, u)
				}
			}
		}
	}
}

// TestScrubFindsEveryBlock damages one block after the other: the scrub names that block, and
// nothing that is not there, whose it is, and changes nothing that it cannot heal.
func TestScrubFindsEveryBlock(t *testing.T) {
	im := makeImage(t, 1024, 4<<20)
	im.fillMixed(60)
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	whole := slices.Clone(im.dev.Bytes())
	im.open()
	uses := map[uint64]volume.Use{}
	if err := im.Uses(func(u volume.Use) bool {
		for i := range u.Count {
			uses[u.Block+i] = u
		}
		return true
	}, nil); err != nil {
		t.Fatal(err)
	}
	if r := scrub(t, im); r.Damaged != 0 || r.Blocks < uint64(len(uses)) {
		t.Fatalf("%d damaged of %d, %d blocks in use: %v", r.Damaged, r.Blocks, len(uses), r.Damage)
	}
	_ = im.Close()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for i, no := range slices.Sorted(maps.Keys(uses)) {
		u := uses[no]
		if testing.Short() && i%9 != 0 {
			continue
		}
		dev := disk.MemoryFrom(slices.Clone(whole))
		limit := 1024
		switch u.Purpose {
		case volume.PurposeSuperblock:
			limit = layout.SuperblockSize
		case volume.PurposeLogHead:
			limit = layout.LogHeadSize
		}
		at := int64(no)*1024 + random.Int64N(int64(limit))
		dev.Bytes()[at] ^= 0x10
		v, err := volume.Open(dev, volume.Options{Clock: time.Now})
		if err != nil {
			if u.Purpose != volume.PurposeTotals && (u.Purpose != volume.PurposeInodes || !errors.Is(err, layout.ErrCorrupt)) {
				t.Errorf("block %d, %v: open: %v", no, u, err)
			}
			continue
		}
		r, err := v.Scrub(context.Background(), volume.ScrubOptions{Workers: 2})
		if err != nil {
			t.Fatalf("block %d, %v: %v", no, u, err)
		}
		first := slices.IndexFunc(r.Damage, func(d volume.Damage) bool { return d.Use.Block == no && d.Use.Purpose == u.Purpose })
		if first < 0 && u.Purpose == volume.PurposeLogHead && v.Recovery().Replayed > 0 {
			// The other header wanted the last transactions replayed, and both are new since then.
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if first < 0 {
			t.Errorf("block %d, %v: byte %d changed, not found: %v", no, u, at, r.Damage)
			continue
		}
		d := r.Damage[first]
		heals := u.Purpose == volume.PurposeSuperblock || u.Purpose == volume.PurposeLogHead
		if d.Healed != heals {
			t.Errorf("block %d, %v: healed %v", no, u, d.Healed)
		}
		if u.Purpose != volume.PurposeSums && len(r.Damage) != 1 {
			t.Errorf("block %d, %v: %d places of damage: %v", no, u, len(r.Damage), r.Damage)
		}
		if u.Purpose != volume.PurposeInodes && d.Use.Ino != u.Ino {
			t.Errorf("block %d, %v: said to be of inode %d", no, u, d.Use.Ino)
		}
		if u.Ino > 1 && d.Path == "" && u.Purpose == volume.PurposeData {
			t.Errorf("block %d, %v: no path", no, u)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if heals {
			v, err := volume.Open(dev, volume.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r, err := v.Scrub(context.Background(), volume.ScrubOptions{}); err != nil || r.Damaged > 0 {
				t.Errorf("block %d, %v: scrubbed twice: %v, %v", no, u, err, r.Damage)
			}
			_ = v.Close()
		}
	}
}

// TestScrubHealsFromMemory damages what an open volume holds: tables that its cache has, the
// totals, and blocks that the log has not written home.
func TestScrubHealsFromMemory(t *testing.T) {
	im := newImage(t, 4096, 16<<20)
	im.opt.CacheBytes = 8 << 20
	im.reopen()
	im.fillMixed(20)
	if err := im.Sync(); err != nil {
		t.Fatal(err)
	}
	g := geometry(t, im.dev)
	smash := func(no uint64) { clear(im.dev.Bytes()[no*4096:][:4096]) }
	// Nothing is home yet: whatever is there now will be written over.
	for _, no := range []uint64{g.TotalsBlock(), g.BitmapBlock(0), g.InodeTable(0)} {
		smash(no)
	}
	if r := scrub(t, im); r.Damaged != 0 {
		t.Fatalf("the log had it all: %v", r.Damage)
	}
	// Now the log is empty, and the cache is what is left.
	if _, err := im.Tree().ReadFile("small"); err != nil {
		t.Fatal(err)
	}
	for healed, tries := false, 0; !healed; tries++ { // a cache may forget
		if tries > 20 {
			t.Fatal("the cache never had the bitmap")
		}
		im.add(fmt.Sprintf("again-%d", tries))
		if err := im.Sync(); err != nil {
			t.Fatal(err)
		}
		scrub(t, im)
		bitmap := im.dev.Bytes()[g.BitmapBlock(0)*4096:][:4096]
		was := bytes.Clone(bitmap)
		smash(g.BitmapBlock(0))
		smash(g.TotalsBlock())
		r := scrub(t, im)
		healed = r.Damaged == 2 && r.Healed == 2
		if !healed && slices.ContainsFunc(r.Damage, func(d volume.Damage) bool { return d.Use.Purpose == volume.PurposeTotals && !d.Healed }) {
			t.Fatalf("the totals are always in memory: %v", r.Damage)
		}
		if !healed {
			copy(bitmap, was)
		}
	}
	if r := scrub(t, im); r.Damaged != 0 {
		t.Fatalf("%v", r.Damage)
	}
}

func geometry(t testing.TB, dev disk.Device) layout.Geometry {
	t.Helper()
	s, err := volume.ReadSuperblock(dev)
	if err != nil {
		t.Fatal(err)
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestScrubBesideChanges scrubs again and again while others write, truncate, rename and remove:
// nothing of it is ever taken for damage.
func TestScrubBesideChanges(t *testing.T) {
	for _, cache := range []int64{0, 4 << 20} {
		im := newImage(t, 1024, 32<<20)
		im.opt.CacheBytes = cache
		im.reopen()
		im.fillMixed(100)
		stop := make(chan struct{})
		var group sync.WaitGroup
		for w := range 3 {
			group.Go(func() {
				random := rand.New(rand.NewPCG(uint64(w), 7))
				tr := im.Tree()
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					name := fmt.Sprintf("d/e/w%d-%d", w, random.IntN(20))
					var err error
					switch random.IntN(7) {
					case 0, 1:
						err = tr.WriteFile(name, make([]byte, random.IntN(200_000)), 0o600)
					case 2:
						err = tr.Truncate(name, random.Int64N(100_000))
					case 3:
						err = tr.Rename(name, name+"x")
					case 4:
						err = tr.Remove(name)
					case 5:
						err = im.Setxattr(im.ino("small"), fmt.Sprintf("user.%d", w), make([]byte, random.IntN(3000)), 0)
					case 6:
						err = im.Sync()
					}
					if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, volume.ErrNoSpace) {
						t.Errorf("%s: %v", name, err)
						return
					}
				}
			})
		}
		rounds := 30
		if testing.Short() {
			rounds = 5
		}
		for range rounds {
			r := scrub(t, im)
			for _, d := range r.Damage {
				t.Errorf("cache %d: %v %s: %s", cache, d.Use, d.Path, d.Why)
			}
		}
		close(stop)
		group.Wait()
	}
}

// TestScrubIsBounded: it ends when it is told to, and reads no faster than it may.
func TestScrubIsBounded(t *testing.T) {
	im := newImage(t, 4096, 16<<20)
	im.fillMixed(10)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := im.Scrub(ctx, volume.ScrubOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := im.Sync(); err != nil {
		t.Fatal(err)
	}
	var last, total int64
	start := time.Now()
	r, err := im.Scrub(context.Background(), volume.ScrubOptions{Rate: 10 << 20, Progress: func(n, of int64) {
		if n < last {
			t.Errorf("progress from %d to %d", last, n)
		}
		last, total = n, of
	}})
	if err != nil {
		t.Fatal(err)
	}
	if least := time.Duration(float64(r.Bytes) * 0.9 / (10 << 20) * float64(time.Second)); time.Since(start) < least {
		t.Errorf("%d bytes in %v", r.Bytes, time.Since(start))
	}
	if last != total || total == 0 {
		t.Errorf("progress ends at %d of %d", last, total)
	}
}
