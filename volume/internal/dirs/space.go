package dirs

import (
	"bytes"

	"holdfast/layout"
)

// mapBlock reads or edits block k of the space map; found is false if there is none.
func (d *Dir) mapBlock(k uint64, edit bool) (b []byte, found bool, err error) {
	no, ok, err := d.leaf(layout.SpaceBase + k)
	if !ok || err != nil {
		return nil, false, err
	}
	b, err = d.block(no, layout.KindDirSpace, k, edit)
	return b, true, err
}

// setSpace records the largest hole of a leaf.
func (d *Dir) setSpace(logical uint64, v uint8) error {
	per := uint64(layout.SpacePerBlock(d.g.BlockSize))
	k, i := logical/per, logical%per
	b, ok, err := d.mapBlock(k, false)
	if err != nil {
		return err
	}
	if ok && layout.BlockBody(b)[i] == v {
		return nil
	}
	if ok {
		b, _, err = d.mapBlock(k, true)
	} else {
		_, b, err = d.newBlock(layout.SpaceBase + k)
		if err == nil {
			layout.InitBlock(b, layout.KindDirSpace, d.ino, k)
			h := layout.DecodeHeader(b)
			h.Aux2 = uint64(d.in.Generation)
			layout.EncodeHeader(b, h)
			body := layout.BlockBody(b)
			for j := range body {
				body[j] = layout.SpaceNone
			}
		}
	}
	if err != nil {
		return err
	}
	layout.BlockBody(b)[i] = v
	return nil
}

// findSpace is a leaf with a hole of need bytes, or (exists = false) where a new one goes: the
// lowest number that has none.
func (d *Dir) findSpace(need int) (logical uint64, exists bool, err error) {
	want := uint8(min((need+layout.SpaceUnit-1)/layout.SpaceUnit, layout.SpaceMax))
	per := uint64(layout.SpacePerBlock(d.g.BlockSize))
	none := d.leaves()
	for k := uint64(0); k*per < d.leaves(); k++ {
		b, ok, err := d.mapBlock(k, false)
		if err != nil {
			return 0, false, err
		}
		if !ok {
			none = min(none, k*per)
			continue
		}
		body := layout.BlockBody(b)[:min(per, d.leaves()-k*per)]
		for i, v := range body {
			if v >= want && v != layout.SpaceNone {
				return k*per + uint64(i), true, nil
			}
		}
		if i := bytes.IndexByte(body, layout.SpaceNone); i >= 0 {
			none = min(none, k*per+uint64(i))
		}
	}
	return none, false, nil
}

// lastSpace is one more than the last leaf that the map knows.
func (d *Dir) lastSpace() (uint64, error) {
	per := uint64(layout.SpacePerBlock(d.g.BlockSize))
	for k := (d.leaves() + per - 1) / per; k > 0; k-- {
		b, ok, err := d.mapBlock(k-1, false)
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		body := layout.BlockBody(b)
		for i := len(body); i > 0; i-- {
			if body[i-1] != layout.SpaceNone {
				return (k-1)*per + uint64(i), nil
			}
		}
		// An empty block of the map goes with the leaves that it described.
		no, _, err := d.leaf(layout.SpaceBase + k - 1)
		if err != nil {
			return 0, err
		}
		if k > 1 {
			if err := d.dropBlock(no, layout.SpaceBase+k-1); err != nil {
				return 0, err
			}
		}
	}
	return 0, nil
}
