package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/layout"
)

var testClock = func() time.Time { return time.Unix(1_700_000_000, 5) }

func testFormat(blockSize int) FormatOptions {
	return FormatOptions{UUID: [16]byte{1, 2, 3}, HashKey: [16]byte{4}, BlockSize: blockSize, Now: testClock()}
}

// newVolume makes a volume in memory and opens it. What is left of it in the end is held to
// the invariants.
func newVolume(t testing.TB, size int64, f FormatOptions, o Options) (*Volume, *disk.Memory) {
	t.Helper()
	mem := disk.NewMemory(size)
	if err := Format(mem, f); err != nil {
		t.Fatal(err)
	}
	checkDevice(t, mem)
	if o.Clock == nil {
		o.Clock = testClock
	}
	v, err := Open(mem, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Errorf("close: %v", err)
		}
		checkDevice(t, mem)
	})
	return v, mem
}

func must[T any](t testing.TB) func(T, error) T {
	return func(x T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

func mkfile(t testing.TB, v *Volume, name string) Ino {
	t.Helper()
	return must[Attr](t)(v.Create(Root, name, NewNode{Mode: layout.ModeFile | 0o644})).Ino
}

func wantContent(t testing.TB, v *Volume, ino Ino, want []byte) {
	t.Helper()
	p := make([]byte, len(want)+10)
	n, err := v.Read(ino, p, 0)
	if err != nil || !bytes.Equal(p[:n], want) {
		t.Fatalf("inode %d: %d bytes, %v; want %d bytes", ino, n, err, len(want))
	}
}

func reopen(t testing.TB, v *Volume, mem disk.Device) *Volume {
	t.Helper()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return must[*Volume](t)(Open(mem, Options{Clock: testClock}))
}

func noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 7))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// model is the state that a volume must have: files in the root directory.
type model map[string][]byte

func (m model) clone() model {
	c := model{}
	for k, p := range m {
		c[k] = p // contents are replaced, never changed
	}
	return c
}

func (m model) equal(o model) bool { return maps.EqualFunc(m, o, bytes.Equal) }

// load is the state of a volume.
func load(v *Volume) (model, error) {
	m := model{}
	var list []DirEntry
	err := v.ReadDir(Root, 0, func(e DirEntry) bool { list = append(list, e); return true })
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		a, err := v.Getattr(e.Ino)
		if err != nil {
			return nil, err
		}
		p := make([]byte, a.Size)
		if n, err := v.Read(e.Ino, p, 0); err != nil || n != len(p) {
			return nil, fmt.Errorf("%s: %d of %d bytes, %w", e.Name, n, len(p), err)
		}
		m[e.Name] = p
	}
	return m, nil
}

// step does one random operation on both. ENOSPC changes neither.
func step(v *Volume, m model, r *rand.Rand, largest int) (changed bool, err error) {
	name := fmt.Sprintf("file-%d", r.IntN(12))
	old, exists := m[name]
	if !exists {
		if _, err = v.Create(Root, name, NewNode{Mode: layout.ModeFile | 0o644}); err == nil {
			m[name] = nil
		}
		return err == nil, err
	}
	a, err := v.Lookup(Root, name)
	if err != nil {
		return false, err
	}
	p := slices.Clone(old)
	switch k := r.IntN(10); {
	case k < 6:
		off := r.IntN(len(p) + 1 + r.IntN(3000))
		data := noise(r.Uint64(), 1+r.IntN(1+r.IntN(largest)))
		if k == 5 {
			off = len(p)
		}
		if _, err = v.Write(a.Ino, data, int64(off)); err != nil {
			return false, err
		}
		if need := off + len(data); need > len(p) {
			p = append(p, make([]byte, need-len(p))...)
		}
		copy(p[off:], data)
	case k < 8:
		size := uint64(r.IntN(len(p) + 1))
		if k == 7 {
			size = uint64(r.IntN(len(p) + 20000))
		}
		if _, err = v.Setattr(a.Ino, SetAttr{Size: &size}); err != nil {
			return false, err
		}
		if int(size) <= len(p) {
			p = p[:size]
		} else {
			p = append(p, make([]byte, int(size)-len(p))...)
		}
	default:
		if err = v.Unlink(Root, name); err != nil {
			return false, err
		}
		delete(m, name)
		return true, nil
	}
	m[name] = p
	return true, nil
}

// Files hold what was written, whatever was done to them and however often the volume was
// committed and opened, in an image so small that it is often full.
func TestModel(t *testing.T) {
	for _, c := range []struct {
		block   int
		size    int64
		largest int
		cache   int64
		ordered bool
	}{
		{1024, 1 << 20, 60_000, 0, false}, {4096, 4 << 20, 200_000, 0, false}, {1024, 24 << 20, 3 << 20, 1 << 20, false}, {2048, 3 << 20, 100_000, 0, false},
		{1024, 800 << 10, 60_000, 0, true}, {1024, 24 << 20, 3 << 20, 1 << 20, true}, {4096, 3 << 20, 200_000, 0, true},
	} {
		t.Run(fmt.Sprintf("%d-%d-%v", c.block, c.size, c.ordered), func(t *testing.T) {
			seeds := uint64(6)
			if testing.Short() {
				seeds = 1
			}
			for seed := range seeds {
				f := testFormat(c.block)
				f.NoJournal = c.ordered
				v, mem := newVolume(t, c.size, f, Options{CacheBytes: c.cache})
				r := rand.New(rand.NewPCG(seed, 1))
				m := model{}
				full := 0
				for i := range 250 {
					if _, err := step(v, m, r, c.largest); errors.Is(err, ErrNoSpace) {
						full++
						partial(t, v, m)
					} else if err != nil {
						t.Fatalf("seed %d, step %d: %v", seed, i, err)
					}
					if r.IntN(20) == 0 {
						if err := v.Sync(); err != nil {
							t.Fatal(err)
						}
						if seed == 0 {
							checkDevice(t, mem)
						}
					}
					if r.IntN(80) == 0 {
						v = reopen(t, v, mem)
					}
					if t.Failed() {
						t.Fatalf("seed %d, step %d", seed, i)
					}
				}
				got, err := load(v)
				if err != nil || !got.equal(m) {
					t.Fatalf("seed %d: the volume differs from the model: %v", seed, err)
				}
				v = reopen(t, v, mem)
				if got, err = load(v); err != nil || !got.equal(m) {
					t.Fatalf("seed %d: the reopened volume differs from the model: %v", seed, err)
				}
				if err := v.Close(); err != nil {
					t.Fatal(err)
				}
				checkDevice(t, mem)
				t.Logf("seed %d: %d times full", seed, full)
			}
		})
	}
}

// partial brings the model up to a write of several operations of which only the first fitted.
func partial(t *testing.T, v *Volume, m model) {
	got, err := load(v)
	if err != nil {
		t.Fatal(err)
	}
	clear(m)
	maps.Copy(m, got)
}

// After a power cut at any write the volume has the state after some prefix of the operations,
// and at least all that was synced.
func TestPowerLoss(t *testing.T) {
	rounds := uint64(250)
	if testing.Short() {
		rounds = 40
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(seed, 2))
		sector := []int{512, 512, 4096}[r.IntN(3)]
		f := testFormat([]int{1024, 4096}[r.IntN(2)])
		if f.SectorSize = sector; sector > f.BlockSize {
			f.BlockSize = 4096
		}
		mem := disk.NewMemory(3 << 20)
		if err := Format(mem, f); err != nil {
			t.Fatal(err)
		}
		m := model{}
		for round := range 3 {
			dev := disk.NewFaulty(mem, sector, disk.FaultOptions{Seed: seed*10 + uint64(round), Rates: disk.FaultRates{Crash: 0.01, SoftRead: 0.01}})
			states := []model{m.clone()}
			synced := 0
			v, err := Open(dev, Options{Clock: testClock, DirtyBytes: 1 << 20})
			for i := 0; err == nil && i < 120; i++ {
				var changed bool
				if changed, err = step(v, m, r, 30_000); changed {
					states = append(states, m.clone())
				}
				if errors.Is(err, ErrNoSpace) {
					err = nil
				}
				if err == nil && r.IntN(6) == 0 {
					if err = v.Sync(); err == nil {
						synced = len(states) - 1
					}
				}
			}
			if err != nil && !dev.Crashed() {
				t.Fatalf("seed %d: %v", seed, err)
			}
			// An operation that was interrupted may have taken effect, so that any state of
			// the model may be one too short: it is a whole operation in any case.
			checkDevice(t, mem)
			if v, err = Open(mem, Options{Clock: testClock}); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			got, err := load(v)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			k := slices.IndexFunc(states[synced:], got.equal)
			if k < 0 {
				t.Fatalf("seed %d, round %d: after the crash the volume has none of the %d states since the last sync", seed, round, len(states)-synced)
			}
			m = got
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			checkDevice(t, mem)
			if t.Failed() {
				t.Fatalf("seed %d, round %d", seed, round)
			}
		}
	}
}

// A full volume can be overwritten, truncated and emptied, and then be filled again.
func TestFull(t *testing.T) {
	for _, block := range []int{1024, 4096} {
		v, mem := newVolume(t, 4<<20, testFormat(block), Options{})
		fill := func() (list []Ino) {
			for i := 0; ; i++ {
				name := fmt.Sprintf("fill-%d", i)
				a, err := v.Create(Root, name, NewNode{Mode: layout.ModeFile})
				if err == nil {
					_, err = v.Write(a.Ino, noise(uint64(i), 20_000), 0)
				}
				if errors.Is(err, ErrNoSpace) {
					return list
				}
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, a.Ino)
			}
		}
		list := fill()
		if len(list) < 100 {
			t.Fatalf("block size %d: full after %d files: %+v, log run %d", block, len(list), must[Statfs](t)(v.Statfs()), v.g.RunBlocks)
		}
		for round := range 30 { // every page of it, in place of the old one
			ino := list[round%len(list)]
			p := noise(uint64(round%len(list)), 20_000)
			for at := 0; at < len(p); at += 4096 {
				part := p[at:min(at+4096, len(p))]
				for i := range part {
					part[i] ^= byte(round)
				}
				if _, err := v.Write(ino, part, int64(at)); err != nil {
					t.Fatalf("block size %d: overwrite %d of a full volume: %v", block, round, err)
				}
			}
			wantContent(t, v, ino, p)
		}
		checkDevice(t, mem)
		size := uint64(100)
		for _, ino := range list[:10] {
			if _, err := v.Setattr(ino, SetAttr{Size: &size}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range list {
			if err := v.Unlink(Root, fmt.Sprintf("fill-%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		_ = v.Unlink(Root, fmt.Sprintf("fill-%d", len(list))) // created, but not written
		if again := fill(); len(again) < len(list)-2 {
			t.Fatalf("filled with %d files, then with %d", len(list), len(again))
		}
	}
}

// scattered makes a file of n extents: every other block of its range.
func scattered(t testing.TB, v *Volume, name string, n int) Ino {
	t.Helper()
	ino := mkfile(t, v, name)
	for i := range n {
		if _, err := v.Write(ino, []byte{byte(i) | 1}, int64(2*i*v.g.BlockSize)); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	return ino
}

// A truncation of many extents takes several transactions; the file may not grow before the
// last, and a crash between two of them finishes it.
func TestTruncateLarge(t *testing.T) {
	mem := disk.NewMemory(16 << 20)
	if err := Format(mem, testFormat(1024)); err != nil {
		t.Fatal(err)
	}
	v := must[*Volume](t)(Open(mem, Options{Clock: testClock}))
	ino := scattered(t, v, "a", 40*freeStep)
	free := must[Statfs](t)(v.Statfs()).Free
	size, grown := uint64(10), uint64(1<<20)
	if _, err := v.Setattr(ino, SetAttr{Size: &size}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Setattr(ino, SetAttr{Size: &grown}); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, grown)
	want[0] = 1
	wantContent(t, v, ino, want)
	if a := must[Attr](t)(v.Getattr(ino)); a.Blocks > 1 || len(v.orphans) != 0 || len(v.trims) != 0 {
		t.Fatalf("%d blocks left, orphans %v, trims %v", a.Blocks, v.orphans, v.trims)
	}
	if now := must[Statfs](t)(v.Statfs()).Free; now < free+40*freeStep-2 {
		t.Fatalf("%d free blocks, before %d", now, free)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	checkDevice(t, mem)

	// The steps one by one: what is on the device after each is a whole file.
	v = must[*Volume](t)(Open(mem, Options{Clock: testClock}))
	scattered(t, v, "b", 10*freeStep)
	ino = must[Attr](t)(v.Lookup(Root, "b")).Ino
	_, err := v.change(func(*op) int { return v.needSetattr() }, false, func(o *op) error {
		in, err := o.inode(ino)
		if err != nil {
			return err
		}
		return o.setSize(ino, &in, size)
	})
	if err != nil || len(v.trims) != 1 {
		t.Fatalf("trims %v, %v", v.trims, err)
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	crashed := disk.MemoryFrom(slices.Clone(mem.Bytes()))
	checkDevice(t, crashed)
	w := must[*Volume](t)(Open(crashed, Options{Clock: testClock}))
	if a := must[Attr](t)(w.Getattr(ino)); a.Blocks > 1 || a.Size != size || len(w.orphans) != 0 {
		t.Fatalf("after the crash: %d blocks, size %d, orphans %v", a.Blocks, a.Size, w.orphans)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	checkDevice(t, crashed)
	// Growing, by a write and by a size, waits for the trim.
	if _, err := v.Write(ino, []byte("x"), int64(grown)); err != nil {
		t.Fatal(err)
	}
	want = make([]byte, grown+1)
	want[0], want[grown] = 1, 'x'
	wantContent(t, v, ino, want)
	if err := v.Unlink(Root, "b"); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	checkDevice(t, mem)
}

// What has lost its last name lives while it is held; a crash lets go of it.
func TestOrphans(t *testing.T) {
	v, mem := newVolume(t, 4<<20, testFormat(1024), Options{})
	free := must[Statfs](t)(v.Statfs())
	var list []Ino
	for i := range 5 {
		ino := mkfile(t, v, fmt.Sprint(i))
		if _, err := v.Write(ino, noise(uint64(i), 30_000), 0); err != nil {
			t.Fatal(err)
		}
		if err := v.Hold(ino); err != nil {
			t.Fatal(err)
		}
		if err := v.Unlink(Root, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		list = append(list, ino)
	}
	for i, ino := range list {
		wantContent(t, v, ino, noise(uint64(i), 30_000))
	}
	if _, err := v.Write(list[1], []byte("more"), 40_000); err != nil {
		t.Fatal(err)
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	crashed := disk.MemoryFrom(slices.Clone(mem.Bytes()))
	for _, i := range []int{2, 4, 0} { // from the middle, the head and the end of the list
		if err := v.Release(list[i]); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Getattr(list[i]); !errors.Is(err, ErrStale) {
			t.Fatalf("released: %v", err)
		}
		if err := v.Sync(); err != nil {
			t.Fatal(err)
		}
		checkDevice(t, mem)
	}
	wantContent(t, v, list[3], noise(3, 30_000))
	for _, i := range []int{3, 1} {
		if err := v.Release(list[i]); err != nil {
			t.Fatal(err)
		}
	}
	if now := must[Statfs](t)(v.Statfs()); now.Free != free.Free || now.FreeInodes != free.FreeInodes {
		t.Fatalf("%+v, before %+v", now, free)
	}
	if err := v.Release(list[0]); !errors.Is(err, ErrInvalid) {
		t.Fatalf("released twice: %v", err)
	}

	w := must[*Volume](t)(Open(crashed, Options{Clock: testClock}))
	if now := must[Statfs](t)(w.Statfs()); now.Free != free.Free || now.FreeInodes != free.FreeInodes {
		t.Fatalf("after a crash %+v, before %+v", now, free)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	checkDevice(t, crashed)
}

// A damaged data block is an error of the file that it belongs to, and of nothing else.
func TestDamage(t *testing.T) {
	v, mem := newVolume(t, 4<<20, testFormat(4096), Options{})
	good, bad := mkfile(t, v, "good"), mkfile(t, v, "bad")
	data := noise(1, 20_000)
	for _, ino := range []Ino{good, bad} {
		if _, err := v.Write(ino, data, 0); err != nil {
			t.Fatal(err)
		}
	}
	v = reopen(t, v, mem)
	at := bytes.LastIndex(mem.Bytes(), data[4096:8192])
	mem.Bytes()[at+100] ^= 1
	p := make([]byte, len(data))
	n, err := v.Read(bad, p, 0)
	if n != 4096 || !errors.Is(err, layout.ErrCorrupt) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("damaged block: %d bytes, %v", n, err)
	}
	before := must[Attr](t)(v.Getattr(bad))
	if _, err := v.Write(bad, []byte("x"), 5000); !errors.Is(err, syscall.EIO) {
		t.Fatalf("partial overwrite of a damaged block: %v", err)
	}
	if a := must[Attr](t)(v.Getattr(bad)); a != before {
		t.Fatalf("a failed write changed the file: %+v, before %+v", a, before)
	}
	wantContent(t, v, good, data)
	if _, err := v.Write(bad, data[4096:8192], 4096); err != nil { // all of it: the damage is gone
		t.Fatal(err)
	}
	wantContent(t, v, bad, data)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	checkDevice(t, mem)
}

// After a failed write or flush nothing is accepted any more, until the volume is opened again.
func TestStopped(t *testing.T) {
	for _, rule := range []string{"flush 3: error", "write 5: error", "flush 5: error"} {
		mem := disk.NewMemory(4 << 20)
		if err := Format(mem, testFormat(1024)); err != nil {
			t.Fatal(err)
		}
		rules, err := disk.ParseFaults(rule)
		if err != nil {
			t.Fatal(err)
		}
		v := must[*Volume](t)(Open(disk.NewFaulty(mem, 512, disk.FaultOptions{Rules: rules}), Options{Clock: testClock}))
		var failed error
		last := ""
		for i := 0; failed == nil && i < 20; i++ {
			last = fmt.Sprint(i)
			if _, err := v.Create(Root, last, NewNode{Mode: layout.ModeFile}); err != nil {
				t.Fatal(err)
			}
			failed = v.Sync()
		}
		if !errors.Is(failed, disk.ErrInjected) {
			t.Fatalf("%s: %v", rule, failed)
		}
		_, err = v.Create(Root, "late", NewNode{Mode: layout.ModeFile})
		if !errors.Is(err, ErrReadOnly) || !errors.Is(err, disk.ErrInjected) {
			t.Fatalf("%s: a change afterwards: %v", rule, err)
		}
		if _, err := v.Lookup(Root, last); err != nil {
			t.Fatalf("%s: reading afterwards: %v", rule, err)
		}
		if err := v.Close(); err == nil {
			t.Fatalf("%s: close says nothing", rule)
		}
		checkDevice(t, mem)
	}
}

// Every sync costs one flush, and none if nothing has changed; many callers share one.
func TestFlushes(t *testing.T) {
	mem := disk.NewMemory(16 << 20)
	if err := Format(mem, testFormat(4096)); err != nil {
		t.Fatal(err)
	}
	dev := disk.NewCounter(mem)
	v := must[*Volume](t)(Open(dev, Options{Clock: testClock}))
	ino := mkfile(t, v, "a")
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	before := dev.Counts()
	for range 3 {
		if err := v.Fsync(ino); err != nil {
			t.Fatal(err)
		}
	}
	if c := dev.Counts().Sub(before); c.Flushes != 0 || c.Writes != 0 {
		t.Fatalf("nothing to sync: %+v", c)
	}
	const n = 200
	for i := range n {
		if _, err := v.Write(ino, noise(uint64(i), 4096), int64(i%4)*4096); err != nil {
			t.Fatal(err)
		}
		if err := v.Fsync(ino); err != nil {
			t.Fatal(err)
		}
	}
	if c := dev.Counts().Sub(before); c.Flushes > n+n/20 {
		t.Fatalf("%d syncs: %+v", n, c)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	checkDevice(t, mem)
}

// Many goroutines write, sync, read and remove at once; run it under the race detector.
func TestConcurrent(t *testing.T) {
	v, _ := newVolume(t, 32<<20, testFormat(4096), Options{CacheBytes: 1 << 20, DirtyBytes: 1 << 20})
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(k), 3))
			name := fmt.Sprintf("g%d", k)
			var content []byte
			a, err := v.Create(Root, name, NewNode{Mode: layout.ModeFile | 0o600})
			for i := 0; err == nil && i < 60; i++ {
				switch r.IntN(5) {
				case 0:
					err = v.Fsync(a.Ino)
				case 1:
					size := uint64(r.IntN(len(content) + 1))
					if _, err = v.Setattr(a.Ino, SetAttr{Size: &size}); err == nil {
						content = content[:size:size]
					}
				case 2:
					p := make([]byte, len(content)+1)
					var n int
					if n, err = v.Read(a.Ino, p, 0); err == nil && !bytes.Equal(p[:n], content) {
						t.Errorf("%s: %d bytes read, want %d", name, n, len(content))
					}
				default:
					p := noise(r.Uint64(), r.IntN(100_000))
					if _, err = v.Write(a.Ino, p, int64(len(content))); err == nil {
						content = append(content, p...)
					}
				}
				if len(content) > 1<<20 {
					if err = v.Unlink(Root, name); err == nil {
						a, err = v.Create(Root, name, NewNode{Mode: layout.ModeFile})
						content = nil
					}
				}
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
}

// The same operations give the same writes, byte for byte.
func TestDeterministic(t *testing.T) {
	run := func() *disk.Trace {
		mem := disk.NewMemory(2 << 20)
		if err := Format(mem, testFormat(1024)); err != nil {
			t.Fatal(err)
		}
		rec := disk.NewRecorder(mem, 512)
		v := must[*Volume](t)(Open(rec, Options{Clock: testClock}))
		r := rand.New(rand.NewPCG(9, 9))
		m := model{}
		for range 150 {
			if _, err := step(v, m, r, 60_000); errors.Is(err, ErrNoSpace) {
				partial(t, v, m)
			} else if err != nil {
				t.Fatal(err)
			}
			if r.IntN(9) == 0 {
				if err := v.Sync(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		return rec.Trace()
	}
	a, b := run(), run()
	if len(a.Events) != len(b.Events) {
		t.Fatalf("%d and %d events", len(a.Events), len(b.Events))
	}
	for i := range a.Events {
		if a.Events[i].Kind != b.Events[i].Kind || a.Events[i].Off != b.Events[i].Off || !bytes.Equal(a.Events[i].Data, b.Events[i].Data) {
			t.Fatalf("event %d differs: %d bytes at %d, %d bytes at %d", i, len(a.Events[i].Data), a.Events[i].Off, len(b.Events[i].Data), b.Events[i].Off)
		}
	}
}

// Opening what is no volume says why; opening read-only writes nothing.
func TestOpen(t *testing.T) {
	good := disk.NewMemory(4 << 20)
	if err := Format(good, testFormat(1024)); err != nil {
		t.Fatal(err)
	}
	edit := func(f func(p []byte)) *disk.Memory {
		p := slices.Clone(good.Bytes())
		f(p)
		return disk.MemoryFrom(p)
	}
	both := func(p []byte, f func(q []byte)) {
		for i := range 2 {
			f(p[layout.SuperOffset(i):][:layout.SuperblockSize])
		}
	}
	for name, c := range map[string]struct {
		dev  disk.Device
		want error
	}{
		"empty":     {disk.NewMemory(0), layout.ErrNotHoldfast},
		"zeros":     {disk.NewMemory(1 << 20), layout.ErrNotHoldfast},
		"truncated": {disk.MemoryFrom(good.Bytes()[:1<<20]), ErrTruncated},
		"damaged":   {edit(func(p []byte) { both(p, func(q []byte) { q[100] ^= 1 }) }), layout.ErrCorrupt},
		"version": {edit(func(p []byte) {
			both(p, func(q []byte) { q[8] = 9; layout.Seal(q, 0) })
		}), layout.ErrVersion},
		"feature": {edit(func(p []byte) {
			both(p, func(q []byte) { q[47] = 1; layout.Seal(q, 0) })
		}), layout.ErrFeature},
		"read-only feature": {edit(func(p []byte) {
			both(p, func(q []byte) { q[32] = 1; layout.Seal(q, 0) })
		}), ErrReadOnly},
	} {
		if _, err := Open(c.dev, Options{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for i := range 2 { // one copy is enough
		one := edit(func(p []byte) { p[layout.SuperOffset(i)+9] ^= 1 })
		v, err := Open(one, Options{})
		if err != nil {
			t.Fatalf("copy %d damaged: %v", i, err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}

	v := must[*Volume](t)(Open(good, Options{Clock: testClock}))
	ino := mkfile(t, v, "a")
	if _, err := v.Write(ino, []byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(good.Bytes())
	dirty := disk.MemoryFrom(slices.Clone(before)) // the journal must be replayed
	ro := must[*Volume](t)(Open(dirty, Options{ReadOnly: true}))
	wantContent(t, ro, ino, []byte("hello"))
	if _, err := ro.Create(Root, "b", NewNode{Mode: layout.ModeFile}); !errors.Is(err, ErrReadOnly) {
		t.Fatalf("create in a read-only volume: %v", err)
	}
	if err := errors.Join(ro.Sync(), ro.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dirty.Bytes(), before) {
		t.Fatal("a read-only volume was written")
	}
	if _, err := ro.Getattr(Root); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("after close: %v", err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("closed twice: %v", err)
	}
}

// Every size from the smallest on makes a volume that works, and a smaller one is refused.
func TestFormatSizes(t *testing.T) {
	for _, block := range []int{1024, 2048, 4096} {
		f := testFormat(block)
		least := MinSize(f)
		t.Logf("block size %d: at least %d bytes", block, least)
		if least > 2<<20+2<<18 {
			t.Errorf("block size %d: the smallest volume has %d bytes", block, least)
		}
		if err := Format(disk.NewMemory(least-8192), f); !errors.Is(err, ErrTooSmall) {
			t.Errorf("block size %d: a smaller volume: %v", block, err)
		}
		for _, size := range []int64{least, least + 5000, 2 * least, 9 << 20, 33 << 20} {
			v, mem := newVolume(t, size, f, Options{})
			ino := mkfile(t, v, "a")
			data := noise(1, 10_000)
			if _, err := v.Write(ino, data, 0); err != nil {
				t.Fatalf("block size %d, %d bytes: %v", block, size, err)
			}
			v = reopen(t, v, mem)
			wantContent(t, v, ino, data)
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A sparse volume of 10 TiB is made and used in no time.
func TestSparse(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(10 << 40); err != nil {
		t.Skip(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	dev, err := disk.OpenFile(name, disk.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	start := time.Now()
	if err := Format(dev, testFormat(4096)); err != nil {
		t.Fatal(err)
	}
	v := must[*Volume](t)(Open(dev, Options{}))
	ino := mkfile(t, v, "a")
	if _, err := v.Write(ino, []byte("far"), 1<<45); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	v = must[*Volume](t)(Open(dev, Options{ReadOnly: true}))
	p := make([]byte, 3)
	if _, err := v.Read(ino, p, 1<<45); err != nil || string(p) != "far" {
		t.Fatalf("%q, %v", p, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// A volume made where another one with the same UUID was has nothing of that in its log.
func TestFormatAgain(t *testing.T) {
	mem := disk.NewMemory(4 << 20)
	f := testFormat(1024)
	for round := range 3 {
		if err := Format(mem, f); err != nil {
			t.Fatal(err)
		}
		v := must[*Volume](t)(Open(mem, Options{Clock: testClock}))
		if got, err := load(v); err != nil || len(got) != 0 {
			t.Fatalf("round %d: a new volume has %d files, %v", round, len(got), err)
		}
		for i := range 20 {
			mkfile(t, v, fmt.Sprint(i))
			if err := v.Sync(); err != nil {
				t.Fatal(err)
			}
			if i == 3 && round > 0 { // what was logged here before goes on behind this
				break
			}
		}
		checkDevice(t, mem)
	}
}

// A group whose bitmap is damaged is left alone; the others go on.
func TestDamagedBitmap(t *testing.T) {
	mem := disk.NewMemory(24 << 20)
	if err := Format(mem, testFormat(1024)); err != nil {
		t.Fatal(err)
	}
	v := must[*Volume](t)(Open(mem, Options{Clock: testClock}))
	a := mkfile(t, v, "a")
	v = reopen(t, v, mem)
	mem.Bytes()[int64(v.g.BitmapBlock(0))*1024+200] ^= 1
	data := noise(1, 500_000)
	if _, err := v.Write(a, data, 0); err != nil {
		t.Fatal(err)
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	wantContent(t, v, a, data)
	if b := mkfile(t, v, "b"); uint64(b) <= uint64(v.g.InodesPerGroup) {
		t.Fatalf("inode %d is of the damaged group", b)
	}
	v = reopen(t, v, mem)
	wantContent(t, v, a, data)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}
