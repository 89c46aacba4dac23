package volume

import (
	"fmt"
	"testing"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// owners counts the blocks of an image by what owns them.
type owners struct {
	o     *op
	owned map[uint64]string
	fail  func(format string, args ...any)
}

func (w *owners) own(block uint64, who string) {
	if by, ok := w.owned[block]; ok {
		w.fail("I1: block %d belongs to %s and %s", block, by, who)
	}
	w.owned[block] = who
}

// indexBlocks is a store that notes which extent index blocks a walk reads.
type indexBlocks struct {
	*op
	seen []uint64
}

func (s *indexBlocks) Read(no uint64, k layout.Kind) ([]byte, error) {
	s.seen = append(s.seen, no)
	return s.op.Read(no, k)
}

// dirIndex owns the blocks of a directory's index.
func (w *owners) dirIndex(ino Ino, in *layout.Inode, block uint64, height int) (n uint64) {
	p, err := w.o.Read(block, layout.KindDirIndex)
	if err != nil {
		w.fail("directory %d: %v", ino, err)
		return 0
	}
	h := layout.DecodeHeader(p)
	if height < 0 {
		height = int(h.Aux)
	}
	if err := layout.CheckIndexNode(p, block, uint64(ino), in.Generation, height); err != nil {
		w.fail("directory %d: %v", ino, err)
		return 0
	}
	w.own(block, fmt.Sprintf("the index of directory %d", ino))
	n = 1
	for i := 0; height > 0 && i < int(h.Count); i++ {
		n += w.dirIndex(ino, in, layout.GetIndex(layout.BlockBody(p), i, false).Child, height-1)
	}
	return n
}

// inode owns what an inode maps, and reads it all.
func (w *owners) inode(ino Ino, in *layout.Inode) {
	s := &indexBlocks{op: w.o}
	blocks := uint64(0)
	bs := uint64(w.o.v.g.BlockSize)
	err := extents.Walk(s, &w.o.v.g, uint64(ino), in, 0, func(e layout.Extent) bool {
		for i := range uint64(e.Len) {
			w.own(e.Block+i, fmt.Sprintf("logical block %d of inode %d", e.Logical+i, ino))
			blocks++
			if !in.IsDir() && (e.Logical+i)*bs >= in.Size {
				w.fail("inode %d of %d bytes maps logical block %d", ino, in.Size, e.Logical+i)
			}
		}
		return true
	})
	if err != nil {
		w.fail("inode %d: %v", ino, err)
	}
	for _, no := range s.seen {
		w.own(no, fmt.Sprintf("the extents of inode %d", ino))
		blocks++
	}
	if in.IndexRoot != 0 {
		blocks += w.dirIndex(ino, in, in.IndexRoot, -1)
	}
	if blocks != in.Blocks {
		w.fail("I9: inode %d owns %d blocks and says %d", ino, blocks, in.Blocks)
	}
	if in.Type() != layout.ModeFile {
		return
	}
	p := make([]byte, bs)
	for l := uint64(0); l*bs < in.Size; l++ {
		if err := w.o.readBlock(ino, in, l, p); err != nil {
			w.fail("I2: %v", err)
			return
		}
	}
	if at := in.Size % bs; at != 0 && !allZero(p[at:]) {
		w.fail("inode %d of %d bytes is not zero behind its end", ino, in.Size)
	}
}

func allZero(p []byte) bool {
	for _, x := range p {
		if x != 0 {
			return false
		}
	}
	return true
}

// checkDevice opens what is on a device as a crash would leave it, without writing to it, and
// holds it to the invariants.
func checkDevice(t testing.TB, dev disk.Device) {
	t.Helper()
	v, err := Open(dev, Options{ReadOnly: true})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer v.Close()
	err = v.view(func(o *op) error {
		g := &v.g
		w := &owners{o: o, owned: map[uint64]string{}, fail: func(format string, args ...any) {
			t.Helper()
			t.Errorf(format, args...)
		}}
		inodes := map[Ino]layout.Inode{}
		var free, freeInodes, dirs uint64
		for group := range v.totals.Groups {
			b, err := o.Read(g.BitmapBlock(group), layout.KindBitmap)
			if err != nil {
				return err
			}
			if err := layout.CheckBitmap(b, g, group); err != nil {
				return err
			}
			s := layout.Stats(b)
			var nfree, ndirs uint32
			for i := range s.InodesInit {
				ino := Ino(g.InodeNumber(group, i))
				var in layout.Inode
				block, off := g.InodePlace(uint64(ino))
				p, err := v.inodeBytes(block, off, uint64(ino))
				if err == nil {
					err = layout.DecodeInode(p, &in, uint64(ino), block, off, v.seeds)
				}
				if err != nil {
					return err
				}
				if in.Mode == 0 {
					nfree++
					continue
				}
				if in.IsDir() {
					ndirs++
				}
				inodes[ino] = in
				w.inode(ino, &in)
			}
			if nfree != s.InodesFree || ndirs != s.Directories {
				w.fail("I9: group %d has %d free inodes and %d directories, and says %d and %d", group, nfree, ndirs, s.InodesFree, s.Directories)
			}
			freeInodes += uint64(nfree) + uint64(g.InodesPerGroup-s.InodesInit)
			dirs += uint64(ndirs)
		}
		for group := range v.totals.Groups {
			b, err := o.Read(g.BitmapBlock(group), layout.KindBitmap)
			if err != nil {
				return err
			}
			var nfree uint32
			for i := range g.GroupLen(group) {
				block := g.GroupStart(group) + i
				_, owned := w.owned[block]
				used := layout.Bit(layout.BlockBody(b), i)
				if i < g.GroupTables(group) {
					owned = true
				}
				switch {
				case owned && !used:
					w.fail("I3: block %d, %s, is free", block, w.owned[block])
				case !owned && used:
					w.fail("I4: block %d is used by nothing", block)
				case !used:
					nfree++
				}
			}
			if nfree != layout.Stats(b).FreeBlocks {
				w.fail("I9: group %d has %d free blocks and says %d", group, nfree, layout.Stats(b).FreeBlocks)
			}
			free += uint64(nfree)
		}
		for group := v.totals.Groups; group < g.Groups; group++ {
			free += g.GroupLen(group) - g.GroupTables(group)
			freeInodes += uint64(g.InodesPerGroup)
		}
		if free != v.totals.FreeBlocks || freeInodes != v.totals.FreeInodes || dirs != v.totals.Dirs {
			w.fail("I9: totals %+v, found %d free blocks, %d free inodes, %d directories", v.totals, free, freeInodes, dirs)
		}
		return w.names(inodes)
	})
	if err != nil {
		t.Errorf("check: %v", err)
	}
}

// names walks the tree from the root and compares link counts.
func (w *owners) names(inodes map[Ino]layout.Inode) error {
	links := map[Ino]uint32{Root: 2}
	list := []Ino{Root}
	for len(list) > 0 {
		dir := list[0]
		list = list[1:]
		in := inodes[dir]
		d := w.o.dir(dir, &in)
		n := uint32(0)
		for pos := uint64(0); ; n++ {
			e, _, next, ok, err := d.Next(pos)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			pos = next
			c, ok := inodes[Ino(e.Ino)]
			if !ok || c.Type()>>12 != uint16(e.Type) {
				w.fail("I5: %q in directory %d names inode %d, type %d", e.Name, dir, e.Ino, e.Type)
				continue
			}
			if c.IsDir() {
				if links[Ino(e.Ino)] > 0 || Ino(c.Parent) != dir {
					w.fail("I7: directory %d in %d: parent %d", e.Ino, dir, c.Parent)
					continue
				}
				links[Ino(e.Ino)] += 2
				links[dir]++
				list = append(list, Ino(e.Ino))
			} else {
				links[Ino(e.Ino)]++
			}
		}
		if n != in.Names {
			w.fail("I9: directory %d has %d names and says %d", dir, n, in.Names)
		}
	}
	for ino, in := range inodes {
		if links[ino] != in.Links {
			w.fail("I6: inode %d has %d names and says %d (orphan: %v)", ino, links[ino], in.Links, in.Flags&layout.FlagOrphan != 0)
		}
	}
	return nil
}
