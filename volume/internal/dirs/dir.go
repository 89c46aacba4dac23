// Package dirs is the directory format: leaves whose records never move, and, once there is
// more than one leaf, a B+tree over the hashes of names and a map of free space.
//
// It promises that a position, once given to a name, stays the name's until it is removed;
// that what it reads is checked before it is believed (owner, index, generation, tiling,
// order); that finding a place for a name reads no leaf but the one that takes it; and that
// emptied leaves and index nodes are given back. A plain scan of the leaves always works.
//
// It imports layout and volume/internal/extents, through which the leaves and the space map
// are found; blocks come from a Store. Start with Dir.
package dirs

import (
	"fmt"

	"github.com/dchest/siphash"

	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// Dir is a directory within one transaction. It changes *in, which the caller puts.
type Dir struct {
	s    extents.Store
	g    *layout.Geometry
	ino  uint64
	in   *layout.Inode
	hash func(name string) uint64
}

// New is the directory of inode ino; key is the volume's hash key.
func New(s extents.Store, g *layout.Geometry, key [16]byte, ino uint64, in *layout.Inode) *Dir {
	return &Dir{s, g, ino, in, func(name string) uint64 { return Hash(key, name) }}
}

// Hash is SipHash-2-4 of a name.
func Hash(key [16]byte, name string) uint64 {
	k0, k1 := uint64(0), uint64(0)
	for i := range 8 {
		k0 |= uint64(key[i]) << (8 * i)
		k1 |= uint64(key[8+i]) << (8 * i)
	}
	return siphash.Hash(k0, k1, []byte(name))
}

// MaxTouched bounds the blocks that one Insert, Remove or Replace changes: a leaf, a block of
// the space map and a new one, the path of the index with a split or merge at each level, and
// the path of the extent index with a split at each level, for the leaf and for the space map.
// A directory has no more leaves than the volume has blocks, which bounds both depths.
func MaxTouched(g *layout.Geometry) int {
	names := g.Blocks * uint64(layout.Body(g.BlockSize)/16)
	depth := func(entries, fanout uint64) int {
		d := 1
		for n := entries / fanout; n > 0; n /= fanout {
			d++
		}
		return d
	}
	index := depth(names, uint64(layout.IndexEntries(g.BlockSize, false))/2)
	extent := depth(g.Blocks, uint64(layout.NodeEntries(g.BlockSize))/2)
	return 3 + 2*index + 2*extent
}

func (d *Dir) indexed() bool { return d.in.Flags&layout.FlagIndexed != 0 }

// leaves is the number of logical blocks up to the last leaf.
func (d *Dir) leaves() uint64 { return d.in.Size / uint64(d.g.BlockSize) }

// leaf is the block number of a leaf, found = false if there is none.
func (d *Dir) leaf(logical uint64) (no uint64, found bool, err error) {
	e, found, err := extents.Lookup(d.s, d.g, d.ino, d.in, logical)
	if !found || err != nil {
		return 0, false, err
	}
	return e.Block + logical - e.Logical, true, nil
}

func (d *Dir) corrupt(no uint64, off int, what any) error {
	return layout.Corrupt("directory block", no, layout.HeaderSize+off, what, nil)
}

// load reads or edits a leaf and checks whose it is.
func (d *Dir) load(no, logical uint64, edit bool) ([]byte, error) {
	return d.block(no, layout.KindDirLeaf, logical, edit)
}

func (d *Dir) block(no uint64, k layout.Kind, index uint64, edit bool) ([]byte, error) {
	get := d.s.Read
	if edit {
		get = d.s.Edit
	}
	b, err := get(no, k)
	if err != nil {
		return nil, err
	}
	if err := layout.CheckHeader(b, no, k, d.ino, index); err != nil {
		return nil, err
	}
	if h := layout.DecodeHeader(b); h.Aux2 != uint64(d.in.Generation) {
		return nil, layout.Corrupt(k.String(), no, 40, fmt.Sprintf("generation %d", h.Aux2), d.in.Generation)
	}
	return b, nil
}

// record reads the record at a place.
func (d *Dir) record(no uint64, b []byte, off int) (layout.Record, error) {
	r, err := layout.GetRecord(layout.BlockBody(b), off)
	if err != nil {
		return r, d.corrupt(no, off, err)
	}
	return r, nil
}

// scan looks for a name in one leaf.
func (d *Dir) scan(no uint64, b []byte, name string) (r layout.Record, found bool, err error) {
	for off := 0; off < len(layout.BlockBody(b)); off += r.Len {
		if r, err = d.record(no, b, off); err != nil {
			return r, false, err
		}
		if !r.Hole() && string(r.Name) == name {
			return r, true, nil
		}
	}
	return r, false, nil
}

// place is where a name is.
type place struct {
	no, logical uint64
	r           layout.Record
}

func (p *place) pos() uint64 { return layout.Position(p.logical, p.r.Off) }

// find is where a name is: by the index, or by a scan where there is none.
func (d *Dir) find(name string) (p place, found bool, err error) {
	if d.indexed() {
		return d.findIndexed(name)
	}
	for l := range d.leaves() {
		no, ok, err := d.leaf(l)
		if err != nil {
			return p, false, err
		}
		if !ok {
			continue
		}
		b, err := d.load(no, l, false)
		if err != nil {
			return p, false, err
		}
		if r, ok, err := d.scan(no, b, name); ok || err != nil {
			return place{no, l, r}, ok, err
		}
	}
	return p, false, nil
}

// at is the live record at a position, as the index claims it.
func (d *Dir) at(pos uint64) (p place, err error) {
	logical, off := layout.SplitPosition(pos)
	no, ok, err := d.leaf(logical)
	if err != nil {
		return p, err
	}
	if !ok || logical >= layout.MaxDirBlocks {
		return p, layout.Corrupt("directory index", d.in.IndexRoot, 0, fmt.Sprintf("position %#x of inode %d is in no leaf (I10)", pos, d.ino), nil)
	}
	b, err := d.load(no, logical, false)
	if err != nil {
		return p, err
	}
	r, err := d.record(no, b, off)
	if err != nil {
		return p, err
	}
	if r.Hole() {
		return p, d.corrupt(no, off, "the index names a hole (I10)")
	}
	return place{no, logical, r}, nil
}

// Lookup finds a name and its position. The entry's name aliases the block.
func (d *Dir) Lookup(name string) (e layout.Dirent, pos uint64, found bool, err error) {
	p, found, err := d.find(name)
	return p.r.Dirent, p.pos(), found, err
}

// Next is the first entry at or behind a position, and the position behind it.
func (d *Dir) Next(pos uint64) (e layout.Dirent, at, next uint64, ok bool, err error) {
	logical, from := layout.SplitPosition(pos)
	for ; logical < d.leaves(); logical, from = logical+1, 0 {
		no, found, err := d.leaf(logical)
		if err != nil {
			return e, 0, 0, false, err
		}
		if !found {
			continue
		}
		b, err := d.load(no, logical, false)
		if err != nil {
			return e, 0, 0, false, err
		}
		// Holes merge and split, so a position may lie inside one: the walk is from the start.
		for off := 0; off < len(layout.BlockBody(b)); {
			r, err := d.record(no, b, off)
			if err != nil {
				return e, 0, 0, false, err
			}
			if off >= from && !r.Hole() {
				return r.Dirent, layout.Position(logical, off), layout.Position(logical, off+r.Len), true, nil
			}
			off += r.Len
		}
	}
	return e, 0, 0, false, nil
}

// Replace makes a name mean another inode, in its place.
func (d *Dir) Replace(name string, ino uint64, kind uint8) error {
	p, found, err := d.find(name)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("directory inode %d has no name %q to replace", d.ino, name)
	}
	b, err := d.load(p.no, p.logical, true)
	if err != nil {
		return err
	}
	layout.PutRecord(layout.BlockBody(b), p.r.Off, p.r.Len, layout.Dirent{Ino: ino, Type: kind, Name: []byte(name)})
	return nil
}

// Insert gives a name that is not there a place, and returns its position.
func (d *Dir) Insert(name string, ino uint64, kind uint8) (uint64, error) {
	need := layout.RecordLen(len(name))
	no, logical, b, err := d.room(need)
	if err != nil {
		return 0, err
	}
	off, err := d.hole(no, b, need)
	if err != nil {
		return 0, err
	}
	body := layout.BlockBody(b)
	r, err := d.record(no, b, off)
	if err != nil {
		return 0, err
	}
	n := need
	if rest := r.Len - need; rest < 16 {
		n = r.Len
	} else {
		layout.PutHole(body, off+need, rest)
	}
	layout.PutRecord(body, off, n, layout.Dirent{Ino: ino, Type: kind, Name: []byte(name)})
	if err := d.summary(no, logical, b, 1); err != nil {
		return 0, err
	}
	d.in.Names++
	pos := layout.Position(logical, off)
	if d.indexed() {
		return pos, d.indexInsert(layout.IndexEntry{Hash: d.hash(name), Pos: pos})
	}
	return pos, nil
}

// hole is the first hole of at least need bytes in a leaf that is known to have one.
func (d *Dir) hole(no uint64, b []byte, need int) (int, error) {
	for off := 0; off < len(layout.BlockBody(b)); {
		r, err := d.record(no, b, off)
		if err != nil {
			return 0, err
		}
		if r.Hole() && r.Len >= need {
			return off, nil
		}
		off += r.Len
	}
	return 0, d.corrupt(no, -layout.HeaderSize+32, "the largest hole is smaller than the header says")
}

// summary brings the header of an edited leaf up to date (entries, largest hole), and the
// space map with it.
func (d *Dir) summary(no, logical uint64, b []byte, change int) error {
	largest := 0
	for off := 0; off < len(layout.BlockBody(b)); {
		r, err := d.record(no, b, off)
		if err != nil {
			return err
		}
		if r.Hole() {
			largest = max(largest, r.Len)
		}
		off += r.Len
	}
	h := layout.DecodeHeader(b)
	h.Count = uint32(int(h.Count) + change)
	h.Aux = uint64(largest)
	layout.EncodeHeader(b, h)
	if !d.indexed() {
		return nil
	}
	return d.setSpace(logical, layout.SpaceByte(largest))
}

// Remove takes a name out; the leaf goes as well when it was the last one in it.
func (d *Dir) Remove(name string) (layout.Dirent, error) {
	p, found, err := d.find(name)
	if err != nil {
		return layout.Dirent{}, err
	}
	if !found {
		return layout.Dirent{}, fmt.Errorf("directory inode %d has no name %q to remove", d.ino, name)
	}
	gone := layout.Dirent{Ino: p.r.Ino, Type: p.r.Type, Name: []byte(name)}
	if d.indexed() {
		if err := d.indexRemove(layout.IndexEntry{Hash: d.hash(name), Pos: p.pos()}); err != nil {
			return gone, err
		}
	}
	b, err := d.load(p.no, p.logical, true)
	if err != nil {
		return gone, err
	}
	if err := d.clear(p.no, b, p.r.Off); err != nil {
		return gone, err
	}
	if d.in.Names == 0 {
		return gone, d.corrupt(p.no, p.r.Off, "a name in a directory that counts none (I9)")
	}
	d.in.Names--
	if err := d.summary(p.no, p.logical, b, -1); err != nil {
		return gone, err
	}
	if layout.DecodeHeader(b).Count > 0 {
		return gone, nil
	}
	return gone, d.dropLeaf(p.no, p.logical)
}

// clear makes the record at off a hole, joined with the holes beside it.
func (d *Dir) clear(no uint64, b []byte, off int) error {
	body := layout.BlockBody(b)
	start, end, prev := off, off, -1
	for at := 0; at <= off; {
		r, err := d.record(no, b, at)
		if err != nil {
			return err
		}
		if at == off {
			end = off + r.Len
			break
		}
		prev = -1
		if r.Hole() {
			prev = at
		}
		at += r.Len
	}
	if prev >= 0 {
		start = prev
	}
	if end < len(body) {
		r, err := d.record(no, b, end)
		if err != nil {
			return err
		}
		if r.Hole() {
			end += r.Len
		}
	}
	layout.PutHole(body, start, end-start)
	return nil
}

// room is an edited leaf with a hole of at least need bytes: the only leaf, or what the space
// map says, or a new one.
func (d *Dir) room(need int) (no, logical uint64, b []byte, err error) {
	if !d.indexed() {
		if d.leaves() == 0 {
			return d.addLeaf(0)
		}
		no, ok, err := d.leaf(0)
		if err != nil {
			return 0, 0, nil, err
		}
		if !ok {
			return d.addLeaf(0)
		}
		b, err := d.load(no, 0, true)
		if err != nil {
			return 0, 0, nil, err
		}
		if layout.DecodeHeader(b).Aux >= uint64(need) {
			return no, 0, b, nil
		}
		if err := d.startIndex(no, b); err != nil {
			return 0, 0, nil, err
		}
	}
	logical, exists, err := d.findSpace(need)
	if err != nil {
		return 0, 0, nil, err
	}
	if !exists {
		return d.addLeaf(logical)
	}
	no, ok, err := d.leaf(logical)
	if err != nil {
		return 0, 0, nil, err
	}
	if !ok {
		return 0, 0, nil, layout.Corrupt("directory space map", 0, 0, fmt.Sprintf("leaf %d of inode %d does not exist (I10)", logical, d.ino), nil)
	}
	b, err = d.load(no, logical, true)
	return no, logical, b, err
}

// addLeaf makes an empty leaf.
func (d *Dir) addLeaf(logical uint64) (uint64, uint64, []byte, error) {
	if logical >= layout.MaxDirBlocks {
		return 0, 0, nil, fmt.Errorf("directory inode %d is full", d.ino)
	}
	no, b, err := d.newBlock(logical)
	if err != nil {
		return 0, 0, nil, err
	}
	layout.InitLeaf(b, d.ino, d.in.Generation, logical)
	d.in.Size = max(d.in.Size, (logical+1)*uint64(d.g.BlockSize))
	return no, logical, b, nil
}

// newBlock allocates a block and maps it, beside the one before it if it can.
func (d *Dir) newBlock(logical uint64) (uint64, []byte, error) {
	group, _ := d.g.InodeGroup(d.ino)
	near := d.g.GroupStart(group) + d.g.GroupTables(group)
	if logical > 0 {
		if no, ok, err := d.leaf(logical - 1); err != nil {
			return 0, nil, err
		} else if ok {
			near = no + 1
		}
	}
	no, b, err := d.s.NewBlock(near)
	if err != nil {
		return 0, nil, err
	}
	d.in.Blocks++
	return no, b, extents.Insert(d.s, d.g, d.ino, d.in, layout.Extent{Logical: logical, Block: no, Len: 1})
}

// dropBlock unmaps and frees a block of the directory.
func (d *Dir) dropBlock(no, logical uint64) error {
	if _, err := extents.Remove(d.s, d.g, d.ino, d.in, logical, 1); err != nil {
		return err
	}
	d.in.Blocks--
	return d.s.FreeBlock(no)
}

// dropLeaf gives an empty leaf back. When only leaf 0, or none, is left, so go index and map.
func (d *Dir) dropLeaf(no, logical uint64) error {
	if err := d.dropBlock(no, logical); err != nil {
		return err
	}
	if d.indexed() {
		if err := d.setSpace(logical, layout.SpaceNone); err != nil {
			return err
		}
	}
	if logical+1 == d.leaves() { // the size follows the last leaf
		last, err := d.lastLeaf()
		if err != nil {
			return err
		}
		d.in.Size = last * uint64(d.g.BlockSize)
	}
	if d.indexed() && d.leaves() <= 1 {
		return d.endIndex()
	}
	return nil
}

// lastLeaf is one more than the logical block of the last leaf.
func (d *Dir) lastLeaf() (uint64, error) {
	last := uint64(0)
	if d.in.Names == 0 {
		return 0, nil
	}
	if d.indexed() {
		return d.lastSpace()
	}
	for l := range d.leaves() {
		if _, ok, err := d.leaf(l); err != nil {
			return 0, err
		} else if ok {
			last = l + 1
		}
	}
	return last, nil
}

// Free gives back every block of a directory that is to be destroyed; it is empty.
func (d *Dir) Free() error {
	if d.in.Names > 0 {
		return fmt.Errorf("directory inode %d is not empty", d.ino)
	}
	for l := range d.leaves() {
		if no, ok, err := d.leaf(l); err != nil {
			return err
		} else if ok {
			if err := d.dropBlock(no, l); err != nil {
				return err
			}
		}
	}
	d.in.Size = 0
	if d.indexed() {
		return d.endIndex()
	}
	return nil
}
