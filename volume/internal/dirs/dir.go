package dirs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/dchest/siphash"

	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// Errors of a wrong or impossible call.
var (
	ErrName     = errors.New("dirs: not a name")            // empty, over 255 bytes, with a slash or NUL, or no inode
	ErrExist    = errors.New("dirs: the name exists")       // Insert
	ErrNotFound = errors.New("dirs: no such name")          // Remove, Replace
	ErrNotEmpty = errors.New("dirs: not empty")             // Free
	ErrFull     = errors.New("dirs: the directory is full") // more leaves, names or index levels than the format has
)

// Dir is a directory during one operation. It changes the inode that it was given, which the
// caller writes. Nobody else may change the directory while a Dir of it is in use.
type Dir struct {
	s    extents.Store
	g    *layout.Geometry
	ino  uint64
	in   *layout.Inode
	key  [16]byte
	hash func(name []byte) uint64 // by the key
	hint *Hint                    // nil until there is one; see hints

	ext [2]layout.Extent // the last one found, for mapped, of leaves and of the space map; Len 0: none

	sought struct { // what find has found last, in the directory as it is now
		ok, found bool
		name      string
		place     place
	}

	// mark is the beginning of a record, as the last call of Next has found it: the next one
	// need not walk there again.
	mark struct {
		block, pos uint64
	}
}

// New is the directory of inode ino, whose decoded form is in; key is the volume's hash key.
func New(s extents.Store, g *layout.Geometry, key [16]byte, ino uint64, in *layout.Inode) *Dir {
	d := new(Dir)
	d.Init(s, g, key, ino, in)
	return d
}

// Init makes d what New returns, whatever it was before.
func (d *Dir) Init(s extents.Store, g *layout.Geometry, key [16]byte, ino uint64, in *layout.Inode) {
	hash := d.hash
	if hash == nil {
		hash = d.sum
	}
	*d = Dir{s: s, g: g, ino: ino, in: in, key: key, hash: hash}
}

// Ino is the directory's inode.
func (d *Dir) Ino() uint64 { return d.ino }

func (d *Dir) sum(name []byte) uint64 { return sum(&d.key, name) }

// hints is the hint that the caller keeps, or one for this operation.
func (d *Dir) hints() *Hint {
	if d.hint == nil {
		d.hint = new(Hint)
	}
	return d.hint
}

// WithHint makes d use h, which the caller keeps from one operation on this directory to the
// next, and forgets when an operation on it is rolled back.
func (d *Dir) WithHint(h *Hint) *Dir {
	h.own(d.ino, d.in.Generation)
	d.hint = h
	return d
}

// Hash is SipHash-2-4 of a name (Aumasson and Bernstein, 2012): who does not know the key
// cannot choose names that share a hash.
func Hash(key [16]byte, name string) uint64 { return sum(&key, []byte(name)) }

func sum(key *[16]byte, name []byte) uint64 {
	return siphash.Hash(binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:]), name)
}

// indexed reports whether there are an index and a space map.
func (d *Dir) indexed() bool { return d.in.Flags&layout.FlagIndexed != 0 }

// leaves is the number of logical blocks up to the last leaf, from the size.
func (d *Dir) leaves() (uint64, error) {
	bs := uint64(d.g.BlockSize)
	n := d.in.Size / bs
	switch {
	case d.in.Size%bs != 0 || n > layout.MaxDirBlocks:
		return 0, d.badInode(16, fmt.Sprintf("a directory of %d bytes", d.in.Size), "whole blocks, at most 2^32")
	case d.indexed() && n <= 1:
		return 0, d.badInode(36, fmt.Sprintf("an index over %d leaves", n), "two leaves or no index")
	}
	return n, nil
}

func (d *Dir) badInode(off int, found, want any) error {
	block, at := d.g.InodePlace(d.ino)
	return layout.Corrupt(fmt.Sprintf("inode %d", d.ino), block, at+off, found, want)
}

// checkName answers whether name can be an entry (I10).
func checkName(name string) error {
	if name == "" || len(name) > layout.MaxName || strings.IndexByte(name, '/') >= 0 || strings.IndexByte(name, 0) >= 0 || name == "." || name == ".." {
		return fmt.Errorf("%w: %.40q", ErrName, name)
	}
	return nil
}

// possible is whether checkName has nothing against a name.
func possible(name []byte) bool {
	return len(name) > 0 && len(name) <= layout.MaxName && bytes.IndexByte(name, '/') < 0 && bytes.IndexByte(name, 0) < 0 &&
		string(name) != "." && string(name) != ".."
}

// place is a live record and where it lies.
type place struct {
	block, logical uint64
	layout.Record
}

func (p *place) pos() uint64 { return layout.Position(p.logical, p.Off) }

// find is where a name is: by the index, or by a scan where there is none. The record's name
// aliases the block.
func (d *Dir) find(name string) (p place, found bool, err error) {
	last := &d.sought
	if last.ok && last.name == name {
		return last.place, last.found, nil
	}
	if p, found, err = d.search(name); err == nil {
		last.ok, last.found, last.name, last.place = true, found, name, p
	}
	return p, found, err
}

// changing forgets what is known of the directory: it is about to be another.
func (d *Dir) changing() { d.mark.pos, d.sought.ok = 0, false }

func (d *Dir) search(name string) (p place, found bool, err error) {
	if d.indexed() {
		return d.findIndexed(name)
	}
	n, err := d.leaves()
	if err != nil {
		return p, false, err
	}
	err = d.eachLeaf(0, n, func(l leaf) (bool, error) {
		err := l.each(func(r layout.Record) bool {
			if !r.Hole() && string(r.Name) == name {
				p, found = place{l.block, l.logical, r}, true
			}
			return !found
		})
		return !found, err
	})
	return p, found, err
}

// must is find of a name that has to be there.
func (d *Dir) must(name string) (place, error) {
	p, found, err := d.find(name)
	if err == nil && !found {
		err = fmt.Errorf("%w: %q in directory %d", ErrNotFound, name, d.ino)
	}
	return p, err
}

// Lookup finds the entry with this name and its position. A name that cannot be is not found.
func (d *Dir) Lookup(name string) (e layout.Dirent, pos uint64, found bool, err error) {
	if checkName(name) != nil {
		return e, 0, false, nil
	}
	p, found, err := d.find(name)
	if !found || err != nil {
		return e, 0, false, err
	}
	return layout.Dirent{Ino: p.Ino, Type: p.Type, Name: []byte(name)}, p.pos(), true, nil
}

// Next is the first entry at or behind position pos (0: of all), its position, and the
// position from which the enumeration goes on; ok is false behind the last entry. The entry's
// name is valid until the directory is changed.
func (d *Dir) Next(pos uint64) (e layout.Dirent, at, next uint64, ok bool, err error) {
	err = d.Walk(pos, func(x layout.Dirent, p, n uint64) (bool, error) {
		e, at, next, ok = x, p, n, true
		return false, nil
	})
	if err != nil {
		return layout.Dirent{}, 0, 0, false, err
	}
	return e, at, next, ok, nil
}

// Walk calls fn for the entries at or behind position pos (0: for all) until it returns false
// or an error, which is then Walk's; at and next are as Next returns them. Each leaf is read
// once. fn must not change the directory, and the entry's name is valid until it returns.
func (d *Dir) Walk(pos uint64, fn func(e layout.Dirent, at, next uint64) (bool, error)) error {
	n, err := d.leaves()
	if err != nil {
		return err
	}
	first, from := layout.SplitPosition(pos)
	return d.eachLeaf(first, n, func(l leaf) (bool, error) {
		// Holes merge and split, so a position may lie inside a record that was not there:
		// unless a walk has just ended here, this one is from the beginning of the leaf.
		start := 0
		if l.logical == first && pos != 0 && d.mark.pos == pos && d.mark.block == l.block {
			start = from
		}
		more, failed := true, error(nil)
		err := l.eachFrom(start, func(r layout.Record) bool {
			if r.Hole() || l.logical == first && r.Off < from {
				return true
			}
			if !possible(r.Name) {
				failed = l.corrupt(r.Off, fmt.Sprintf("the name %.40q", r.Name))
				return false
			}
			next := layout.Position(l.logical, r.Off+r.Len)
			d.mark.block, d.mark.pos = l.block, next
			more, failed = fn(r.Dirent, layout.Position(l.logical, r.Off), next)
			return more && failed == nil
		})
		return more, cmp.Or(failed, err)
	})
}

// Insert gives a name that is not there a place, and returns its position. kind is the mode
// type bits >> 12 of inode ino.
//
// Errors: ErrName, ErrExist, ErrFull, layout.ErrCorrupt, those of the store.
func (d *Dir) Insert(name string, ino uint64, kind uint8) (pos uint64, err error) {
	if err := checkName(name); err != nil {
		return 0, err
	}
	if ino == 0 {
		return 0, fmt.Errorf("%w: %q for inode 0", ErrName, name)
	}
	if d.in.Names == math.MaxUint32 {
		return 0, ErrFull
	}
	if _, found, err := d.find(name); err != nil {
		return 0, err
	} else if found {
		return 0, fmt.Errorf("%w: %q in directory %d", ErrExist, name, d.ino)
	}
	d.changing()
	l, err := d.room(layout.RecordLen(len(name)))
	if err != nil {
		return 0, err
	}
	off, largest, err := l.add(layout.Dirent{Ino: ino, Type: kind, Name: []byte(name)})
	if err != nil {
		return 0, err
	}
	d.in.Names++
	pos = layout.Position(l.logical, off)
	if !d.indexed() {
		return pos, nil
	}
	if err := d.setSpace(l.logical, layout.SpaceByte(largest)); err != nil {
		return 0, err
	}
	return pos, d.indexInsert(layout.IndexEntry{Hash: d.hash([]byte(name)), Pos: pos})
}

// room is a leaf with a hole of at least need bytes, to be changed.
func (d *Dir) room(need int) (l leaf, err error) {
	n, err := d.leaves()
	if err != nil {
		return l, err
	}
	if d.indexed() {
		logical, exists, err := d.findSpace(n, need)
		if err != nil {
			return l, err
		}
		if exists {
			return d.mustLeaf(logical, true)
		}
		return d.addLeaf(logical)
	}
	// Without an index: the first leaf with room, else the lowest number without a leaf.
	fits, free, seen := uint64(math.MaxUint64), uint64(math.MaxUint64), uint64(0)
	err = d.eachLeaf(0, n, func(l leaf) (bool, error) {
		if l.logical != seen {
			free = min(free, seen)
		}
		seen = l.logical + 1
		if l.largest() >= need {
			fits = l.logical
		}
		return fits == math.MaxUint64, nil
	})
	switch {
	case err != nil:
		return l, err
	case fits != math.MaxUint64:
		return d.mustLeaf(fits, true)
	}
	if n == 1 && free != 0 && d.g.RunBlocks > 0 {
		if err := d.startIndex(); err != nil {
			return l, err
		}
	}
	return d.addLeaf(min(free, n))
}

// addLeaf makes an empty leaf and counts it in the size.
func (d *Dir) addLeaf(logical uint64) (leaf, error) {
	if logical >= layout.MaxDirBlocks {
		return leaf{}, ErrFull
	}
	no, p, err := d.newMapped(logical)
	if err != nil {
		return leaf{}, err
	}
	layout.InitLeaf(p, d.ino, d.in.Generation, logical)
	d.in.Size = max(d.in.Size, (logical+1)*uint64(d.g.BlockSize))
	return leaf{no, logical, p}, nil
}

// Remove takes a name out and returns what it meant. A leaf goes with its last name.
//
// Errors: ErrNotFound, layout.ErrCorrupt, those of the store.
func (d *Dir) Remove(name string) (layout.Dirent, error) {
	p, err := d.must(name)
	if err != nil {
		return layout.Dirent{}, err
	}
	gone := layout.Dirent{Ino: p.Ino, Type: p.Type, Name: []byte(name)}
	pos := p.pos()
	d.changing()
	if d.in.Names == 0 {
		return gone, d.badInode(140, "0 names", fmt.Sprintf("a count for %.40q (I9)", name))
	}
	l, err := d.mustLeaf(p.logical, true)
	if err != nil {
		return gone, err
	}
	left, largest, err := l.remove(p.Off)
	if err != nil {
		return gone, err
	}
	d.in.Names--
	if left == 0 {
		if err := d.dropLeaf(l); err != nil {
			return gone, err
		}
	}
	if !d.indexed() { // now, or no longer
		return gone, nil
	}
	space := layout.SpaceByte(largest)
	if left == 0 {
		space = layout.SpaceNone
	}
	if err := d.setSpace(l.logical, space); err != nil {
		return gone, err
	}
	return gone, d.indexRemove(layout.IndexEntry{Hash: d.hash([]byte(name)), Pos: pos})
}

// dropLeaf gives back a leaf without names. The size follows the last leaf; with all but
// leaf 0 go the index and the space map.
func (d *Dir) dropLeaf(l leaf) error {
	if err := d.dropMapped(l.block, l.logical); err != nil {
		return err
	}
	n, err := d.leaves()
	if err != nil {
		return err
	}
	if l.logical+1 != n {
		return nil
	}
	if n, err = d.lastBefore(l.logical); err != nil {
		return err
	}
	d.in.Size = n * uint64(d.g.BlockSize)
	if d.indexed() && n <= 1 {
		return d.endIndex()
	}
	return nil
}

// Replace makes a name mean another inode, in its place: its position stays.
//
// Errors: ErrName (no inode), ErrNotFound, layout.ErrCorrupt, those of the store.
func (d *Dir) Replace(name string, ino uint64, kind uint8) error {
	if ino == 0 {
		return fmt.Errorf("%w: %q for inode 0", ErrName, name)
	}
	p, err := d.must(name)
	if err != nil {
		return err
	}
	d.changing()
	l, err := d.mustLeaf(p.logical, true)
	if err != nil {
		return err
	}
	layout.PutRecord(layout.BlockBody(l.p), p.Off, p.Len, layout.Dirent{Ino: ino, Type: kind, Name: []byte(name)})
	return nil
}

// Free gives back every block of a directory that has no names and is to be destroyed.
//
// Errors: ErrNotEmpty, layout.ErrCorrupt, those of the store.
func (d *Dir) Free() error {
	if d.in.Names > 0 {
		return fmt.Errorf("%w: directory %d has %d names", ErrNotEmpty, d.ino, d.in.Names)
	}
	d.changing()
	if d.indexed() {
		if err := d.endIndex(); err != nil {
			return err
		}
	}
	d.in.Size = 0
	return d.dropRange(0, layout.MaxLogical)
}

// MaxTouched bounds the blocks of a directory that one Insert, Remove or Replace changes, makes
// or frees, on a volume of this geometry; bitmaps and the inode are not among them. It counts
// a leaf, two blocks of the space map, the path of the index with a split, or a neighbour, at
// each level, and the same in the extent index for a leaf and for a block of the space map.
func MaxTouched(g *layout.Geometry) int {
	levels := func(n, leaf, inner, top uint64) (l int) {
		for per := leaf; n > top; per = inner {
			n = (n + per - 1) / per
			l++
		}
		return l
	}
	bs := g.BlockSize
	blocks := min(g.Blocks, layout.MaxDirBlocks)
	names := min(blocks*uint64(layout.Body(bs)/layout.RecordLen(1)), math.MaxUint32)
	index := levels(names, uint64(layout.IndexEntries(bs, true)/3), uint64(layout.IndexEntries(bs, false)/3), 1)
	fan := uint64(layout.NodeEntries(bs) / 4) // of nodes that are seldom joined, on average
	extent := levels(blocks, fan, fan, layout.InlineSize/layout.ExtentSize)
	return 3 + 2*min(index, layout.MaxIndexDepth+1) + 4*min(extent, layout.MaxDepth)
}
