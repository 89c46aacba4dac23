package fsck

import (
	"errors"
	"fmt"

	"holdfast/disk"
	"holdfast/layout"
)

// content is pass 2 for one inode: what it maps, and what is there.
func (c *checker) content(ino uint64) {
	in, err := c.inode(ino)
	if err != nil {
		return // pass 1 has said so
	}
	find := func(code Code, format string, args ...any) {
		no, _ := c.g.InodePlace(ino)
		c.find(code, inodeItself.of(ino), no, ino, format, args...)
	}
	owned := uint64(0)
	var list []layout.Extent
	whole := true
	if in.Flags&layout.FlagInlineLink == 0 {
		switch in.Type() {
		case layout.ModeFile, layout.ModeDir, layout.ModeLink:
			list, owned, whole = c.extents(in, ino)
		default:
			if in.Extents != 0 || in.Depth != 0 {
				find(BadStructure, "a %o with extents", in.Type())
			}
		}
	}
	switch in.Type() {
	case layout.ModeFile, layout.ModeLink:
		owned += c.data(in, ino, list)
		if in.Type() == layout.ModeLink && (in.Size == 0 || in.Size > 4095) {
			find(BadStructure, "a symbolic link of %d bytes", in.Size)
		}
	case layout.ModeDir:
		d := &c.dir
		d.start(c, in, ino, whole)
		owned += d.check(list)
		whole = d.whole
	}
	n, all := c.attributes(in, ino)
	owned += n
	if whole && all && in.Blocks != owned {
		find(WrongCount, "%d blocks counted, %d owned", in.Blocks, owned)
	}
}

// extents walks the map of an inode and returns its extents, valid until the next call, and
// how many index blocks it has.
func (c *checker) extents(in *layout.Inode, ino uint64) (list []layout.Extent, nodes uint64, whole bool) {
	c.list = c.list[:0]
	w := mapWalk{c: c, in: in, ino: ino, whole: true}
	no, _ := c.g.InodePlace(ino)
	w.node(in.Inline[:in.MaxInlineExtents()*layout.ExtentSize], int(in.Extents), int(in.Depth), inodeItself, no, 0, layout.MaxLogical)
	return c.list, w.nodes, w.whole
}

// mapWalk is a walk through the map of one inode.
type mapWalk struct {
	c     *checker
	in    *layout.Inode
	ino   uint64
	nodes uint64
	whole bool
}

// node walks n entries, which lie in area, and what is below them.
func (w *mapWalk) node(area []byte, n, height int, what structure, block, low, high uint64) {
	c, ino := w.c, w.ino
	if layout.CheckExtents(area, n, height == 0, low, high, &c.g, "", block) != nil {
		name := what.of(ino)
		c.broken(name, block, ino, layout.CheckExtents(area, n, height == 0, low, high, &c.g, name, block))
		w.whole = false
		return
	}
	for i := range n {
		e := layout.GetExtent(area, i)
		if height == 0 {
			c.list = append(c.list, e)
			continue
		}
		if !c.claim(e.Block, ino, extentIndex) {
			w.whole = false
			continue
		}
		w.nodes++
		p := c.page(height, c.g.BlockSize)
		err := c.block(p, e.Block)
		if err == nil {
			err = layout.CheckHeader(p, e.Block, layout.KindExtents, ino, e.Logical)
		}
		h := layout.DecodeHeader(p)
		if err == nil && (h.Aux != uint64(height-1) || h.Aux2 != uint64(w.in.Generation)) {
			err = fmt.Errorf("height %d and generation %d, want %d and %d", h.Aux, h.Aux2, height-1, w.in.Generation)
		}
		if err == nil && (h.Count == 0 || h.Count > uint32(layout.NodeEntries(c.g.BlockSize))) {
			err = fmt.Errorf("%d entries", h.Count)
		}
		if err != nil {
			c.broken(extentIndex.of(ino), e.Block, ino, err)
			w.whole = false
			continue
		}
		end := high
		if i+1 < n {
			end = layout.GetExtent(area, i+1).Logical
		}
		w.node(layout.BlockBody(p), int(h.Count), height-1, extentIndex, e.Block, e.Logical, end)
	}
}

// data claims and verifies the data blocks of a file.
func (c *checker) data(in *layout.Inode, ino uint64, list []layout.Extent) (owned uint64) {
	bs := uint64(c.g.BlockSize)
	end := (in.Size + bs - 1) / bs
	table := c.page(0, c.g.BlockSize)
	tableNo := uint64(0)
	for _, e := range list {
		if e.End() > end && !e.Unwritten && in.Flags&layout.FlagOrphan == 0 {
			c.find(BadStructure, fileData.of(ino), e.Block, ino, "extent %v lies behind the end of the file, at block %d", e, end)
		}
		for i := range uint64(e.Len) {
			block, logical := e.Block+i, e.Logical+i
			if !c.claim(block, ino, fileData) {
				continue
			}
			owned++
			if e.Unwritten || c.opt.NoData || logical >= end {
				continue
			}
			no, at := c.g.SumPlace(block)
			if no != tableNo {
				tableNo = no
				if err := c.block(table, no); err != nil {
					tableNo = 0
					continue // reported with the tables
				}
			}
			p := c.buf
			if err := c.checked(p, disk.Check{Seed: c.seeds.Data(block, ino, in.Generation, logical), Want: layout.DataSum(table, at)}, int64(block)*int64(bs)); err != nil {
				if errors.Is(err, disk.ErrChecksum) {
					err = errors.New("checksum does not match")
				}
				c.find(BadData, fileData.of(ino), block, ino, "logical block %d: %v", logical, err)
				continue
			}
			c.r.Data++
			if logical == end-1 && in.Size%bs != 0 && !zero(p[in.Size%bs:]) {
				c.find(BadData, fileData.of(ino), block, ino, "bytes behind the end of the file are not zero")
			}
		}
	}
	return owned
}

func zero(p []byte) bool {
	for _, x := range p {
		if x != 0 {
			return false
		}
	}
	return true
}

// attributes checks the stream of extended attributes, and claims its blocks: so many, and whole
// says whether these are all.
func (c *checker) attributes(in *layout.Inode, ino uint64) (owned uint64, whole bool) {
	var stream []byte
	if in.XattrLen > 0 {
		stream = in.Inline[layout.InlineSize-int(in.XattrLen):]
	}
	p := c.buf
	for no, i := in.Xattr, uint64(0); no != 0; i++ {
		if !c.claim(no, ino, attributes) {
			return owned, false
		}
		owned++
		err := c.block(p, no)
		if err == nil {
			err = layout.CheckHeader(p, no, layout.KindXattr, ino, i)
		}
		h := layout.DecodeHeader(p)
		if err == nil && (h.Count == 0 || h.Count > uint32(layout.Body(c.g.BlockSize)) || h.Aux2 != uint64(in.Generation)) {
			err = fmt.Errorf("%d bytes, generation %d", h.Count, h.Aux2)
		}
		if err != nil {
			c.broken("attributes", no, ino, err)
			return owned, false
		}
		if len(stream)+int(h.Count) > layout.MaxXattrs { // what follows belongs to nobody
			c.broken("attributes", no, ino, fmt.Errorf("a chain of more than %d bytes", layout.MaxXattrs))
			return owned, false
		}
		stream = append(stream, layout.BlockBody(p)[:h.Count]...)
		no = h.Aux
	}
	var before layout.Xattr
	for len(stream) > 0 {
		x, rest, err := layout.NextXattr(stream)
		if err == nil && layout.CompareXattrs(before, x) >= 0 { // one that is not found
			err = fmt.Errorf("attribute %q behind %q", x.Name, before.Name)
		}
		if err != nil {
			c.find(BadStructure, fmt.Sprintf("attributes of inode %d", ino), in.Xattr, ino, "%v", err)
			break
		}
		before, stream = x, rest
	}
	return owned, true
}
