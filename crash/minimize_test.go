package crash

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"holdfast/disk"
)

// TestMinimizeToy: every way of breaking the toy journal, from every violation that a mode
// keeps, comes down to a state in which each missing write, each sector that is not there, and
// each crash inside recovery is needed.
func TestMinimizeToy(t *testing.T) {
	for name, j := range map[string]toy{
		"no flush after the log":     {noFlushAfterLog: true},
		"commit without checksum":    {noPayloadSum: true},
		"tail advanced early":        {headerEarly: true},
		"header in place":            {headerInPlace: true},
		"acknowledged too early":     {ackEarly: true},
		"recovery without a flush":   {recoveryNoFlush: true},
		"recovery is not idempotent": {recoveryIncrements: true},
	} {
		for mode, opt := range toyModes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				tr, r := j.explore(t, opt)
				for _, p := range r.Points {
					for _, v := range p.Kept {
						class := errors.Unwrap(v.Err)
						same := func(err error) bool { return errors.Is(err, class) }
						m, err := Minimize(tr, v.ID, nil, j.check, same)
						if err != nil {
							t.Fatalf("%s: %v", v.ID, err)
						}
						if id, err := ParseID(m.ID); err != nil || id != (ID{tr.Hash(), p.Point.Index, opt.Model, m.Depth, 0}) {
							t.Errorf("%s reads as %+v, %v", m.ID, id, err)
						}
						needed(t, tr, m, j.check, same, v)
						again, err := Minimize(tr, m.ID, nil, j.check, same)
						if err != nil || again.ID != m.ID {
							t.Errorf("%s becomes %s and then %v, %v", v.ID, m.ID, again, err)
						}
					}
				}
			})
		}
	}
}

// needed tries, apart from the minimiser, to put each missing write in its place and to leave
// out each crash inside.
func needed(t *testing.T, tr *disk.Trace, m *Image, check Check, same func(error) bool, from *Violation) {
	t.Helper()
	was, err := Rebuild(tr, from.ID, nil, check)
	if err != nil {
		t.Fatal(err)
	}
	if m.Depth > was.Depth || len(m.Missing) > len(was.Missing) {
		t.Errorf("%s grew to %s: %v, was %v", from.ID, m.ID, m.Missing, was.Missing)
	}
	id, err := parseID(m.ID)
	if err != nil {
		t.Fatal(err)
	}
	fails := func(what string, levels []level) {
		q := id
		q.levels = levels
		image, err := Rebuild(tr, q.String(), nil, check)
		if errors.Is(err, ErrID) || errors.Is(err, ErrNotDeterministic) {
			return // the crash inside lost its writes
		}
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		if _, verdict := image.Judge(check); verdict != nil && same(verdict) {
			t.Errorf("%s: %s, %s fails alike", m.ID, what, q)
		}
	}
	for n := 1; n < len(id.levels); n++ {
		fails("with fewer crashes inside", id.levels[:n])
	}
	writes := m.Point.InFlight
	for i, w := range m.Missing {
		if w.Depth > 0 {
			continue
		}
		outer := level{versions: slices.Clone(id.levels[0].versions)}
		at := slices.IndexFunc(writes, func(x Write) bool { return x.Event == w.Event })
		switch id.model {
		case Sectors:
			sectors := map[int64]int{} // versions at the time of the write
			var all []int64
			for n, x := range writes {
				for s := x.Off; s < x.Off+int64(x.Len); s += testSector {
					all = append(all, s)
					if n <= at {
						sectors[s]++
					}
				}
			}
			slices.Sort(all)
			for v, s := range slices.Compact(all) {
				if s < w.Off || s >= w.Off+int64(w.Len) {
					continue
				}
				for len(outer.versions) <= v {
					outer.versions = append(outer.versions, 0)
				}
				outer.versions[v] = max(outer.versions[v], sectors[s])
			}
		case Atomic:
			for len(outer.versions) <= at {
				outer.versions = append(outer.versions, 0)
			}
			outer.versions[at] = 1
		case Prefix: // fewer than prefixBlock writes here
			outer.versions = []int{at + 1}
		}
		fails(fmt.Sprint("with write ", i, " in place"), append([]level{outer}, id.levels[1:]...))
	}
}
