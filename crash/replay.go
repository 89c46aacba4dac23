package crash

import (
	"fmt"
	"maps"
	"slices"

	"holdfast/disk"
)

// badPattern fills the bad sectors of a rebuilt image, again and again.
const badPattern = "BAD SECTOR\n"

// Image is one concrete crash state.
type Image struct {
	ID    string
	Point *Point
	Depth int           // crashes inside the check before it
	Bytes []byte        // the whole image; bad sectors hold a pattern
	Bad   []disk.Extent // whole sectors

	// Missing is what of the writes is not there: of the workload, and of the check's runs before
	// the crashes inside them. The index in the events is of the trace or of that run.
	Missing []MissingWrite

	sector int
	before []string         // the marks of the check before its crashes
	decay  *decay           // nil if no sector decayed
	lost   map[int64][]byte // what the decayed sectors held
}

// Rebuild makes the image that an ID names; label is as in [Options]. An ID with a crash inside
// the check needs the check, which is run to see its writes; others do not, and check may be
// nil. The same ID gives the same bytes in every process.
//
// The error matches [ErrID], [ErrOtherTrace] or [ErrTrace], or [ErrNotDeterministic] if the
// check no longer makes the writes that the ID speaks of.
func Rebuild(t *disk.Trace, id string, label func(off int64, data []byte) string, check Check) (*Image, error) {
	p, err := parseID(id)
	if err != nil {
		return nil, err
	}
	return rebuild(t, p, label, check)
}

func rebuild(t *disk.Trace, id stateID, label func(off int64, data []byte) string, check Check) (*Image, error) {
	if err := validate(t); err != nil {
		return nil, err
	}
	if hash := t.Hash(); hash != id.hash {
		return nil, fmt.Errorf("%w: it is of trace %016x, this is %016x", ErrOtherTrace, id.hash, hash)
	}
	return build(t, epochs(t, label), label, id, check)
}

// build is rebuild with the epochs of the trace, which is valid and the one that the ID names.
func build(t *disk.Trace, list []epoch, label func(off int64, data []byte) string, id stateID, check Check) (*Image, error) {
	if id.point >= len(list) {
		return nil, fmt.Errorf("%w: crash point %d, the trace has %d", ErrID, id.point, len(list))
	}
	e := &list[id.point]
	m := &Image{ID: id.String(), Point: e.point, Depth: len(id.levels) - 1, Bytes: slices.Clone(t.Base), sector: t.SectorSize}
	for i := range id.point {
		list[i].roll(m.Bytes)
	}
	bad := map[int64]struct{}{}
	var k *decay // with what the check has met of it
	if id.decayed != nil {
		if last := id.decayed[len(id.decayed)-1]; last >= int64(len(t.Base)/t.SectorSize) {
			return nil, fmt.Errorf("%w: sector %d is not in the image", ErrID, last)
		}
		k = newDecay(int64(len(t.Base)/t.SectorSize), id.decay)
		k.truth, k.healed = set(id.decayed), map[int64]struct{}{}
	}
	if err := id.levels[0].apply(m.Bytes, bad, nil, e.writes, t.SectorSize, id.model); err != nil {
		return nil, err
	}
	m.Missing, _ = id.levels[0].damage(e, t.SectorSize, id.model)
	for depth, l := range id.levels[1:] {
		if check == nil {
			return nil, fmt.Errorf("%w: a crash inside the check needs the check", ErrID)
		}
		d := concrete(m.Bytes, bad, k, t.SectorSize)
		events := written(check, newState(e.point, d, depth, m.before))
		m.before = append(slices.Clip(m.before), marksBefore(events, l.point)...)
		_, events = unmark(events)
		if k != nil {
			k = &decay{}
			k.set(&d.decay)
			k.truth, k.healed = maps.Clone(k.truth), maps.Clone(k.healed)
		}
		if err := l.crash(m.Bytes, bad, k, events, t.SectorSize, id.model); err != nil {
			return nil, err
		}
		inner := epochs(&disk.Trace{SectorSize: t.SectorSize, Events: events}, label)[l.point]
		missing, _ := l.damage(&inner, t.SectorSize, id.model)
		for _, w := range missing {
			w.Depth = depth + 1
			m.Missing = append(m.Missing, w)
		}
	}
	if k != nil {
		m.decay = k
		m.lost = map[int64][]byte{}
		for at := range k.truth {
			m.lost[at] = slices.Clone(m.Bytes[at*int64(t.SectorSize):][:t.SectorSize])
			bad[at] = struct{}{}
		}
	}
	for at := range bad {
		s := m.Bytes[at*int64(t.SectorSize):][:t.SectorSize]
		for n := 0; n < len(s); {
			n += copy(s[n:], badPattern)
		}
	}
	m.Bad = extents(bad, t.SectorSize)
	return m, nil
}

// written is what the check writes on a state whose device is concrete. What it says of the
// state does not matter here.
func written(check Check, s *State) []disk.Event {
	d := s.Dev.(*lazy)
	d.keep = true
	_ = run(check, s)
	return d.events
}

// marksBefore are the marks before a crash point among the events.
func marksBefore(events []disk.Event, point int) []string {
	for i, e := range events {
		if e.Kind == disk.EventFlush {
			if point--; point < 0 {
				events = events[:i]
				break
			}
		}
	}
	marks, _ := unmark(events)
	return marks
}

// crash makes image what is left of it by a crash at the level's point among the events.
func (l *level) crash(image []byte, bad map[int64]struct{}, k *decay, events []disk.Event, sector int, model Model) error {
	for point := 0; ; point++ {
		n := slices.IndexFunc(events, func(e disk.Event) bool { return e.Kind == disk.EventFlush })
		last := n < 0
		if last {
			n = len(events)
		}
		if point == l.point {
			if err := l.apply(image, bad, k, events[:n], sector, model); err != nil {
				return fmt.Errorf("nested crash point %d: %w", point, err)
			}
			return nil
		}
		if last {
			return fmt.Errorf("%w: the check has no nested crash point %d", ErrNotDeterministic, l.point)
		}
		for _, w := range events[:n] {
			copy(image[w.Off:], w.Data)
			for done := 0; done < len(w.Data); done += sector {
				delete(bad, (w.Off+int64(done))/int64(sector))
				k.heal((w.Off + int64(done)) / int64(sector))
			}
		}
		events = events[n+1:]
	}
}

// heal says that a decayed sector was written again. k may be nil.
func (k *decay) heal(at int64) {
	if k != nil {
		delete(k.truth, at)
		k.healed[at] = struct{}{}
	}
}

// concrete is a device without choices: image, with its bad sectors, and those that decayed.
func concrete(image []byte, bad map[int64]struct{}, k *decay, sector int) *lazy {
	sp := &space{base: image, sector: sector, decay: k}
	if k != nil {
		sp.healed = k.healed
	}
	for _, at := range sortedKeys(bad) {
		sp.patches = append(sp.patches, patch{sector: at})
	}
	sp.close(0)
	d := &lazy{}
	d.load(sp)
	return d
}

// Device is the image as a device whose bad sectors cannot be read. What is written to it stays
// in it.
func (m *Image) Device() disk.Device { return m.lazy() }

func (m *Image) lazy() *lazy {
	bad := map[int64]struct{}{}
	for _, e := range m.Bad {
		for at := e.Off; at < e.End(); at += int64(m.sector) {
			if _, ok := m.lost[at/int64(m.sector)]; !ok {
				bad[at/int64(m.sector)] = struct{}{}
			}
		}
	}
	if m.decay == nil {
		return concrete(m.Bytes, bad, nil, m.sector)
	}
	image := slices.Clone(m.Bytes)
	for at, data := range m.lost {
		copy(image[at*int64(m.sector):], data)
	}
	return concrete(image, bad, m.decay, m.sector)
}

// Judge runs the check on the image, and returns what it noted and its verdict. The image does
// not change.
func (m *Image) Judge(check Check) (label string, verdict error) {
	s := newState(m.Point, m.lazy(), m.Depth, m.before)
	verdict = run(check, s)
	return s.label, verdict
}
