package dirs

import (
	"fmt"

	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// leaf is a leaf block that has been read and whose header has been checked.
type leaf struct {
	block, logical uint64
	p              []byte
}

func (l *leaf) corrupt(off int, found any) error {
	return layout.Corrupt(layout.KindDirLeaf.String(), l.block, layout.HeaderSize+off, found, nil)
}

// largest is the largest hole in bytes, as the header says.
func (l *leaf) largest() int { return int(min(layout.DecodeHeader(l.p).Aux, uint64(len(l.p)))) }

// each calls fn for the records, holes too, until it returns false.
func (l *leaf) each(fn func(layout.Record) bool) error { return l.eachFrom(0, fn) }

// eachFrom is each from the record at off on.
func (l *leaf) eachFrom(off int, fn func(layout.Record) bool) error {
	body := layout.BlockBody(l.p)
	for off < len(body) {
		r, err := layout.GetRecord(body, off)
		if err != nil {
			return l.corrupt(off, err)
		}
		if !fn(r) {
			return nil
		}
		off += r.Len
	}
	return nil
}

// count is the number of names and the largest hole, from the records.
func (l *leaf) count() (names, largest int, err error) {
	err = l.each(func(r layout.Record) bool {
		if r.Hole() {
			largest = max(largest, r.Len)
		} else {
			names++
		}
		return true
	})
	return names, largest, err
}

// check answers whether the header agrees with the records.
func (l *leaf) check() error {
	names, largest, err := l.count()
	if err != nil {
		return err
	}
	return l.agrees(names, largest)
}

// agrees answers whether the header says what was counted.
func (l *leaf) agrees(names, largest int) error {
	h := layout.DecodeHeader(l.p)
	switch {
	case uint64(h.Count) != uint64(names):
		return layout.Corrupt(layout.KindDirLeaf.String(), l.block, 4, fmt.Sprintf("%d entries", h.Count), names)
	case h.Aux != uint64(largest):
		return layout.Corrupt(layout.KindDirLeaf.String(), l.block, 32, fmt.Sprintf("a largest hole of %d bytes", h.Aux), largest)
	}
	return nil
}

// update makes the header say what the records are now.
func (l *leaf) update(names, largest int) {
	h := layout.DecodeHeader(l.p)
	h.Count, h.Aux = uint32(names), uint64(largest)
	layout.EncodeHeader(l.p, h)
}

// add puts e into the first hole that is large enough. The records are gone through once: that is most of
// what a change of a large directory costs.
func (l *leaf) add(e layout.Dirent) (off, largest int, err error) {
	need := layout.RecordLen(len(e.Name))
	var hole layout.Record // that is used
	names, others := 0, 0  // others: the largest hole but that
	err = l.each(func(r layout.Record) bool {
		switch {
		case !r.Hole():
			names++
		case hole.Len == 0 && r.Len >= need:
			hole = r
		default:
			others = max(others, r.Len)
		}
		return true
	})
	if err == nil {
		err = l.agrees(names, max(hole.Len, others))
	}
	if err == nil && hole.Len == 0 {
		err = l.corrupt(-layout.HeaderSize+32, fmt.Sprintf("no hole of %d bytes, where the space map has one (I10)", need))
	}
	if err != nil {
		return 0, 0, err
	}
	body := layout.BlockBody(l.p)
	if rest := hole.Len - need; rest >= layout.RecordLen(1) {
		layout.PutHole(body, hole.Off+need, rest)
		others = max(others, rest)
	} else {
		need = hole.Len
	}
	layout.PutRecord(body, hole.Off, need, e)
	l.update(names+1, others)
	return hole.Off, others, nil
}

// remove makes the live record at off a hole, one with the holes beside it. As add, it goes through the records once.
func (l *leaf) remove(off int) (left, largest int, err error) {
	start, end := -1, -1                         // of the hole that it becomes
	names, largest, others, beside := 0, 0, 0, 0 // largest holes: of all, not beside the record, in the run before it
	done, joined := false, false
	err = l.each(func(r layout.Record) bool {
		if r.Hole() {
			largest = max(largest, r.Len)
		} else {
			names++
		}
		switch {
		case r.Off < off && r.Hole():
			if start < 0 {
				start = r.Off
			}
			beside = max(beside, r.Len)
		case r.Off < off:
			others, beside, start = max(others, beside), 0, -1
		case r.Off == off && !r.Hole():
			if start < 0 {
				start = off
			}
			end, done, joined = off+r.Len, true, true
		case joined && r.Hole():
			end = r.Off + r.Len
		default:
			joined = false
			if r.Hole() {
				others = max(others, r.Len)
			}
		}
		return true
	})
	if err == nil {
		err = l.agrees(names, largest)
	}
	if err == nil && !done {
		err = l.corrupt(off, "no name where one was found")
	}
	if err != nil {
		return 0, 0, err
	}
	layout.PutHole(layout.BlockBody(l.p), start, end-start)
	largest = max(others, end-start)
	l.update(names-1, largest)
	return names - 1, largest, nil
}

// lookup is the extent that holds a logical block or, with found = false, a hole from there on.
func (d *Dir) lookup(logical uint64) (e layout.Extent, found bool, err error) {
	last := &d.ext[0]
	if logical >= layout.SpaceBase {
		last = &d.ext[1]
	}
	if last.Len > 0 && logical >= last.Logical && logical < last.End() {
		return *last, true, nil
	}
	e, found, err = extents.Lookup(d.s, d.g, d.ino, d.in, logical)
	if err == nil && found {
		if e.Unwritten {
			return e, false, d.badInode(144, fmt.Sprintf("extent %v", e), "no unwritten blocks in a directory")
		}
		*last = e
	}
	return e, found, err
}

// mapped is the block of a logical block: a leaf, or a block of the space map.
func (d *Dir) mapped(logical uint64) (no uint64, found bool, err error) {
	e, found, err := d.lookup(logical)
	if !found || err != nil {
		return 0, false, err
	}
	return e.Block + (logical - e.Logical), true, nil
}

// lastBefore is one more than the last leaf below n, 0 if there is none. The number behind a
// large hole may be far: the steps back double.
func (d *Dir) lastBefore(n uint64) (uint64, error) {
	for step := uint64(1); n > 0; step *= 2 {
		low := n - min(n, step)
		last := uint64(0)
		for l := low; l < n; {
			e, found, err := d.lookup(l)
			if err != nil {
				return 0, err
			}
			if found {
				last = min(e.End(), n)
				l = last
			} else {
				l += max(1, uint64(e.Len))
			}
		}
		if last > 0 {
			return last, nil
		}
		n = low
	}
	return 0, nil
}

// load reads or edits a mapped block and checks whose it is.
func (d *Dir) load(no uint64, k layout.Kind, index uint64, edit bool) ([]byte, error) {
	get := d.s.Read
	if edit {
		get = d.s.Edit
	}
	p, err := get(no, k)
	if err != nil {
		return nil, err
	}
	if err := layout.CheckHeader(p, no, k, d.ino, index); err != nil {
		return nil, err
	}
	if h := layout.DecodeHeader(p); h.Aux2 != uint64(d.in.Generation) {
		return nil, layout.Corrupt(k.String(), no, 40, fmt.Sprintf("generation %d", h.Aux2), d.in.Generation)
	}
	return p, nil
}

// mustLeaf is a leaf that has to be there.
func (d *Dir) mustLeaf(logical uint64, edit bool) (leaf, error) {
	no, found, err := d.mapped(logical)
	if err == nil && !found {
		err = d.badInode(144, fmt.Sprintf("no leaf %d", logical), "the one that index or space map names (I10)")
	}
	if err != nil {
		return leaf{}, err
	}
	p, err := d.load(no, layout.KindDirLeaf, logical, edit)
	return leaf{no, logical, p}, err
}

// eachLeaf calls fn for the leaves from number first to number end (exclusive), until it
// returns false.
func (d *Dir) eachLeaf(first, end uint64, fn func(leaf) (bool, error)) error {
	for first < end {
		e, found, err := d.lookup(first)
		if err != nil {
			return err
		}
		if !found {
			first += max(1, uint64(e.Len))
			continue
		}
		l, err := d.mustLeaf(first, false)
		if err != nil {
			return err
		}
		if more, err := fn(l); !more || err != nil {
			return err
		}
		first++
	}
	return nil
}

// newMapped allocates a block and maps it, behind the one before it if it can.
func (d *Dir) newMapped(logical uint64) (uint64, []byte, error) {
	group, _ := d.g.InodeGroup(d.ino)
	near := d.g.GroupStart(group) + d.g.GroupTables(group)
	if logical > 0 {
		if no, found, err := d.mapped(logical - 1); err != nil {
			return 0, nil, err
		} else if found {
			near = no + 1
		}
	}
	no, p, err := d.s.NewBlock(near)
	if err != nil {
		return 0, nil, err
	}
	d.in.Blocks++
	clear(d.ext[:])
	return no, p, extents.Insert(d.s, d.g, d.ino, d.in, layout.Extent{Logical: logical, Block: no, Len: 1})
}

// dropMapped unmaps and frees a block.
func (d *Dir) dropMapped(no, logical uint64) error {
	clear(d.ext[:])
	if _, err := extents.Remove(d.s, d.g, d.ino, d.in, logical, 1); err != nil {
		return err
	}
	return d.free(no)
}

// dropRange unmaps and frees all blocks of a range of n logical blocks.
func (d *Dir) dropRange(logical, n uint64) error {
	clear(d.ext[:])
	removed, err := extents.Remove(d.s, d.g, d.ino, d.in, logical, n)
	if err != nil {
		return err
	}
	for _, e := range removed {
		for i := range uint64(e.Len) {
			if err := d.free(e.Block + i); err != nil {
				return err
			}
		}
	}
	return nil
}

// free frees a block and uncounts it (I9).
func (d *Dir) free(no uint64) error {
	if d.in.Blocks == 0 {
		return d.badInode(24, "0 blocks", fmt.Sprintf("a count for block %d (I9)", no))
	}
	d.in.Blocks--
	return d.s.FreeBlock(no)
}
