package fsck

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dchest/siphash"

	"holdfast/disk"
	"holdfast/layout"
)

// content is pass 2 for one inode: what it maps, and what is there.
func (c *checker) content(ino uint64) {
	in, err := c.inode(ino)
	if err != nil {
		return // pass 1 has said so
	}
	no, _ := c.g.InodePlace(ino)
	what := fmt.Sprintf("inode %d", ino)
	owned := uint64(0)
	var list []layout.Extent
	whole := true
	if in.Flags&layout.FlagInlineLink == 0 {
		switch in.Type() {
		case layout.ModeFile, layout.ModeDir, layout.ModeLink:
			list, owned, whole = c.extents(in, ino)
		default:
			if in.Extents != 0 || in.Depth != 0 {
				c.find(BadStructure, what, no, ino, "a %o with extents", in.Type())
			}
		}
	}
	switch in.Type() {
	case layout.ModeFile, layout.ModeLink:
		owned += c.data(in, ino, list)
		if in.Type() == layout.ModeLink && (in.Size == 0 || in.Size > 4095) {
			c.find(BadStructure, what, no, ino, "a symbolic link of %d bytes", in.Size)
		}
	case layout.ModeDir:
		d := &dirCheck{c: c, in: in, ino: ino, whole: whole}
		owned += d.check(list)
		whole = d.whole
	}
	owned += c.attributes(in, ino)
	if whole && in.Blocks != owned {
		c.find(WrongCount, what, no, ino, "%d blocks counted, %d owned", in.Blocks, owned)
	}
}

// extents walks the map of an inode and returns its extents, and how many index blocks it has.
func (c *checker) extents(in *layout.Inode, ino uint64) (list []layout.Extent, nodes uint64, whole bool) {
	no, _ := c.g.InodePlace(ino)
	whole = true
	var walk func(area []byte, n, height int, what string, block, low, high uint64)
	walk = func(area []byte, n, height int, what string, block, low, high uint64) {
		if err := layout.CheckExtents(area, n, height == 0, low, high, &c.g, what, block); err != nil {
			c.broken(what, block, ino, err)
			whole = false
			return
		}
		for i := range n {
			e := layout.GetExtent(area, i)
			if height == 0 {
				list = append(list, e)
				continue
			}
			if !c.claim(e.Block, ino, "extent index") {
				whole = false
				continue
			}
			nodes++
			p := make([]byte, c.g.BlockSize)
			err := c.block(p, e.Block)
			if err == nil {
				err = layout.CheckHeader(p, e.Block, layout.KindExtents, ino, e.Logical)
			}
			h := layout.DecodeHeader(p)
			if err == nil && (h.Aux != uint64(height-1) || h.Aux2 != uint64(in.Generation)) {
				err = fmt.Errorf("height %d and generation %d, want %d and %d", h.Aux, h.Aux2, height-1, in.Generation)
			}
			if err == nil && (h.Count == 0 || h.Count > uint32(layout.NodeEntries(c.g.BlockSize))) {
				err = fmt.Errorf("%d entries", h.Count)
			}
			if err != nil {
				c.broken("extent index", e.Block, ino, err)
				whole = false
				continue
			}
			end := high
			if i+1 < n {
				end = layout.GetExtent(area, i+1).Logical
			}
			walk(layout.BlockBody(p), int(h.Count), height-1, "extent index", e.Block, e.Logical, end)
		}
	}
	walk(in.Inline[:in.MaxInlineExtents()*layout.ExtentSize], int(in.Extents), int(in.Depth), fmt.Sprintf("inode %d", ino), no, 0, layout.MaxLogical)
	return list, nodes, whole
}

// data claims and verifies the data blocks of a file.
func (c *checker) data(in *layout.Inode, ino uint64, list []layout.Extent) (owned uint64) {
	bs := uint64(c.g.BlockSize)
	end := (in.Size + bs - 1) / bs
	var table []byte
	tableNo := uint64(0)
	what := fmt.Sprintf("data of inode %d", ino)
	for _, e := range list {
		if e.End() > end && !e.Unwritten && in.Flags&layout.FlagOrphan == 0 {
			c.find(BadStructure, what, e.Block, ino, "extent %v lies behind the end of the file, at block %d", e, end)
		}
		for i := range uint64(e.Len) {
			block, logical := e.Block+i, e.Logical+i
			if !c.claim(block, ino, what) {
				continue
			}
			owned++
			if e.Unwritten || c.opt.NoData || logical >= end {
				continue
			}
			no, at := c.g.SumPlace(block)
			if table == nil || no != tableNo {
				if table == nil {
					table = make([]byte, c.g.BlockSize)
				}
				tableNo = no
				if err := c.block(table, no); err != nil {
					tableNo = 0
					continue // reported with the tables
				}
			}
			p := c.buf
			check := disk.Check{Seed: c.seeds.Data(block, ino, in.Generation, logical), Want: layout.DataSum(table, at)}
			if _, err := c.dev.ReadChecked(p, check, int64(block)*int64(bs)); err != nil {
				if errors.Is(err, disk.ErrChecksum) {
					err = errors.New("checksum does not match")
				}
				c.find(BadData, what, block, ino, "logical block %d: %v", logical, err)
				continue
			}
			c.r.Data++
			if logical == end-1 && in.Size%bs != 0 && !zero(p[in.Size%bs:]) {
				c.find(BadData, what, block, ino, "bytes behind the end of the file are not zero")
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

// attributes checks the stream of extended attributes, and claims its blocks.
func (c *checker) attributes(in *layout.Inode, ino uint64) (owned uint64) {
	var stream []byte
	if in.XattrLen > 0 {
		stream = in.Inline[layout.InlineSize-int(in.XattrLen):]
	}
	p := make([]byte, c.g.BlockSize)
	for no, i := in.Xattr, uint64(0); no != 0; i++ {
		if !c.claim(no, ino, "attributes") {
			return owned
		}
		owned++
		err := c.block(p, no)
		if err == nil {
			err = layout.CheckHeader(p, no, layout.KindXattr, ino, i)
		}
		h := layout.DecodeHeader(p)
		if err == nil && (h.Count > uint32(layout.Body(c.g.BlockSize)) || h.Aux2 != uint64(in.Generation)) {
			err = fmt.Errorf("%d bytes, generation %d", h.Count, h.Aux2)
		}
		if err != nil {
			c.broken("attributes", no, ino, err)
			return owned
		}
		stream = append(stream, layout.BlockBody(p)[:h.Count]...)
		no = h.Aux
	}
	for len(stream) > 0 {
		_, rest, err := layout.NextXattr(stream)
		if err != nil {
			c.find(BadStructure, fmt.Sprintf("attributes of inode %d", ino), in.Xattr, ino, "%v", err)
			break
		}
		stream = rest
	}
	return owned
}

// dirCheck is the check of one directory.
type dirCheck struct {
	c     *checker
	in    *layout.Inode
	ino   uint64
	whole bool // nothing of it was unreadable
	keys  []layout.IndexEntry
	holes map[uint64]int // largest hole by leaf
	names uint32
}

func (d *dirCheck) what() string { return fmt.Sprintf("directory inode %d", d.ino) }

func (d *dirCheck) hash(name []byte) uint64 {
	key := &d.c.super.HashKey
	var k [2]uint64
	for i := range k {
		for j := range 8 {
			k[i] |= uint64(key[8*i+j]) << (8 * j)
		}
	}
	return siphash.Hash(k[0], k[1], name)
}

func (d *dirCheck) check(list []layout.Extent) (owned uint64) {
	c := d.c
	d.holes = map[uint64]int{}
	seen := map[string]struct{}{}
	var space []layout.Extent
	var last uint64
	no, _ := c.g.InodePlace(d.ino)
	for _, e := range list {
		for i := range uint64(e.Len) {
			block, logical := e.Block+i, e.Logical+i
			if !c.claim(block, d.ino, d.what()) {
				d.whole = false
				continue
			}
			owned++
			if logical >= layout.SpaceBase {
				space = append(space, layout.Extent{Logical: logical, Block: block, Len: 1})
				continue
			}
			last = logical + 1
			d.leaf(block, logical, seen)
		}
	}
	if !d.whole {
		c.blur = true
		return owned
	}
	if d.names != d.in.Names {
		c.find(WrongCount, d.what(), no, d.ino, "%d names counted, %d found", d.in.Names, d.names)
	}
	if size := last * uint64(c.g.BlockSize); size != d.in.Size {
		c.find(WrongCount, d.what(), no, d.ino, "size %d, its last block ends at %d", d.in.Size, size)
	}
	indexed := d.in.Flags&layout.FlagIndexed != 0
	switch {
	case !indexed && (d.in.IndexRoot != 0 || len(space) > 0):
		c.find(BadIndex, d.what(), no, d.ino, "an index, but no mark that it has one")
	case !indexed && last > 1:
		c.find(BadIndex, d.what(), no, d.ino, "%d blocks and no index", last)
	case indexed:
		owned += d.index()
		d.space(space)
	}
	return owned
}

// leaf checks one leaf and counts its names.
func (d *dirCheck) leaf(block, logical uint64, seen map[string]struct{}) {
	c := d.c
	p := make([]byte, c.g.BlockSize)
	err := c.block(p, block)
	if err == nil {
		err = layout.CheckHeader(p, block, layout.KindDirLeaf, d.ino, logical)
	}
	h := layout.DecodeHeader(p)
	if err == nil && h.Aux2 != uint64(d.in.Generation) {
		err = fmt.Errorf("generation %d, want %d", h.Aux2, d.in.Generation)
	}
	if err != nil {
		c.broken("directory block", block, d.ino, err)
		d.whole = false
		return
	}
	b := layout.BlockBody(p)
	live, largest, hole := uint32(0), 0, false
	for off := 0; off < len(b); {
		r, err := layout.GetRecord(b, off)
		if err != nil {
			c.find(BadStructure, "directory block", block, d.ino, "offset %d: %v", off, err)
			c.blur, d.whole = true, false
			return
		}
		if r.Hole() {
			if hole {
				c.find(BadStructure, "directory block", block, d.ino, "two holes side by side at offset %d", off)
			}
			largest = max(largest, r.Len)
		} else {
			live++
			d.entry(block, logical, &r, seen)
		}
		hole = r.Hole()
		off += r.Len
	}
	if live != h.Count {
		c.find(WrongCount, "directory block", block, d.ino, "%d entries counted, %d found", h.Count, live)
	}
	if uint64(largest) != h.Aux {
		c.find(WrongCount, "directory block", block, d.ino, "largest hole %d, it says %d", largest, h.Aux)
	}
	if live == 0 && d.in.Flags&layout.FlagIndexed != 0 {
		c.find(BadIndex, "directory block", block, d.ino, "an empty block was not given back")
	}
	d.holes[logical] = largest
}

// entry checks one name and what it names.
func (d *dirCheck) entry(block, logical uint64, r *layout.Record, seen map[string]struct{}) {
	c := d.c
	d.names++
	name := string(r.Name)
	switch {
	case name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		c.find(BadName, "directory block", block, d.ino, "the name %q", name)
	default:
		if _, twice := seen[name]; twice {
			c.find(BadName, "directory block", block, d.ino, "the name %q is there twice", name)
		}
	}
	seen[name] = struct{}{}
	d.keys = append(d.keys, layout.IndexEntry{Hash: d.hash(r.Name), Pos: layout.Position(logical, r.Off)})
	if r.Ino > uint64(len(c.inodes)) {
		c.find(Dangling, "directory block", block, d.ino, "the name %q is of inode %d, the volume has %d in use", name, r.Ino, len(c.inodes))
		return
	}
	x := &c.inodes[r.Ino-1]
	switch {
	case x.state == slotUnknown && c.bitmaps[(r.Ino-1)/uint64(c.g.InodesPerGroup)] == nil:
		return
	case x.state < slotUsed:
		if x.state == slotFree || !c.blur {
			c.find(Dangling, "directory block", block, d.ino, "the name %q is of inode %d, which is free", name, r.Ino)
		}
		return
	case uint16(r.Type)<<12 != x.mode&layout.ModeType:
		c.find(WrongType, "directory block", block, d.ino, "the name %q says type %o, inode %d is %o", name, uint16(r.Type)<<12, r.Ino, x.mode&layout.ModeType)
	}
	x.seen++
	if x.mode&layout.ModeType != layout.ModeDir {
		return
	}
	if x.above != 0 {
		c.find(SecondParent, "directory block", block, d.ino, "the name %q is of directory inode %d, which inode %d names too", name, r.Ino, x.above)
		return
	}
	x.above = d.ino
	c.inodes[d.ino-1].subdirs++
}

// index walks the index and compares its entries with the names.
func (d *dirCheck) index() (owned uint64) {
	c := d.c
	var got []layout.IndexEntry
	good := true
	var walk func(no uint64, height int, low, high *layout.IndexEntry)
	walk = func(no uint64, height int, low, high *layout.IndexEntry) {
		if !c.claim(no, d.ino, "directory index") {
			good = false
			return
		}
		owned++
		p := make([]byte, c.g.BlockSize)
		if err := c.block(p, no); err != nil {
			c.broken("directory index", no, d.ino, err)
			good = false
			return
		}
		if height < 0 {
			height = int(min(layout.DecodeHeader(p).Aux, layout.MaxIndexDepth))
		}
		if err := layout.CheckIndexNode(p, no, d.ino, d.in.Generation, height); err != nil {
			c.broken("directory index", no, d.ino, err)
			good = false
			return
		}
		n := int(layout.DecodeHeader(p).Count)
		for i := range n {
			e := layout.GetIndex(layout.BlockBody(p), i, height == 0)
			if low != nil && (e.Hash < low.Hash || e.Hash == low.Hash && e.Pos < low.Pos) && i > 0 || high != nil && !(e.Hash < high.Hash || e.Hash == high.Hash && e.Pos < high.Pos) {
				c.find(BadIndex, "directory index", no, d.ino, "entry %d lies outside its node's bounds", i)
			}
			if height == 0 {
				got = append(got, layout.IndexEntry{Hash: e.Hash, Pos: e.Pos})
				continue
			}
			next := high
			if i+1 < n {
				x := layout.GetIndex(layout.BlockBody(p), i+1, false)
				next = &x
			}
			walk(e.Child, height-1, &e, next)
		}
	}
	walk(d.in.IndexRoot, -1, nil, nil)
	if !good {
		d.whole = false
		return owned
	}
	slices.SortFunc(d.keys, func(a, b layout.IndexEntry) int {
		return cmp.Or(cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.Pos, b.Pos))
	})
	if !slices.Equal(d.keys, got) {
		missing, extra := 0, 0
		have := map[layout.IndexEntry]bool{}
		for _, e := range got {
			have[e] = true
		}
		for _, e := range d.keys {
			if !have[e] {
				missing++
			}
			delete(have, e)
		}
		extra = len(have)
		c.find(BadIndex, "directory index", d.in.IndexRoot, d.ino, "%d names are not in the index, %d entries have no name, of %d", missing, extra, len(d.keys))
	}
	return owned
}

// space compares the space map with the leaves.
func (d *dirCheck) space(list []layout.Extent) {
	c := d.c
	per := uint64(layout.SpacePerBlock(c.g.BlockSize))
	blocks := map[uint64]bool{}
	p := make([]byte, c.g.BlockSize)
	for _, e := range list {
		k := e.Logical - layout.SpaceBase
		blocks[k] = true
		err := c.block(p, e.Block)
		if err == nil {
			err = layout.CheckHeader(p, e.Block, layout.KindDirSpace, d.ino, k)
		}
		if err == nil && layout.DecodeHeader(p).Aux2 != uint64(d.in.Generation) {
			err = errors.New("another generation")
		}
		if err != nil {
			c.broken("directory space map", e.Block, d.ino, err)
			continue
		}
		for i, v := range layout.BlockBody(p) {
			want := uint8(layout.SpaceNone)
			if h, ok := d.holes[k*per+uint64(i)]; ok {
				want = layout.SpaceByte(h)
			}
			if v != want {
				c.find(BadIndex, "directory space map", e.Block, d.ino, "leaf %d: %d, want %d", k*per+uint64(i), v, want)
				break
			}
		}
	}
	for l := range d.holes {
		if !blocks[l/per] {
			c.find(BadIndex, "directory space map", 0, d.ino, "no map block for leaf %d", l)
			break
		}
	}
}

// paths gives findings about inodes a name that users know.
func (c *checker) paths() {
	want := map[uint64]string{}
	for _, f := range c.r.Findings {
		if f.Inode != 0 {
			want[f.Inode] = ""
		}
	}
	if len(want) == 0 {
		return
	}
	type link struct {
		dir  uint64
		name string
	}
	names := map[uint64]link{}
	p := make([]byte, c.g.BlockSize)
	for i := range c.inodes {
		if c.inodes[i].state < slotUsed || c.inodes[i].mode&layout.ModeType != layout.ModeDir {
			continue
		}
		dir := uint64(i) + 1
		in, err := c.inode(dir)
		if err != nil {
			continue
		}
		c.leaves(in, dir, p, func(r *layout.Record) {
			isDir := r.Ino <= uint64(len(c.inodes)) && c.inodes[r.Ino-1].mode&layout.ModeType == layout.ModeDir
			if _, ok := want[r.Ino]; ok || isDir {
				if _, ok := names[r.Ino]; !ok {
					names[r.Ino] = link{dir, string(bytes.Clone(r.Name))}
				}
			}
		})
	}
	for i := range c.r.Findings {
		f := &c.r.Findings[i]
		at, path, ok := f.Inode, "", f.Inode != 0
		for steps := 0; ok && at != c.super.Root && steps < 4096; steps++ {
			var l link
			if l, ok = names[at]; ok {
				path = "/" + l.name + path
				at = l.dir
			}
		}
		if ok && path == "" {
			path = "/"
		}
		if ok {
			f.Path = path
		}
	}
}

// leaves calls fn for the records of a directory that can be read, without any report.
func (c *checker) leaves(in *layout.Inode, ino uint64, p []byte, fn func(*layout.Record)) {
	quiet := &checker{dev: c.dev, r: &Report{}, super: c.super, g: c.g, seeds: c.seeds, totals: c.totals, bitmaps: make([][]byte, len(c.bitmaps)),
		owner: make([]uint64, len(c.owner)), buf: c.buf}
	list, _, _ := quiet.extents(in, ino)
	for _, e := range list {
		for i := uint64(0); i < uint64(e.Len) && e.Logical+i < layout.MaxDirBlocks; i++ {
			if c.block(p, e.Block+i) != nil {
				continue
			}
			b := layout.BlockBody(p)
			for off := 0; off < len(b); {
				r, err := layout.GetRecord(b, off)
				if err != nil {
					break
				}
				if !r.Hole() {
					fn(&r)
				}
				off += r.Len
			}
		}
	}
}
