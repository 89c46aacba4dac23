package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/klauspost/crc32"
)

// versioned is content whose checksum does not tell old from new: every version passes.
func versioned(n int, version uint64) []byte {
	p := pattern(n, byte(version))
	binary.LittleEndian.PutUint64(p, version)
	binary.LittleEndian.PutUint32(p[n-4:], crc32.Update(7, castagnoli, p[:n-4]))
	return p
}

func versionCheck() Check {
	empty := make([]byte, 4)
	binary.LittleEndian.PutUint32(empty, 7)
	return Check{Seed: 7, Want: crc32.Update(7, castagnoli, empty),
		Version: func(p []byte) uint64 { return binary.LittleEndian.Uint64(p) }}
}

func TestStableServesTheNewer(t *testing.T) {
	for _, stale := range []int{0, 1} {
		s, a, b, ma, mb := pair(t, StableOptions{}, "", "")
		mustWrite(t, s, versioned(1024, 5), 4096)
		copy([]*Memory{ma, mb}[stale].Bytes()[4096:], versioned(1024, 4))
		p := make([]byte, 1024)
		if _, err := s.ReadChecked(p, versionCheck(), 4096); err != nil || !bytes.Equal(p, versioned(1024, 5)) {
			t.Fatalf("replica %d stale: %v, version %d", stale, err, p[0])
		}
		for i, d := range []*Faulty{a, b} {
			if !bytes.Equal(mustRead(t, d, 1024, 4096), versioned(1024, 5)) {
				t.Errorf("replica %d stale: replica %d is not the newer version", stale, i)
			}
		}
		if got := s.Counts().Repaired; got != 1 {
			t.Errorf("replica %d stale: %d repairs", stale, got)
		}
	}
}

// TestStableHealsOneNeighbour: two structures share a sector. Healing one of them leaves the
// other as the replica has it, whatever the twin holds there.
func TestStableHealsOneNeighbour(t *testing.T) {
	s, _, _, ma, mb := pair(t, StableOptions{}, "", "")
	mustWrite(t, s, append(versioned(256, 5), versioned(256, 8)...), 0)
	copy(ma.Bytes(), versioned(256, 4))       // the first is stale here
	copy(mb.Bytes()[256:], versioned(256, 7)) // and the second there
	for off, want := range map[int64]uint64{0: 5, 256: 8} {
		p := make([]byte, 256)
		if _, err := s.ReadChecked(p, versionCheck(), off); err != nil || !bytes.Equal(p, versioned(256, want)) {
			t.Errorf("at %d: %v, version %d, want %d", off, err, p[0], want)
		}
	}
	if !bytes.Equal(ma.Bytes()[:512], mb.Bytes()[:512]) || !bytes.Equal(ma.Bytes()[256:512], versioned(256, 8)) {
		t.Error("an older neighbour was put back")
	}
}

func TestStableOnly(t *testing.T) {
	opt := StableOptions{Only: [2][]Extent{{{Off: 1024, Len: 1024}}, {{Off: 2048, Len: 1024}}}}
	s, _, _, ma, mb := pair(t, opt, "", "")
	all := pattern(4096, 3)
	mustWrite(t, s, all, 0)
	if !bytes.Equal(mustRead(t, s, 4096, 0), all) {
		t.Error("what was written is not read back")
	}
	zero := make([]byte, 1024)
	for i, m := range []*Memory{ma, mb} {
		for part := range 4 {
			p := m.Bytes()[part*1024:][:1024]
			want := all[part*1024:][:1024]
			if part == 2-i {
				want = zero
			}
			if !bytes.Equal(p, want) {
				t.Errorf("replica %d, KiB %d: not what it should keep", i, part)
			}
		}
	}
	// The replica that keeps nothing there is never asked, nor healed.
	p := make([]byte, 512)
	c := checkOf(all[2048:2560])
	ma.Bytes()[2048] = 1
	if found, err := s.Mend(p, c, 2048); err != nil || found != [2]Copy{CopyNone, CopyGood} {
		t.Errorf("%v, %v", found, err)
	}
	mb.Bytes()[2048] ^= 1
	if _, err := s.ReadChecked(p, c, 2048); !errors.Is(err, ErrChecksum) {
		t.Errorf("%v", err)
	}
	if n, err := s.ReadChecked(p, checkOf(all[1024:1536]), 2048, 1024); err != nil || n != 1 {
		t.Errorf("the twin that another place is: %d, %v", n, err)
	}
}

func TestMend(t *testing.T) {
	good := pattern(4096, 1)
	flip := func(m *Memory, at int) { m.Bytes()[at] ^= 1 }
	for _, test := range []struct {
		name string
		harm func(a, b *Faulty, ma, mb *Memory)
		want [2]Copy
		err  error
	}{
		{"nothing", func(a, b *Faulty, ma, mb *Memory) {}, [2]Copy{CopyGood, CopyGood}, nil},
		{"first", func(a, b *Faulty, ma, mb *Memory) { a.Decay(18) }, [2]Copy{CopyHealed, CopyGood}, nil},
		{"second bad", func(a, b *Faulty, ma, mb *Memory) { b.Decay(18) }, [2]Copy{CopyGood, CopyHealed}, nil},
		{"second wrong", func(a, b *Faulty, ma, mb *Memory) { flip(mb, 8200) }, [2]Copy{CopyGood, CopyHealed}, nil},
		{"both wrong, elsewhere", func(a, b *Faulty, ma, mb *Memory) { flip(ma, 8200); flip(mb, 9000) }, [2]Copy{CopyHealed, CopyHealed}, nil},
		{"both wrong", func(a, b *Faulty, ma, mb *Memory) { flip(ma, 8200); flip(mb, 8201) }, [2]Copy{CopyLost, CopyLost}, ErrChecksum},
		{"both bad", func(a, b *Faulty, ma, mb *Memory) { a.Decay(18); b.Decay(18) }, [2]Copy{CopyLost, CopyLost}, ErrBadSector},
	} {
		s, a, b, ma, mb := pair(t, StableOptions{}, "", "")
		mustWrite(t, s, good, 8192)
		test.harm(a, b, ma, mb)
		p := make([]byte, 4096)
		found, err := Mend(s, p, checkOf(good), 8192)
		if found != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %v, %v, want %v, %v", test.name, found, err, test.want, test.err)
		}
		if err != nil {
			continue
		}
		for i, d := range []*Faulty{a, b} {
			if !bytes.Equal(p, good) || !bytes.Equal(mustRead(t, d, 4096, 8192), good) {
				t.Errorf("%s: replica %d is not mended", test.name, i)
			}
		}
	}

	// A repair that does not take is done again, and one that never takes is not called healed.
	s, _, b, _, mb := pair(t, StableOptions{}, "", "write 2: null")
	mustWrite(t, s, good, 8192)
	b.Decay(18)
	if found, err := s.Mend(make([]byte, 4096), checkOf(good), 8192); err != nil || found[1] != CopyHealed || !bytes.Equal(mb.Bytes()[8192:12288], good) {
		t.Errorf("a repair that was lost: %v, %v", found, err)
	}
	s, _, b, _, _ = pair(t, StableOptions{}, "", "write 2+: null")
	mustWrite(t, s, good, 8192)
	b.Decay(18)
	if found, err := s.Mend(make([]byte, 4096), checkOf(good), 8192); err != nil || found[1] != CopyLost {
		t.Errorf("a replica that takes nothing: %v, %v", found, err)
	}

	// Through an overlay and a counter, of a plain device, and of what an overlay holds itself.
	s, _, b, _, mb = pair(t, StableOptions{}, "", "")
	mustWrite(t, s, good, 8192)
	b.Decay(18)
	over := NewOverlay(s, 512)
	mustWrite(t, over, good, 0)
	if found, err := Mend(NewCounter(over), make([]byte, 4096), checkOf(good), 8192); err != nil || found[1] != CopyHealed || !bytes.Equal(mb.Bytes()[8192:12288], good) {
		t.Errorf("through an overlay: %v, %v", found, err)
	}
	for _, d := range []Device{over, MemoryFrom(bytes.Clone(good))} {
		if found, err := Mend(d, make([]byte, 4096), checkOf(good), 0); err != nil || found != [2]Copy{CopyGood, CopyNone} {
			t.Errorf("%T: %v, %v", d, found, err)
		}
		if found, err := Mend(d, make([]byte, 4096), checkOf(pattern(4096, 2)), 0); !errors.Is(err, ErrChecksum) || found != [2]Copy{CopyLost, CopyNone} {
			t.Errorf("%T, other content: %v, %v", d, found, err)
		}
	}
}

func TestStableWhole(t *testing.T) {
	s, a, b, _, _ := pair(t, StableOptions{}, "", "")
	good := pattern(4096, 1)
	mustWrite(t, s, good, 0)
	a.Decay(1)
	b.Decay(2)
	c := checkOf(good)
	c.Whole = true
	if _, err := s.ReadChecked(make([]byte, 4096), c, 0); !errors.Is(err, ErrBadSector) {
		t.Errorf("no replica is whole: %v", err)
	}
	c.Whole = false
	if _, err := s.ReadChecked(make([]byte, 4096), c, 0); err != nil {
		t.Error(err)
	}
}
