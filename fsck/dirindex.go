package fsck

import (
	"errors"
	"slices"

	"holdfast/layout"
)

// index walks the index and compares its entries with the names.
func (d *dirCheck) index() (owned uint64) {
	c := d.c
	d.got, d.good, d.nodes = d.got[:0], true, 0
	d.node(d.in.IndexRoot, 0, -1, nil, nil)
	owned = d.nodes
	if !d.good {
		d.whole = false
		return owned
	}
	if !slices.Equal(d.keys, d.got) {
		missing, extra := 0, 0
		have := map[layout.IndexEntry]bool{}
		for _, e := range d.got {
			have[e] = true
		}
		for _, e := range d.keys {
			if !have[e] {
				missing++
			}
			delete(have, e)
		}
		extra = len(have)
		c.find(BadIndex, "directory index", d.in.IndexRoot, d.ino, "%d names are not in the index, %d entries have no name, of %d", missing, extra, len(d.keys))
	}
	return owned
}

// node walks an index node, level steps below the root, and what is below it; height is -1 at
// the root, which says itself how high it is. Its keys lie from low to high (exclusive): nil is
// no bound.
func (d *dirCheck) node(no uint64, level, height int, low, high *layout.IndexEntry) {
	c := d.c
	if !c.claim(no, d.ino, dirIndex) {
		d.good = false
		return
	}
	d.nodes++
	p := c.page(level, c.g.BlockSize)
	err := c.block(p, no)
	if err == nil && height < 0 {
		height = int(min(layout.DecodeHeader(p).Aux, layout.MaxIndexDepth))
	}
	if err == nil {
		err = layout.CheckIndexNode(p, no, d.ino, d.in.Generation, height)
	}
	if err != nil {
		c.broken(dirIndex.of(d.ino), no, d.ino, err)
		d.good = false
		return
	}
	n := int(layout.DecodeHeader(p).Count)
	if n == 0 && (no != d.in.IndexRoot || height > 0) {
		c.find(BadIndex, dirIndex.of(d.ino), no, d.ino, "a node without entries")
	}
	for i := range n {
		e := layout.GetIndex(layout.BlockBody(p), i, height == 0)
		if low != nil && e.Less(*low) || high != nil && !e.Less(*high) {
			c.find(BadIndex, dirIndex.of(d.ino), no, d.ino, "entry %d lies outside its node's bounds", i)
		}
		if height == 0 {
			d.got = append(d.got, layout.IndexEntry{Hash: e.Hash, Pos: e.Pos})
			continue
		}
		next := high
		if i+1 < n {
			x := layout.GetIndex(layout.BlockBody(p), i+1, false)
			next = &x
		}
		d.node(e.Child, level+1, height-1, &e, next)
	}
}

// space compares the space map with the leaves.
func (d *dirCheck) space(list []layout.Extent) {
	c := d.c
	per := uint64(layout.SpacePerBlock(c.g.BlockSize))
	blocks := map[uint64]bool{}
	p := c.buf
	for _, e := range list {
		k := e.Logical - layout.SpaceBase
		blocks[k] = true
		err := c.block(p, e.Block)
		if err == nil {
			err = layout.CheckHeader(p, e.Block, layout.KindDirSpace, d.ino, k)
		}
		if err == nil && layout.DecodeHeader(p).Aux2 != uint64(d.in.Generation) {
			err = errors.New("another generation")
		}
		if err != nil {
			c.broken("directory space map", e.Block, d.ino, err)
			continue
		}
		for i, v := range layout.BlockBody(p) {
			want := uint8(layout.SpaceNone)
			if h, ok := d.holes[k*per+uint64(i)]; ok {
				want = layout.SpaceByte(h)
			}
			if v != want {
				c.find(BadIndex, "directory space map", e.Block, d.ino, "leaf %d: %d, want %d", k*per+uint64(i), v, want)
				break
			}
		}
	}
	for l := range d.holes {
		if !blocks[l/per] {
			c.find(BadIndex, "directory space map", 0, d.ino, "no map block for leaf %d", l)
			break
		}
	}
}
