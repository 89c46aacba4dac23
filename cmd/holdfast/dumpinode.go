package main

import (
	"fmt"

	"holdfast/disk"
	"holdfast/layout"
)

type inodeJSON struct {
	Inode      uint64   `json:"inode"`
	Block      uint64   `json:"block"`
	Offset     int      `json:"offset"`
	Mode       string   `json:"mode"`
	Links      uint32   `json:"links"`
	UID        uint32   `json:"uid"`
	GID        uint32   `json:"gid"`
	Size       uint64   `json:"size"`
	Blocks     uint64   `json:"blocks"`
	Generation uint32   `json:"generation"`
	Flags      string   `json:"flags"`
	Sequence   uint64   `json:"sequence"`
	Mtime      string   `json:"mtime"`
	Ctime      string   `json:"ctime"`
	Btime      string   `json:"btime"`
	Parent     uint64   `json:"parent,omitempty"`
	Names      uint32   `json:"names,omitempty"`
	IndexRoot  uint64   `json:"index_root,omitempty"`
	Depth      uint8    `json:"extent_depth"`
	NextOrphan uint64   `json:"next_orphan,omitempty"`
	Target     string   `json:"target,omitempty"`
	TargetB64  string   `json:"target_b64,omitempty"`
	Extents    []string `json:"extents,omitempty"`
}

func (d *dumper) readInode(n uint64) (*layout.Inode, error) {
	if n == 0 || n > d.g.Inodes() {
		return nil, fmt.Errorf("inode %d: the volume has inodes 1 to %d", n, d.g.Inodes())
	}
	block, off := d.g.InodePlace(n)
	p := make([]byte, layout.InodeSize)
	if err := disk.ReadFull(d.dev, p, int64(block)*int64(d.g.BlockSize)+int64(off)); err != nil {
		return nil, fmt.Errorf("inode %d: %w", n, err)
	}
	var in layout.Inode
	return &in, layout.DecodeInode(p, &in, n, block, off, d.seeds)
}

func (d *dumper) inode(n uint64) (any, error) {
	in, err := d.readInode(n)
	if err != nil {
		return nil, err
	}
	block, off := d.g.InodePlace(n)
	j := inodeJSON{Inode: n, Block: block, Offset: off, Mode: fmt.Sprintf("%06o", in.Mode), Links: in.Links, UID: in.UID, GID: in.GID,
		Size: in.Size, Blocks: in.Blocks, Generation: in.Generation, Flags: fmt.Sprintf("%#x", in.Flags), Sequence: in.Seq,
		Mtime: stamp(in.Mtime), Ctime: stamp(in.Ctime), Btime: stamp(in.Btime), Parent: in.Parent, Names: in.Names,
		IndexRoot: in.IndexRoot, Depth: in.Depth, NextOrphan: in.NextOrphan}
	if in.Flags&layout.FlagInlineLink != 0 {
		j.Target = string(in.Inline[:in.Size])
		j.TargetB64 = b64(j.Target)
		return j, nil
	}
	list, err := d.extents(in, n)
	for _, e := range list {
		j.Extents = append(j.Extents, e.String())
	}
	return j, err
}

// extents walks the extent index of an inode.
func (d *dumper) extents(in *layout.Inode, ino uint64) ([]layout.Extent, error) {
	var list []layout.Extent
	var walk func(area []byte, n int, depth int, what string, block uint64, low, high uint64) error
	walk = func(area []byte, n int, depth int, what string, block, low, high uint64) error {
		if err := layout.CheckExtents(area, n, depth == 0, low, high, &d.g, what, block); err != nil {
			return err
		}
		for i := range n {
			e := layout.GetExtent(area, i)
			if depth == 0 {
				list = append(list, e)
				continue
			}
			p, err := d.block(e.Block)
			if err != nil {
				return err
			}
			if err := layout.CheckHeader(p, e.Block, layout.KindExtents, ino, e.Logical); err != nil {
				return err
			}
			end := high
			if i+1 < n {
				end = layout.GetExtent(area, i+1).Logical
			}
			h := layout.DecodeHeader(p)
			if err := walk(layout.BlockBody(p), int(h.Count), depth-1, "extent index", e.Block, e.Logical, end); err != nil {
				return err
			}
		}
		return nil
	}
	block, _ := d.g.InodePlace(ino)
	return list, walk(in.Inline[:], int(in.Extents), int(in.Depth), fmt.Sprintf("inode %d", ino), block, 0, layout.MaxLogical)
}

// extentJSON is an extent of a map.
type extentJSON struct {
	Logical   uint64 `json:"logical"`
	Block     uint64 `json:"block"`
	Length    uint32 `json:"length"` // blocks
	Unwritten bool   `json:"unwritten"`
}

// extentMap is the whole map of an inode.
func (d *dumper) extentMap(n uint64) ([]extentJSON, error) {
	in, err := d.readInode(n)
	if err != nil {
		return nil, err
	}
	list := []extentJSON{}
	if in.Flags&layout.FlagInlineLink != 0 {
		return list, nil // its area holds the target
	}
	extents, err := d.extents(in, n)
	for _, e := range extents {
		list = append(list, extentJSON{e.Logical, e.Block, e.Len, e.Unwritten})
	}
	return list, err
}
