package crash

import (
	"fmt"
	"strings"

	"holdfast/disk"
)

// validate refuses a trace that breaks the rules of its format: everything after it relies on
// writes being whole sectors inside the base.
func validate(t *disk.Trace) error {
	if t.SectorSize != 512 && t.SectorSize != 4096 {
		return fmt.Errorf("%w: sector size %d", ErrTrace, t.SectorSize)
	}
	size, sector := int64(len(t.Base)), int64(t.SectorSize)
	if size%sector != 0 {
		return fmt.Errorf("%w: base of %d bytes", ErrTrace, size)
	}
	for i, e := range t.Events {
		switch e.Kind {
		case disk.EventWrite:
			n := int64(len(e.Data))
			if n == 0 || n%sector != 0 || e.Off%sector != 0 || e.Off < 0 || e.Off > size-n {
				return fmt.Errorf("%w: event %d: write of %d bytes at %d", ErrTrace, i, n, e.Off)
			}
		case disk.EventFlush, disk.EventMark:
		default:
			return fmt.Errorf("%w: event %d: kind %d", ErrTrace, i, e.Kind)
		}
	}
	return nil
}

// epoch is a crash point with what lies between it and the flush before.
type epoch struct {
	point  *Point
	first  int          // its first event
	writes []disk.Event // since the last flush
}

// epochs lists the crash points of a valid trace.
func epochs(t *disk.Trace, label func(off int64, data []byte) string) []epoch {
	var list []epoch
	var marks []string
	p := &Point{}
	e := epoch{point: p}
	touched := map[int64]struct{}{}
	var started, finished, synced string
	done := func(event int, end bool) {
		p.Event, p.End = event, end
		p.Marks = marks[:len(marks):len(marks)]
		p.Started, p.Finished, p.Synced = started, finished, synced
		p.Sectors = len(touched)
		list = append(list, e)
		p = &Point{Index: p.Index + 1, Epoch: p.Epoch + 1}
		e = epoch{point: p, first: event + 1}
		clear(touched)
	}
	for i := range t.Events {
		switch v := &t.Events[i]; v.Kind {
		case disk.EventWrite:
			w := Write{Event: i, Off: v.Off, Len: len(v.Data)}
			if label != nil {
				w.Label = label(v.Off, v.Data)
			}
			p.InFlight = append(p.InFlight, w)
			e.writes = append(e.writes, *v)
			for at := v.Off; at < v.Off+int64(len(v.Data)); at += int64(t.SectorSize) {
				touched[at] = struct{}{}
			}
		case disk.EventMark:
			marks = append(marks, v.Mark)
			switch word, rest, _ := strings.Cut(v.Mark, " "); word {
			case "started":
				started = rest
			case "finished":
				finished = rest
			case "synced":
				synced = rest
			}
		case disk.EventFlush:
			done(i, false)
		}
	}
	done(len(t.Events), true)
	return list
}

// Points lists the crash points of a trace; label is as in [Options]. The error matches
// [ErrTrace].
func Points(t *disk.Trace, label func(off int64, data []byte) string) ([]*Point, error) {
	if err := validate(t); err != nil {
		return nil, err
	}
	list := epochs(t, label)
	points := make([]*Point, len(list))
	for i := range list {
		points[i] = list[i].point
	}
	return points, nil
}

// space is the legal states at the point; image is what was there at the start of the epoch.
func (e *epoch) space(image []byte, sector int, opt *Options) (*space, error) {
	switch opt.Model {
	case Atomic:
		return writeSpace(image, sector, e.writes), nil
	case Prefix:
		return prefixSpace(image, sector, e.writes), nil
	}
	return sectorSpace(image, sector, e.writes, opt.Bad)
}

// roll brings image from the start of the epoch to its end.
func (e *epoch) roll(image []byte) {
	for _, w := range e.writes {
		copy(image[w.Off:], w.Data)
	}
}
