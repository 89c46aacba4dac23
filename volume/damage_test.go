package volume

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"holdfast/disk"
	"holdfast/layout"
)

// What stands in the way of a write is an error of that write: what others have written and
// not yet synced is still committed, and the volume goes on.
func TestDamageIsTheWriters(t *testing.T) {
	const bs = 1024
	for name, c := range map[string]struct {
		damage func(t *testing.T, v *Volume, in *layout.Inode) uint64 // the block to damage
		write  func(v *Volume, ino Ino) error
	}{
		"extent index, whole blocks": {indexBlock, func(v *Volume, ino Ino) error { _, err := v.Write(ino, noise(3, 4*bs), 0); return err }},
		"extent index, appending":    {lastIndexBlock, func(v *Volume, ino Ino) error { _, _, err := v.appendTo(ino, noise(3, 4*bs)); return err }},
		"extent index, truncating": {indexBlock, func(v *Volume, ino Ino) error {
			size := uint64(100)
			_, err := v.Setattr(ino, SetAttr{Size: &size})
			return err
		}},
		"bitmap, whole blocks": {bitmapBlock, func(v *Volume, ino Ino) error { _, err := v.Write(ino, noise(3, 4*bs), 0); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			mem := disk.NewMemory(24 << 20)
			if err := Format(mem, testFormat(bs)); err != nil {
				t.Fatal(err)
			}
			v := must[*Volume](t)(Open(mem, Options{Clock: testClock}))
			bad := scattered(t, v, "bad", 200)
			other := mkfile(t, v, "other")
			v = reopen(t, v, mem)
			o := &op{v: v}
			in := must[layout.Inode](t)(o.inode(bad))
			block := c.damage(t, v, &in)
			data := noise(9, 5000)
			if _, err := v.Write(other, data, 0); err != nil {
				t.Fatal(err)
			}
			mem.Bytes()[int64(block)*bs+300] ^= 1
			before := must[Attr](t)(v.Getattr(bad))
			if err := c.write(v, bad); !errors.Is(err, layout.ErrCorrupt) || !errors.Is(err, syscall.EIO) {
				t.Errorf("a write in the way of which there is damage: %v", err)
			}
			if a := must[Attr](t)(v.Getattr(bad)); a != before {
				t.Errorf("a failed write changed the file: %+v, before %+v", a, before)
			}
			if err := v.Sync(); err != nil {
				t.Fatalf("the others' sync: %v", err)
			}
			wantContent(t, v, other, data)
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			v = must[*Volume](t)(Open(mem, Options{Clock: testClock}))
			wantContent(t, v, other, data)
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// indexBlock is the first index block of a file.
func indexBlock(t *testing.T, v *Volume, in *layout.Inode) uint64 {
	t.Helper()
	if in.Depth == 0 {
		t.Fatal("the file has no extent index")
	}
	return layout.GetExtent(in.Inline[:], 0).Block
}

// lastIndexBlock is the one that maps a file's end.
func lastIndexBlock(t *testing.T, v *Volume, in *layout.Inode) uint64 {
	t.Helper()
	if in.Depth != 1 {
		t.Fatalf("the extent index has depth %d", in.Depth)
	}
	return layout.GetExtent(in.Inline[:], int(in.Extents)-1).Block
}

// bitmapBlock is the bitmap that covers a file's first block.
func bitmapBlock(t *testing.T, v *Volume, _ *layout.Inode) uint64 {
	t.Helper()
	return v.g.BitmapBlock(0)
}

// What was accepted before Close began is there after it; what comes later is refused.
func TestCloseRace(t *testing.T) {
	for round := range 20 {
		mem := disk.NewMemory(8 << 20)
		if err := Format(mem, testFormat(1024)); err != nil {
			t.Fatal(err)
		}
		v := must[*Volume](t)(Open(mem, Options{Clock: testClock}))
		var wg sync.WaitGroup
		begun := make(chan struct{})
		var once sync.Once
		var made [4]int
		for w := range made {
			wg.Go(func() {
				for i := 0; ; i++ {
					if _, err := v.Create(Root, fmt.Sprintf("%d-%d", w, i), NewNode{Mode: layout.ModeFile}); err != nil {
						if !errors.Is(err, ErrClosed) && !errors.Is(err, ErrNoSpace) {
							t.Errorf("create: %v", err)
						}
						return
					}
					if made[w]++; i == round {
						once.Do(func() { close(begun) })
					}
				}
			})
		}
		<-begun
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if err := v.Close(); !errors.Is(err, ErrClosed) {
			t.Fatalf("a second close: %v", err)
		}
		wg.Wait()
		v = must[*Volume](t)(Open(mem, Options{Clock: testClock}))
		for w, n := range made {
			for i := range n {
				if _, err := v.Lookup(Root, fmt.Sprintf("%d-%d", w, i)); err != nil {
					t.Fatalf("round %d: worker %d made %d files, %d is lost: %v", round, w, n, i, err)
				}
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A damaged inode is an error of what it stands for: its neighbours in the block are read and
// changed, and it stays as damaged as it was.
func TestDamagedInode(t *testing.T) {
	for _, cache := range []int64{0, 1 << 20} {
		mem := disk.NewMemory(8 << 20)
		if err := Format(mem, testFormat(4096)); err != nil {
			t.Fatal(err)
		}
		v := must[*Volume](t)(Open(mem, Options{Clock: testClock}))
		bad, good := mkfile(t, v, "bad"), mkfile(t, v, "good")
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		block, off := v.g.InodePlace(uint64(bad))
		at := int64(block)*4096 + int64(off)
		mem.Bytes()[at+8] ^= 1
		was := bytes.Clone(mem.Bytes()[at : at+layout.InodeSize])
		v = must[*Volume](t)(Open(mem, Options{Clock: testClock, CacheBytes: cache}))
		mode := uint16(0o600)
		if _, err := v.Setattr(good, SetAttr{Mode: &mode}); err != nil {
			t.Errorf("a neighbour: %v", err)
		}
		more := mkfile(t, v, "more")
		if _, err := v.Write(more, noise(1, 5000), 0); err != nil {
			t.Error(err)
		}
		if _, err := v.Getattr(bad); !errors.Is(err, layout.ErrCorrupt) {
			t.Errorf("the damaged one: %v", err)
		}
		if _, err := v.Setattr(bad, SetAttr{Mode: &mode}); !errors.Is(err, syscall.EIO) {
			t.Errorf("changing the damaged one: %v", err)
		}
		v = reopen(t, v, mem)
		if a, err := v.Getattr(good); err != nil || a.Mode&layout.ModePerm != mode {
			t.Errorf("the neighbour: %o, %v", a.Mode, err)
		}
		if _, err := v.Getattr(bad); !errors.Is(err, layout.ErrCorrupt) {
			t.Errorf("the damaged one, later: %v", err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(was, mem.Bytes()[at:at+layout.InodeSize]) {
			t.Error("what was left of the damaged inode has been changed")
		}
	}
}

// Where all that is free lies in a damaged group, a write says so, and names what is damaged.
func TestNothingToTake(t *testing.T) {
	for name, block := range map[string]func(v *Volume) uint64{
		"bitmap":         func(v *Volume) uint64 { return v.g.BitmapBlock(0) },
		"checksum table": func(v *Volume) uint64 { return v.g.SumBlock(0, 0) },
	} {
		mem := disk.NewMemory(2 << 20)
		if err := Format(mem, testFormat(4096)); err != nil {
			t.Fatal(err)
		}
		v := must[*Volume](t)(Open(mem, Options{Clock: testClock}))
		f := mkfile(t, v, "f")
		v = reopen(t, v, mem)
		mem.Bytes()[int64(block(v))*4096+100] ^= 1
		if _, err := v.Write(f, noise(1, 100), 0); !errors.Is(err, layout.ErrCorrupt) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		mode := uint16(0o600)
		if _, err := v.Setattr(f, SetAttr{Mode: &mode}); err != nil {
			t.Errorf("%s: what needs no block: %v", name, err)
		}
		if err := v.Sync(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := v.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
