package crash

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"holdfast/disk"
)

// TestNested: a crash inside the check, over what the crash before it left undecided.
func TestNested(t *testing.T) {
	tr := plainTrace(4, plainWrite{0, "ab"})
	put := func(dev disk.Device, at int, letter byte) error {
		p := make([]byte, testSector)
		p[0] = letter
		_, err := dev.WriteAt(p, int64(at)*testSector)
		return err
	}
	var seen []string
	check := func(s *State) error {
		if s.Depth == 1 {
			l := letters(s.Dev)
			seen = append(seen, l)
			return errors.New(l)
		}
		// Sector 1 is never read; what it holds is for the crash inside to find.
		return errors.Join(put(s.Dev, 0, 'x'), s.Dev.Flush(), put(s.Dev, 3, 'y'), put(s.Dev, 1, 'z'))
	}
	r := mustExplore(t, tr, Options{Bad: true, Nested: 1, Keep: 1 << 20}, check)
	if !r.Complete() || r.Leaves != 1 {
		t.Fatalf("%d leaves, %+v", r.Leaves, r.Nested)
	}
	// The flush: sector 0 is anything, sector 1 old, new or bad. The end: sector 0 is x.
	var want []string
	for _, a := range ".a?x" {
		for _, b := range ".b?" {
			want = append(want, fmt.Sprintf("%c%c..", a, b))
		}
	}
	for _, b := range ".b?z" {
		for _, d := range ".?y" {
			want = append(want, fmt.Sprintf("x%c.%c", b, d))
		}
	}
	// Where sector 0 or 1 is old or bad for two reasons, that is two versions but one content.
	slices.Sort(want)
	got := slices.Clone(seen)
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, slices.Compact(want)) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, v := range r.Points[0].Kept {
		m, err := Rebuild(tr, v.ID, nil, check)
		if err != nil {
			t.Fatalf("%s: %v", v.ID, err)
		}
		if got := letters(m.Device()); got != v.Err.Error() || m.Depth != 1 {
			t.Errorf("%s: rebuilt %s, want %v", v.ID, got, v.Err)
		}
	}
	// A flushed write makes a bad sector good; one that is not there does not.
	for tail, want := range map[string]string{"0b-n0-0": "?...", "0b-n0-0v1": "x...", "0b-n1-0": "x...", "0bx2-n1-0v1": "xz..", "0bx2-n1-1v1": "x?.y"} {
		m, err := Rebuild(tr, fmt.Sprintf("hf1-%016x-p0s-%s", tr.Hash(), tail), nil, check)
		if err != nil {
			t.Fatalf("%s: %v", tail, err)
		}
		if got := letters(m.Device()); got != want {
			t.Errorf("%s: %s, want %s", tail, got, want)
		}
	}
}

// TestFixpoint: a recovery that ends where it began is explored once, however deep.
func TestFixpoint(t *testing.T) {
	tr := plainTrace(1, plainWrite{0, "a"})
	runs := 0
	r := mustExplore(t, tr, Options{Nested: 8}, func(s *State) error {
		runs++
		p := make([]byte, testSector)
		p[0] = 'r'
		_, err := s.Dev.WriteAt(p, 0)
		return errors.Join(err, s.Dev.Flush())
	})
	// Outer: one leaf. Inside: old (two contents never read), or r; then all is known.
	if !r.Complete() || r.Nested.Deepest >= 8 || runs > 20 {
		t.Errorf("%d runs, %+v", runs, r.Nested)
	}
}

func spaceDigest(s *space) digest {
	var h digester
	s.digest(&h)
	return h.sum()
}

// TestDigest: the same states have one digest, whatever the variables are called; others do not.
func TestDigest(t *testing.T) {
	sector := func(letter byte) []byte { return append([]byte{letter}, make([]byte, testSector-1)...) }
	make2 := func(first int32, boxes []uint64, top byte) *space {
		s := &space{base: make([]byte, 4*testSector), sector: testSector,
			vars: make([]variable, 4), mask: []uint64{3, 3, 3, 3}, grp: make([]*group, 4)}
		for i := range int32(2) {
			v := first + i
			s.chains = append(s.chains, chain{sector: int64(i), layers: []layer{{v: v, data: []content{contentOf(sector(0)), contentOf(sector(top))}}}})
			if boxes != nil {
				s.grp[v] = &group{vars: []int32{first, first + 1}, boxes: boxes}
			}
		}
		if boxes != nil {
			s.grp[first+1] = s.grp[first]
		}
		return s
	}
	equal, unequal := []uint64{1, 1, 2, 2}, []uint64{1, 2, 2, 1}
	base := make2(0, equal, 'a')
	if spaceDigest(base) != spaceDigest(make2(2, equal, 'a')) {
		t.Error("the numbers of the variables matter")
	}
	for name, s := range map[string]*space{
		"other boxes": make2(0, unequal, 'a'), "no group": make2(0, nil, 'a'), "other content": make2(0, equal, 'b'),
	} {
		if spaceDigest(s) == spaceDigest(base) {
			t.Errorf("%s: the same digest", name)
		}
	}
	masked := make2(0, nil, 'a')
	masked.mask[1] = 1
	patched := make2(0, nil, 'a')
	patched.patches = []patch{{3, contentOf(sector('p'))}}
	list := []digest{spaceDigest(make2(0, nil, 'a')), spaceDigest(masked), spaceDigest(patched)}
	if list[0] == list[1] || list[0] == list[2] || list[1] == list[2] {
		t.Error("masks or patches do not matter")
	}
	// One write over two sectors, there or not, and two writes that are so independently.
	one, two := plainTrace(2, plainWrite{0, "ab"}), plainTrace(2, plainWrite{0, "a"}, plainWrite{1, "b"})
	if spaceDigest(writeSpace(one.Base, testSector, one.Events)) == spaceDigest(writeSpace(two.Base, testSector, two.Events)) {
		t.Error("what shares a variable is not told from what does not")
	}
}

// TestOldest: an ID names the state of its leaf in which most is old.
func TestOldest(t *testing.T) {
	tr := blocksTrace(1)
	r := mustExplore(t, tr, Options{Bad: true}, func(s *State) error {
		_, err := s.Dev.ReadChecked(make([]byte, 4096), disk.Check{Want: residue}, 0)
		return err
	})
	want := fmt.Sprintf("hf1-%016x-p0s-7v1", tr.Hash())
	if r.Violations != 1 || r.Points[0].Kept[0].ID != want {
		t.Errorf("got %+v, want one violation, %s", r.Points[0].Kept, want)
	}
}

// TestMarks: a run after a crash inside the check finds what was marked before that crash, also
// where the images alone would not tell the crashes apart, and in a replay.
func TestMarks(t *testing.T) {
	tr := plainTrace(2, plainWrite{0, "a"})
	check := func(s *State) error {
		if s.Depth > 0 {
			return fmt.Errorf("%s %v", letters(s.Dev), s.Before)
		}
		p := make([]byte, testSector)
		p[0] = 'x'
		_, err := s.Dev.WriteAt(p, 0)
		s.Mark("one")
		err = errors.Join(err, s.Dev.Flush())
		s.Mark("two")
		return errors.Join(err, s.Dev.Flush()) // nothing is in flight here but a mark
	}
	for _, model := range []Model{Sectors, Atomic, Prefix} {
		r := mustExplore(t, tr, Options{Model: model, Nested: 1, Keep: 100}, check)
		if !r.Complete() {
			t.Errorf("%v: %+v", model, r.Nested)
		}
		var got []string
		for _, p := range r.Points {
			for _, v := range p.Kept {
				got = append(got, v.Err.Error())
				m, err := Rebuild(tr, v.ID, nil, check)
				if err != nil {
					t.Fatal(err)
				}
				if _, verdict := m.Judge(check); verdict == nil || verdict.Error() != v.Err.Error() {
					t.Errorf("%s: explored %v, replayed %v", v.ID, v.Err, verdict)
				}
			}
		}
		slices.Sort(got)
		if want := []string{".. [one]", "a. [one]", "x. [one two]", "x. [one]"}; !slices.Equal(slices.Compact(got), want) {
			t.Errorf("%v: got %q, want %q", model, got, want)
		}
	}
}

// TestFixpointToy: crashes inside crashes end by themselves, with and without decay.
func TestFixpointToy(t *testing.T) {
	for _, opt := range []Options{{Bad: true}, {Model: Atomic}, {Bad: true, Decay: 1}} {
		opt.Nested = Fixpoint
		j := toy{twoLogs: true, olderHeader: true}
		r := mustExplore(t, j.trace(t, 2), opt, j.decayCheck)
		if !r.Complete() || r.Violations > 0 || r.Nested.Deepest < 2 {
			t.Errorf("%+v: %d violations, %+v", opt, r.Violations, r.Nested)
		}
	}
	// A check that never leaves the same image twice has no fixpoint.
	r := mustExplore(t, plainTrace(1, plainWrite{0, "a"}), Options{Nested: Fixpoint}, func(s *State) error {
		p := make([]byte, testSector)
		if s.Depth > 0 {
			_, _ = s.Dev.ReadAt(p, 0)
		}
		p[0]++
		_, err := s.Dev.WriteAt(p, 0)
		return err
	})
	if r.Complete() || r.Nested.Deepest != maxDepth {
		t.Errorf("%+v", r.Nested)
	}
}

// TestNestedEnds: of two runs that part after a write one writes more and the other does not: each
// is cut off at its own end. What comes before any write leaves nothing new.
func TestNestedEnds(t *testing.T) {
	tr := plainTrace(3, plainWrite{0, "a"})
	got := map[string]bool{}
	put := func(s *State, letter byte, sector int64) error {
		p := make([]byte, testSector)
		p[0] = letter
		_, err := s.Dev.WriteAt(p, sector*testSector)
		return err
	}
	r := mustExplore(t, tr, Options{Nested: 1}, func(s *State) error {
		if s.Depth > 0 {
			got[letters(s.Dev)] = true
			return nil
		}
		if err := errors.Join(s.Dev.Flush(), put(s, 'x', 1)); err != nil {
			return err
		}
		p := make([]byte, testSector)
		if _, err := s.Dev.ReadAt(p, 0); err != nil || p[0] == 'a' {
			return err
		}
		return put(s, 'y', 2)
	})
	if !r.Complete() {
		t.Errorf("%+v", r.Nested)
	}
	list := slices.Sorted(maps.Keys(got))
	if want := []string{"...", "..y", ".x.", ".xy", "a..", "ax."}; !slices.Equal(list, want) {
		t.Errorf("got %q, want %q", list, want)
	}
}
