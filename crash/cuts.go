package crash

import "slices"

// A cut is what a run has learnt up to a place where a crash may cut it off. What it reads later
// is of no concern to that crash: all runs that begin with the same steps share it.
type cut struct {
	at    int // steps passed
	mask  []uint64
	grp   []*group
	decay decay
}

func (c *cut) save(d *lazy) {
	c.at = d.at
	c.mask = append(c.mask[:0], d.mask...)
	c.grp = append(c.grp[:0], d.grp...)
	if d.sp.decay != nil {
		c.decay.set(&d.decay)
	}
}

// cuts are the crash points inside a run: one at each flush, and one at the end. Those that an
// earlier run came to in the same way are only counted.
type cuts struct {
	since int   // steps that an earlier run took with the same outcomes
	old   int   // flushes at which the run had not yet left its way
	list  []cut // the others; their memory is kept
	used  int

	end  cut     // at the last event so far,
	open bool    // which is still to be saved
	last place   // of it
	ends []place // where runs that this one follows had their last event
}

// place is one in a run: whatever runs have passed the same steps have had the same events.
type place struct{ steps, events int }

// reset prepares for a run whose path has so many steps that are given, of which the last one has
// another outcome than before.
func (c *cuts) reset(prefix int) {
	c.since, c.old, c.used, c.open, c.last = prefix, 0, 0, true, place{}
	c.ends = slices.DeleteFunc(c.ends, func(p place) bool { return p.steps >= prefix })
}

// flush is called before a flush is recorded.
func (c *cuts) flush(d *lazy) {
	if d.at < c.since {
		c.old++
		return
	}
	if c.used == len(c.list) {
		c.list = append(c.list, cut{})
	}
	c.list[c.used].save(d)
	c.used++
}

// event is called after each event.
func (c *cuts) event(at int) { c.open, c.last = true, place{at, c.last.events + 1} }

// step is called before each step: what it brings is not known at the last event.
func (c *cuts) step(d *lazy) {
	if !c.open || !d.keep {
		return
	}
	c.open = false
	if !slices.Contains(c.ends, c.last) {
		c.end.save(d)
	}
}

// all are the cuts of the run, the last one that at its end; nil are those that were there before.
func (c *cuts) all(d *lazy) []*cut {
	c.step(d)
	list := make([]*cut, c.old, c.old+c.used+1)
	for i := range c.used {
		list = append(list, &c.list[i])
	}
	if slices.Contains(c.ends, c.last) {
		return append(list, nil)
	}
	c.ends = append(c.ends, c.last)
	return append(list, &c.end)
}

// fresh reports whether there is any cut that was not there before.
func fresh(list []*cut) bool { return slices.ContainsFunc(list, func(c *cut) bool { return c != nil }) }
