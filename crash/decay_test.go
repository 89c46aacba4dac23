package crash

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/klauspost/crc32"

	"holdfast/disk"
)

// decayCheck is the toy's check where sectors may have decayed: what cannot be read may be
// refused, the last operation may be lost, and nothing else.
func (j toy) decayCheck(s *State) error {
	err := j.check(s)
	if err == nil || s.Decayed() == 0 {
		return err
	}
	if errors.Is(err, errOpen) || strings.HasSuffix(err.Error(), "cannot be read") {
		s.Note("refused")
		return nil
	}
	if errors.Is(err, errDurability) {
		var done, synced, started int
		if _, scan := fmt.Sscanf(err.Error(), "durability: after %d, synced %d, started %d", &done, &synced, &started); scan == nil && done == synced-1 {
			s.Note("lost the last")
			return nil
		}
	}
	return err
}

// TestToyDecay: the toy owns up to what it lost; variants that do not are caught, at an ID that
// shows it again.
func TestToyDecay(t *testing.T) {
	for name, c := range map[string]struct {
		j      toy
		decay  int
		caught error
	}{
		"healthy":                    {toy{twoLogs: true, olderHeader: true}, 1, nil},
		"recovery leaves the tail":   {toy{twoLogs: true, olderHeader: true, recoveryNoHeader: true}, 1, nil},
		"one log":                    {toy{}, 1, errAtomicity}, // half of it is home, the log is lost
		"the newer header counts":    {toy{twoLogs: true}, 1, errAtomicity},
		"bad sectors read as zero":   {toy{twoLogs: true, olderHeader: true, badIsZero: true}, 1, errAtomicity},
		"a lost header is the first": {toy{twoLogs: true, olderHeader: true, lostHeaderIsZero: true}, 2, errAtomicity},
	} {
		t.Run(name, func(t *testing.T) {
			for _, nested := range []int{0, 1} {
				tr := c.j.trace(t, 3)
				opt := Options{Bad: true, Decay: c.decay, Nested: nested}
				r := mustExplore(t, tr, opt, c.j.decayCheck)
				if !r.Complete() || r.Covered.Cmp(r.States) != 0 {
					t.Fatalf("covered %v of %v", r.Covered, r.States)
				}
				if (r.Violations > 0) != (c.caught != nil) {
					t.Errorf("nested %d: %d violations", nested, r.Violations)
				}
				seen := false
				for _, p := range r.Points {
					for _, v := range p.Kept {
						seen = seen || c.caught == nil || errors.Is(v.Err, c.caught)
						m, err := Rebuild(tr, v.ID, nil, c.j.decayCheck)
						if err != nil {
							t.Fatal(err)
						}
						if _, verdict := m.Judge(c.j.decayCheck); verdict == nil {
							t.Errorf("%s: explored %v, replayed without a fault", v.ID, v.Err)
						}
						if c.caught == nil {
							t.Error(v.ID, v.Err)
						}
					}
				}
				if c.caught != nil && !seen {
					t.Errorf("no verdict is %v", c.caught)
				}
			}
		})
	}
}

// TestDecayLazy: what no read meets costs nothing, and a replica that is read with another makes
// no choice as long as not all of them can be bad.
func TestDecayLazy(t *testing.T) {
	const sectors = 1000
	tr := &disk.Trace{SectorSize: testSector, Base: make([]byte, sectors*testSector)}
	for i := range sectors {
		seal(tr.Base[i*testSector:][:testSector], 0)
	}
	p := make([]byte, testSector)
	check := disk.Check{Want: residue}
	two := func(s *State) error {
		_, err := s.Dev.ReadChecked(p, check, 0, 5*testSector)
		if s.Decayed() > 0 {
			s.Note(fmt.Sprint(s.Decayed(), " bad"))
		}
		return err
	}
	one := func(s *State) error {
		_, err := s.Dev.ReadChecked(p, check, 0)
		_, again := s.Dev.ReadChecked(p, check, 0)
		if (err == nil) != (again == nil) {
			t.Error("a sector is bad at one read and good at the next")
		}
		return err
	}
	for _, c := range []struct {
		check              Check
		decay              int
		leaves, violations int
		states             int64
	}{
		{two, 1, 1, 0, 1 + sectors},
		{two, 2, 4, 1, 1 + sectors + sectors*(sectors-1)/2}, // neither, one of them, the other, both
		{one, 1, 2, 1, 1 + sectors},
		{one, 2, 2, 1, 1 + sectors + sectors*(sectors-1)/2},
	} {
		r := mustExplore(t, tr, Options{Decay: c.decay}, c.check)
		if !r.Complete() || r.Leaves != c.leaves || r.Violations != c.violations || r.States.Cmp(big.NewInt(c.states)) != 0 {
			t.Errorf("decay %d: %d leaves, %d violations, %v states; want %+v", c.decay, r.Leaves, r.Violations, r.States, c)
		}
	}
}

// TestDecayID: IDs that name no state are refused.
func TestDecayID(t *testing.T) {
	tr := plainTrace(4, plainWrite{0, "ab"})
	for _, tail := range []string{"0-d", "0-d1", "0-d1.", "0-d0.1", "0-d3.1", "0-d1.1.2", "0-d2.2.1", "0-d2.1.1", "0-d1.-1", "0-d1.01", "0-d1.4", "0-n0-0-d1.1", "d1.1"} {
		if _, err := Rebuild(tr, fmt.Sprintf("hf1-%016x-p0s-%s", tr.Hash(), tail), nil, noteLetters); !errors.Is(err, ErrID) {
			t.Errorf("%s: %v", tail, err)
		}
	}
	for tail, want := range map[string]string{"0-d1.1": ".?..", "0v1-d2.0.3": "?..?", "1b-d1.2": ".??."} {
		m, err := Rebuild(tr, fmt.Sprintf("hf1-%016x-p0s-%s", tr.Hash(), tail), nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", tail, err)
		}
		if got := letters(m.Device()); got != want {
			t.Errorf("%s: %s, want %s", tail, got, want)
		}
	}
	for _, decay := range []int{-1, 3} {
		if _, err := Explore(tr, Options{Decay: decay}, noteLetters); !errors.Is(err, ErrOptions) {
			t.Errorf("decay %d: %v", decay, err)
		}
	}
}

// TestDeadOrBad: a sector that is bad in all states, in some because it decayed and was not written
// and in others because the write made it so, is not read as the zeros that would pass.
func TestDeadOrBad(t *testing.T) {
	tr := plainTrace(2, plainWrite{1, "."})
	zeros := make([]byte, 2*testSector)
	check := func(s *State) error {
		if s.Depth == 0 {
			if _, err := s.Dev.ReadAt(zeros[:testSector], 0); err == nil {
				return nil // that sector did not decay
			}
			p := make([]byte, testSector)
			p[0] = 'x'
			_, err := s.Dev.WriteAt(p, 0)
			return err
		}
		p := make([]byte, testSector)
		if _, err := s.Dev.ReadAt(p, 0); err == nil {
			return nil
		}
		want := crc32.Update(0, testTable, make([]byte, testSector))
		if _, err := s.Dev.ReadChecked(p, disk.Check{Want: want}, testSector/2); err == nil {
			return errors.New("half of what cannot be read was")
		}
		return nil
	}
	r := mustExplore(t, tr, Options{Bad: true, Decay: 1, Nested: 1}, check)
	if !r.Complete() || r.Violations > 0 || r.Nested.Leaves < 2 {
		t.Errorf("%d violations, %+v", r.Violations, r.Nested)
	}
}
