package main

import (
	"errors"
	"slices"

	"holdfast/crash"
	"holdfast/workload"
)

// shrinker looks for the fewest operations of a script after which a crash state still fails
// with the same class of verdict, and then for the least of a crash.
type shrinker struct {
	from  *sessionSource
	class workload.Class
	opt   crash.Options // with which each script is explored
	tried int           // scripts
}

// shrunk is a script that fails, and a state in which it does.
type shrunk struct {
	x  *session
	id string
}

// same reports whether the error of a check is of the class; that a cause of it is does not count.
func (h *shrinker) same(err error) bool { return classOf(err) == h.class }

// classOf is the class of the verdict that an error of a check is; anything else, a panic above
// all, is ErrPanic.
func classOf(err error) workload.Class {
	var v *workload.Verdict
	if errors.As(err, &v) {
		return v.Class
	}
	return workload.ErrPanic
}

// first is the ID of the first state of a session that fails with the class, "" if none does.
func (h *shrinker) first(x *session, opt crash.Options) (string, error) {
	opt.StopFirst, opt.Keep, opt.Label, opt.Progress = true, 1, x.label, nil
	r, err := crash.Explore(x.trace, opt, func(s *crash.State) error {
		err := x.check(s)
		if err != nil && h.same(err) {
			return err
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	for _, p := range r.Points {
		for _, v := range p.Kept {
			return v.ID, nil
		}
	}
	return "", nil
}

// fails plays a script and explores it; nil if it cannot be played or does not fail.
func (h *shrinker) fails(s *workload.Script) *shrunk {
	h.tried++
	x, err := play(h.from.name, s.String(), "")
	if err != nil || h.from.dress(x) != nil {
		return nil
	}
	id, err := h.first(x, h.opt)
	if err != nil || id == "" {
		return nil
	}
	return &shrunk{x, id}
}

// shrink takes operations out of the script, setup and all, until each one is needed. It is nil
// if the script does not fail even whole.
func (h *shrinker) shrink(s *workload.Script) *shrunk {
	best := h.fails(s)
	if best == nil {
		return nil
	}
	s = clone(s)
	for _, ops := range [][]workload.Op{s.Setup, s.Ops} {
		for i := range ops {
			ops[i].Line = i + 1 // what is left is told by it
		}
	}
	strict := s
	// What an operation gives may change when others are gone: while operations go, any result will do.
	loose := clone(s)
	loose.Relax()
	if got := h.fails(loose); got != nil {
		s, best = loose, got
	}
	for n := len(s.Setup) + len(s.Ops); n > 0; {
		removed := false
		for at := 0; at < len(s.Setup)+len(s.Ops); {
			q := without(s, at, at+n)
			if got := h.fails(q); got != nil {
				s, best, removed = q, got, true
			} else {
				at += n
			}
		}
		if n > 1 || !removed {
			n /= 2
		}
	}
	// Those that are left must succeed again, or give what the script says, where the failure allows it.
	tight := clone(s)
	tighten(tight.Setup, strict.Setup)
	tighten(tight.Ops, strict.Ops)
	if got := h.fails(tight); got != nil {
		best = got
	}
	return best
}

// tighten gives operations the results that they had in the whole script.
func tighten(ops, from []workload.Op) {
	for i, op := range ops {
		ops[i].Any, ops[i].Expect = from[op.Line-1].Any, from[op.Line-1].Expect
	}
}

// clone copies a script so that its operations can be changed.
func clone(s *workload.Script) *workload.Script {
	q := *s
	q.Setup, q.Ops = slices.Clone(s.Setup), slices.Clone(s.Ops)
	return &q
}

// without is the script without operations from to to-1, those of the setup first.
func without(s *workload.Script, from, to int) *workload.Script {
	q := clone(s)
	n := len(s.Setup)
	q.Setup = slices.Delete(q.Setup, min(from, n), min(to, n))
	from, to = max(from-n, 0), min(max(to-n, 0), len(q.Ops))
	q.Ops = slices.Delete(q.Ops, from, to)
	return q
}

// least is the least crash with which the script fails: of each model that is no worse than the
// one explored, the first failure with as much as possible in its place; of these the one with
// the fewest writes missing, the simplest model first.
func (h *shrinker) least(s *shrunk) (*crash.Image, error) {
	best, err := crash.Minimize(s.x.trace, s.id, s.x.label, s.x.check, h.same)
	if err != nil {
		return nil, err
	}
	if h.opt.Model != crash.Sectors {
		return best, nil
	}
	sectors := crash.Options{Workers: h.opt.Workers, MaxLeaves: h.opt.MaxLeaves}
	bad, atomic := sectors, sectors
	bad.Bad, atomic.Model = h.opt.Bad, crash.Atomic
	for _, opt := range []crash.Options{bad, sectors, atomic} {
		id, err := h.first(s.x, opt)
		if err != nil {
			return nil, err
		}
		if id == "" {
			break // a simpler model has fewer states
		}
		m, err := crash.Minimize(s.x.trace, id, s.x.label, s.x.check, h.same)
		if err != nil {
			return nil, err
		}
		if len(m.Missing) <= len(best.Missing) && m.Depth <= best.Depth {
			best = m
		}
	}
	return best, nil
}
