package crash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"holdfast/disk"
)

// The atomic write of one unit on sectors that promise nothing, four ways, and what of each is
// left after a crash: the exploration behind a table in docs/CRASH.md.

const atomicUnit = 2 * testSector

// A scheme keeps one unit. It is opened on a device, perhaps after a crash.
type scheme interface {
	put(p []byte) error
	get(p []byte) error
	recover() error
}

// copies is one or two copies that nothing vouches for.
type copies struct {
	dev disk.Device
	n   int64
}

func (s copies) put(p []byte) error {
	for i := range s.n {
		if _, err := s.dev.WriteAt(p, i*atomicUnit); err != nil {
			return err
		}
		if err := s.dev.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// get believes the first copy that can be read.
func (s copies) get(p []byte) (err error) {
	for i := range s.n {
		if err = disk.ReadFull(s.dev, p, i*atomicUnit); !errors.Is(err, disk.ErrBadSector) {
			return err
		}
	}
	return err
}

// recover makes the second copy what the first one is.
func (s copies) recover() error {
	if s.n == 1 {
		return nil
	}
	p := make([]byte, atomicUnit)
	if err := s.get(p); err != nil {
		return err
	}
	return s.put(p)
}

// three is disk.Triple.
type three struct{ *disk.Triple }

func newThree(dev disk.Device) scheme {
	t, err := disk.NewTriple(dev, atomicUnit)
	if err != nil {
		panic(err)
	}
	return three{t}
}

func (s three) put(p []byte) error { _, err := s.WriteAt(p, 0); return err }
func (s three) get(p []byte) error { _, err := s.ReadAt(p, 0); return err }
func (s three) recover() error     { return s.Recover() }

// wrongThree recovers as the rule is often told: the third copy goes to the first and then to the
// second.
type wrongThree struct {
	three
	dev disk.Device
}

func (s wrongThree) recover() error {
	p := make([]byte, atomicUnit)
	if err := s.get(p); err != nil {
		return err
	}
	for i := range int64(3) {
		if _, err := s.dev.WriteAt(p, i*s.Size()); err != nil {
			return err
		}
		if err := s.dev.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// checked is two copies whose content says whether it is good: the careful put, one copy behind
// a flush behind the other, and the cleanup.
type checked struct {
	dev    disk.Device
	stable *disk.Stable
}

func newChecked(dev disk.Device) scheme {
	half := dev.Size() / 2
	return checked{dev, disk.NewStableWith(disk.NewStripe(dev, 0, half), disk.NewStripe(dev, half, half), disk.StableOptions{SectorSize: testSector, Careful: true})}
}

func (s checked) check() disk.Check {
	return disk.Check{Want: residue, Version: func(p []byte) uint64 { return binary.LittleEndian.Uint64(p) }}
}

func (s checked) put(p []byte) error {
	for i := range int64(2) {
		if _, err := s.dev.WriteAt(p, i*s.dev.Size()/2); err != nil {
			return err
		}
		if err := s.dev.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (s checked) get(p []byte) error {
	_, err := s.stable.ReadChecked(p, s.check(), 0)
	return err
}

func (s checked) recover() error {
	if _, err := disk.Mend(s.stable, make([]byte, atomicUnit), s.check(), 0); err != nil {
		return err
	}
	return s.stable.Flush()
}

var (
	errNeither  = errors.New("neither old nor new")
	errUnstable = errors.New("one value, and then the other")
	errLost     = errors.New("cannot be read")
)

// atomicFate explores the write of Y over X, and says what a recovery and a read after it find.
func atomicFate(t *testing.T, open func(disk.Device) scheme, opt Options) string {
	t.Helper()
	fill := func(version uint64, b byte) []byte {
		p := bytes.Repeat([]byte{b}, atomicUnit)
		binary.LittleEndian.PutUint64(p, version)
		return seal(p, 0)
	}
	x, y := fill(1, 'x'), fill(2, 'y')
	m := disk.NewMemory(6 * atomicUnit)
	if err := open(m).put(x); err != nil {
		t.Fatal(err)
	}
	rec := disk.NewRecorder(m, testSector)
	if err := open(rec).put(y); err != nil {
		t.Fatal(err)
	}
	opt.Bad, opt.Keep = true, 1000
	r, err := Explore(rec.Trace(), opt, func(s *State) error {
		unit := open(s.Dev)
		p, q := make([]byte, atomicUnit), make([]byte, atomicUnit)
		if err := unit.get(p); err != nil {
			return errLost
		}
		if err := unit.recover(); err != nil {
			return errLost
		}
		if err := unit.get(q); err != nil {
			return errLost
		}
		switch {
		case !bytes.Equal(p, x) && !bytes.Equal(p, y):
			return errNeither
		case !bytes.Equal(p, q):
			return errUnstable
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete() {
		t.Fatalf("no certificate: %+v", r)
	}
	var found []string
	for _, want := range []error{errNeither, errUnstable, errLost} {
	search:
		for _, p := range r.Points {
			for _, v := range p.Kept {
				if errors.Is(v.Err, want) {
					found = append(found, want.Error())
					break search
				}
			}
		}
	}
	if found == nil {
		return "old or new"
	}
	return strings.Join(found, "; ")
}

// TestAtomicWrite explores each scheme under each kind of fault; the table in docs/CRASH.md is what
// it finds.
func TestAtomicWrite(t *testing.T) {
	faults := []struct {
		name string
		opt  Options
	}{
		{"a crash", Options{}},
		{"and two crashes inside recovery", Options{Nested: 2}},
		{"a crash, and one sector decayed", Options{Decay: 1}},
	}
	var b strings.Builder
	b.WriteString("| one unit kept as |")
	for _, f := range faults {
		fmt.Fprintf(&b, " %s |", f.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(faults)) + "\n")
	for _, c := range []struct {
		name string
		open func(disk.Device) scheme
	}{
		{"one copy", func(d disk.Device) scheme { return copies{d, 1} }},
		{"two copies, unchecked", func(d disk.Device) scheme { return copies{d, 2} }},
		{"three copies, the first rewritten first", func(d disk.Device) scheme { return wrongThree{newThree(d).(three), d} }},
		{"three copies (`disk.Triple`)", newThree},
		{"two checked copies (`disk.Stable`)", newChecked},
	} {
		fmt.Fprintf(&b, "| %s |", c.name)
		for _, f := range faults {
			fmt.Fprintf(&b, " %s |", atomicFate(t, c.open, f.opt))
		}
		b.WriteString("\n")
	}
	text, err := os.ReadFile("../docs/CRASH.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), b.String()) {
		t.Errorf("docs/CRASH.md has another table than\n%s", b.String())
	}
}
