package volume

import (
	"cmp"
	"math/bits"

	"holdfast/layout"
)

// groupBits are bits of a group: blocks that are free in the bitmap but not to be used yet.
type groupBits []byte

// available is how many blocks an operation may still take.
func (o *op) available() int64 {
	n := int64(o.v.totals.FreeBlocks) - int64(o.v.busyCount) - o.v.reservation()
	if !o.deep {
		n -= int64(o.v.super.Reserved)
	}
	return n
}

// reservation is what delayed allocation may still take: a block per page, and the index
// blocks that new extents may need.
func (v *Volume) reservation() int64 {
	if v.unalloc == 0 {
		return 0
	}
	return int64(v.unalloc + v.delay.space)
}

// alloc takes a run of 1 to want free blocks, at or behind near if it can.
func (o *op) alloc(near uint64, want int) (first uint64, n int, err error) {
	if o.available() < 1 {
		return 0, 0, ErrNoSpace
	}
	return o.take(near, want)
}

// take is alloc without a look at what is kept back: for what has been reserved.
func (o *op) take(near uint64, want int) (first uint64, n int, err error) {
	v := o.v
	g := &v.g
	start, ok := g.GroupOf(near)
	if !ok || start >= v.totals.Groups {
		start = 0
		near = 0
	}
	var damage error
	for i := uint64(0); ; i++ {
		group := start + i
		if group >= v.totals.Groups {
			if i >= v.totals.Groups {
				if v.totals.Groups >= g.Groups {
					return 0, 0, cmp.Or(damage, error(ErrNoSpace))
				}
				group = v.totals.Groups
				if err := o.initGroup(group); err != nil {
					return 0, 0, err
				}
				start, i = group, 0
			} else {
				group -= v.totals.Groups
			}
		}
		from := uint64(0)
		if i == 0 && near >= g.GroupStart(group) {
			from = near - g.GroupStart(group)
		}
		first, n, err := o.takeIn(group, from, want)
		switch {
		case err != nil && !isMedia(err):
			return 0, 0, err
		case err != nil: // a group that is damaged is left alone
			damage = cmp.Or(damage, err)
		case n > 0:
			return first, n, nil
		}
	}
}

// canTake answers whether a block can be taken at all: what is accepted now, to get its block
// when others commit too, must not find then that what is free lies in damaged groups.
func (o *op) canTake(near uint64) error {
	v := o.v
	groups := v.totals.Groups
	if groups < v.g.Groups {
		return nil // there is a group that nothing has been written into
	}
	start, ok := v.g.GroupOf(near)
	if !ok || start >= groups {
		start = 0
	}
	var damage error
	for i := range groups {
		_, found, err := o.runIn((start+i)%groups, 0, 1)
		switch {
		case err != nil && !isMedia(err):
			return err
		case err != nil:
			damage = cmp.Or(damage, err)
		case found:
			return nil
		}
	}
	return cmp.Or(damage, error(ErrNoSpace))
}

// runIn is where a run of free blocks of one group begins, as a bit of its bitmap, searching
// from bit from on and then from the start.
func (o *op) runIn(group, from uint64, want int) (at uint64, found bool, err error) {
	v := o.v
	g := &v.g
	b, err := o.Read(g.BitmapBlock(group), layout.KindBitmap)
	if err != nil {
		return 0, false, err
	}
	if err := layout.CheckBitmap(b, g, group); err != nil {
		return 0, false, err
	}
	s := layout.Stats(b)
	if s.FreeBlocks == 0 || uint64(s.FreeBlocks) <= uint64(v.busyIn[group]) {
		return 0, false, nil
	}
	body, busy, length := layout.BlockBody(b), v.busy[group], g.GroupLen(group)
	at, found = bestRun(body, busy, from, length, want)
	if !found {
		at, found = bestRun(body, busy, 0, min(from, length), want)
	}
	if !found {
		return 0, false, nil
	}
	table, _ := g.SumPlace(g.GroupStart(group) + at)
	_, err = o.Read(table, layout.KindSums) // where its checksum will be kept
	return at, err == nil, err
}

// takeIn takes a run from one group.
func (o *op) takeIn(group, from uint64, want int) (uint64, int, error) {
	v := o.v
	g := &v.g
	at, found, err := o.runIn(group, from, want)
	if err != nil || !found {
		return 0, 0, err
	}
	no := g.BitmapBlock(group)
	b, err := o.Edit(no, layout.KindBitmap)
	if err != nil {
		return 0, 0, err
	}
	s := layout.Stats(b)
	body, busy, length := layout.BlockBody(b), v.busy[group], g.GroupLen(group)
	n := 0
	want = min(want, g.SumsPerBlock()-int(at)%g.SumsPerBlock())
	for n < want && at+uint64(n) < length && !layout.Bit(body, at+uint64(n)) && !busy.bit(at+uint64(n)) {
		layout.SetBit(body, at+uint64(n), true)
		n++
	}
	s.FreeBlocks -= uint32(n)
	layout.SetStats(b, s)
	v.totals.FreeBlocks -= uint64(n)
	first := g.GroupStart(group) + at
	for i := range n {
		block := first + uint64(i)
		v.tx.fresh[block] = struct{}{}
	}
	o.onFail(func() {
		for i := range n {
			delete(v.tx.fresh, first+uint64(i))
		}
	})
	return first, n, nil
}

func (b groupBits) bit(i uint64) bool { return b != nil && b[i>>3]>>(i&7)&1 != 0 }

// runsSeen is how many free runs an allocation looks at before it takes the longest of them.
const runsSeen = 32

// bestRun is where a run of want free bits begins from on, below end: at from itself if that is
// free, for what is there continues what lies before it; else the first one that is long
// enough, or the longest of the first few.
func bestRun(body []byte, busy groupBits, from, end uint64, want int) (best uint64, ok bool) {
	longest := uint64(0)
	at := from
	for range runsSeen {
		free, found := firstFree(body, busy, at, end)
		if !found {
			break
		}
		n := uint64(1)
		for n < uint64(want) && free+n < end && !layout.Bit(body, free+n) && !busy.bit(free+n) {
			n++
		}
		if n > longest {
			best, longest = free, n
		}
		if n == uint64(want) || from > 0 && free == from {
			break
		}
		at = free + n
	}
	return best, longest > 0
}

// firstFree is the first bit from on, below end, that is clear in both.
func firstFree(body []byte, busy groupBits, from, end uint64) (uint64, bool) {
	for i := from; i < end; {
		x := body[i>>3]
		if busy != nil {
			x |= busy[i>>3]
		}
		x |= 1<<(i&7) - 1
		if x == 0xff {
			i = i&^7 + 8
			continue
		}
		i = i&^7 + uint64(bits.TrailingZeros8(^x))
		return i, i < end
	}
	return 0, false
}

// free gives back a run of blocks, of one group.
func (o *op) free(first uint64, n int) error {
	v := o.v
	g := &v.g
	group, ok := g.GroupOf(first)
	if !ok || !g.Allocatable(first) || first+uint64(n) > g.GroupStart(group)+g.GroupLen(group) {
		return layout.Corrupt("bitmap", first, 0, "a block that no file may own is to be freed", nil)
	}
	if v.steps != nil { // nothing is free before what points to it is gone
		v.steps.freed = append(v.steps.freed, layout.Extent{Block: first, Len: uint32(n)})
		o.onFail(func() {})
		return nil
	}
	if err := o.clearBits(first, n); err != nil {
		return err
	}
	for i := range uint64(n) {
		block := first + i
		if _, ok := v.tx.fresh[block]; ok { // nothing durable names it: free at once
			delete(v.tx.fresh, block)
			o.onFail(func() { v.tx.fresh[block] = struct{}{} })
			continue
		}
		v.setBusy(block, true)
		v.tx.freed = append(v.tx.freed, block)
		o.onFail(func() {
			v.setBusy(block, false)
			v.tx.freed = v.tx.freed[:len(v.tx.freed)-1]
		})
	}
	return nil
}

// clearBits marks a run of blocks of one group free.
func (o *op) clearBits(first uint64, n int) error {
	v := o.v
	g := &v.g
	group, _ := g.GroupOf(first)
	no := g.BitmapBlock(group)
	b, err := o.Edit(no, layout.KindBitmap)
	if err != nil {
		return err
	}
	body := layout.BlockBody(b)
	rel := first - g.GroupStart(group)
	s := layout.Stats(b)
	for i := range uint64(n) {
		if !layout.Bit(body, rel+i) {
			return layout.Corrupt("bitmap", no, layout.HeaderSize+int(rel+i)/8, "a block that is to be freed is free (I3)", nil)
		}
		layout.SetBit(body, rel+i, false)
	}
	s.FreeBlocks += uint32(n)
	layout.SetStats(b, s)
	v.totals.FreeBlocks += uint64(n)
	return nil
}

// setBusy marks a block that is free in the bitmap as not yet to be reused.
func (v *Volume) setBusy(block uint64, on bool) {
	group, _ := v.g.GroupOf(block)
	b := v.busy[group]
	if b == nil {
		b = make(groupBits, v.g.GroupBlocks/8)
		v.busy[group] = b
	}
	layout.SetBit(b, block-v.g.GroupStart(group), on)
	if on {
		v.busyCount++
		v.busyIn[group]++
	} else {
		v.busyCount--
		v.busyIn[group]--
	}
}

// waiting is what a committed transaction freed.
type waiting struct {
	seq    uint64
	blocks []uint64
}

// release makes the blocks that settled transactions freed available.
func (v *Volume) release() {
	if v.log == nil || len(v.freed) == 0 {
		return
	}
	settled := v.log.Settled()
	for len(v.freed) > 0 && v.freed[0].seq <= settled {
		for _, b := range v.freed[0].blocks {
			v.setBusy(b, false)
		}
		v.freed = v.freed[1:]
	}
}

// initGroup brings the next group into use: its bitmap and checksum table.
func (o *op) initGroup(group uint64) error {
	v := o.v
	g := &v.g
	layout.InitBitmap(o.adopt(g.BitmapBlock(group), layout.KindBitmap), g, group)
	for i := range g.SumBlocks(group) {
		no := g.SumBlock(group, i)
		layout.InitBlock(o.adopt(no, layout.KindSums), layout.KindSums, group, i)
	}
	v.totals.Groups++
	return nil
}

// sumPlace is where the checksum of a data block is kept, in a block that can be changed.
func (o *op) sumPlace(block uint64) ([]byte, int, error) {
	table, i := o.v.g.SumPlace(block)
	b, err := o.Edit(table, layout.KindSums)
	return b, i, err
}
