package crash

import (
	"errors"
	"fmt"
	"slices"

	"holdfast/disk"
)

// maxDecay bounds Options.Decay.
const maxDecay = 2

// decay is what a run knows about the sectors that went bad at the crash, whatever the crash did
// to the writes in flight. The states that it stands for are: of the sectors of each cell exactly
// as many are bad as it says, of those known to be good none, of all others at most left.
type decay struct {
	left  int
	free  uint64  // sectors that nothing is known about
	known []int32 // by sector: one of the below
	cells []cell

	// truth, if not nil, says which sectors are bad: the image is one concrete state. Those in
	// healed were written since.
	truth, healed map[int64]struct{}
}

// Entries of decay.known; from inCell on they are the index of a cell plus inCell.
const (
	unknown = iota
	sound
	inCell
)

// cell is a set of sectors of which exactly so many are bad.
type cell struct {
	sectors []int64 // immutable
	bad     int     // 1 to len(sectors)
	met     bool    // a read failed because of them
}

func newDecay(sectors int64, most int) *decay {
	return &decay{left: most, free: uint64(sectors), known: make([]int32, sectors)}
}

// set makes k what o is.
func (k *decay) set(o *decay) {
	k.left, k.free, k.truth, k.healed = o.left, o.free, o.truth, o.healed
	k.known = append(k.known[:0], o.known...)
	k.cells = append(k.cells[:0], o.cells...)
}

// dead reports whether a sector is bad in all states.
func (k *decay) dead(sector int64) bool {
	n := k.known[sector]
	return n >= inCell && len(k.cells[n-inCell].sectors) == k.cells[n-inCell].bad
}

// possible is how many sectors can still turn out to be bad that are not known to be.
func (k *decay) possible() int {
	n := k.left
	for i := range k.cells {
		if c := &k.cells[i]; len(c.sectors) > c.bad {
			n += c.bad
		}
	}
	return n
}

// met is how many bad sectors made a read fail, in this run or in one that a crash cut off.
func (k *decay) met() int {
	n := 0
	for i := range k.cells {
		if k.cells[i].met {
			n += k.cells[i].bad
		}
	}
	return n
}

// suspects are the sectors of the cells that met counts, as byte offsets.
func (k *decay) suspects(sector int64) (list []int64) {
	for i := range k.cells {
		if c := &k.cells[i]; c.met {
			for _, s := range c.sectors {
				list = append(list, s*sector)
			}
		}
	}
	slices.Sort(list)
	return list
}

// choose is the number of ways to choose m of n, for m up to maxDecay.
func choose(n uint64, m int) uint64 {
	switch {
	case uint64(m) > n:
		return 0
	case m == 0:
		return 1
	case m == 1:
		return n
	}
	return n * (n - 1) / 2
}

// atMost is the number of ways to choose up to m of n.
func atMost(n uint64, m int) uint64 {
	sum := uint64(0)
	for i := range m + 1 {
		sum += choose(n, i)
	}
	return sum
}

// weight is how many sets of bad sectors k stands for. Cells and left never speak of more than
// maxDecay sectors together, so it is small.
func (k *decay) weight() uint64 {
	w := atMost(k.free, k.left)
	for i := range k.cells {
		w *= choose(uint64(len(k.cells[i].sectors)), k.cells[i].bad)
	}
	return w
}

// least is one set of bad sectors of those that k stands for.
func (k *decay) least() []int64 {
	var list []int64
	for i := range k.cells {
		list = append(list, k.cells[i].sectors[:k.cells[i].bad]...)
	}
	slices.Sort(list)
	return list
}

// part is those of the sectors of a read that lie in the same places of it and of which the same
// was known before.
type part struct {
	from    int32 // unknown, or the cell as in decay.known
	places  uint64
	sectors []int64
	covered bool // one sector, which may have been written since: places do not fail because of it alone
}

// settle takes in how many sectors of each part are bad.
func (k *decay) settle(parts []part, hits []uint8) {
	for i := range parts {
		p := &parts[i]
		if p.from != unknown {
			continue
		}
		k.free -= uint64(len(p.sectors))
		k.left -= int(hits[i])
		k.mark(p.sectors, int(hits[i]))
	}
	for i := range parts {
		p := &parts[i]
		if p.from == unknown || slices.ContainsFunc(parts[:i], func(q part) bool { return q.from == p.from }) {
			continue
		}
		c := &k.cells[p.from-inCell]
		rest, bad := c.sectors, c.bad
		for j := i; j < len(parts); j++ {
			if q := &parts[j]; q.from == p.from {
				rest = slices.DeleteFunc(slices.Clone(rest), func(s int64) bool { return slices.Contains(q.sectors, s) })
				bad -= int(hits[j])
			}
		}
		// The cell itself becomes what no part took, or the first part that has bad sectors.
		met, taken := c.met, bad > 0
		if taken {
			*c = cell{sectors: rest, bad: bad, met: met}
		} else {
			k.mark(rest, 0)
		}
		for j := i; j < len(parts); j++ {
			q := &parts[j]
			switch {
			case q.from != p.from:
			case hits[j] > 0 && !taken:
				k.cells[p.from-inCell] = cell{sectors: q.sectors, bad: int(hits[j]), met: true}
				taken = true
			default:
				k.mark(q.sectors, int(hits[j]))
			}
		}
	}
}

// mark makes sectors a cell, or good ones if none of them is bad.
func (k *decay) mark(sectors []int64, bad int) {
	n := int32(sound)
	if bad > 0 {
		n = int32(len(k.cells)) + inCell
		k.cells = append(k.cells, cell{sectors: sectors, bad: bad, met: true})
	}
	for _, s := range sectors {
		k.known[s] = n
	}
}

// digest writes what k says of images; healed sectors are good whatever it says of them.
func (k *decay) digest(h *digester, healed map[int64]struct{}) {
	h.put(3, k.left, len(k.cells))
	for i := range k.cells {
		c := &k.cells[i]
		h.put(c.bad, len(c.sectors), flag(c.met))
		for _, s := range slices.Sorted(slices.Values(c.sectors)) {
			_, ok := healed[s]
			h.put(int(s), flag(ok))
		}
	}
	if k.left == 0 {
		return // no other sector is bad
	}
	good := make([]byte, (len(k.known)+7)/8)
	for s, n := range k.known {
		if n == sound {
			good[s/8] |= 1 << (s % 8)
		}
	}
	for s := range healed {
		good[s/8] |= 1 << (s % 8)
	}
	h.bytes(good)
}

// hit is the places of a read that have bad sectors.
func hit(parts []part, hits []uint8) uint64 {
	places := uint64(0)
	for i := range parts {
		if hits[i] > 0 && !parts[i].covered {
			places |= parts[i].places
		}
	}
	return places
}

// withers reports whether decay has a say in what a sector holds: it has not where the sector
// was written after the crash.
func (d *lazy) withers(sector int64) bool {
	w := d.where[sector]
	if w&3 == inArena {
		return false
	}
	if _, ok := d.sp.healed[sector]; ok {
		return false
	}
	if w&3 == inChain {
		c := &d.sp.chains[w>>2]
		if _, _, ok := c.above(d.mask, c.top); ok {
			return false
		}
	}
	return true
}

// covered reports whether writes made since sectors decayed may decide what a sector holds.
func (d *lazy) covered(c *chain) bool {
	_, falls, _ := c.above(d.mask, c.top)
	return !falls
}

// dead reports whether a sector that was not written since the crash is bad in all states.
func (d *lazy) dead(sector int64) bool {
	if d.sp.decay == nil || !d.decay.dead(sector) {
		return false
	}
	_, ok := d.sp.healed[sector]
	return !ok
}

// ask settles at which of the places (byte offsets, n bytes each) there are sectors that went
// bad: a step, unless that is known. The result has a bit for each place that cannot be read
// because of them. Covered sectors are settled one by one, for dead.
func (d *lazy) ask(n int, places []int64) (uint64, error) {
	if n == 0 || d.sp.decay == nil {
		return 0, nil
	}
	if len(places) > 64 {
		return 0, d.stop(fmt.Errorf("a read of %d places: %w", len(places), ErrLimit))
	}
	k := &d.decay
	d.parts = d.parts[:0]
	fixed := true
	for i, off := range places {
		for s := off >> d.log2; s<<d.log2 < off+int64(n); s++ {
			if d.settled(s) {
				continue
			}
			known := k.known[s]
			in := uint64(1) << uint(i)
			for j, other := range places {
				if s<<d.log2 < other+int64(n) && (s+1)<<d.log2 > other {
					in |= 1 << uint(j)
				}
			}
			if in&(1<<uint(i)-1) != 0 {
				continue // an earlier place has it
			}
			covered := d.where[s]&3 == inChain && d.covered(&d.sp.chains[d.where[s]>>2])
			at := -1
			if !covered {
				at = slices.IndexFunc(d.parts, func(p part) bool { return p.from == known && p.places == in && !p.covered })
			}
			if at < 0 {
				at = len(d.parts)
				d.parts = append(d.parts, part{from: known, places: in, covered: covered})
			}
			d.parts[at].sectors = append(d.parts[at].sectors, s)
		}
	}
	if len(d.parts) == 0 {
		return 0, nil
	}
	hits := make([]uint8, len(d.parts))
	for i := range d.parts {
		p := &d.parts[i]
		if p.from == unknown || len(k.cells[p.from-inCell].sectors) != len(p.sectors) {
			fixed = false
			break
		}
		hits[i] = uint8(k.cells[p.from-inCell].bad)
	}
	if !fixed && k.truth != nil {
		for i := range d.parts {
			hits[i] = 0
			for _, s := range d.parts[i].sectors {
				if _, ok := k.truth[s]; ok {
					hits[i]++
				}
			}
		}
		fixed = true
	}
	if fixed {
		places := hit(d.parts, hits)
		k.settle(d.parts, hits)
		return places, nil
	}
	st, err := d.step('d', n, disk.Check{}, places)
	if err != nil {
		return 0, err
	}
	return hit(st.parts, st.out[st.chosen].hits), nil
}

// settled reports whether a sector is known to be good, or bad or not makes no difference to it.
func (d *lazy) settled(sector int64) bool {
	known := d.decay.known[sector]
	return known == sound || known == unknown && d.decay.left == 0 || !d.withers(sector)
}

// doubtful reports whether decay may have a say in a read of n bytes.
func (d *lazy) doubtful(off int64, n int) bool {
	if d.inRange(n, off) != nil {
		return false // it fails whatever decayed
	}
	for s := off >> d.log2; s<<d.log2 < off+int64(n); s++ {
		if !d.settled(s) {
			return true
		}
	}
	return false
}

// inCells reports whether one of n bytes is in a sector that may be known to be bad.
func (d *lazy) inCells(off int64, n int) bool {
	for s := off >> d.log2; s<<d.log2 < off+int64(n); s++ {
		if d.decay.known[s] >= inCell && d.withers(s) {
			return true
		}
	}
	return false
}

// decays computes the outcomes of a step that asks for the decay of d.parts.
func (d *lazy) decays(st *step) {
	k := &d.decay
	st.parts = slices.Clone(d.parts)
	for i := range st.parts {
		st.parts[i].sectors = slices.Clone(st.parts[i].sectors)
	}
	st.out, st.tied, st.old = st.out[:0], true, weight{small: k.weight()}
	hits := make([]uint8, len(st.parts))
	var spread func(i int)
	spread = func(i int) {
		if i < len(hits) {
			for h := range min(maxDecay, len(st.parts[i].sectors)) + 1 {
				hits[i] = uint8(h)
				spread(i + 1)
			}
			return
		}
		if w := k.weightAfter(st.parts, hits); w > 0 {
			st.out = append(st.out, outcome{hits: slices.Clone(hits), states: weight{small: w}})
		}
	}
	spread(0)
}

// weightAfter is the weight that settle would leave, 0 if there is no such state.
func (k *decay) weightAfter(parts []part, hits []uint8) uint64 {
	w, free, left := uint64(1), k.free, k.left
	for i := range parts {
		w *= choose(uint64(len(parts[i].sectors)), int(hits[i]))
		if parts[i].from == unknown {
			free -= uint64(len(parts[i].sectors))
			left -= int(hits[i])
		}
	}
	if left < 0 {
		return 0
	}
	w *= atMost(free, left)
	for i := range k.cells {
		n, bad := len(k.cells[i].sectors), k.cells[i].bad
		for j := range parts {
			if parts[j].from == int32(i)+inCell {
				n -= len(parts[j].sectors)
				bad -= int(hits[j])
			}
		}
		if bad < 0 {
			return 0
		}
		w *= choose(uint64(n), bad)
	}
	return w
}

// readDecayed is readPlaces where decay may have a say: first it is settled which places have
// bad sectors, unless the read gives the same whatever these are.
func (d *lazy) readDecayed(p []byte, c disk.Check, places []int64) (int, error) {
	if !slices.ContainsFunc(places, func(off int64) bool { return d.doubtful(off, len(p)) }) {
		return d.readPlaces(p, c, places)
	}
	var asked []int64 // those whose decay matters
	index := make([]int, 0, len(places))
	same, passing, first := true, 0, []byte(nil) // all that pass are decided, and are alike
	var claimed []int64                          // sectors of those that pass
	for i, off := range places {
		if d.inRange(len(p), off) != nil {
			same = false // the read may fail in its own way
			break
		}
		d.note('d', off, len(p))
		good, ok := d.gather(p, off)
		if ok && (good && !c.Pass(p) || !good && !d.inCells(off, len(p))) {
			continue
		}
		asked, index = append(asked, off), append(index, i)
		if ok && !good {
			continue
		}
		if !ok || first != nil && string(first) != string(p) {
			same = false
			continue
		}
		passing++
		if first == nil {
			first = slices.Clone(p)
		}
		for s := off >> d.log2; s<<d.log2 < off+int64(len(p)); s++ {
			same = same && !slices.Contains(claimed, s)
			claimed = append(claimed, s)
		}
	}
	if len(asked) == 0 || same && passing > d.decay.possible() {
		return d.readPlaces(p, c, places)
	}
	hit, err := d.ask(len(p), asked)
	if err != nil {
		return 0, err
	}
	if hit == 0 {
		return d.readPlaces(p, c, places)
	}
	var left []int64
	var back []int
	for i, off := range places {
		if at := slices.Index(index, i); at >= 0 && hit>>uint(at)&1 != 0 {
			continue
		}
		left, back = append(left, off), append(back, i)
	}
	if len(left) == 0 {
		return 0, disk.ErrBadSector
	}
	i, err := d.readPlaces(p, c, left)
	if err == nil {
		return back[i], nil
	}
	if errors.Is(err, disk.ErrChecksum) || errors.Is(err, disk.ErrBadSector) {
		err = errFailed
	}
	return 0, err
}
