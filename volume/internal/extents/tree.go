package extents

import (
	"errors"
	"fmt"
	"sort"

	"holdfast/layout"
)

// Store gives access to metadata blocks. Read returns content whose checksum and kind are
// verified, valid until the next Edit of the block; Edit a private copy to change; NewBlock
// a zeroed block near another one, allocated; FreeBlock takes one back.
type Store interface {
	Read(no uint64, k layout.Kind) ([]byte, error)
	Edit(no uint64, k layout.Kind) ([]byte, error)
	NewBlock(near uint64) (uint64, []byte, error)
	FreeBlock(no uint64) error
}

// Mover is a Store that cannot change a block in place where others must change with it: Move
// gives a copy to change, in a block to which the one that points to it has to point instead;
// the old one is freed. Where no other block is needed it is Edit.
type Mover interface {
	Move(no uint64, k layout.Kind) (to uint64, p []byte, err error)
}

// Errors of a wrong call.
var (
	ErrMapped = errors.New("extents: already mapped")        // Insert over an extent
	ErrRange  = errors.New("extents: no such range")         // beyond layout.MaxLogical, or empty
	ErrDepth  = errors.New("extents: the index is too deep") // more than layout.MaxDepth levels
)

// tree is the map of one inode while one call works on it.
type tree struct {
	s   Store
	g   *layout.Geometry
	ino uint64
	in  *layout.Inode
}

// node is the inode's inline area (block 0) or an index block, decoded. Extents of a leaf, or
// children, lie in logical blocks low to high (exclusive).
type node struct {
	block     uint64
	height    int
	low, high uint64
	idx       int // in the parent's entries
	ents      []layout.Extent
	dirty     bool
}

// root decodes the inline area.
func (t *tree) root() (*node, error) {
	if err := t.checkRoot(); err != nil {
		return nil, err
	}
	n := int(t.in.Extents)
	r := &node{height: int(t.in.Depth), high: layout.MaxLogical, ents: make([]layout.Extent, n, n+2)}
	for i := range r.ents {
		r.ents[i] = layout.GetExtent(t.in.Inline[:], i)
	}
	return r, nil
}

// checkRoot answers whether the inline area is a possible map.
func (t *tree) checkRoot() error {
	n := int(t.in.Extents)
	limit := t.in.MaxInlineExtents() * layout.ExtentSize
	check := func(what string, block uint64) error {
		return layout.CheckExtents(t.in.Inline[:limit], n, t.in.Depth == 0, 0, layout.MaxLogical, t.g, what, block)
	}
	if t.in.Depth <= layout.MaxDepth && (t.in.Depth == 0 || n > 0) && check("", 0) == nil {
		return nil
	}
	block, off := t.g.InodePlace(t.ino)
	what := fmt.Sprintf("inode %d", t.ino)
	if t.in.Depth > layout.MaxDepth {
		return layout.Corrupt(what, block, off+136, t.in.Depth, "an extent depth of at most 6")
	}
	if err := check(what, block); err != nil {
		return err
	}
	return layout.Corrupt(what, block, off+138, "an index without children", nil)
}

// child decodes child i of n.
func (t *tree) child(n *node, i int) (*node, error) {
	e := n.ents[i]
	c := &node{block: e.Block, height: n.height - 1, low: e.Logical, high: n.high, idx: i}
	if i+1 < len(n.ents) {
		c.high = n.ents[i+1].Logical
	}
	a, err := t.read(c.block, c.height, c.low, c.high)
	if err != nil {
		return nil, err
	}
	c.ents = make([]layout.Extent, a.n, a.n+2)
	for i := range c.ents {
		c.ents[i] = a.get(i)
	}
	return c, nil
}

// area is the entries of a node where they lie.
type area struct {
	p []byte
	n int
}

func (a area) get(i int) layout.Extent { return layout.GetExtent(a.p, i) }

// read reads and checks an index block, of entries in logical blocks low to high (exclusive).
func (t *tree) read(block uint64, height int, low, high uint64) (area, error) {
	p, err := t.s.Read(block, layout.KindExtents)
	if err != nil {
		return area{}, err
	}
	if err := layout.CheckHeader(p, block, layout.KindExtents, t.ino, low); err != nil {
		return area{}, err
	}
	const what = "extent index"
	h := layout.DecodeHeader(p)
	switch {
	case h.Count == 0 || uint64(h.Count) > uint64(layout.NodeEntries(len(p))):
		return area{}, layout.Corrupt(what, block, 4, fmt.Sprintf("%d entries", h.Count), fmt.Sprintf("1 to %d", layout.NodeEntries(len(p))))
	case h.Aux != uint64(height):
		return area{}, layout.Corrupt(what, block, 32, fmt.Sprintf("height %d", h.Aux), height)
	case h.Aux2 != uint64(t.in.Generation):
		return area{}, layout.Corrupt(what, block, 40, fmt.Sprintf("generation %d", h.Aux2), t.in.Generation)
	}
	b := layout.BlockBody(p)
	if err := layout.CheckExtents(b, int(h.Count), height == 0, low, high, t.g, what, block); err != nil {
		return area{}, err
	}
	return area{b, int(h.Count)}, nil
}

// find is the entry that covers logical or lies before it, -1 if none does.
func (a area) find(logical uint64) int {
	return before(a.n, func(i int) bool { return a.get(i).Logical <= logical })
}

// find is the entry of n that covers logical or lies before it, -1 if none does.
func (n *node) find(logical uint64) int {
	return before(len(n.ents), func(i int) bool { return n.ents[i].Logical <= logical })
}

// before is the last of n sorted entries that is not above what is sought, -1 if all are.
func before(n int, notAbove func(i int) bool) int {
	return sort.Search(n, func(i int) bool { return !notAbove(i) }) - 1
}

// descend is the path from the root to the leaf in whose range logical lies. With lower, keys
// on the leftmost path that are above logical are lowered to it, for an insertion.
func (t *tree) descend(logical uint64, lower bool) ([]*node, error) {
	n, err := t.root()
	if err != nil {
		return nil, err
	}
	path := []*node{n}
	for n.height > 0 {
		c, err := t.child(n, max(0, n.find(logical)))
		if err != nil {
			return nil, err
		}
		if lower && logical < c.low {
			c.low, c.dirty = logical, true
			n.ents[c.idx].Logical, n.dirty = logical, true
		}
		path = append(path, c)
		n = c
	}
	return path, nil
}

// capacity is how many entries n may have.
func (t *tree) capacity(n *node) int {
	if n.block == 0 {
		return t.in.MaxInlineExtents()
	}
	return layout.NodeEntries(t.g.BlockSize)
}

// store writes n.
func (t *tree) store(n *node) error {
	if n.block == 0 {
		limit := t.in.MaxInlineExtents() * layout.ExtentSize
		clear(t.in.Inline[:limit])
		for i, e := range n.ents {
			layout.PutExtent(t.in.Inline[:], i, e)
		}
		t.in.Extents, t.in.Depth = uint16(len(n.ents)), uint8(n.height)
		return nil
	}
	p, err := t.s.Edit(n.block, layout.KindExtents)
	if err != nil {
		return err
	}
	t.fill(p, n)
	return nil
}

// storeBelow writes n, which up points to; it may have another block then.
func (t *tree) storeBelow(up, n *node) error {
	m, ok := t.s.(Mover)
	if !ok {
		return t.store(n)
	}
	no, p, err := m.Move(n.block, layout.KindExtents)
	if err != nil {
		return err
	}
	if no != n.block {
		n.block = no
		up.ents[n.idx].Block, up.dirty = no, true
	}
	t.fill(p, n)
	return nil
}

// fill writes n into its block p, but for the header's sequence.
func (t *tree) fill(p []byte, n *node) {
	h := layout.DecodeHeader(p)
	h.Kind, h.Count = layout.KindExtents, uint32(len(n.ents))
	h.Owner, h.Index = t.ino, n.low
	h.Aux, h.Aux2 = uint64(n.height), uint64(t.in.Generation)
	layout.EncodeHeader(p, h)
	b := layout.BlockBody(p)
	for i, e := range n.ents {
		layout.PutExtent(b, i, e)
	}
	clear(b[len(n.ents)*layout.ExtentSize:])
}

// create writes n into a new block.
func (t *tree) create(n *node, near uint64) error {
	no, p, err := t.s.NewBlock(near)
	if err != nil {
		return err
	}
	n.block = no
	t.in.Blocks++
	t.fill(p, n)
	return nil
}

// free gives the block of n back.
func (t *tree) free(n *node) error {
	if t.in.Blocks > 0 {
		t.in.Blocks--
	}
	return t.s.FreeBlock(n.block)
}

// near is where a new index block is wanted: behind another one, or near the inode.
func (t *tree) near(n *node) uint64 {
	if n.block != 0 {
		return n.block + 1
	}
	if len(n.ents) > 0 {
		return n.ents[0].Block
	}
	group, _ := t.g.InodeGroup(t.ino)
	return t.g.GroupStart(group)
}

// save writes the changed nodes of a path, splitting what is too full and, with shrink,
// dropping what is empty and joining what is nearly so.
func (t *tree) save(path []*node, shrink bool) error {
	for k := len(path) - 1; k > 0; k-- {
		n, up := path[k], path[k-1]
		if !n.dirty {
			continue
		}
		limit := t.capacity(n)
		switch {
		case len(n.ents) == 0:
			up.ents = append(up.ents[:n.idx], up.ents[n.idx+1:]...)
			up.dirty = true
			if err := t.free(n); err != nil {
				return err
			}
			continue
		case len(n.ents) > limit:
			mid := len(n.ents) / 2
			if n.high == layout.MaxLogical && !shrink {
				mid = limit // a file that grows at its end fills its index
			}
			r := &node{height: n.height, low: n.ents[mid].Logical, high: n.high, ents: n.ents[mid:]}
			if err := t.create(r, t.near(n)); err != nil {
				return err
			}
			n.ents = n.ents[:mid]
			e := layout.Extent{Logical: r.low, Block: r.block}
			up.ents = append(up.ents, layout.Extent{})
			copy(up.ents[n.idx+2:], up.ents[n.idx+1:])
			up.ents[n.idx+1] = e
			up.dirty = true
		case shrink && len(n.ents) <= limit/4:
			joined, err := t.join(up, n, limit/2)
			if err != nil {
				return err
			}
			if joined {
				continue
			}
		}
		if err := t.storeBelow(up, n); err != nil {
			return err
		}
	}
	r := path[0]
	if !r.dirty && !(shrink && r.height > 0 && len(r.ents) == 1) {
		return nil
	}
	if len(r.ents) > 0 && t.capacity(r) == 0 {
		return ErrDepth // attributes fill the inline area
	}
	if len(r.ents) > t.capacity(r) {
		if r.height >= layout.MaxDepth {
			return ErrDepth
		}
		c := &node{height: r.height, low: r.ents[0].Logical, high: r.high, ents: r.ents}
		if err := t.create(c, t.near(r)); err != nil {
			return err
		}
		r.ents = []layout.Extent{{Logical: c.low, Block: c.block}}
		r.height++
	}
	if len(r.ents) == 0 {
		r.height = 0
	}
	for shrink && r.height > 0 && len(r.ents) == 1 {
		c, err := t.child(r, 0)
		if err != nil {
			return err
		}
		if len(c.ents) > t.capacity(r) {
			break
		}
		if err := t.free(c); err != nil {
			return err
		}
		r.ents, r.height = c.ents, c.height
	}
	return t.store(r)
}

// join moves the entries of n and a sibling into one block if they are at most limit.
func (t *tree) join(up, n *node, limit int) (bool, error) {
	for _, i := range [2]int{n.idx - 1, n.idx + 1} {
		if i < 0 || i >= len(up.ents) {
			continue
		}
		s, err := t.child(up, i)
		if err != nil {
			return false, err
		}
		if len(s.ents)+len(n.ents) > limit {
			continue
		}
		left, right := s, n
		if i > n.idx {
			left, right = n, s
		}
		left.ents = append(left.ents, right.ents...)
		up.ents = append(up.ents[:right.idx], up.ents[right.idx+1:]...)
		up.dirty = true
		if err := t.free(right); err != nil {
			return false, err
		}
		return true, t.storeBelow(up, left)
	}
	return false, nil
}
