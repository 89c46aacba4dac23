package crash

import "holdfast/disk"

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

// cuts are the crash points inside a run: one at each flush, and one at the end. Those flushes that
// an earlier run came to in the same way are only counted.
type cuts struct {
	since int   // steps that are given, of which the last one has another outcome than before
	old   int   // flushes before that step
	list  []cut // the others; their memory is kept
	used  int
	end   cut
}

func (c *cuts) reset(prefix int) { c.since, c.old, c.used = prefix, 0, 0 }

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

// all are the cuts of the run, the last one that at its end; nil are those that are explored
// elsewhere. With nothing since the last flush, the end is a state of the cut at that flush; else
// it is of this run alone, since one that goes on has more in flight.
func (c *cuts) all(d *lazy) []*cut {
	list := make([]*cut, c.old, c.old+c.used+1)
	for i := range c.used {
		list = append(list, &c.list[i])
	}
	if n := len(d.events); n == 0 || d.events[n-1].Kind == disk.EventFlush {
		return append(list, nil)
	}
	c.end.save(d)
	return append(list, &c.end)
}
