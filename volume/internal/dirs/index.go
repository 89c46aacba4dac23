package dirs

import (
	"fmt"
	"slices"

	"holdfast/layout"
)

// node is an index node that has been read and checked.
type node struct {
	no     uint64
	p      []byte
	height int
	n      int // entries
}

func (x *node) leaf() bool { return x.height == 0 }

func (x *node) get(i int) layout.IndexEntry {
	return layout.GetIndex(layout.BlockBody(x.p), i, x.leaf())
}

func (x *node) capacity() int { return layout.IndexEntries(len(x.p), x.leaf()) }

// least is how many entries a node other than the root has.
func (x *node) least() int { return x.capacity() / 3 }

// entries is a copy of all entries.
func (x *node) entries() []layout.IndexEntry {
	list := make([]layout.IndexEntry, x.n, x.n+1)
	for i := range list {
		list[i] = x.get(i)
	}
	return list
}

// size is the length of an entry in bytes.
func (x *node) size() int {
	if x.leaf() {
		return layout.IndexLeafSize
	}
	return layout.IndexInnerSize
}

// resize sets the number of entries and clears what lies behind them.
func (x *node) resize(n int) {
	x.n = n
	h := layout.DecodeHeader(x.p)
	h.Count = uint32(n)
	layout.EncodeHeader(x.p, h)
	clear(layout.BlockBody(x.p)[n*x.size():])
}

// fill makes list the entries.
func (x *node) fill(list []layout.IndexEntry) {
	for i, e := range list {
		layout.PutIndex(layout.BlockBody(x.p), i, x.leaf(), e)
	}
	x.resize(len(list))
}

// put writes entry i.
func (x *node) put(i int, e layout.IndexEntry) {
	layout.PutIndex(layout.BlockBody(x.p), i, x.leaf(), e)
}

// insert makes e entry i of a node that is not full.
func (x *node) insert(i int, e layout.IndexEntry) {
	b, s := layout.BlockBody(x.p), x.size()
	copy(b[(i+1)*s:(x.n+1)*s], b[i*s:x.n*s])
	x.put(i, e)
	x.resize(x.n + 1)
}

// remove takes entry i out.
func (x *node) remove(i int) {
	b, s := layout.BlockBody(x.p), x.size()
	copy(b[i*s:], b[(i+1)*s:x.n*s])
	x.resize(x.n - 1)
}

// search is the number of entries below key.
func (x *node) search(key layout.IndexEntry) int {
	lo, hi := 0, x.n
	for lo < hi {
		if m := (lo + hi) / 2; x.get(m).Less(key) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// same reports whether a and b have one key.
func same(a, b layout.IndexEntry) bool { return a.Hash == b.Hash && a.Pos == b.Pos }

// branch is the child of an inner node below which key lies or belongs.
func (x *node) branch(key layout.IndexEntry) int {
	i := x.search(key)
	if i < x.n && same(x.get(i), key) {
		return i
	}
	return max(0, i-1)
}

const whatIndex = "directory index"

// node reads an index node of this height; edit makes it one that can be changed.
func (d *Dir) node(no uint64, height int, edit bool) (*node, error) {
	if !d.g.Allocatable(no) {
		return nil, d.badInode(128, fmt.Sprintf("an index node in block %d", no), "a block that a directory may own")
	}
	get := d.s.Read
	if edit {
		get = d.s.Edit
	}
	p, err := get(no, layout.KindDirIndex)
	if err != nil {
		return nil, err
	}
	h := layout.DecodeHeader(p)
	root := height < 0
	if root { // the root says itself how high it is
		if h.Aux > layout.MaxIndexDepth {
			return nil, layout.Corrupt(whatIndex, no, 32, fmt.Sprintf("height %d", h.Aux), "at most 12")
		}
		height = int(h.Aux)
	}
	if err := layout.CheckIndexNode(p, no, d.ino, d.in.Generation, height); err != nil {
		return nil, err
	}
	if h.Count == 0 && (!root || height > 0) {
		return nil, layout.Corrupt(whatIndex, no, 4, "no entries", "at least one")
	}
	return &node{no, p, height, int(h.Count)}, nil
}

// root reads the root of the index.
func (d *Dir) root() (*node, error) { return d.node(d.in.IndexRoot, -1, false) }

// child reads child i of x.
func (d *Dir) child(x *node, i int, edit bool) (*node, error) {
	return d.node(x.get(i).Child, x.height-1, edit)
}

// edit makes a node that has been read one that can be changed.
func (d *Dir) edit(x *node) error {
	p, err := d.s.Edit(x.no, layout.KindDirIndex)
	if err != nil {
		return err
	}
	x.p = p
	return nil
}

// newNode makes an empty node.
func (d *Dir) newNode(height int, near uint64) (*node, error) {
	no, p, err := d.s.NewBlock(near)
	if err != nil {
		return nil, err
	}
	d.in.Blocks++
	layout.InitBlock(p, layout.KindDirIndex, d.ino, 0)
	h := layout.DecodeHeader(p)
	h.Aux, h.Aux2 = uint64(height), uint64(d.in.Generation)
	layout.EncodeHeader(p, h)
	return &node{no: no, p: p, height: height}, nil
}

// seek is the first entry below x that is not less than key.
func (d *Dir) seek(x *node, key layout.IndexEntry) (e layout.IndexEntry, found bool, err error) {
	if x.leaf() {
		i := x.search(key)
		if i == x.n {
			return e, false, nil
		}
		return x.get(i), true, nil
	}
	// Only the first child can have nothing for us: the keys of the others are not less.
	for i := x.branch(key); i < x.n && !found; i++ {
		c, err := d.child(x, i, false)
		if err != nil {
			return e, false, err
		}
		if e, found, err = d.seek(c, key); err != nil {
			return e, false, err
		}
	}
	return e, found, nil
}

// findIndexed looks at every entry that has the hash of the name: others may share it.
func (d *Dir) findIndexed(name string) (p place, found bool, err error) {
	root, err := d.root()
	if err != nil {
		return p, false, err
	}
	key := layout.IndexEntry{Hash: d.hash([]byte(name))}
	for {
		e, found, err := d.seek(root, key)
		if err != nil || !found || e.Hash != key.Hash {
			return p, false, err
		}
		if e.Less(key) { // a child with keys below its bound
			return p, false, layout.Corrupt(whatIndex, root.no, layout.HeaderSize, "keys out of order below it", nil)
		}
		if p, err = d.at(e); err != nil || string(p.Name) == name {
			return p, err == nil, err
		}
		if e.Pos+1 == 0 {
			return p, false, nil
		}
		key.Pos = e.Pos + 1
	}
}

// at is the live record that an index entry stands for.
func (d *Dir) at(e layout.IndexEntry) (p place, err error) {
	logical, off := layout.SplitPosition(e.Pos)
	if n, err := d.leaves(); err != nil {
		return p, err
	} else if logical >= n {
		return p, layout.Corrupt(whatIndex, d.in.IndexRoot, layout.HeaderSize,
			fmt.Sprintf("position %#x", e.Pos), fmt.Sprintf("one in the %d leaves of inode %d (I10)", n, d.ino))
	}
	l, err := d.mustLeaf(logical, false)
	if err != nil {
		return p, err
	}
	r, err := layout.GetRecord(layout.BlockBody(l.p), off)
	if err != nil {
		return p, l.corrupt(off, err)
	}
	// That a record begins here the leaf alone could say only by a scan: but nothing else
	// has a name with this hash.
	if r.Hole() || d.hash(r.Name) != e.Hash {
		return p, l.corrupt(off, fmt.Sprintf("not what the index has (hash %#x, I10)", e.Hash))
	}
	return place{l.block, logical, r}, nil
}

// indexInsert adds an entry. A full node splits, and so on up to a new root.
func (d *Dir) indexInsert(e layout.IndexEntry) error {
	root, err := d.root()
	if err != nil {
		return err
	}
	split, up, err := d.insertBelow(root, e)
	if err != nil || !split {
		return err
	}
	if root.height == layout.MaxIndexDepth {
		return ErrFull
	}
	top, err := d.newNode(root.height+1, root.no+1)
	if err != nil {
		return err
	}
	top.fill([]layout.IndexEntry{{Child: root.no}, up}) // 0 is below all keys
	d.in.IndexRoot = top.no
	return nil
}

// insertBelow adds e in or below x. If x splits, up is what its parent must have in addition.
func (d *Dir) insertBelow(x *node, e layout.IndexEntry) (split bool, up layout.IndexEntry, err error) {
	if x.leaf() {
		i := x.search(e)
		if i < x.n && same(x.get(i), e) {
			return false, up, layout.Corrupt(whatIndex, x.no, layout.HeaderSize,
				fmt.Sprintf("an entry for position %#x", e.Pos), "none, it was free (I10)")
		}
		return d.addEntry(x, i, e)
	}
	i := x.branch(e)
	if low := x.get(i); e.Less(low) { // the first child takes what is below its bound
		if err := d.edit(x); err != nil {
			return false, up, err
		}
		low.Hash, low.Pos = e.Hash, e.Pos
		x.put(i, low)
	}
	c, err := d.child(x, i, false)
	if err != nil {
		return false, up, err
	}
	split, up, err = d.insertBelow(c, e)
	if err != nil || !split {
		return false, up, err
	}
	return d.addEntry(x, i+1, up)
}

// addEntry makes e entry i of x. A full node gives its upper half to a new one.
func (d *Dir) addEntry(x *node, i int, e layout.IndexEntry) (split bool, up layout.IndexEntry, err error) {
	if err := d.edit(x); err != nil {
		return false, up, err
	}
	if x.n < x.capacity() {
		x.insert(i, e)
		return false, up, nil
	}
	y, err := d.newNode(x.height, x.no+1)
	if err != nil {
		return false, up, err
	}
	list := slices.Insert(x.entries(), i, e)
	half := len(list) / 2
	y.fill(list[half:])
	x.fill(list[:half])
	up = list[half]
	up.Child = y.no
	return true, up, nil
}

// indexRemove takes an entry out. A root with one child gives way to it.
func (d *Dir) indexRemove(e layout.IndexEntry) error {
	root, err := d.root()
	if err != nil {
		return err
	}
	if err := d.removeBelow(root, e); err != nil {
		return err
	}
	for root.height > 0 && root.n == 1 {
		c, err := d.child(root, 0, false)
		if err != nil {
			return err
		}
		if err := d.free(root.no); err != nil {
			return err
		}
		d.in.IndexRoot = c.no
		root = c
	}
	return nil
}

// removeBelow takes e out in or below x.
func (d *Dir) removeBelow(x *node, e layout.IndexEntry) error {
	if x.leaf() {
		i := x.search(e)
		if i == x.n || !same(x.get(i), e) {
			return layout.Corrupt(whatIndex, x.no, layout.HeaderSize,
				"no entry for a name", fmt.Sprintf("position %#x (I10)", e.Pos))
		}
		if err := d.edit(x); err != nil {
			return err
		}
		x.remove(i)
		return nil
	}
	i := x.branch(e)
	c, err := d.child(x, i, false)
	if err != nil {
		return err
	}
	if err := d.removeBelow(c, e); err != nil {
		return err
	}
	switch {
	case c.n >= c.least() || x.n == 1 && c.n > 0:
		return nil
	case x.n == 1: // not by this code: an only child that became empty
		return layout.Corrupt(whatIndex, x.no, 4, "1 child", "at least two")
	}
	return d.rebalance(x, i, c)
}

// rebalance joins child i of x, which is c and has too few entries, with a neighbour or, if
// they do not fit into one node, shares their entries out evenly.
func (d *Dir) rebalance(x *node, i int, c *node) error {
	if err := d.edit(x); err != nil {
		return err
	}
	left, right := c, c
	var err error
	if i > 0 {
		i--
		left, err = d.child(x, i, true)
	} else {
		right, err = d.child(x, i+1, true)
	}
	if err != nil {
		return err
	}
	list := append(left.entries(), right.entries()...)
	if len(list) <= left.capacity() {
		left.fill(list)
		x.remove(i + 1)
		return d.free(right.no)
	}
	half := len(list) / 2
	left.fill(list[:half])
	right.fill(list[half:])
	low := list[half]
	low.Child = right.no
	x.put(i+1, low)
	return nil
}

// startIndex gives a directory of one leaf an index and a space map.
func (d *Dir) startIndex() error {
	l, err := d.mustLeaf(0, false)
	if err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	// A leaf has no more names than a node has entries: both have at least 16 bytes.
	var list []layout.IndexEntry
	if err := l.each(func(r layout.Record) bool {
		if !r.Hole() {
			list = append(list, layout.IndexEntry{Hash: d.hash(r.Name), Pos: layout.Position(0, r.Off)})
		}
		return true
	}); err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b layout.IndexEntry) int {
		if a.Less(b) {
			return -1
		}
		return 1
	})
	root, err := d.newNode(0, l.block+1)
	if err != nil {
		return err
	}
	root.fill(list)
	d.in.IndexRoot = root.no
	d.in.Flags |= layout.FlagIndexed
	*d.hints() = Hint{ino: d.ino, gen: d.in.Generation} // what an earlier map said is void
	return d.setSpace(0, layout.SpaceByte(l.largest()))
}

// endIndex gives back the index and the space map.
func (d *Dir) endIndex() error {
	root, err := d.root()
	if err != nil {
		return err
	}
	if err := d.freeTree(root); err != nil {
		return err
	}
	d.in.IndexRoot = 0
	d.in.Flags &^= layout.FlagIndexed
	return d.dropRange(layout.SpaceBase, layout.MaxLogical-layout.SpaceBase)
}

// freeTree frees x and what is below it. A node that is there twice ends it at the latest
// when the blocks of the inode are counted down (free).
func (d *Dir) freeTree(x *node) error {
	if !x.leaf() {
		for i := range x.n {
			c, err := d.child(x, i, false)
			if err != nil {
				return err
			}
			if err := d.freeTree(c); err != nil {
				return err
			}
		}
	}
	return d.free(x.no)
}
