package extents

import "holdfast/layout"

// Lookup answers where the logical block lies. Found, e is the extent that holds it. Not
// found, it lies in a hole: e.Logical is logical itself and e.Len says for how many blocks
// from there nothing is mapped, at least; behind the last extent that is layout.MaxExtentLen
// or what is left below layout.MaxLogical.
func Lookup(s Store, g *layout.Geometry, ino uint64, in *layout.Inode, logical uint64) (e layout.Extent, found bool, err error) {
	if logical >= layout.MaxLogical {
		return e, false, ErrRange
	}
	t := tree{s, g, ino, in}
	if err := t.checkRoot(); err != nil {
		return e, false, err
	}
	// Nothing is decoded that is not needed: lookups are many.
	a, low, high := area{in.Inline[:], int(in.Extents)}, uint64(0), uint64(layout.MaxLogical)
	i := a.find(logical)
	for height := int(in.Depth) - 1; height >= 0; height-- {
		e := a.get(max(0, i))
		low = e.Logical
		if k := max(0, i) + 1; k < a.n {
			high = a.get(k).Logical
		}
		if a, err = t.read(e.Block, height, low, high); err != nil {
			return layout.Extent{}, false, err
		}
		i = a.find(logical)
	}
	if i >= 0 {
		if e := a.get(i); e.End() > logical {
			return e, true, nil
		}
	}
	end := high
	if logical < low {
		end = low
	}
	if i+1 < a.n {
		end = a.get(i + 1).Logical
	}
	return layout.Extent{Logical: logical, Len: uint32(min(end-logical, layout.MaxExtentLen))}, false, nil
}

// Insert maps e, over a hole only. It is joined with what it continues.
func Insert(s Store, g *layout.Geometry, ino uint64, in *layout.Inode, e layout.Extent) error {
	if e.Len == 0 || e.Logical >= layout.MaxLogical || e.End() > layout.MaxLogical {
		return ErrRange
	}
	t := &tree{s, g, ino, in}
	for e.Len > 0 {
		path, err := t.descend(e.Logical, true)
		if err != nil {
			return err
		}
		leaf := path[len(path)-1]
		part := e // what belongs into this leaf
		if part.End() > leaf.high {
			part.Len = uint32(leaf.high - part.Logical)
		}
		i := leaf.find(part.Logical)
		if i >= 0 && leaf.ents[i].End() > part.Logical ||
			i+1 < len(leaf.ents) && part.End() > leaf.ents[i+1].Logical {
			return ErrMapped
		}
		prev := i >= 0 && t.continues(leaf.ents[i], part)
		next := i+1 < len(leaf.ents) && t.continues(part, leaf.ents[i+1])
		if prev && next && uint64(leaf.ents[i].Len)+uint64(part.Len)+uint64(leaf.ents[i+1].Len) > layout.MaxExtentLen {
			next = false
		}
		switch {
		case prev && next:
			leaf.ents[i].Len += part.Len + leaf.ents[i+1].Len
			leaf.ents = append(leaf.ents[:i+1], leaf.ents[i+2:]...)
		case prev:
			leaf.ents[i].Len += part.Len
		case next:
			leaf.ents[i+1].Logical, leaf.ents[i+1].Block = part.Logical, part.Block
			leaf.ents[i+1].Len += part.Len
		default:
			leaf.ents = append(leaf.ents, layout.Extent{})
			copy(leaf.ents[i+2:], leaf.ents[i+1:])
			leaf.ents[i+1] = part
		}
		leaf.dirty = true
		if err := t.save(path, false); err != nil {
			return err
		}
		e.Logical += uint64(part.Len)
		e.Block += uint64(part.Len)
		e.Len -= part.Len
	}
	return nil
}

// continues reports whether a and b, in this order, can be one extent.
func (t *tree) continues(a, b layout.Extent) bool {
	if a.End() != b.Logical || a.Block+uint64(a.Len) != b.Block || a.Unwritten != b.Unwritten ||
		uint64(a.Len)+uint64(b.Len) > layout.MaxExtentLen {
		return false
	}
	ga, ok1 := t.g.GroupOf(a.Block)
	gb, ok2 := t.g.GroupOf(b.Block)
	return ok1 && ok2 && ga == gb
}

// Remove takes the mappings of n blocks from logical on away, splitting extents at both ends,
// and returns what was mapped, in order. It is not an error to remove a hole.
func Remove(s Store, g *layout.Geometry, ino uint64, in *layout.Inode, logical, n uint64) ([]layout.Extent, error) {
	if logical > layout.MaxLogical {
		return nil, ErrRange
	}
	t := &tree{s, g, ino, in}
	end := logical + min(n, layout.MaxLogical-logical)
	var removed []layout.Extent
	for pos := logical; pos < end; {
		path, err := t.descend(pos, false)
		if err != nil {
			return removed, err
		}
		leaf := path[len(path)-1]
		high := leaf.high
		keep := make([]layout.Extent, 0, len(leaf.ents)+2)
		for _, e := range leaf.ents {
			lo, hi := max(e.Logical, pos), min(e.End(), end)
			if lo >= hi {
				keep = append(keep, e)
				continue
			}
			leaf.dirty = true
			removed = append(removed, cut(e, lo, hi))
			if e.Logical < lo {
				keep = append(keep, cut(e, e.Logical, lo))
			}
			if hi < e.End() {
				keep = append(keep, cut(e, hi, e.End()))
			}
		}
		if leaf.dirty {
			leaf.ents = keep
			if err := t.save(path, true); err != nil {
				return removed, err
			}
		}
		pos = high
	}
	return removed, nil
}

// cut is the part of e from lo to hi.
func cut(e layout.Extent, lo, hi uint64) layout.Extent {
	e.Block += lo - e.Logical
	e.Logical, e.Len = lo, uint32(hi-lo)
	return e
}

// Walk calls fn for the extents that end behind from, in order, until fn returns false. The
// first one may begin before from.
func Walk(s Store, g *layout.Geometry, ino uint64, in *layout.Inode, from uint64, fn func(layout.Extent) bool) error {
	t := &tree{s, g, ino, in}
	r, err := t.root()
	if err != nil {
		return err
	}
	_, err = t.walk(r, from, fn)
	return err
}

func (t *tree) walk(n *node, from uint64, fn func(layout.Extent) bool) (bool, error) {
	for i := max(0, n.find(from)); i < len(n.ents); i++ {
		if n.height == 0 {
			if e := n.ents[i]; e.End() > from && !fn(e) {
				return false, nil
			}
			continue
		}
		c, err := t.child(n, i)
		if err != nil {
			return false, err
		}
		if more, err := t.walk(c, from, fn); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}
