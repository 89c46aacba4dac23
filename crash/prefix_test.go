package crash

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"holdfast/disk"
)

// TestPrefixMany: more writes in flight than one variable counts, some over others: each prefix
// is a leaf of its own where everything is read, and its ID makes its bytes.
func TestPrefixMany(t *testing.T) {
	const sectors, writes = 50, 200
	tr := &disk.Trace{SectorSize: testSector, Base: make([]byte, sectors*testSector)}
	images := map[string]int{}
	image := make([]byte, sectors*testSector)
	images[string(image)] = 0
	for i := range writes {
		p := make([]byte, testSector)
		p[0] = byte(i + 1)
		off := int64(i*7%sectors) * testSector
		tr.Events = append(tr.Events, disk.Event{Kind: disk.EventWrite, Off: off, Data: p})
		copy(image[off:], p)
		images[string(image)] = i + 1
	}
	seen := map[string]bool{}
	check := func(s *State) error {
		p := make([]byte, sectors*testSector)
		for i := range sectors { // backwards, so that the last choices come first
			if _, err := s.Dev.ReadAt(p[(sectors-1-i)*testSector:][:testSector], int64(sectors-1-i)*testSector); err != nil {
				return err
			}
		}
		seen[string(p)] = true
		return errors.New(fmt.Sprint(images[string(p)]))
	}
	r := mustExplore(t, tr, Options{Model: Prefix, Keep: 1000}, check)
	if !r.Complete() || r.States.Cmp(big.NewInt(writes+1)) != 0 || r.Leaves != writes+1 || len(seen) != writes+1 {
		t.Fatalf("%v states, %d leaves, %d images", r.States, r.Leaves, len(seen))
	}
	for _, v := range r.Points[0].Kept {
		m, err := Rebuild(tr, v.ID, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := images[string(m.Bytes)]; !ok || fmt.Sprint(n) != v.Err.Error() || len(m.Missing) != writes-n {
			t.Errorf("%s: rebuilt %d, explored %v, %d missing", v.ID, n, v.Err, len(m.Missing))
		}
	}
	for _, tail := range []string{"0v62.0v1", "1v1", "0b", "0v63x2.0v64", "0v63x3.0v12"} {
		if _, err := Rebuild(tr, fmt.Sprintf("hf1-%016x-p0p-%s", tr.Hash(), tail), nil, nil); !errors.Is(err, ErrID) {
			t.Errorf("%s: %v", tail, err)
		}
	}
	// A minimised failure is the one with most writes there.
	m, err := Minimize(tr, fmt.Sprintf("hf1-%016x-p0p-0v63.0v10", tr.Hash()), nil, func(s *State) error {
		p := make([]byte, testSector)
		if _, err := s.Dev.ReadAt(p, 49*testSector); err != nil || bytes.Equal(p, tr.Events[107].Data) {
			return nil
		}
		return errors.New("not there")
	}, nil)
	if err != nil || m.ID != fmt.Sprintf("hf1-%016x-p0p-0v63x3.0v11", tr.Hash()) {
		t.Errorf("minimised to %+v, %v", m, err)
	}
}
