package disk

import (
	"bytes"
	"errors"
	"testing"
)

// pair is a stable device whose replicas are faulty.
func pair(t testing.TB, opt StableOptions, scriptA, scriptB string) (s *Stable, a, b *Faulty, ma, mb *Memory) {
	ma, mb = NewMemory(64<<10), NewMemory(64<<10)
	a, b = scripted(t, ma, scriptA), scripted(t, mb, scriptB)
	return NewStableWith(a, b, opt), a, b, ma, mb
}

func TestStableServesAndRepairs(t *testing.T) {
	good := pattern(4096, 1)
	for _, test := range []struct {
		name   string
		off, n int64                // what is read
		harm   func(a, b *Faulty)   // after good was written at 8192 (sectors 16 to 23)
		rot    func(ma, mb *Memory) // silent damage
		want   error
		counts StableCounts
	}{
		{"nothing", 0, 4096, nil, nil, nil, StableCounts{}},
		{"first bad", 0, 4096, func(a, b *Faulty) { a.Decay(18) }, nil, nil, StableCounts{Fallbacks: 1, Repaired: 1}},
		{"second bad", 0, 4096, func(a, b *Faulty) { b.Decay(18) }, nil, nil, StableCounts{}},
		{"first wrong", 0, 4096, nil, func(ma, mb *Memory) { ma.Bytes()[8200] ^= 1 }, nil, StableCounts{Fallbacks: 1, Repaired: 1}},
		{"one decay each", 0, 4096, func(a, b *Faulty) { a.Decay(18); b.Decay(20) }, nil, nil, StableCounts{Mixed: 1, Repaired: 2}},
		{"first bad and second wrong elsewhere", 0, 4096, func(a, b *Faulty) { a.Decay(18) }, func(ma, mb *Memory) { mb.Bytes()[8200] ^= 1 }, nil, StableCounts{Mixed: 1, Repaired: 2}},
		{"a pair", 0, 4096, func(a, b *Faulty) { a.Decay(18); b.Decay(18) }, nil, ErrBadSector, StableCounts{}},
		{"both wrong", 0, 4096, nil, func(ma, mb *Memory) { ma.Bytes()[8200] ^= 1; mb.Bytes()[8200] ^= 1 }, ErrChecksum, StableCounts{}},
		{"part of a bad sector", 100, 256, func(a, b *Faulty) { a.Decay(16) }, nil, nil, StableCounts{Fallbacks: 1, Repaired: 1}},
		{"part of a wrong sector", 500, 600, nil, func(ma, mb *Memory) { ma.Bytes()[8192+700] ^= 1 }, nil, StableCounts{Fallbacks: 1, Repaired: 1}},
	} {
		s, a, b, ma, mb := pair(t, StableOptions{}, "", "")
		mustWrite(t, s, good, 8192)
		if test.harm != nil {
			test.harm(a, b)
		}
		if test.rot != nil {
			test.rot(ma, mb)
		}
		content := good[test.off : test.off+test.n]
		p := make([]byte, test.n)
		n, err := s.ReadChecked(p, checkOf(content), 8192+test.off)
		if !errors.Is(err, test.want) || n != 0 {
			t.Errorf("%s: %d, %v, want %v", test.name, n, err, test.want)
		}
		if got := s.Counts(); got != test.counts {
			t.Errorf("%s: counts %+v, want %+v", test.name, got, test.counts)
		}
		if err != nil {
			continue
		}
		if !bytes.Equal(p, content) {
			t.Errorf("%s: other content", test.name)
		}
		if test.counts.Repaired == 0 {
			continue
		}
		for i, d := range []*Faulty{a, b} {
			if back := mustRead(t, d, 4096, 8192); !bytes.Equal(back, good) {
				t.Errorf("%s: replica %d differs after the repair", test.name, i)
			}
		}
		before := s.Counts()
		if _, err := s.ReadChecked(p, checkOf(content), 8192+test.off); err != nil || s.Counts() != before {
			t.Errorf("%s: the repair did not last: %v, %+v", test.name, err, s.Counts())
		}
	}
}

func TestStableKeepsTheOrderOfPlaces(t *testing.T) {
	s, a, _, _, _ := pair(t, StableOptions{}, "", "")
	mustWrite(t, s, pattern(512, 1), 0)
	mustWrite(t, s, pattern(512, 1), 512)
	a.Decay(0)
	if n, err := s.ReadChecked(make([]byte, 512), checkOf(pattern(512, 1)), 0, 512); n != 0 || err != nil {
		t.Errorf("place %d, %v: the first place passes on its second replica", n, err)
	}
}

func TestStableRepairFails(t *testing.T) {
	s, a, _, _, _ := pair(t, StableOptions{}, "write 2+: error", "")
	mustWrite(t, s, pattern(512, 1), 0)
	a.Decay(0)
	for range 2 {
		if _, err := s.ReadChecked(make([]byte, 512), checkOf(pattern(512, 1)), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := s.Counts(), (StableCounts{Fallbacks: 2, Failed: 2}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestStablePlainRead(t *testing.T) {
	s, a, b, _, _ := pair(t, StableOptions{}, "", "")
	good := pattern(4096, 1)
	mustWrite(t, s, good, 0)
	a.Decay(2)
	if !bytes.Equal(mustRead(t, s, 4096, 0), good) {
		t.Error("the second replica was not read")
	}
	b.Decay(3)
	if !bytes.Equal(mustRead(t, s, 4096, 0), good) {
		t.Error("the replicas were not mixed")
	}
	if got, want := s.Counts(), (StableCounts{Fallbacks: 1, Mixed: 1}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	b.Decay(2)
	_, err := s.ReadAt(make([]byte, 4096), 0)
	wantErr(t, "a pair", err, ErrBadSector)
}

func TestStableWriteErrors(t *testing.T) {
	for _, opt := range []StableOptions{{}, {Serial: true}, {Careful: true}} {
		for _, scripts := range [][2]string{{"write 1: error\nflush 1: error", ""}, {"", "write 1: error\nflush 1: error"}} {
			s, _, _, ma, mb := pair(t, opt, scripts[0], scripts[1])
			_, err := s.WriteAt(pattern(512, 1), 0)
			wantErr(t, "write", err, ErrInjected)
			wantErr(t, "flush", s.Flush(), ErrInjected)
			if ma.Bytes()[0] == mb.Bytes()[0] {
				t.Error("the other replica was not written")
			}
		}
	}
}

func TestStableCareful(t *testing.T) {
	s, _, _, ma, mb := pair(t, StableOptions{Careful: true}, "write 1: null\nwrite 2: bad", "write 2: null")
	mustWrite(t, s, pattern(1024, 1), 0)
	mustWrite(t, s, pattern(1024, 2), 1024)
	want := append(pattern(1024, 1), pattern(1024, 2)...)
	if !bytes.Equal(ma.Bytes()[:2048], want) || !bytes.Equal(mb.Bytes()[:2048], want) {
		t.Error("a null or bad write was not found by reading back")
	}
	if got, want := s.Counts(), (StableCounts{Rewritten: 3}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	s, _, _, _, mb = pair(t, StableOptions{Careful: true}, "write: null", "")
	_, err := s.WriteAt(pattern(512, 1), 0)
	wantErr(t, "a sector that takes nothing", err, ErrBadSector)
	if !bytes.Equal(mb.Bytes()[:512], pattern(512, 1)) {
		t.Error("the other replica was not written")
	}
}

func TestStableInOneDeviceFlushesOnce(t *testing.T) {
	c := NewCounter(NewMemory(64 << 10))
	s := NewStable(NewStripe(c, 0, 32<<10), NewStripe(c, 32<<10, 32<<10))
	mustWrite(t, s, make([]byte, 512), 0)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Counts(), (Counts{Writes: 2, BytesWritten: 1024, Flushes: 1}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}
