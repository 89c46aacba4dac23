package main

import (
	"fmt"

	"holdfast/layout"
)

type direntJSON struct {
	Position uint64 `json:"position"`
	Inode    uint64 `json:"inode"`
	Type     string `json:"type"`
	Name     string `json:"name"`
	NameB64  string `json:"name_b64,omitempty"`
}

// dir shows the records of a directory in their places.
func (d *dumper) dir(n uint64) ([]direntJSON, error) {
	in, err := d.readInode(n)
	if err != nil {
		return nil, err
	}
	if !in.IsDir() {
		return nil, fmt.Errorf("inode %d is not a directory", n)
	}
	extents, err := d.extents(in, n)
	if err != nil {
		return nil, err
	}
	list := []direntJSON{}
	for _, e := range extents {
		for i := uint64(0); i < uint64(e.Len) && e.Logical+i < layout.MaxDirBlocks; i++ {
			p, err := d.block(e.Block + i)
			if err != nil {
				return nil, err
			}
			b := layout.BlockBody(p)
			for off := 0; off < len(b); {
				r, err := layout.GetRecord(b, off)
				if err != nil {
					return nil, layout.Corrupt("directory block", e.Block+i, layout.HeaderSize+off, err, nil)
				}
				if !r.Hole() {
					list = append(list, direntJSON{layout.Position(e.Logical+i, off), r.Ino, typeName(uint16(r.Type) << 12), string(r.Name), b64(string(r.Name))})
				}
				off += r.Len
			}
		}
	}
	return list, nil
}
