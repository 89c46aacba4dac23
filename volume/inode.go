package volume

import (
	"cmp"
	"errors"
	"fmt"

	"holdfast/disk"
	"holdfast/layout"
)

// inode reads an inode. ErrStale: there is none with this number.
func (o *op) inode(ino Ino) (layout.Inode, error) {
	var in layout.Inode
	if ino == 0 || uint64(ino) > o.v.g.Inodes() {
		return in, ErrStale
	}
	if err := o.slot(uint64(ino), &in); err != nil {
		if free, serr := o.uninitialised(uint64(ino)); serr == nil && free {
			return in, ErrStale
		}
		return in, err
	}
	if in.Mode == 0 {
		return in, ErrStale
	}
	return in, nil
}

// slot reads what an initialised slot holds. Where no cache keeps the whole block, only the inode
// is read.
func (o *op) slot(ino uint64, in *layout.Inode) error {
	v := o.v
	block, off := v.g.InodePlace(ino)
	if v.cache == nil && v.held(block) == nil {
		if err := v.readInode(o.buf[:], block, off, ino, &o.spot); err != nil {
			return err
		}
		return layout.DecodeCheckedInode(o.buf[:], in, ino, block, off)
	}
	b, err := v.lookup(block, layout.KindInodes)
	if err != nil {
		return err
	}
	return layout.DecodeInode(b[off:off+layout.InodeSize], in, ino, block, off, v.seeds)
}

// readInode fills p with one inode from the device.
func (v *Volume) readInode(p []byte, block uint64, off int, ino uint64, s *spot) error {
	_, err := v.dev.ReadChecked(p, v.inodeCheck(ino), s.at(int64(block)*int64(v.g.BlockSize)+int64(off))...)
	return v.inodeError(err, block, off, ino)
}

func (v *Volume) inodeCheck(ino uint64) disk.Check {
	return disk.Check{Seed: v.seeds.Inode(ino), Want: layout.Residue, Version: layout.InodeSeq}
}

// inodeError says of what inode the error of a checked read is.
func (v *Volume) inodeError(err error, block uint64, off int, ino uint64) error {
	if errors.Is(err, disk.ErrChecksum) {
		return layout.Corrupt(fmt.Sprintf("inode %d", ino), block, off+layout.InodeSize-4, "checksum does not match", nil)
	}
	if err != nil {
		return fmt.Errorf("inode %d (block %d, offset %d): %w", ino, block, off, ioError(err))
	}
	return nil
}

// readInodes fills p with a block of an inode table. Each inode is checked by itself, and one
// that is damaged stays as it is (what cannot be read is zero, which is no inode): who decodes
// it is told, and its neighbours can be changed nevertheless.
func (v *Volume) readInodes(block uint64, p []byte) error {
	group, ok := v.g.GroupOf(block)
	if !ok || block < v.g.InodeTable(group) || block >= v.g.InodeTable(group)+uint64(v.g.InodeBlocks()) {
		return layout.Corrupt(layout.KindInodes.String(), block, 0, "not a block of an inode table", nil)
	}
	per := v.g.InodesPerBlock()
	first := v.g.InodeNumber(group, uint32(block-v.g.InodeTable(group))*uint32(per))
	at := int64(block) * int64(v.g.BlockSize)
	for i := 0; ; i++ {
		from := i
		n, err := disk.ReadChecks(v.dev, p[i*layout.InodeSize:per*layout.InodeSize], layout.InodeSize, func(k int) disk.Check {
			return v.inodeCheck(first + uint64(from+k))
		}, at+int64(i*layout.InodeSize))
		if err == nil {
			return nil
		}
		i += n
		off := i * layout.InodeSize
		q := p[off : off+layout.InodeSize]
		if err := v.inodeError(err, block, off, first+uint64(i)); !isMedia(err) {
			return err
		}
		if err := disk.ReadFull(v.dev, q, at+int64(off)); err != nil {
			clear(q)
		}
	}
}

// uninitialised reports whether the inode's slot was never written.
func (o *op) uninitialised(ino uint64) (bool, error) {
	group, index := o.v.g.InodeGroup(ino)
	if group >= o.v.totals.Groups {
		return true, nil
	}
	b, err := o.Read(o.v.g.BitmapBlock(group), layout.KindBitmap)
	if err != nil {
		return false, err
	}
	return index >= layout.Stats(b).InodesInit, nil
}

// putInode writes an inode; its sequence is stamped at commit.
func (o *op) putInode(ino Ino, in *layout.Inode) error {
	block, off := o.v.g.InodePlace(uint64(ino))
	b, err := o.Edit(block, layout.KindInodes)
	if err != nil {
		return err
	}
	layout.EncodeInode(b[off:], in, uint64(ino), o.v.seeds)
	return nil
}

// allocInode takes a free inode: for a directory in the next of the groups in use, for anything
// else in the group of near if it can. A new group comes into use when no other has one.
func (o *op) allocInode(near Ino, dir bool) (Ino, layout.Inode, error) {
	v := o.v
	g := &v.g
	if v.totals.FreeInodes == 0 {
		return 0, layout.Inode{}, ErrNoSpace
	}
	start, _ := g.InodeGroup(uint64(max(near, 1)))
	if dir { // a directory's files lie near it: directories go apart
		v.lastDir++
		start = v.lastDir
	}
	start %= v.totals.Groups
	var damage error
	for i := uint64(0); ; i++ {
		i = v.fullInodes.next(start, i, v.totals.Groups)
		group := start + i
		if i >= v.totals.Groups {
			if v.totals.Groups >= g.Groups {
				return 0, layout.Inode{}, cmp.Or(damage, error(ErrNoSpace))
			}
			group = v.totals.Groups
			if err := o.initGroup(group); err != nil {
				return 0, layout.Inode{}, err
			}
		} else if group >= v.totals.Groups {
			group -= v.totals.Groups
		}
		ino, in, err := o.inodeIn(group, dir)
		switch {
		case err != nil && !isMedia(err):
			return 0, in, err
		case err != nil: // a damaged group is left alone
			damage = cmp.Or(damage, err)
		case ino != 0:
			return ino, in, nil
		}
	}
}

// inodeIn takes a free inode of one group, 0 if it has none.
func (o *op) inodeIn(group uint64, dir bool) (Ino, layout.Inode, error) {
	v := o.v
	g := &v.g
	var in layout.Inode
	if err := o.countInodes(group); err != nil {
		return 0, in, err
	}
	b, err := o.Read(g.BitmapBlock(group), layout.KindBitmap)
	if err != nil {
		return 0, in, err
	}
	s := layout.Stats(b)
	var index uint32
	switch {
	case s.InodesFree > 0:
		if index, err = o.findFree(group, s.InodesInit); err != nil {
			return 0, in, err
		}
	case s.InodesInit < g.InodesPerGroup:
		index = s.InodesInit
		per := uint32(g.InodesPerBlock())
		t := o.adopt(g.InodeTable(group)+uint64(index/per), layout.KindInodes)
		var free layout.Inode
		for i := range per {
			layout.EncodeInode(t[int(i)*layout.InodeSize:], &free, g.InodeNumber(group, index+i), v.seeds)
		}
		s.InodesInit += per
		s.InodesFree += per
		for i := per - 1; i > 0; i-- {
			v.freeInodes[group] = append(v.freeInodes[group], index+i)
		}
	default:
		// Not what only this operation sees, which may be undone.
		if _, ours := o.touched[g.BitmapBlock(group)]; !ours {
			v.fullInodes.set(group, true)
		}
		return 0, in, nil
	}
	ino := Ino(g.InodeNumber(group, index))
	if err := o.slot(uint64(ino), &in); err != nil {
		return 0, in, err
	}
	if b, err = o.Edit(g.BitmapBlock(group), layout.KindBitmap); err != nil {
		return 0, in, err
	}
	in = layout.Inode{Generation: in.Generation + 1}
	s.InodesFree--
	v.totals.FreeInodes--
	if dir {
		s.Directories++
		v.totals.Dirs++
	}
	layout.SetStats(b, s)
	return ino, in, nil
}

// findFree is a free slot below the mark: one remembered, or the result of a look at the table.
func (o *op) findFree(group uint64, init uint32) (uint32, error) {
	v := o.v
	g := &v.g
	for scanned := false; ; scanned = true {
		for list := v.freeInodes[group]; len(list) > 0; list = v.freeInodes[group] {
			index := list[len(list)-1]
			v.freeInodes[group] = list[:len(list)-1]
			if index >= init {
				continue
			}
			ok, err := o.slotFree(g.InodeNumber(group, index))
			if err != nil && !isMedia(err) {
				return 0, err
			}
			if ok {
				return index, nil
			}
		}
		if scanned {
			return 0, layout.Corrupt(fmt.Sprintf("bitmap of group %d", group), g.BitmapBlock(group), 36,
				"free inodes counted that the table does not have (I9)", nil)
		}
		for i := init; i > 0; i-- {
			ok, err := o.slotFree(g.InodeNumber(group, i-1))
			if err != nil && !isMedia(err) {
				return 0, err
			}
			if ok {
				v.freeInodes[group] = append(v.freeInodes[group], i-1)
			}
		}
	}
}

func (o *op) slotFree(ino uint64) (bool, error) {
	var in layout.Inode
	err := o.slot(ino, &in)
	return err == nil && in.Mode == 0, err
}

// freeInode gives back an inode whose content is gone; its generation stays.
func (o *op) freeInode(ino Ino, in *layout.Inode) error {
	v := o.v
	group, index := v.g.InodeGroup(uint64(ino))
	if err := o.countInodes(group); err != nil {
		return err
	}
	b, err := o.Edit(v.g.BitmapBlock(group), layout.KindBitmap)
	if err != nil {
		return err
	}
	s := layout.Stats(b)
	s.InodesFree++
	v.fullInodes.set(group, false)
	v.totals.FreeInodes++
	if in.IsDir() {
		s.Directories--
		v.totals.Dirs--
	}
	layout.SetStats(b, s)
	*in = layout.Inode{Generation: in.Generation}
	if v.freeInodes[group] != nil {
		v.freeInodes[group] = append(v.freeInodes[group], index)
	}
	return o.putInode(ino, in)
}
