package crash

import (
	"errors"
	"math/big"
	"testing"
)

// TestKnown: points that are known are not explored, and count; a report that is not of its
// point is refused.
func TestKnown(t *testing.T) {
	j := toy{}
	tr := j.trace(t, 2)
	whole := mustExplore(t, tr, Options{Bad: true}, j.check)
	runs := map[int]int{}
	check := func(s *State) error {
		runs[s.Index]++
		return j.check(s)
	}
	known := func(p *Point) *PointReport {
		if p.Index%2 == 1 {
			return whole.Points[p.Index]
		}
		return nil
	}
	r := mustExplore(t, tr, Options{Bad: true, Known: known}, check)
	if !r.Complete() || r.Leaves != whole.Leaves || r.States.Cmp(whole.States) != 0 || r.Covered.Cmp(r.States) != 0 {
		t.Errorf("%d leaves, %v of %v states", r.Leaves, r.Covered, r.States)
	}
	for i, p := range whole.Points {
		if want := p.Leaves * (1 - i%2); runs[i] != want {
			t.Errorf("point %d: %d runs, want %d", i, runs[i], want)
		}
	}
	_, err := Explore(tr, Options{Bad: true, Known: func(p *Point) *PointReport {
		return &PointReport{Point: p, States: big.NewInt(7), Covered: big.NewInt(7)}
	}}, j.check)
	if !errors.Is(err, ErrOptions) {
		t.Errorf("reports of other points: %v", err)
	}
}
