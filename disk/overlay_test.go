package disk

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// spy notes the checked reads and the plain reads that reach it.
type spy struct {
	Device
	checked [][]int64
	plain   []Extent
	fail    error // of plain reads
}

func (s *spy) ReadChecked(p []byte, c Check, places ...int64) (int, error) {
	s.checked = append(s.checked, slices.Clone(places))
	return s.Device.ReadChecked(p, c, places...)
}

func (s *spy) ReadAt(p []byte, off int64) (int, error) {
	s.plain = append(s.plain, Extent{off, int64(len(p))})
	if s.fail != nil {
		return 0, s.fail
	}
	return s.Device.ReadAt(p, off)
}

func (s *spy) WriteAt([]byte, int64) (int, error) { panic("the base of an overlay was written") }

func TestOverlayForwardsCheckedReads(t *testing.T) {
	base := NewMemory(256 << 10)
	good, other := pattern(4096, 1), pattern(4096, 2)
	for block, p := range map[int64][]byte{1: other, 2: good, 3: other, 4: good, 40: good} {
		mustWrite(t, base, p, block*4096)
	}
	const b = 4096
	for _, test := range []struct {
		name    string
		written map[int64][]byte // by block
		places  []int64
		want    int
		err     error
		checked [][]int64 // what the base was asked
	}{
		{"nothing written", nil, []int64{1 * b, 2 * b}, 1, nil, [][]int64{{1 * b, 2 * b}}},
		{"written elsewhere", map[int64][]byte{5: other}, []int64{1 * b, 3 * b, 4 * b}, 2, nil, [][]int64{{1 * b, 3 * b, 4 * b}}},
		{"written elsewhere, none passes", map[int64][]byte{5: other}, []int64{1 * b, 3 * b}, 0, ErrChecksum, [][]int64{{1 * b, 3 * b}}},
		{"all written", map[int64][]byte{1: other, 3: good}, []int64{1 * b, 3 * b}, 1, nil, nil},
		{"written first", map[int64][]byte{1: good}, []int64{1 * b, 2 * b}, 0, nil, nil},
		{"written first, does not pass", map[int64][]byte{2: other}, []int64{2 * b, 1 * b, 4 * b}, 2, nil, [][]int64{{1 * b, 4 * b}}},
		{"written last", map[int64][]byte{1: good}, []int64{3 * b, 1 * b}, 1, nil, [][]int64{{3 * b}}},
		{"written between", map[int64][]byte{2: other}, []int64{1 * b, 3 * b, 2 * b, 3 * b, 40 * b}, 4, nil, [][]int64{{1 * b, 3 * b}, {3 * b, 40 * b}}},
		{"base before written", map[int64][]byte{3: good}, []int64{2 * b, 3 * b}, 0, nil, [][]int64{{2 * b}}},
		{"none passes", map[int64][]byte{2: other}, []int64{1 * b, 2 * b, 3 * b}, 0, ErrChecksum, [][]int64{{1 * b}, {3 * b}}},
	} {
		s := &spy{Device: base}
		o := NewOverlay(s, sectorSize)
		for block, p := range test.written {
			mustWrite(t, o, p, block*b)
		}
		p := make([]byte, b)
		n, err := o.ReadChecked(p, checkOf(good), test.places...)
		if !errors.Is(err, test.err) || err == nil && n != test.want {
			t.Errorf("%s: %d, %v, want %d, %v", test.name, n, err, test.want, test.err)
		}
		if err == nil && !bytes.Equal(p, good) {
			t.Errorf("%s: other content", test.name)
		}
		if !slices.EqualFunc(s.checked, test.checked, slices.Equal) {
			t.Errorf("%s: the base was asked %v, want %v", test.name, s.checked, test.checked)
		}
		if len(s.plain) > 0 {
			t.Errorf("%s: plain reads %v", test.name, s.plain)
		}
	}
}

func TestOverlayAssemblesMixedPlaces(t *testing.T) {
	base := NewMemory(64 << 10)
	content := pattern(4096, 1)
	mustWrite(t, base, content, 4096)
	s := &spy{Device: base}
	o := NewOverlay(s, sectorSize)
	mustWrite(t, o, pattern(512, 9), 4096+1024)
	mixed := bytes.Clone(content)
	copy(mixed[1024:], pattern(512, 9))
	p := make([]byte, 4096)
	if _, err := o.ReadChecked(p, checkOf(mixed), 4096); err != nil || !bytes.Equal(p, mixed) {
		t.Fatalf("mixed place: %v", err)
	}
	if want := []Extent{{4096, 1024}, {4096 + 1536, 2560}}; !slices.Equal(s.plain, want) {
		t.Errorf("plain reads %v, want %v", s.plain, want)
	}
	s.fail = ErrBadSector
	_, err := o.ReadChecked(p, checkOf(mixed), 4096)
	wantErr(t, "mixed place, the rest is bad", err, ErrBadSector)
	n, err := o.ReadChecked(p, checkOf(make([]byte, 4096)), 4096, 0)
	if n != 1 || err != nil {
		t.Errorf("a bad place was not passed over: %d, %v", n, err)
	}
	s.fail = ErrInjected
	_, err = o.ReadChecked(p, checkOf(mixed), 4096, 0)
	wantErr(t, "an error that is no damage", err, ErrInjected)
}

func TestOverlayPartOfASector(t *testing.T) {
	base := MemoryFrom(pattern(8192, 1))
	s := &spy{Device: base, fail: ErrBadSector}
	o := NewOverlay(s, sectorSize)
	for _, w := range []Extent{{100, 10}, {512, 513}, {1000, 24}} {
		_, err := o.WriteAt(make([]byte, w.Len), w.Off)
		wantErr(t, "part of a bad sector", err, ErrBadSector)
	}
	if d := o.Dirty(); d != nil {
		t.Errorf("a failed write left %v", d)
	}
	mustWrite(t, o, pattern(1024, 5), 512)
	mustWrite(t, o, []byte{1, 2, 3}, 1022) // both sectors are ours now
	want := slices.Concat(pattern(1024, 5)[:510], []byte{1, 2, 3}, pattern(1024, 5)[513:])
	if !bytes.Equal(mustRead(t, o, 1024, 512), want) {
		t.Error("part of a sector of ours")
	}
}

// unwinding is a base that panics, as the explorer's may to leave a run.
type unwinding struct{ Device }

func (unwinding) ReadChecked([]byte, Check, ...int64) (int, error) { panic("unwind") }
func (unwinding) ReadAt([]byte, int64) (int, error)                { panic("unwind") }

func TestOverlaySurvivesUnwinding(t *testing.T) {
	o := NewOverlay(unwinding{NewMemory(8192)}, sectorSize)
	for _, do := range []func(){
		func() { o.ReadChecked(make([]byte, 10), Check{}, 0) },
		func() { o.ReadAt(make([]byte, 10), 0) },
		func() { o.WriteAt(make([]byte, 10), 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not come through")
				}
			}()
			do()
		}()
	}
	mustWrite(t, o, make([]byte, 512), 0) // would wait for ever, were the lock still held
}

// TestOverlayModel compares an overlay with two byte slices, at sizes and grains where pages,
// sectors and the end of the device fall on one another in every way.
func TestOverlayModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sector := rapid.SampledFrom([]int{1, 3, 16, 512, 4096, 32768}).Draw(t, "sector")
		size := rapid.IntRange(0, 100_000).Draw(t, "size")
		original := pattern(size, 3)
		base := MemoryFrom(bytes.Clone(original))
		o := NewOverlay(base, sector)
		model, written := bytes.Clone(original), make([]bool, size)
		ranged := func() (int, int) {
			off := rapid.IntRange(0, size).Draw(t, "off")
			return off, rapid.IntRange(0, min(size-off, 40_000)).Draw(t, "length")
		}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"write", "write", "read", "checked", "reset"}).Draw(t, "step") {
			case "write":
				off, n := ranged()
				p := pattern(n, byte(off))
				if m, err := o.WriteAt(p, int64(off)); m != n || err != nil {
					t.Fatal(m, err)
				}
				copy(model[off:], p)
				if n > 0 {
					for i := off / sector * sector; i < min((off+n+sector-1)/sector*sector, size); i++ {
						written[i] = true
					}
				}
			case "read":
				off, n := ranged()
				p := make([]byte, n)
				if m, err := o.ReadAt(p, int64(off)); m != n || err != nil || !bytes.Equal(p, model[off:off+n]) {
					t.Fatalf("read of %d at %d: %d, %v", n, off, m, err)
				}
			case "checked":
				off, n := ranged()
				p := make([]byte, n)
				if _, err := o.ReadChecked(p, checkOf(model[off:off+n]), int64(off)); err != nil || !bytes.Equal(p, model[off:off+n]) {
					t.Fatalf("checked read of %d at %d: %v", n, off, err)
				}
			case "reset":
				o.Reset()
				copy(model, original)
				clear(written)
			}
			if !bytes.Equal(base.Bytes(), original) {
				t.Fatal("the base was written")
			}
		}
		var want []Extent
		for i, w := range written {
			switch k := len(want) - 1; {
			case !w:
			case k >= 0 && want[k].End() == int64(i):
				want[k].Len++
			default:
				want = append(want, Extent{int64(i), 1})
			}
		}
		if got := o.Dirty(); !slices.Equal(got, want) {
			t.Fatalf("dirty %v, want %v", got, want)
		}
		to := NewCounter(MemoryFrom(bytes.Clone(original)))
		if err := o.CommitTo(to); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(to.under.(*Memory).Bytes(), model) {
			t.Fatal("commit gave another image")
		}
		if to.Counts().Flushes != 1 {
			t.Fatal("commit did not flush once")
		}
	})
}

func TestOverlayCommitFails(t *testing.T) {
	o := NewOverlay(NewMemory(8192), sectorSize)
	mustWrite(t, o, pattern(512, 1), 1024)
	wantErr(t, "write error", o.CommitTo(scripted(t, NewMemory(8192), "write 1: error")), ErrInjected)
	wantErr(t, "flush error", o.CommitTo(scripted(t, NewMemory(8192), "flush 1: error")), ErrInjected)
	wantErr(t, "too small", o.CommitTo(NewMemory(512)), ErrRange)
}

// An overlay that was moved over another base shows that base alone, of its size.
func TestOverlayOver(t *testing.T) {
	first, second := NewMemory(8192), NewMemory(4096)
	for i := range second.Bytes() {
		second.Bytes()[i] = 2
	}
	o := NewOverlay(first, 512)
	if _, err := o.WriteAt([]byte{1, 1, 1}, 100); err != nil {
		t.Fatal(err)
	}
	o.Over(second)
	p := make([]byte, 4096)
	if _, err := o.ReadAt(p, 0); err != nil || o.Size() != 4096 || len(o.Dirty()) != 0 {
		t.Fatal(err, o.Size(), o.Dirty())
	}
	for i, x := range p {
		if x != 2 {
			t.Fatalf("byte %d is %d, want the base's", i, x)
		}
	}
	if _, err := o.ReadAt(p, 4096); err == nil {
		t.Error("reads beyond the base")
	}
}
