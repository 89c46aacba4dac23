package fsck

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/dchest/siphash"

	"holdfast/layout"
)

// dirCheck is the check of one directory.
type dirCheck struct {
	c     *checker
	in    *layout.Inode
	ino   uint64
	whole bool // nothing of it was unreadable
	keys  []layout.IndexEntry
	holes map[uint64]int // largest hole by leaf
	names uint32

	// The index, as far as it has been walked.
	got   []layout.IndexEntry
	nodes uint64
	good  bool
}

// start makes d the check of another directory; whole says that its map was.
func (d *dirCheck) start(c *checker, in *layout.Inode, ino uint64, whole bool) {
	d.c, d.in, d.ino, d.whole, d.names = c, in, ino, whole, 0
	d.keys = d.keys[:0]
	if d.holes == nil {
		d.holes = map[uint64]int{}
	}
	clear(d.holes)
}

func (d *dirCheck) what() string { return directory.of(d.ino) }

func (d *dirCheck) hash(name []byte) uint64 {
	key := &d.c.super.HashKey
	var k [2]uint64
	for i := range k {
		for j := range 8 {
			k[i] |= uint64(key[8*i+j]) << (8 * j)
		}
	}
	return siphash.Hash(k[0], k[1], name)
}

func (d *dirCheck) check(list []layout.Extent) (owned uint64) {
	c := d.c
	var space []layout.Extent
	var last uint64
	no, _ := c.g.InodePlace(d.ino)
	for _, e := range list {
		for i := range uint64(e.Len) {
			block, logical := e.Block+i, e.Logical+i
			if !c.claim(block, d.ino, directory) {
				d.whole = false
				continue
			}
			owned++
			if logical >= layout.SpaceBase {
				space = append(space, layout.Extent{Logical: logical, Block: block, Len: 1})
				continue
			}
			last = logical + 1
			d.leaf(block, logical)
		}
	}
	if !d.whole {
		c.blur = true
		return owned
	}
	if d.names > 0 && d.in.Flags&layout.FlagOrphan != 0 {
		c.find(OrphanList, d.what(), no, d.ino, "an orphan with %d names in it", d.names)
	}
	if d.names != d.in.Names {
		c.find(WrongCount, d.what(), no, d.ino, "%d names counted, %d found", d.in.Names, d.names)
	}
	if size := last * uint64(c.g.BlockSize); size != d.in.Size {
		c.find(WrongCount, d.what(), no, d.ino, "size %d, its last block ends at %d", d.in.Size, size)
	}
	slices.SortFunc(d.keys, func(a, b layout.IndexEntry) int {
		return cmp.Or(cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.Pos, b.Pos))
	})
	d.twice(list)
	indexed := d.in.Flags&layout.FlagIndexed != 0
	switch {
	case !indexed && (d.in.IndexRoot != 0 || len(space) > 0):
		c.find(BadIndex, d.what(), no, d.ino, "an index, but no mark that it has one")
	case !indexed && last > 1 && c.g.RunBlocks > 0: // without a journal directories stay linear
		c.find(BadIndex, d.what(), no, d.ino, "%d blocks and no index", last)
	case indexed:
		owned += d.index()
		d.space(space)
	}
	return owned
}

// twice looks for names that are there twice. Only names of one hash can be the same, and two
// that share theirs are rare: the leaves are read again for them.
func (d *dirCheck) twice(list []layout.Extent) {
	var shared map[uint64]struct{}
	for i := 1; i < len(d.keys); i++ {
		if d.keys[i].Hash == d.keys[i-1].Hash {
			if shared == nil {
				shared = map[uint64]struct{}{}
			}
			shared[d.keys[i].Hash] = struct{}{}
		}
	}
	if len(shared) == 0 {
		return
	}
	seen := map[string]struct{}{}
	d.c.leaves(list, func(block uint64, r *layout.Record) {
		if _, ok := shared[d.hash(r.Name)]; !ok {
			return
		}
		if _, ok := seen[string(r.Name)]; ok {
			d.c.find(BadName, "directory block", block, d.ino, "the name %q is there twice", r.Name)
		}
		seen[string(r.Name)] = struct{}{}
	})
}

// leaves calls fn for the names in the leaves among the extents of a directory, as far as they
// can be read; nothing is reported.
func (c *checker) leaves(list []layout.Extent, fn func(block uint64, r *layout.Record)) {
	for _, e := range list {
		for i := uint64(0); i < uint64(e.Len) && e.Logical+i < layout.MaxDirBlocks; i++ {
			if c.visited != nil && !c.claim(e.Block+i, 0, directory) || c.block(c.buf, e.Block+i) != nil {
				continue
			}
			b := layout.BlockBody(c.buf)
			for off := 0; off < len(b); {
				r, err := layout.GetRecord(b, off)
				if err != nil {
					break
				}
				if !r.Hole() {
					fn(e.Block+i, &r)
				}
				off += r.Len
			}
		}
	}
}

// leaf checks one leaf and counts its names.
func (d *dirCheck) leaf(block, logical uint64) {
	c := d.c
	p := c.buf
	err := c.block(p, block)
	if err == nil {
		err = layout.CheckHeader(p, block, layout.KindDirLeaf, d.ino, logical)
	}
	h := layout.DecodeHeader(p)
	if err == nil && h.Aux2 != uint64(d.in.Generation) {
		err = fmt.Errorf("generation %d, want %d", h.Aux2, d.in.Generation)
	}
	if err != nil {
		c.broken("directory block", block, d.ino, err)
		d.whole = false
		return
	}
	b := layout.BlockBody(p)
	live, largest, hole := uint32(0), 0, false
	for off := 0; off < len(b); {
		r, err := layout.GetRecord(b, off)
		if err != nil {
			c.find(BadStructure, "directory block", block, d.ino, "offset %d: %v", off, err)
			c.blur, d.whole = true, false
			return
		}
		if r.Hole() {
			if hole {
				c.find(BadStructure, "directory block", block, d.ino, "two holes side by side at offset %d", off)
			}
			largest = max(largest, r.Len)
		} else {
			live++
			d.entry(block, logical, &r)
		}
		hole = r.Hole()
		off += r.Len
	}
	if live != h.Count {
		c.find(WrongCount, "directory block", block, d.ino, "%d entries counted, %d found", h.Count, live)
	}
	if uint64(largest) != h.Aux {
		c.find(WrongCount, "directory block", block, d.ino, "largest hole %d, it says %d", largest, h.Aux)
	}
	if live == 0 && d.in.Flags&layout.FlagIndexed != 0 {
		c.find(BadIndex, "directory block", block, d.ino, "an empty block was not given back")
	}
	d.holes[logical] = largest
}

// entry checks one name and what it names.
func (d *dirCheck) entry(block, logical uint64, r *layout.Record) {
	c := d.c
	d.names++
	name := r.Name
	if string(name) == "." || string(name) == ".." || bytes.IndexByte(name, '/') >= 0 || bytes.IndexByte(name, 0) >= 0 {
		c.find(BadName, "directory block", block, d.ino, "the name %q", name)
	}
	d.keys = append(d.keys, layout.IndexEntry{Hash: d.hash(r.Name), Pos: layout.Position(logical, r.Off)})
	x := c.slot(r.Ino)
	switch {
	case r.Ino > c.totals.Groups*uint64(c.g.InodesPerGroup):
		c.find(Dangling, "directory block", block, d.ino, "the name %q is of inode %d, the volume has %d in use", name, r.Ino, c.totals.Groups*uint64(c.g.InodesPerGroup))
		return
	case x == nil && !c.groups[(r.Ino-1)/uint64(c.g.InodesPerGroup)].read:
		return
	case x == nil || x.state < slotUsed:
		if x == nil || x.state == slotFree || !c.blur {
			c.find(Dangling, "directory block", block, d.ino, "the name %q is of inode %d, which is free", name, r.Ino)
		}
		return
	case uint16(r.Type)<<12 != x.mode&layout.ModeType:
		c.find(WrongType, "directory block", block, d.ino, "the name %q says type %o, inode %d is %o", name, uint16(r.Type)<<12, r.Ino, x.mode&layout.ModeType)
	}
	x.seen++
	if !x.dir() {
		return
	}
	if x.above != 0 {
		c.find(SecondParent, "directory block", block, d.ino, "the name %q is of directory inode %d, which inode %d names too", name, r.Ino, x.above)
		if x.parent != d.ino {
			return
		}
		c.slot(x.above).subdirs-- // ".." says which of the two names it has
	}
	x.above = d.ino
	c.slot(d.ino).subdirs++
}
