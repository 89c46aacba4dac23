package volume

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/layout"
)

// newOrdered is a volume without a journal.
func newOrdered(t testing.TB, size int64, blockSize int) (*Volume, *disk.Memory) {
	t.Helper()
	f := testFormat(blockSize)
	f.NoJournal = true
	return newVolume(t, size, f, Options{})
}

// expected wants of an image nothing but what a crash may leave on one without a journal.
func expected(t testing.TB, what string, dev disk.Device) {
	t.Helper()
	r, err := fsck.Check(dev, fsck.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if !r.Expected(f.Code) {
			t.Fatalf("%s: %v", what, f)
		}
	}
}

// What no order of steps makes safe is refused, with what it is, and changes nothing.
func TestOrderedRefusals(t *testing.T) {
	v, _ := newOrdered(t, 1<<20, 1024)
	a, b := mkfile(t, v, "a"), mkfile(t, v, "b")
	for what, fn := range map[string]func() error{
		"an exchange or whiteout":  func() error { return v.Rename(Root, "a", Root, "b", RenameExchange) },
		"an exchange or whiteout ": func() error { return v.Rename(Root, "a", Root, "c", RenameWhiteout) },
		"a file without a name":    func() error { _, err := v.CreateTemp(Root, NewNode{Mode: layout.ModeFile}, 0); return err },
		"allocating or punching":   func() error { return v.Fallocate(a, 0, 0, 5000) },
		"allocating or punching ":  func() error { return v.Fallocate(b, FallocPunchHole, 0, 5000) },
	} {
		err := fn()
		if want := strings.TrimSpace(what) + " is not possible without a journal: operation not supported"; !errors.Is(err, ErrNotSupported) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for name, ino := range map[string]Ino{"a": a, "b": b} {
		if x, err := v.Lookup(Root, name); err != nil || x.Ino != ino {
			t.Errorf("%s is inode %d, %v", name, x.Ino, err)
		}
	}
}

// Files of many extents and attributes of many blocks: what points to them goes from one index
// or chain to another, and what they leave is free again.
func TestOrderedIndex(t *testing.T) {
	v, mem := newOrdered(t, 4<<20, 1024)
	empty := must[Statfs](t)(v.Statfs())
	ino := mkfile(t, v, "f")
	want := make([]byte, 700<<10)
	for i := range 350 { // every other block
		p := noise(uint64(i), 1024)
		copy(want[i*2048:], p)
		must[int](t)(v.Write(ino, p, int64(i)*2048))
	}
	value := noise(1, 5000)
	for i := range 3 {
		value[0] = byte(i)
		if err := v.Setxattr(ino, "user.x", value, 0); err != nil {
			t.Fatal(err)
		}
	}
	v = reopen(t, v, mem)
	wantContent(t, v, ino, want[:349*2048+1024])
	if got := must[[]byte](t)(v.Getxattr(ino, "user.x")); !bytes.Equal(got, value) {
		t.Error("the attribute differs")
	}
	size := uint64(100<<10 + 7)
	must[Attr](t)(v.Setattr(ino, SetAttr{Size: &size}))
	wantContent(t, v, ino, want[:size])
	checkDevice(t, mem)
	if err := v.Unlink(Root, "f"); err != nil {
		t.Fatal(err)
	}
	if s := must[Statfs](t)(v.Statfs()); s.Free < empty.Free-1 { // the directory keeps no leaf
		t.Errorf("%d blocks are free, at first %d", s.Free, empty.Free)
	}
}

// What is held without a name is destroyed by Close: there is no list on which it could wait.
func TestOrderedHeld(t *testing.T) {
	v, mem := newOrdered(t, 1<<20, 1024)
	ino := mkfile(t, v, "f")
	must[int](t)(v.Write(ino, noise(1, 3000), 0))
	if err := errors.Join(v.Hold(ino), v.Unlink(Root, "f")); err != nil {
		t.Fatal(err)
	}
	wantContent(t, v, ino, noise(1, 3000))
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	judge(t, "closed", mem)
}

// After power loss at any moment, whatever subset of the blocks in flight arrived, fsck finds
// only what is expected; each file has what it had before or after the operation that was
// running; and the volume can be used. Blocks are whole.
func TestOrderedPowerLoss(t *testing.T) {
	seeds, losses := uint64(2), 120
	if testing.Short() {
		seeds, losses = 1, 30
	}
	const steps = 120
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f := testFormat(1024)
			f.NoJournal, f.InodesPerGroup = true, 16
			mem := disk.NewMemory(9 << 20) // of two groups
			if err := Format(mem, f); err != nil {
				t.Fatal(err)
			}
			rec := disk.NewRecorder(mem, 512)
			v := must[*Volume](t)(Open(rec, Options{Clock: testClock}))
			r := rand.New(rand.NewPCG(seed, 2))
			m := model{}
			states := []model{{}}
			for i := range steps {
				rec.Mark("started " + strconv.Itoa(i+1))
				_, err := step(v, m, r, 300_000)
				if err != nil && !errors.Is(err, ErrNoSpace) {
					t.Fatalf("step %d: %v", i, err)
				}
				if err != nil {
					partial(t, v, m)
				}
				states = append(states, maps.Clone(m))
			}
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			judge(t, "closed", mem)

			tr := rec.Trace()
			image, flights := slices.Clone(tr.Base), []disk.Event(nil)
			at := 0
			every := len(tr.Events)/losses + 1
			for i, e := range tr.Events {
				if i%every == 0 {
					lost := slices.Clone(image)
					for _, w := range flights {
						if r.IntN(2) == 0 {
							copy(lost[w.Off:], w.Data)
						}
					}
					what := fmt.Sprintf("seed %d, event %d, operation %d", seed, i, at)
					afterLoss(t, what, disk.MemoryFrom(lost), states[max(0, at-1)], states[at], r)
				}
				switch e.Kind {
				case disk.EventMark:
					at++
				case disk.EventFlush:
					for _, w := range flights {
						copy(image[w.Off:], w.Data)
					}
					flights = flights[:0]
				case disk.EventWrite:
					if len(e.Data) != 1024 {
						t.Fatalf("event %d: a write of %d bytes", i, len(e.Data))
					}
					flights = append(flights, e)
				}
			}
		})
	}
}

func afterLoss(t *testing.T, what string, dev *disk.Memory, before, after model, r *rand.Rand) {
	t.Helper()
	expected(t, what, dev)
	v, err := Open(dev, Options{Clock: testClock})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	got, err := load(v)
	if err != nil || !got.equal(before) && !got.equal(after) {
		t.Fatalf("%s: the tree is neither that before nor that after: %v", what, err)
	}
	for range 15 {
		if _, err := step(v, got, r, 20_000); err != nil && !errors.Is(err, ErrNoSpace) {
			t.Fatalf("%s: used afterwards: %v", what, err)
		} else if err != nil {
			partial(t, v, got)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatalf("%s: close: %v", what, err)
	}
	expected(t, what+", used", dev)
	v = must[*Volume](t)(Open(dev, Options{Clock: testClock, ReadOnly: true}))
	if again, err := load(v); err != nil || !again.equal(got) {
		t.Fatalf("%s: used and opened again, it differs: %v", what, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// Operations from many goroutines take effect one after another, readers beside them.
func TestOrderedConcurrent(t *testing.T) {
	v, _ := newOrdered(t, 4<<20, 1024)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			dir := must[Attr](t)(v.Create(Root, fmt.Sprint(g), NewNode{Mode: layout.ModeDir | 0o755})).Ino
			for i := range 30 {
				name := fmt.Sprint(i % 7)
				a, err := v.Create(dir, name, NewNode{Mode: layout.ModeFile | 0o644})
				if err == nil {
					_, err = v.Write(a.Ino, noise(uint64(g*100+i), 3000), 0)
				} else {
					err = v.Unlink(dir, name)
				}
				if err == nil && i%10 == 0 {
					err = v.Sync()
				}
				if err == nil {
					err = v.ReadDir(Root, 0, func(DirEntry) bool { return true })
				}
				if err != nil {
					t.Errorf("goroutine %d, step %d: %v", g, i, err)
				}
			}
		})
	}
	wg.Wait()
}
