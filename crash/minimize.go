package crash

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"holdfast/disk"
)

// Minimize looks for a simpler state in which the check still fails in a way that same accepts
// (nil: any). Simpler is, in this order: fewer writes that are not there in full, fewer of these
// torn, fewer crashes inside the check, fewer decayed sectors, fewer bad ones, fewer old ones. It ends where no one
// write or sector can be put in place, no tear and no bad sector be made old, and no crash
// inside the check be left out, without the failure going away. It returns the image, which may
// be the one that id names; the crash point and the model stay.
//
// The errors are those of [Rebuild]; a state that does not fail is [ErrID] too.
func Minimize(t *disk.Trace, id string, label func(off int64, data []byte) string, check Check, same func(error) bool) (*Image, error) {
	p, err := parseID(id)
	if err != nil {
		return nil, err
	}
	first, err := rebuild(t, p, label, check)
	if err != nil {
		return nil, err
	}
	m := &minimizer{t: t, list: epochs(t, label), label: label, check: check, same: same, id: p, best: first}
	if !m.fails(first) {
		return nil, fmt.Errorf("%w: the state does not fail", ErrID)
	}
	for again := true; again; {
		if again, err = m.pass(); err != nil {
			return nil, err
		}
	}
	return m.best, nil
}

// minimizer goes from a failing state to simpler ones.
type minimizer struct {
	t     *disk.Trace
	list  []epoch
	label func(off int64, data []byte) string
	check Check
	same  func(error) bool

	id   stateID
	best *Image
}

func (m *minimizer) fails(image *Image) bool {
	_, verdict := image.Judge(m.check)
	return verdict != nil && (m.same == nil || m.same(verdict))
}

// pass tries everything once, and reports whether something was of use.
func (m *minimizer) pass() (better bool, err error) {
	try := func(q stateID) {
		if err == nil {
			var ok bool
			ok, err = m.try(q)
			better = better || ok
		}
	}
	for n := 1; n < len(m.id.levels); n++ {
		try(m.with(m.id.levels[:n]))
	}
	for i := 1; i < len(m.id.levels); i++ {
		try(m.with(slices.Delete(slices.Clone(m.id.levels), i, i+1)))
	}
	for i := range m.id.decayed {
		if i < len(m.id.decayed) {
			q := m.id
			if q.decayed = slices.Delete(slices.Clone(q.decayed), i, i+1); len(q.decayed) == 0 {
				q.decayed, q.decay = nil, 0
			}
			try(q)
		}
	}
	for depth := 0; depth < len(m.id.levels) && err == nil; depth++ {
		writes, werr := m.writes(m.id, depth)
		if werr != nil {
			return better, werr
		}
		for _, change := range changes(writes, m.t.SectorSize, m.id.model) {
			if depth >= len(m.id.levels) {
				break
			}
			levels := slices.Clone(m.id.levels)
			levels[depth] = change(&levels[depth])
			try(m.with(levels))
		}
	}
	return better, err
}

func (m *minimizer) with(levels []level) stateID {
	q := m.id
	q.levels = levels
	return q
}

// try takes a state if it is simpler and fails still. A change of the outer crash may leave an
// inner one without its writes: such a state is none.
func (m *minimizer) try(q stateID) (bool, error) {
	was, err := m.cost(m.id)
	if err != nil {
		return false, err
	}
	now, err := m.cost(q)
	if err == nil && slices.Compare(now, was) >= 0 {
		return false, nil
	}
	var image *Image
	if err == nil {
		image, err = build(m.t, m.list, m.label, q, m.check)
	}
	if errors.Is(err, ErrID) || errors.Is(err, ErrNotDeterministic) {
		return false, nil
	}
	if err != nil || !m.fails(image) {
		return false, err
	}
	m.id, m.best = q, image
	return true, nil
}

// writes are those in flight at the crash of a level.
func (m *minimizer) writes(id stateID, depth int) ([]disk.Event, error) {
	if depth == 0 {
		return m.list[id.point].writes, nil
	}
	outer := id
	outer.levels = id.levels[:depth]
	image, err := build(m.t, m.list, m.label, outer, m.check)
	if err != nil {
		return nil, err
	}
	_, events := unmark(written(m.check, newState(image.Point, image.lazy(), depth-1, image.before)))
	inner := epochs(&disk.Trace{SectorSize: m.t.SectorSize, Events: events}, nil)
	if n := id.levels[depth].point; n < len(inner) {
		return inner[n].writes, nil
	}
	return nil, fmt.Errorf("%w: the check has no nested crash point %d", ErrNotDeterministic, id.levels[depth].point)
}

// cost orders states: writes not there in full, torn ones, crashes inside, decayed sectors, bad
// sectors in flight, old sectors.
func (m *minimizer) cost(id stateID) ([]int, error) {
	c := []int{0, 0, len(id.levels) - 1, len(id.decayed), 0, 0}
	for depth := range id.levels {
		writes, err := m.writes(id, depth)
		if err != nil {
			return nil, err
		}
		p := &Point{}
		for _, w := range writes {
			p.InFlight = append(p.InFlight, Write{Off: w.Off, Len: len(w.Data)})
		}
		missing, _ := id.levels[depth].damage(&epoch{point: p, writes: writes}, m.t.SectorSize, id.model)
		for _, w := range missing {
			c[0]++
			if w.Lost != w.Sectors {
				c[1]++
			}
			c[4] += w.Bad
			c[5] += w.Lost
		}
	}
	return c, nil
}

// changes of a level that may make it simpler, the big ones first.
func changes(writes []disk.Event, sector int, model Model) []func(*level) level {
	parts := make([]map[int]int, len(writes)) // by write: the versions at which it is there
	newest := map[int]int{}
	(&level{}).each(writes, sector, model, func(i int, _ int64, _ []byte, v, version int) {
		if parts[i] == nil {
			parts[i] = map[int]int{}
		}
		parts[i][v] = version
		newest[v] = max(newest[v], version)
		for before := 0; model == Prefix && before < v; before++ {
			parts[i][before] = prefixBlock
		}
	})
	var list []func(*level) level
	for n := len(parts); n > 0; n /= 2 {
		for chunk := range slices.Chunk(parts, n) {
			there := map[int]int{}
			for _, p := range chunk {
				for v, version := range p {
					there[v] = max(there[v], version)
				}
			}
			list = append(list, func(l *level) level { return l.with(there) })
		}
	}
	if model != Sectors {
		return list
	}
	for _, p := range parts {
		list = append(list, func(l *level) level { return l.without(p) })
	}
	for _, v := range slices.Sorted(maps.Keys(newest)) {
		list = append(list,
			func(l *level) level { return l.with(map[int]int{v: newest[v]}) },
			func(l *level) level {
				if l.version(v) < 0 {
					return l.set(map[int]int{v: 0})
				}
				return *l
			})
	}
	return list
}

// with is the level with these variables at least at these versions.
func (l *level) with(part map[int]int) level {
	set := map[int]int{}
	for v, version := range part {
		set[v] = max(l.version(v), version)
	}
	return l.set(set)
}

// without is the level with these variables older than these versions, and not bad.
func (l *level) without(part map[int]int) level {
	set := map[int]int{}
	for v, version := range part {
		set[v] = max(0, min(l.version(v), version-1))
	}
	return l.set(set)
}

// set is the level with these variables at these versions, without trailing zeros.
func (l *level) set(part map[int]int) level {
	m := level{point: l.point, versions: slices.Clone(l.versions)}
	for v, version := range part {
		for len(m.versions) <= v {
			m.versions = append(m.versions, 0)
		}
		m.versions[v] = version
	}
	for n := len(m.versions); n > 0 && m.versions[n-1] == 0; n-- {
		m.versions = m.versions[:n-1]
	}
	return m
}
