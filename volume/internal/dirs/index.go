package dirs

import (
	"fmt"

	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// inode of the index: a node as it is being worked on.
type inode struct {
	no     uint64
	b      []byte
	height int
	n      int
}

func (x *inode) leaf() bool { return x.height == 0 }
func (x *inode) get(i int) layout.IndexEntry {
	return layout.GetIndex(layout.BlockBody(x.b), i, x.leaf())
}
func (x *inode) put(i int, e layout.IndexEntry) {
	layout.PutIndex(layout.BlockBody(x.b), i, x.leaf(), e)
}
func (x *inode) max() int { return layout.IndexEntries(len(x.b), x.leaf()) }

// setCount sets the number of entries and clears what is behind them.
func (x *inode) setCount(n int) {
	h := layout.DecodeHeader(x.b)
	h.Count = uint32(n)
	layout.EncodeHeader(x.b, h)
	size := layout.IndexInnerSize
	if x.leaf() {
		size = layout.IndexLeafSize
	}
	clear(layout.BlockBody(x.b)[n*size:])
	x.n = n
}

// after is the number of entries that are not greater than e.
func (x *inode) after(e layout.IndexEntry) int {
	lo, hi := 0, x.n
	for lo < hi {
		m := (lo + hi) / 2
		if e.Less(x.get(m)) {
			hi = m
		} else {
			lo = m + 1
		}
	}
	return lo
}

// node reads or edits an index node; height -1 takes what the node says (the root).
func (d *Dir) node(no uint64, height int, edit bool) (*inode, error) {
	get := d.s.Read
	if edit {
		get = d.s.Edit
	}
	if !d.g.Allocatable(no) {
		return nil, layout.Corrupt("directory index", no, 0, fmt.Sprintf("a node of inode %d where no node can be", d.ino), nil)
	}
	b, err := get(no, layout.KindDirIndex)
	if err != nil {
		return nil, err
	}
	h := layout.DecodeHeader(b)
	if height < 0 {
		if height = int(min(h.Aux, layout.MaxIndexDepth+1)); height > layout.MaxIndexDepth {
			return nil, layout.Corrupt("directory index", no, 32, fmt.Sprintf("height %d", h.Aux), nil)
		}
	}
	if err := layout.CheckIndexNode(b, no, d.ino, d.in.Generation, height); err != nil {
		return nil, err
	}
	if height > 0 && h.Count == 0 {
		return nil, layout.Corrupt("directory index", no, 4, "an inner node without children", nil)
	}
	return &inode{no, b, height, int(h.Count)}, nil
}

// child is the child of x that may hold e, and its place in x.
func (d *Dir) child(x *inode, e layout.IndexEntry, edit bool) (*inode, int, error) {
	i := max(x.after(e)-1, 0)
	c, err := d.node(x.get(i).Child, x.height-1, edit)
	return c, i, err
}

// newNode makes an empty node.
func (d *Dir) newNode(height int, near uint64) (*inode, error) {
	no, b, err := d.s.NewBlock(near)
	if err != nil {
		return nil, err
	}
	layout.InitBlock(b, layout.KindDirIndex, d.ino, 0)
	h := layout.DecodeHeader(b)
	h.Aux, h.Aux2 = uint64(height), uint64(d.in.Generation)
	layout.EncodeHeader(b, h)
	d.in.Blocks++
	return &inode{no: no, b: b, height: height}, nil
}

func (d *Dir) freeNode(x *inode) error {
	d.in.Blocks--
	return d.s.FreeBlock(x.no)
}

// findIndexed looks at every entry with the hash of the name: different names may share it.
func (d *Dir) findIndexed(name string) (p place, found bool, err error) {
	from := layout.IndexEntry{Hash: d.hash(name)}
	x, err := d.node(d.in.IndexRoot, -1, false)
	if err != nil {
		return p, false, err
	}
	_, err = d.each(x, from, func(e layout.IndexEntry) (bool, error) {
		if e.Hash != from.Hash {
			return false, nil
		}
		q, err := d.at(e.Pos)
		if err == nil && string(q.r.Name) == name {
			p, found = q, true
		}
		return !found, err
	})
	return p, found, err
}

// each calls fn for the leaf entries from e on, in order, until it returns false.
func (d *Dir) each(x *inode, from layout.IndexEntry, fn func(layout.IndexEntry) (bool, error)) (bool, error) {
	i := x.after(from)
	if x.leaf() {
		if i > 0 && !x.get(i-1).Less(from) {
			i--
		}
	} else {
		i = max(i-1, 0)
	}
	for ; i < x.n; i++ {
		if x.leaf() {
			if more, err := fn(x.get(i)); !more || err != nil {
				return false, err
			}
			continue
		}
		c, err := d.node(x.get(i).Child, x.height-1, false)
		if err != nil {
			return false, err
		}
		if more, err := d.each(c, from, fn); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// indexInsert adds an entry; a full node splits, and so on up.
func (d *Dir) indexInsert(e layout.IndexEntry) error {
	root, err := d.node(d.in.IndexRoot, -1, true)
	if err != nil {
		return err
	}
	split, err := d.insertInto(root, e)
	if err != nil || split == nil {
		return err
	}
	if root.height >= layout.MaxIndexDepth {
		return fmt.Errorf("directory inode %d: the index is too deep", d.ino)
	}
	top, err := d.newNode(root.height+1, root.no)
	if err != nil {
		return err
	}
	low := root.get(0)
	low.Child = root.no
	top.put(0, low)
	top.put(1, *split)
	top.setCount(2)
	d.in.IndexRoot = top.no
	return nil
}

// insertInto adds e below x and returns the entry that x's parent must add, if x split.
func (d *Dir) insertInto(x *inode, e layout.IndexEntry) (*layout.IndexEntry, error) {
	if x.leaf() {
		return d.addEntry(x, x.after(e), e)
	}
	c, i, err := d.child(x, e, true)
	if err != nil {
		return nil, err
	}
	if low := x.get(i); e.Less(low) { // a bound that no longer is one
		low.Hash, low.Pos = e.Hash, e.Pos
		x.put(i, low)
	}
	split, err := d.insertInto(c, e)
	if err != nil || split == nil {
		return nil, err
	}
	return d.addEntry(x, i+1, *split)
}

// addEntry puts e at i of x, splitting x if it is full.
func (d *Dir) addEntry(x *inode, i int, e layout.IndexEntry) (*layout.IndexEntry, error) {
	list := make([]layout.IndexEntry, 0, x.n+1)
	for k := range x.n {
		list = append(list, x.get(k))
	}
	list = append(list, e)
	copy(list[i+1:], list[i:])
	list[i] = e
	if len(list) <= x.max() {
		d.fill(x, list)
		return nil, nil
	}
	half := len(list) / 2
	y, err := d.newNode(x.height, x.no)
	if err != nil {
		return nil, err
	}
	d.fill(x, list[:half])
	d.fill(y, list[half:])
	up := list[half]
	up.Child = y.no
	return &up, nil
}

func (d *Dir) fill(x *inode, list []layout.IndexEntry) {
	for i, e := range list {
		x.put(i, e)
	}
	x.setCount(len(list))
}

// indexRemove takes an entry out; a node that is less than a third full joins a neighbour if
// both fit into one.
func (d *Dir) indexRemove(e layout.IndexEntry) error {
	root, err := d.node(d.in.IndexRoot, -1, true)
	if err != nil {
		return err
	}
	if err := d.removeFrom(root, e); err != nil {
		return err
	}
	for root.height > 0 && root.n == 1 {
		c, err := d.node(root.get(0).Child, root.height-1, false)
		if err != nil {
			return err
		}
		d.in.IndexRoot = c.no
		if err := d.freeNode(root); err != nil {
			return err
		}
		root = c
	}
	return nil
}

func (d *Dir) removeFrom(x *inode, e layout.IndexEntry) error {
	if x.leaf() {
		i := x.after(e) - 1
		if i < 0 || x.get(i) != e {
			return layout.Corrupt("directory index", x.no, layout.HeaderSize, fmt.Sprintf("no entry for position %#x of inode %d (I10)", e.Pos, d.ino), nil)
		}
		d.cut(x, i)
		return nil
	}
	c, i, err := d.child(x, e, true)
	if err != nil {
		return err
	}
	if err := d.removeFrom(c, e); err != nil {
		return err
	}
	if c.n == 0 {
		d.cut(x, i)
		return d.freeNode(c)
	}
	if c.n >= c.max()/3 || x.n == 1 {
		return nil
	}
	left := i - 1
	if i == 0 {
		left = 0
	}
	a, err := d.node(x.get(left).Child, x.height-1, false)
	if err != nil {
		return err
	}
	b, err := d.node(x.get(left+1).Child, x.height-1, false)
	if err != nil {
		return err
	}
	if a.n+b.n > a.max() {
		return nil
	}
	if a, err = d.node(a.no, a.height, true); err != nil {
		return err
	}
	list := make([]layout.IndexEntry, 0, a.n+b.n)
	for k := range a.n {
		list = append(list, a.get(k))
	}
	for k := range b.n {
		list = append(list, b.get(k))
	}
	d.fill(a, list)
	d.cut(x, left+1)
	return d.freeNode(b)
}

// cut removes entry i of x.
func (d *Dir) cut(x *inode, i int) {
	for k := i + 1; k < x.n; k++ {
		x.put(k-1, x.get(k))
	}
	x.setCount(x.n - 1)
}

// startIndex gives a directory that is about to get a second leaf its index and space map.
func (d *Dir) startIndex(no uint64, b []byte) error {
	root, err := d.newNode(0, no)
	if err != nil {
		return err
	}
	d.in.IndexRoot = root.no
	d.in.Flags |= layout.FlagIndexed
	for off := 0; off < len(layout.BlockBody(b)); {
		r, err := d.record(no, b, off)
		if err != nil {
			return err
		}
		if !r.Hole() {
			if err := d.indexInsert(layout.IndexEntry{Hash: d.hash(string(r.Name)), Pos: layout.Position(0, off)}); err != nil {
				return err
			}
		}
		off += r.Len
	}
	return d.setSpace(0, layout.SpaceByte(int(layout.DecodeHeader(b).Aux)))
}

// endIndex gives back the index and the space map.
func (d *Dir) endIndex() error {
	root, err := d.node(d.in.IndexRoot, -1, false)
	if err != nil {
		return err
	}
	if err := d.freeTree(root); err != nil {
		return err
	}
	d.in.IndexRoot = 0
	d.in.Flags &^= layout.FlagIndexed
	removed, err := extents.Remove(d.s, d.g, d.ino, d.in, layout.SpaceBase, layout.MaxLogical-layout.SpaceBase)
	if err != nil {
		return err
	}
	for _, e := range removed {
		for i := range uint64(e.Len) {
			d.in.Blocks--
			if err := d.s.FreeBlock(e.Block + i); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Dir) freeTree(x *inode) error {
	for i := range x.n {
		if x.leaf() {
			break
		}
		c, err := d.node(x.get(i).Child, x.height-1, false)
		if err != nil {
			return err
		}
		if err := d.freeTree(c); err != nil {
			return err
		}
	}
	return d.freeNode(x)
}
