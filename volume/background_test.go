package volume

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/disk"
)

// backgroundVolume is an open volume that works in the background.
func backgroundVolume(t *testing.T, size, dirty int64, wrap func(disk.Device) disk.Device) (*Volume, *disk.Memory) {
	t.Helper()
	mem := disk.NewMemory(size)
	if err := Format(mem, testFormat(4096)); err != nil {
		t.Fatal(err)
	}
	v, err := Open(wrap(mem), Options{Clock: testClock, CacheBytes: 1 << 20, DirtyBytes: dirty, Background: true})
	if err != nil {
		t.Fatal(err)
	}
	return v, mem
}

func newFile(t *testing.T, v *Volume, name string) Ino {
	t.Helper()
	a, err := v.Create(Root, name, NewNode{Mode: 0o100644})
	if err != nil {
		t.Fatal(err)
	}
	return a.Ino
}

func pattern(n int, salt byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>12*7) ^ salt
	}
	return p
}

// holds wants a file to have exactly that content.
func holds(t *testing.T, v *Volume, ino Ino, want []byte, when string) {
	t.Helper()
	got := make([]byte, len(want)+1)
	if n, err := v.Read(ino, got, 0); err != nil || n != len(want) || !bytes.Equal(got[:n], want) {
		t.Fatalf("%s: %d bytes of %d, %v, or other content", when, n, len(want), err)
	}
}

// again closes the volume and opens what is on the device.
func again(t *testing.T, v *Volume, mem *disk.Memory) *Volume {
	t.Helper()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := Open(mem, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestWriteAhead: once an eighth of DirtyBytes waits the data goes to the device by itself, and not
// before; memory is not kept for it, nobody waits for the medium, and all can be read at any time.
func TestWriteAhead(t *testing.T) {
	const limit = 8 << 20
	count := disk.NewCounter(disk.NewMemory(0))
	v, mem := backgroundVolume(t, 1<<30, limit, func(d disk.Device) disk.Device { count = disk.NewCounter(d); return count })
	ino := newFile(t, v, "f")
	count.Reset()
	want := pattern(5*limit, 0)
	const step = 100 << 10
	for off := 0; off < len(want); off += step {
		part := want[off:min(off+step, len(want))]
		if _, err := v.Write(ino, part, int64(off)); err != nil {
			t.Fatal(err)
		}
		if n := count.Counts().BytesWritten; off+step < limit/8 && n != 0 {
			t.Fatalf("%d bytes written of %d", n, off+step)
		}
		if off/step == limit/8/step+1 {
			for count.Counts().BytesWritten == 0 { // nobody asks for it
				runtime.Gosched()
			}
		}
	}
	for v.writing.Load() {
		runtime.Gosched()
	}
	v.mu.Lock()
	waits, pages := v.dirtyBytes(), len(v.files[ino])
	v.mu.Unlock()
	if waits > limit || pages*4096 > limit {
		t.Errorf("%d bytes wait, %d pages are kept", waits, pages)
	}
	if n := count.Counts().Flushes; n > 2 { // an epoch of its own begins with two
		t.Errorf("%d flushes, but nothing has been committed", n)
	}
	holds(t, v, ino, want, "written")
	v = again(t, v, mem)
	holds(t, v, ino, want, "opened again")
}

// TestCommitSoon: a commit begins by itself when the running transaction needs half of what the log
// gives one.
func TestCommitSoon(t *testing.T) {
	v, mem := backgroundVolume(t, 96<<20, 0, func(d disk.Device) disk.Device { return d })
	last := uint64(0)
	for i := 0; ; i++ {
		if i == 100_000 {
			t.Fatal("nothing was committed")
		}
		newFile(t, v, fmt.Sprint("f", i))
		v.mu.RLock()
		last = max(last, v.durable)
		full := v.logNeed(0) > v.log.MaxTx()/2
		v.mu.RUnlock()
		if last > 0 {
			break
		}
		if full {
			for v.background.Load() {
				runtime.Gosched()
			}
		}
	}
	if err := again(t, v, mem).Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNoCommitSoon: what small writes may cost at most, while their pages wait for blocks, is no
// reason to commit.
func TestNoCommitSoon(t *testing.T) {
	v, mem := backgroundVolume(t, 96<<20, 0, func(d disk.Device) disk.Device { return d })
	ino := newFile(t, v, "f")
	want := pattern(16<<20, 3)
	for off := 0; off < len(want); off += 4096 {
		if _, err := v.Write(ino, want[off:off+4096], int64(off)); err != nil {
			t.Fatal(err)
		}
		if v.background.Load() {
			t.Fatalf("a commit after %d bytes", off+4096)
		}
	}
	v = again(t, v, mem)
	holds(t, v, ino, want, "opened again")
}

// gate is a device whose large writes wait, while it is shut, after they have said that they come;
// fail is what they answer.
type gate struct {
	disk.Device
	shut  atomic.Bool
	came  chan struct{}
	open  chan struct{}
	fails atomic.Bool

	failed atomic.Int64
}

var errGate = errors.New("the gate")

func (g *gate) WriteAt(p []byte, off int64) (int, error) {
	if len(p) >= 64<<10 {
		if g.fails.Load() {
			g.failed.Add(1)
			return 0, errGate
		}
		if g.shut.CompareAndSwap(true, false) {
			close(g.came)
			<-g.open
		}
	}
	return g.Device.WriteAt(p, off)
}

// TestWriteAheadBesideChanges: what is done to a file while its data is on the way to the device wins over
// it, and blocks that are freed meanwhile and used by others hold what the others wrote.
func TestWriteAheadBesideChanges(t *testing.T) {
	const part = 1 << 20
	for name, change := range map[string]func(t *testing.T, v *Volume, ino Ino, want []byte) []byte{
		"overwritten": func(t *testing.T, v *Volume, ino Ino, want []byte) []byte {
			other := pattern(part/2+100, 0x55)
			if _, err := v.Write(ino, other, 50); err != nil {
				t.Fatal(err)
			}
			copy(want[50:], other)
			return want
		},
		"cut off": func(t *testing.T, v *Volume, ino Ino, want []byte) []byte {
			size := uint64(part/3 + 7)
			if _, err := v.Setattr(ino, SetAttr{Size: &size}); err != nil {
				t.Fatal(err)
			}
			other := newFile(t, v, "other") // in what has become free
			if _, err := v.Write(other, pattern(part/2, 0x77), 0); err != nil {
				t.Fatal(err)
			}
			return want[:size]
		},
		"removed and used again": func(t *testing.T, v *Volume, ino Ino, _ []byte) []byte {
			if err := v.Unlink(Root, "f"); err != nil {
				t.Fatal(err)
			}
			if again := newFile(t, v, "f"); again != ino {
				t.Fatalf("inode %d, not %d", again, ino)
			}
			want := pattern(part-9000, 0x33)
			if _, err := v.Write(ino, want, 0); err != nil {
				t.Fatal(err)
			}
			return want
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := &gate{came: make(chan struct{}), open: make(chan struct{})}
			v, mem := backgroundVolume(t, 96<<20, 8*part, func(d disk.Device) disk.Device { g.Device = d; return g })
			ino := newFile(t, v, "f")
			g.shut.Store(true)
			want := pattern(part, 0)
			if _, err := v.Write(ino, want, 0); err != nil {
				t.Fatal(err)
			}
			<-g.came
			holds(t, v, ino, want, "on the way")
			want = change(t, v, ino, want)
			holds(t, v, ino, want, "changed")
			var done sync.WaitGroup
			var synced atomic.Bool
			done.Go(func() { // it must wait for what is on the way
				if err := v.Sync(); err != nil {
					t.Error(err)
				}
				synced.Store(true)
			})
			for range 100_000 { // a chance to be wrong
				runtime.Gosched()
			}
			if synced.Load() {
				t.Error("a commit did not wait for what is on the way")
			}
			close(g.open)
			done.Wait()
			holds(t, v, ino, want, "durable")
			v = again(t, v, mem)
			holds(t, v, ino, want, "opened again")
			if a, err := v.Lookup(Root, "other"); err == nil {
				holds(t, v, a.Ino, pattern(part/2, 0x77), "the other one")
			}
		})
	}
}

// TestWriteAheadFails: what could not be written stays in memory, and the commit writes it.
func TestWriteAheadFails(t *testing.T) {
	const part = 1 << 20
	g := &gate{}
	v, mem := backgroundVolume(t, 96<<20, 8*part, func(d disk.Device) disk.Device { g.Device = d; return g })
	ino := newFile(t, v, "f")
	g.fails.Store(true)
	want := pattern(3*part, 1)
	if _, err := v.Write(ino, want, 0); err != nil {
		t.Fatal(err)
	}
	for v.writing.Load() {
		runtime.Gosched()
	}
	holds(t, v, ino, want, "not written")
	g.fails.Store(false)
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	v = again(t, v, mem)
	holds(t, v, ino, want, "opened again")
}

// TestWriteAheadFailsOnce: where data cannot be written ahead, it is not all written again with each
// operation that follows, but with the next commit; after that it is written ahead again.
func TestWriteAheadFailsOnce(t *testing.T) {
	const part = 1 << 20
	for _, background := range []bool{false, true} {
		mem := disk.NewMemory(96 << 20)
		if err := Format(mem, testFormat(4096)); err != nil {
			t.Fatal(err)
		}
		g := &gate{Device: mem}
		v, err := Open(g, Options{Clock: testClock, DirtyBytes: 8 * part, Background: background})
		if err != nil {
			t.Fatal(err)
		}
		ino := newFile(t, v, "f")
		want := pattern(6*part, 1)
		write := func(from, end int) {
			for off := from; off < end; off += 4096 {
				if _, err := v.Write(ino, want[off:off+4096], int64(off)); err != nil {
					t.Fatal(err)
				}
			}
			for v.writing.Load() {
				runtime.Gosched()
			}
		}
		g.fails.Store(true)
		write(0, 3*part)
		if n := g.failed.Load(); n != 1 {
			t.Errorf("background %v: %d writes have failed, want 1", background, n)
		}
		holds(t, v, ino, want[:3*part], "not written")
		g.fails.Store(false)
		if err := v.Sync(); err != nil {
			t.Fatal(err)
		}
		write(3*part, len(want))
		v.mu.RLock()
		if n := v.dirtyBytes(); n >= 2*part {
			t.Errorf("background %v: %d bytes wait", background, n)
		}
		v.mu.RUnlock()
		v = again(t, v, mem)
		holds(t, v, ino, want, "opened again")
	}
}
