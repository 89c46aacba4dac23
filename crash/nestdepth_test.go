package crash

import (
	"bytes"
	"math/big"
	"testing"

	"holdfast/disk"
)

// TestNestedSeenDeeper: an image that was explored at the greatest depth, where no crash is looked into,
// is explored again when a smaller depth comes to it.
func TestNestedSeenDeeper(t *testing.T) {
	tr := &disk.Trace{SectorSize: 512, Base: make([]byte, 8*512)}
	for _, depth := range []int{1, 2, 3} {
		most := 0
		mustExplore(t, tr, Options{Nested: depth}, func(s *State) error {
			p := make([]byte, 512)
			at := int64(0)
			for ; ; at += 512 { // what the runs before it have written
				if err := disk.ReadFull(s.Dev, p, at); err != nil {
					return err
				}
				if p[0] == 0 {
					break
				}
			}
			most = max(most, int(at/512))
			for range 2 {
				if at < s.Dev.Size()-512 {
					if _, err := s.Dev.WriteAt(bytes.Repeat([]byte{1}, 512), at); err != nil {
						return err
					}
					if err := s.Dev.Flush(); err != nil {
						return err
					}
				}
				at += 512
			}
			return nil
		})
		if most != min(2*depth, 7) {
			t.Errorf("%d crashes inside, each after up to 2 writes: at most %d were seen", depth, most)
		}
	}
}

// TestNestedMarks: two crashes that leave one image are told apart by what was marked before them.
func TestNestedMarks(t *testing.T) {
	tr := &disk.Trace{SectorSize: 512, Base: make([]byte, 512)}
	marked := map[int]int{}
	r := mustExplore(t, tr, Options{Nested: 1}, func(s *State) error {
		if s.Depth > 0 {
			marked[len(s.Before)]++
			return nil
		}
		if _, err := s.Dev.WriteAt(bytes.Repeat([]byte{1}, 512), 0); err != nil {
			return err
		}
		for range 2 {
			if err := s.Dev.Flush(); err != nil {
				return err
			}
		}
		s.Mark("done")
		return nil
	})
	if r.Nested.Distinct != 3 || marked[0] != 2 || marked[1] != 1 {
		t.Errorf("%d of %d crash points inside are distinct, runs by marks %v", r.Nested.Distinct, r.Nested.Points, marked)
	}
}

// TestComplete: whatever is lacking, there is no certificate.
func TestComplete(t *testing.T) {
	good := PointReport{States: big.NewInt(3), Covered: big.NewInt(3)}
	if !good.Complete() {
		t.Error("nothing is lacking")
	}
	limit, sum, inside := good, good, good
	limit.Limit, sum.Covered, inside.Nested.Incomplete = "interrupted", big.NewInt(2), 1
	for _, p := range []*PointReport{&limit, &sum, &inside} {
		if p.Complete() || (&Report{Points: []*PointReport{&good, p}}).Complete() {
			t.Errorf("complete: %+v", p)
		}
	}
}
