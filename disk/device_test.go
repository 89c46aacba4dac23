package disk

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/klauspost/crc32"
)

// sectorSize is what the tests use; writes are whole sectors, as everywhere in the project.
const sectorSize = 512

// checkOf is the Check that exactly content passes.
func checkOf(content []byte) Check {
	return Check{Seed: 7, Want: crc32.Update(7, castagnoli, content)}
}

// pattern is n bytes that a seed determines and that are not zero.
func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7+i>>8) ^ seed | 1
	}
	return p
}

func mustWrite(t testing.TB, d Device, p []byte, off int64) {
	t.Helper()
	if n, err := d.WriteAt(p, off); n != len(p) || err != nil {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(p), off, n, err)
	}
}

func mustRead(t testing.TB, d Device, n int, off int64) []byte {
	t.Helper()
	p := make([]byte, n)
	if m, err := d.ReadAt(p, off); m != n || err != nil {
		t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", n, off, m, err)
	}
	return p
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want one that matches %q", what, err, want)
	}
}

// testDevice is what every device must do. mk gives a fresh one: zeros, at least 64 KiB, a
// whole number of 4 KiB blocks.
func testDevice(t *testing.T, mk func(t *testing.T) Device) {
	t.Run("range", func(t *testing.T) {
		d := mk(t)
		size := d.Size()
		if size < 64<<10 || size%4096 != 0 {
			t.Fatalf("size %d", size)
		}
		p := make([]byte, sectorSize)
		for _, off := range []int64{-1, -sectorSize, math.MinInt64, size, size - 1, size - sectorSize + 1, size + sectorSize, math.MaxInt64} {
			n, err := d.ReadAt(p, off)
			wantErr(t, "ReadAt", err, ErrRange)
			if n != 0 {
				t.Fatalf("ReadAt beyond the end gave %d bytes", n)
			}
			n, err = d.WriteAt(p, off)
			wantErr(t, "WriteAt", err, ErrRange)
			if n != 0 {
				t.Fatalf("WriteAt beyond the end took %d bytes", n)
			}
			_, err = d.ReadChecked(p, Check{}, off)
			wantErr(t, "ReadChecked", err, ErrRange)
		}
		_, err := d.ReadAt(make([]byte, size+1), 0)
		wantErr(t, "ReadAt of more than all", err, ErrRange)
		if !bytes.Equal(mustRead(t, d, int(size), 0), make([]byte, size)) {
			t.Fatal("a refused write left a trace")
		}
		mustRead(t, d, 0, size)
		mustWrite(t, d, nil, 0)
	})
	t.Run("written is read", func(t *testing.T) {
		d := mk(t)
		model := make([]byte, d.Size())
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range 300 {
			n := (1 + rng.Int64N(40)) * sectorSize
			off := rng.Int64N((d.Size()-n)/sectorSize+1) * sectorSize
			p := pattern(int(n), byte(i))
			keep := bytes.Clone(p)
			mustWrite(t, d, p, off)
			if !bytes.Equal(p, keep) {
				t.Fatal("a write changed its argument")
			}
			clear(p) // the device may not keep it
			copy(model[off:], keep)
			if i%16 == 0 {
				if err := d.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			n = rng.Int64N(9000)
			off = rng.Int64N(d.Size() - n)
			if !bytes.Equal(mustRead(t, d, int(n), off), model[off:off+n]) {
				t.Fatalf("step %d: read of %d bytes at %d differs", i, n, off)
			}
		}
		if !bytes.Equal(mustRead(t, d, len(model), 0), model) {
			t.Fatal("the whole differs")
		}
	})
	t.Run("checked", func(t *testing.T) {
		d := mk(t)
		a, b := pattern(4096, 1), pattern(4096, 2)
		mustWrite(t, d, a, 4096)
		mustWrite(t, d, b, 3*4096)
		mustWrite(t, d, b, 5*4096)
		mustWrite(t, d, b[:512], 8*4096)
		p := make([]byte, 4096)
		for _, test := range []struct {
			name   string
			c      Check
			places []int64
			want   int
			err    error
		}{
			{"one", checkOf(a), []int64{4096}, 0, nil},
			{"second", checkOf(b), []int64{4096, 3 * 4096}, 1, nil},
			{"first of two", checkOf(b), []int64{3 * 4096, 5 * 4096}, 0, nil},
			{"first of two, behind others", checkOf(b), []int64{0, 4096, 5 * 4096, 3 * 4096}, 2, nil},
			{"never written", checkOf(make([]byte, 4096)), []int64{4096, 9 * 4096}, 1, nil},
			{"partly written", checkOf(append(bytes.Clone(b[:512]), make([]byte, 3584)...)), []int64{9 * 4096, 8 * 4096, 4096}, 1, nil},
			{"none", checkOf(b), []int64{4096, 0, 7 * 4096}, 0, ErrChecksum},
			{"no place", checkOf(b), nil, 0, ErrBadSector},
			{"passes before a wrong place", checkOf(a), []int64{4096, d.Size()}, 0, nil},
			{"a wrong place", checkOf(a), []int64{0, d.Size(), 4096}, 0, ErrRange},
			{"a wrong seed", Check{Seed: 8, Want: checkOf(a).Want}, []int64{4096}, 0, ErrChecksum},
			{"refused", Check{Seed: 7, Want: checkOf(a).Want, Accept: func([]byte) bool { return false }}, []int64{4096}, 0, ErrChecksum},
			{"accepted", Check{Seed: 7, Want: checkOf(a).Want, Accept: func(p []byte) bool { return p[0] == a[0] }}, []int64{0, 4096}, 1, nil},
		} {
			clear(p)
			n, err := d.ReadChecked(p, test.c, test.places...)
			if !errors.Is(err, test.err) || err == nil && n != test.want {
				t.Fatalf("%s: %d, %v, want %d, %v", test.name, n, err, test.want, test.err)
			}
			if err == nil && !test.c.Pass(p) {
				t.Fatalf("%s: what was delivered does not pass", test.name)
			}
		}
	})
	t.Run("concurrent", func(t *testing.T) {
		d := mk(t)
		const workers = 8
		span := d.Size() / workers / 4096 * 4096
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() {
				base := int64(w) * span
				for i := range 20 {
					p := pattern(4096, byte(w*16+i))
					off := base + int64(i)%(span/4096)*4096
					back := make([]byte, 4096)
					if _, err := d.WriteAt(p, off); err != nil {
						t.Error(err)
					}
					if _, err := d.ReadAt(back, off); err != nil || !bytes.Equal(p, back) {
						t.Errorf("worker %d: read differs, %v", w, err)
					}
					if _, err := d.ReadChecked(back, checkOf(p), off); err != nil {
						t.Error(err)
					}
					if err := d.Flush(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
	})
}

func TestDevices(t *testing.T) {
	const size = 256 << 10
	file := func(t *testing.T) Device {
		f, err := CreateFile(filepath.Join(t.TempDir(), "image"), size, 0o600, true)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	two := func(t *testing.T) (Device, Device) {
		m := NewMemory(2 * size)
		return NewStripe(m, 0, size), NewStripe(m, size, size)
	}
	for name, mk := range map[string]func(t *testing.T) Device{
		"Memory":     func(*testing.T) Device { return NewMemory(size) },
		"MemoryFrom": func(*testing.T) Device { return MemoryFrom(make([]byte, size)) },
		"File":       file,
		"File window": func(t *testing.T) Device {
			path := file(t).(*File).Name()
			f, err := OpenFile(path, FileOptions{Offset: 4096, Length: 65536, ForceShare: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		},
		"Overlay":         func(*testing.T) Device { return NewOverlay(NewMemory(size), sectorSize) },
		"Overlay of 4096": func(*testing.T) Device { return NewOverlay(NewMemory(size), 4096) },
		"Overlay of 16 on Overlay": func(*testing.T) Device {
			return NewOverlay(NewOverlay(NewMemory(size), 4096), 16)
		},
		"Overlay, used": func(t *testing.T) Device {
			o := NewOverlay(NewMemory(size), sectorSize)
			mustWrite(t, o, pattern(size, 3), 0)
			o.Reset()
			return o
		},
		"Recorder": func(*testing.T) Device { return NewRecorder(NewMemory(size), sectorSize) },
		"Counter":  func(*testing.T) Device { return NewCounter(NewMemory(size)) },
		"Faulty":   func(*testing.T) Device { return NewFaulty(NewMemory(size), sectorSize, FaultOptions{}) },
		"Faulty, softly": func(*testing.T) Device {
			return &retrying{NewFaulty(NewMemory(size), sectorSize, FaultOptions{Seed: 1, Rates: FaultRates{SoftRead: 0.3}})}
		},
		"Stripe": func(*testing.T) Device { return NewStripe(NewMemory(3*size), size, size) },
		"Stable": func(*testing.T) Device { return NewStable(NewMemory(size), NewMemory(size+512)) },
		"Stable of stripes": func(t *testing.T) Device {
			return NewStable(two(t))
		},
		"Stable, careful": func(t *testing.T) Device {
			a, b := two(t)
			return NewStableWith(a, b, StableOptions{Careful: true})
		},
		"Stable, first replica bad": func(*testing.T) Device {
			rules, err := ParseFaults("write: bad")
			if err != nil {
				panic(err)
			}
			return NewStable(NewFaulty(NewMemory(size), sectorSize, FaultOptions{Rules: rules}), NewMemory(size))
		},
	} {
		t.Run(name, func(t *testing.T) { testDevice(t, mk) })
	}
}

// retrying reads with ReadFull, as callers do.
type retrying struct{ Device }

func (r *retrying) ReadAt(p []byte, off int64) (int, error) {
	if err := ReadFull(r.Device, p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	m := NewMemory(1 << 20)
	full := NewOverlay(m, sectorSize)
	mustWrite(t, full, pattern(64<<10, 1), 0)
	p := make([]byte, 4096)
	places := []int64{8192, 1 << 19}
	for name, d := range map[string]Device{
		"memory": m, "overlay": NewOverlay(m, sectorSize), "overlay, written": full,
		"counter": NewCounter(m), "stripe": NewStripe(m, 0, 1<<20),
	} {
		c := checkOf(mustRead(t, d, 4096, 8192))
		run := func() {
			if _, err := d.ReadAt(p, 12288); err != nil {
				t.Fatal(err)
			}
			if _, err := d.ReadChecked(p, c, places...); err != nil {
				t.Fatal(err)
			}
			if d != m {
				return
			}
			if _, err := d.WriteAt(p, 12288); err != nil {
				t.Fatal(err)
			}
		}
		limit := 0.0
		if raceEnabled && name == "stripe" {
			limit = 2 // sync.Pool drops things at random under the race detector
		}
		if n := testing.AllocsPerRun(100, run); n > limit {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestReadFullRetriesSoftErrors(t *testing.T) {
	for n, want := range map[string]error{"soft 3": nil, "soft 4": ErrSoft} {
		d := scripted(t, NewMemory(8192), "read 1 at 5: "+n)
		err := ReadFull(d, make([]byte, 512), 5*512)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", n, err, want)
		}
	}
	err := ReadFull(bytes.NewReader(make([]byte, 10)), make([]byte, 11), 0)
	wantErr(t, "short", err, ErrRange)
	if errors.Is(err, io.EOF) {
		t.Error("the end of a device is no end of a file")
	}
}

func TestCounter(t *testing.T) {
	d := NewCounter(NewMemory(64 << 10))
	mustWrite(t, d, make([]byte, 4096), 0)
	before := d.Counts()
	mustWrite(t, d, make([]byte, 512), 0)
	mustWrite(t, d, make([]byte, 1024), 512)
	mustRead(t, d, 10, 0)
	if _, err := d.ReadChecked(make([]byte, 100), checkOf(make([]byte, 100)), 0, 4096); err != nil {
		t.Fatal(err)
	}
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := d.Counts().Sub(before), (Counts{Reads: 2, BytesRead: 110, Writes: 2, BytesWritten: 1536, Flushes: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	d.Reset()
	if got := d.Counts(); got != (Counts{}) {
		t.Errorf("after Reset: %+v", got)
	}
}

func TestStripe(t *testing.T) {
	m := NewMemory(4096)
	s := NewStripe(m, 1024, 2048)
	mustWrite(t, s, pattern(2048, 1), 0)
	if !bytes.Equal(m.Bytes()[1024:3072], pattern(2048, 1)) || !bytes.Equal(m.Bytes()[:1024], make([]byte, 1024)) || !bytes.Equal(m.Bytes()[3072:], make([]byte, 1024)) {
		t.Error("the stripe is not where it should be")
	}
	for _, w := range [][2]int64{{-1, 1}, {0, 4097}, {4096, 1}, {4097, 0}, {1, math.MaxInt64}, {0, -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("stripe of %d at %d was made", w[1], w[0])
				}
			}()
			NewStripe(m, w[0], w[1])
		}()
	}
}

func BenchmarkReadChecked(b *testing.B) {
	m := NewMemory(1 << 20)
	o := NewOverlay(m, sectorSize)
	mustWrite(b, o, pattern(4096, 1), 8192)
	c := checkOf(make([]byte, 4096))
	p := make([]byte, 4096)
	places := []int64{65536}
	for name, d := range map[string]Device{"memory": m, "overlay": o} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.ReadChecked(p, c, places...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
