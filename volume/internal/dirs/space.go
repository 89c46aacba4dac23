package dirs

import (
	"bytes"
	"fmt"

	"holdfast/layout"
)

// classes is one more than the largest space byte that a record can need.
const classes = (layout.MaxRecord+layout.SpaceUnit-1)/layout.SpaceUnit + 1

// probes is how many leaves Insert looks into that may have room but need not.
const probes = 4

// Hint remembers what the space map of a directory has said, so that a search need not begin
// at its start: low[c] is a leaf below which no leaf has a hole of c units (for c = 0: below
// which no number is without a leaf). It changes how long a search takes and not what it
// finds. The zero value knows nothing. It is not safe for concurrent use.
type Hint struct {
	ino uint64
	gen uint32
	low [classes]uint64
}

// own makes h a hint for this directory.
func (h *Hint) own(ino uint64, gen uint32) {
	if h.ino != ino || h.gen != gen {
		*h = Hint{ino: ino, gen: gen}
	}
}

// found notes that leaf is the first one with class c.
func (h *Hint) found(c int, leaf uint64) {
	h.low[c] = leaf
	if c > 0 {
		for k := c + 1; k < classes; k++ {
			h.low[k] = max(h.low[k], leaf)
		}
	}
}

// set notes that the space byte of leaf is now v.
func (h *Hint) set(leaf uint64, v uint8) {
	if v == layout.SpaceNone {
		h.low[0] = min(h.low[0], leaf)
		return
	}
	for c := 1; c < classes && c <= int(v); c++ {
		h.low[c] = min(h.low[c], leaf)
	}
}

// spaceBlock reads or edits block k of the space map; found is false if it describes no leaf.
func (d *Dir) spaceBlock(k uint64, edit bool) (no uint64, body []byte, found bool, err error) {
	no, found, err = d.mapped(layout.SpaceBase + k)
	if !found || err != nil {
		return 0, nil, false, err
	}
	p, err := d.load(no, layout.KindDirSpace, k, edit)
	if err != nil {
		return 0, nil, false, err
	}
	return no, layout.BlockBody(p), true, nil
}

// setSpace records what the space map says of a leaf. A block of the map comes with its first
// leaf and goes with its last.
func (d *Dir) setSpace(logical uint64, v uint8) error {
	per := uint64(layout.SpacePerBlock(d.g.BlockSize))
	k, i := logical/per, int(logical%per)
	d.hints().set(logical, v)
	no, body, found, err := d.spaceBlock(k, false)
	switch {
	case err != nil:
		return err
	case found && body[i] == v, !found && v == layout.SpaceNone:
		return nil
	case found && v == layout.SpaceNone && onlyLeaf(body, i):
		return d.dropMapped(no, layout.SpaceBase+k)
	case found:
		if _, body, _, err = d.spaceBlock(k, true); err != nil {
			return err
		}
	default:
		if body, err = d.newSpace(k); err != nil {
			return err
		}
	}
	body[i] = v
	return nil
}

// newSpace makes block k of the space map, which describes no leaf yet.
func (d *Dir) newSpace(k uint64) (body []byte, err error) {
	_, p, err := d.newMapped(layout.SpaceBase + k)
	if err != nil {
		return nil, err
	}
	layout.InitBlock(p, layout.KindDirSpace, d.ino, k)
	h := layout.DecodeHeader(p)
	h.Aux2 = uint64(d.in.Generation)
	layout.EncodeHeader(p, h)
	body = layout.BlockBody(p)
	for i := range body {
		body[i] = layout.SpaceNone
	}
	return body, nil
}

// onlyLeaf reports whether leaf i is the only one that body describes.
func onlyLeaf(body []byte, i int) bool {
	for j, v := range body {
		if v != layout.SpaceNone && j != i {
			return false
		}
	}
	return true
}

// findSpace is the leaf, of the n numbers in use, that takes a record of need bytes or, with
// exists = false, the lowest number without a leaf, where a new one goes.
func (d *Dir) findSpace(n uint64, need int) (logical uint64, exists bool, err error) {
	may := need / layout.SpaceUnit // such a leaf may have room, one of more units surely has
	tried := 0
	logical, exists, err = d.scanSpace(n, may, func(l uint64, v uint8) (take, more bool, err error) {
		if int(v) > may || need%layout.SpaceUnit == 0 {
			return true, false, nil
		}
		if tried == probes {
			return false, false, nil
		}
		tried++
		at, err := d.mustLeaf(l, false)
		return err == nil && at.largest() >= need, true, err
	})
	if exists || err != nil {
		return logical, exists, err
	}
	if need%layout.SpaceUnit != 0 {
		logical, exists, err = d.scanSpace(n, may+1, func(uint64, uint8) (bool, bool, error) { return true, false, nil })
		if exists || err != nil {
			return logical, exists, err
		}
	}
	logical, err = d.firstFree(n)
	return logical, false, err
}

// scanSpace calls fn for the leaves below n that have class c, in order, until it takes one or
// wants no more.
func (d *Dir) scanSpace(n uint64, c int, fn func(l uint64, v uint8) (take, more bool, err error)) (uint64, bool, error) {
	per := uint64(layout.SpacePerBlock(d.g.BlockSize))
	first := true
	for l := d.hints().low[c]; l < n; l = (l/per + 1) * per {
		_, body, found, err := d.spaceBlock(l/per, false)
		if err != nil {
			return 0, false, err
		}
		if !found {
			continue
		}
		base := l / per * per
		body = body[:min(per, n-base)]
		for i := int(l - base); i < len(body); i++ {
			v := body[i]
			if int(v) < c || v == layout.SpaceNone {
				continue
			}
			if v > uint8(layout.Body(d.g.BlockSize)/layout.SpaceUnit) {
				return 0, false, d.badSpace(base + uint64(i))
			}
			if first {
				d.hints().found(c, base+uint64(i))
				first = false
			}
			take, more, err := fn(base+uint64(i), v)
			if take || err != nil {
				return base + uint64(i), take, err
			}
			if !more {
				return 0, false, nil
			}
		}
	}
	if first {
		d.hints().found(c, n)
	}
	return 0, false, nil
}

func (d *Dir) badSpace(l uint64) error {
	return d.badInode(144, fmt.Sprintf("a space map that gives leaf %d a hole larger than a leaf", l), nil)
}

// firstFree is the lowest number without a leaf; n if the n numbers in use all have one.
func (d *Dir) firstFree(n uint64) (uint64, error) {
	per := uint64(layout.SpacePerBlock(d.g.BlockSize))
	at := n
	for l := min(n, d.hints().low[0]); l < n; l = (l/per + 1) * per {
		_, body, found, err := d.spaceBlock(l/per, false)
		if err != nil {
			return 0, err
		}
		if !found {
			at = l
			break
		}
		base := l / per * per
		body = body[:min(per, n-base)]
		if i := bytes.IndexByte(body[l-base:], layout.SpaceNone); i >= 0 {
			at = l + uint64(i)
			break
		}
	}
	d.hints().found(0, at)
	return at, nil
}
