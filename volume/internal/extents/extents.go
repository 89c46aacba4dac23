// Package extents maps the logical blocks of one inode to blocks of the volume: extents in the
// inode while they fit, else a tree of index blocks (layout.KindExtents) below it.
//
// It promises that what it reads is checked before it is believed (owner, generation, order,
// range), that no extent or index block overlaps another of the same inode, and that index
// blocks which become empty are given back. It does not promise minimal trees: nodes are not
// merged, only dropped when empty, and the tree collapses into the inode when it fits.
//
// It imports layout alone; blocks come from a Store. Start with Lookup.
package extents

import (
	"fmt"

	"holdfast/layout"
)

// Store gives and takes metadata blocks within one transaction.
type Store interface {
	Read(no uint64, k layout.Kind) ([]byte, error)
	Edit(no uint64, k layout.Kind) ([]byte, error)
	NewBlock(near uint64) (uint64, []byte, error)
	FreeBlock(no uint64) error
}

// tree is one call's view of an inode's map.
type tree struct {
	s   Store
	g   *layout.Geometry
	ino uint64
	in  *layout.Inode
}

// node is a run of entries: the inode's inline area (block 0) or an index block.
type node struct {
	block     uint64 // 0: the inode
	area      []byte
	n, max    int
	low, high uint64
}

func (t *tree) rootArea() []byte { return t.in.Inline[:t.in.MaxInlineExtents()*layout.ExtentSize] }

// root is the inline area, checked.
func (t *tree) root() (node, error) {
	n := node{0, t.rootArea(), int(t.in.Extents), t.in.MaxInlineExtents(), 0, layout.MaxLogical}
	block, _ := t.g.InodePlace(t.ino)
	return n, layout.CheckExtents(n.area, n.n, t.in.Depth == 0, n.low, n.high, t.g, fmt.Sprintf("inode %d", t.ino), block)
}

// child is the node that entry i of p names, at this height, checked.
func (t *tree) child(p *node, i, height int, edit bool) (node, error) {
	e := layout.GetExtent(p.area, i)
	high := p.high
	if i+1 < p.n {
		high = layout.GetExtent(p.area, i+1).Logical
	}
	read := t.s.Read
	if edit {
		read = t.s.Edit
	}
	b, err := read(e.Block, layout.KindExtents)
	if err != nil {
		return node{}, err
	}
	if err := layout.CheckHeader(b, e.Block, layout.KindExtents, t.ino, e.Logical); err != nil {
		return node{}, err
	}
	const what = "extent index"
	h := layout.DecodeHeader(b)
	switch {
	case h.Aux != uint64(height):
		return node{}, layout.Corrupt(what, e.Block, 32, fmt.Sprintf("height %d", h.Aux), height)
	case h.Aux2 != uint64(t.in.Generation):
		return node{}, layout.Corrupt(what, e.Block, 40, fmt.Sprintf("generation %d", h.Aux2), t.in.Generation)
	case h.Count == 0 || h.Count > uint32(layout.NodeEntries(t.g.BlockSize)):
		return node{}, layout.Corrupt(what, e.Block, 4, fmt.Sprintf("%d entries", h.Count), nil)
	}
	n := node{e.Block, layout.BlockBody(b), int(h.Count), layout.NodeEntries(t.g.BlockSize), e.Logical, high}
	return n, layout.CheckExtents(n.area, n.n, height == 0, n.low, n.high, t.g, what, e.Block)
}

// find is the number of entries of n that begin at or before logical.
func (n *node) find(logical uint64) int {
	lo, hi := 0, n.n
	for lo < hi {
		m := (lo + hi) / 2
		if layout.GetExtent(n.area, m).Logical <= logical {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// Lookup is the extent that holds logical, or found = false and a hole in its place: from
// logical to the next extent, its length capped to layout.MaxExtentLen.
func Lookup(s Store, g *layout.Geometry, ino uint64, in *layout.Inode, logical uint64) (e layout.Extent, found bool, err error) {
	t := &tree{s, g, ino, in}
	n, err := t.root()
	if err != nil {
		return e, false, err
	}
	next := uint64(layout.MaxLogical)
	for height := int(in.Depth); ; height-- {
		i := n.find(logical)
		if i < n.n {
			next = layout.GetExtent(n.area, i).Logical
		}
		if height == 0 {
			if i > 0 {
				if e = layout.GetExtent(n.area, i-1); logical < e.End() {
					return e, true, nil
				}
			}
			break
		}
		if i == 0 {
			break
		}
		if n, err = t.child(&n, i-1, height-1, false); err != nil {
			return e, false, err
		}
	}
	return layout.Extent{Logical: logical, Len: uint32(min(next-logical, layout.MaxExtentLen))}, false, nil
}

// Walk calls fn for the extents that end behind logical block from, in order, until it returns false.
func Walk(s Store, g *layout.Geometry, ino uint64, in *layout.Inode, from uint64, fn func(layout.Extent) bool) error {
	t := &tree{s, g, ino, in}
	n, err := t.root()
	if err != nil {
		return err
	}
	_, err = t.walk(&n, int(in.Depth), from, fn)
	return err
}

func (t *tree) walk(n *node, height int, from uint64, fn func(layout.Extent) bool) (bool, error) {
	i := max(n.find(from)-1, 0)
	for ; i < n.n; i++ {
		if height == 0 {
			if e := layout.GetExtent(n.area, i); e.End() > from && !fn(e) {
				return false, nil
			}
			continue
		}
		c, err := t.child(n, i, height-1, false)
		if err != nil {
			return false, err
		}
		if more, err := t.walk(&c, height-1, from, fn); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// setCount records how many entries n has.
func (t *tree) setCount(n *node, count int) {
	n.n = count
	if n.block == 0 {
		t.in.Extents = uint16(count)
		clear(n.area[count*layout.ExtentSize:])
		return
	}
	b := n.area[:cap(n.area)]
	clear(b[count*layout.ExtentSize:])
}

// commitCount writes the count of an index block; b is the whole block.
func commitCount(b []byte, count int) {
	h := layout.DecodeHeader(b)
	h.Count = uint32(count)
	layout.EncodeHeader(b, h)
}

// sameRun reports whether b continues a on the volume as well as in the file.
func sameRun(g *layout.Geometry, a, b layout.Extent) bool {
	if a.Unwritten != b.Unwritten || a.End() != b.Logical || a.Block+uint64(a.Len) != b.Block ||
		uint64(a.Len)+uint64(b.Len) > layout.MaxExtentLen {
		return false
	}
	x, _ := g.GroupOf(a.Block)
	y, _ := g.GroupOf(b.Block + uint64(b.Len) - 1)
	return x == y
}

// Insert maps e over a hole, merging it with neighbours in its leaf. The caller vouches that
// it is a hole; an overlap is an error and changes nothing.
func Insert(s Store, g *layout.Geometry, ino uint64, in *layout.Inode, e layout.Extent) error {
	t := &tree{s, g, ino, in}
	n, err := t.root()
	if err != nil {
		return err
	}
	split, err := t.insert(&n, int(in.Depth), e)
	if err != nil || split == nil {
		return err
	}
	// The root is full: its entries move into a new node below it.
	if in.Depth >= layout.MaxDepth {
		return fmt.Errorf("inode %d: too many extents", ino)
	}
	old := make([]layout.Extent, 0, n.n+1)
	for i := range n.n {
		old = append(old, layout.GetExtent(n.area, i))
	}
	old = insertSorted(old, *split)
	block, err := t.newNode(old, int(in.Depth), old[0].Block)
	if err != nil {
		return err
	}
	in.Depth++
	layout.PutExtent(n.area, 0, layout.Extent{Logical: old[0].Logical, Block: block})
	t.setCount(&n, 1)
	return nil
}

func insertSorted(list []layout.Extent, e layout.Extent) []layout.Extent {
	i := len(list)
	for i > 0 && list[i-1].Logical > e.Logical {
		i--
	}
	list = append(list, e)
	copy(list[i+1:], list[i:])
	list[i] = e
	return list
}

// newNode makes an index block of these entries.
func (t *tree) newNode(list []layout.Extent, height int, near uint64) (uint64, error) {
	block, b, err := t.s.NewBlock(near)
	if err != nil {
		return 0, err
	}
	layout.InitBlock(b, layout.KindExtents, t.ino, list[0].Logical)
	h := layout.DecodeHeader(b)
	h.Count, h.Aux, h.Aux2 = uint32(len(list)), uint64(height), uint64(t.in.Generation)
	layout.EncodeHeader(b, h)
	for i, e := range list {
		layout.PutExtent(layout.BlockBody(b), i, e)
	}
	t.in.Blocks++
	return block, nil
}

// add puts e into n at i, or answers with the entry that its parent must add: a leaf entry
// when n is the full root, else the child that took the upper half.
func (t *tree) add(n *node, i, height int, e layout.Extent) (*layout.Extent, error) {
	if n.n < n.max {
		size := layout.ExtentSize
		copy(n.area[(i+1)*size:(n.n+1)*size], n.area[i*size:n.n*size])
		layout.PutExtent(n.area, i, e)
		return nil, t.count(n, n.n+1)
	}
	if n.block == 0 {
		return &e, nil
	}
	list := make([]layout.Extent, 0, n.n+1)
	for k := range n.n {
		list = append(list, layout.GetExtent(n.area, k))
	}
	list = insertSorted(list, e)
	half := len(list) / 2
	if i == n.n { // appending: leave the left node full
		half = n.n
	}
	block, err := t.newNode(list[half:], height, n.block)
	if err != nil {
		return nil, err
	}
	for k, x := range list[:half] {
		layout.PutExtent(n.area, k, x)
	}
	up := layout.Extent{Logical: list[half].Logical, Block: block}
	return &up, t.count(n, half)
}

// count sets the number of entries of n, in the inode or in the block's header.
func (t *tree) count(n *node, count int) error {
	t.setCount(n, count)
	if n.block == 0 {
		return nil
	}
	b, err := t.s.Edit(n.block, layout.KindExtents)
	if err != nil {
		return err
	}
	commitCount(b, count)
	return nil
}

func (t *tree) insert(n *node, height int, e layout.Extent) (*layout.Extent, error) {
	i := n.find(e.Logical)
	if height > 0 {
		if i == 0 { // before the first child: it begins earlier from now on
			i = 1
			if err := t.lower(n, height, e.Logical); err != nil {
				return nil, err
			}
		}
		c, err := t.child(n, i-1, height-1, true)
		if err != nil {
			return nil, err
		}
		split, err := t.insert(&c, height-1, e)
		if err != nil || split == nil {
			return nil, err
		}
		return t.add(n, i, height, *split)
	}
	var before, after layout.Extent
	if i > 0 {
		if before = layout.GetExtent(n.area, i-1); before.End() > e.Logical {
			return nil, fmt.Errorf("inode %d: extent %v overlaps %v", t.ino, e, before)
		}
	}
	if i < n.n {
		if after = layout.GetExtent(n.area, i); e.End() > after.Logical {
			return nil, fmt.Errorf("inode %d: extent %v overlaps %v", t.ino, e, after)
		}
	}
	joinsBefore := i > 0 && sameRun(t.g, before, e)
	joinsAfter := i < n.n && sameRun(t.g, e, after)
	switch {
	case joinsBefore:
		before.Len += e.Len
		if joinsAfter && sameRun(t.g, before, after) {
			before.Len += after.Len
			layout.PutExtent(n.area, i-1, before)
			return nil, t.drop(n, i)
		}
		layout.PutExtent(n.area, i-1, before)
		return nil, nil
	case joinsAfter:
		if i > 0 || n.block == 0 { // a node's first entry carries its address
			e.Len += after.Len
			layout.PutExtent(n.area, i, e)
			return nil, nil
		}
	}
	return t.add(n, i, height, e)
}

// drop removes entry i of n.
func (t *tree) drop(n *node, i int) error {
	size := layout.ExtentSize
	copy(n.area[i*size:], n.area[(i+1)*size:n.n*size])
	return t.count(n, n.n-1)
}

// lower makes the leftmost path below n begin at logical: separators and the nodes' own index.
func (t *tree) lower(n *node, height int, logical uint64) error {
	e := layout.GetExtent(n.area, 0)
	b, err := t.s.Edit(e.Block, layout.KindExtents)
	if err != nil {
		return err
	}
	c, err := t.child(n, 0, height-1, true)
	if err != nil {
		return err
	}
	if height-1 > 0 {
		if err := t.lower(&c, height-1, logical); err != nil {
			return err
		}
	}
	h := layout.DecodeHeader(b)
	h.Index = logical
	layout.EncodeHeader(b, h)
	e.Logical = logical
	layout.PutExtent(n.area, 0, e)
	return nil
}

// Remove unmaps n logical blocks from logical on and returns the pieces that were mapped, in
// order. Extents at the edges are split; index blocks that become empty are freed.
func Remove(s Store, g *layout.Geometry, ino uint64, in *layout.Inode, logical, n uint64) ([]layout.Extent, error) {
	t := &tree{s, g, ino, in}
	end := logical + n
	if end > layout.MaxLogical || end < logical {
		end = layout.MaxLogical
	}
	var removed []layout.Extent
	var tail *layout.Extent // what is left behind a hole punched into one extent
	root, err := t.root()
	if err != nil {
		return nil, err
	}
	if err := t.remove(&root, int(in.Depth), logical, end, &removed, &tail); err != nil {
		return nil, err
	}
	if root.n == 0 {
		in.Depth = 0
	}
	if err := t.collapse(); err != nil {
		return nil, err
	}
	if tail != nil {
		if err := Insert(s, g, ino, in, *tail); err != nil {
			return nil, err
		}
	}
	return removed, nil
}

func (t *tree) remove(n *node, height int, logical, end uint64, removed *[]layout.Extent, tail **layout.Extent) error {
	i := max(n.find(logical)-1, 0)
	for i < n.n {
		e := layout.GetExtent(n.area, i)
		if e.Logical >= end {
			return nil
		}
		if height > 0 {
			c, err := t.child(n, i, height-1, true)
			if err != nil {
				return err
			}
			if err := t.remove(&c, height-1, logical, end, removed, tail); err != nil {
				return err
			}
			if c.n > 0 {
				i++
				continue
			}
			if err := t.s.FreeBlock(e.Block); err != nil {
				return err
			}
			t.in.Blocks--
			if err := t.drop(n, i); err != nil {
				return err
			}
			continue
		}
		if e.End() <= logical {
			i++
			continue
		}
		from, to := max(e.Logical, logical), min(e.End(), end)
		*removed = append(*removed, layout.Extent{Logical: from, Block: e.Block + from - e.Logical, Len: uint32(to - from), Unwritten: e.Unwritten})
		if to < e.End() {
			*tail = &layout.Extent{Logical: to, Block: e.Block + to - e.Logical, Len: uint32(e.End() - to), Unwritten: e.Unwritten}
		}
		if from > e.Logical {
			e.Len = uint32(from - e.Logical)
			layout.PutExtent(n.area, i, e)
			i++
			continue
		}
		if err := t.drop(n, i); err != nil {
			return err
		}
	}
	return nil
}

// collapse takes the entries of a lone child that fit into the inode up into it.
func (t *tree) collapse() error {
	for t.in.Depth > 0 && t.in.Extents == 1 {
		root, err := t.root()
		if err != nil {
			return err
		}
		c, err := t.child(&root, 0, int(t.in.Depth)-1, false)
		if err != nil || c.n > root.max {
			return err
		}
		block, area := c.block, append([]byte(nil), c.area[:c.n*layout.ExtentSize]...)
		copy(root.area, area)
		t.setCount(&root, c.n)
		t.in.Depth--
		t.in.Blocks--
		if err := t.s.FreeBlock(block); err != nil {
			return err
		}
	}
	return nil
}
