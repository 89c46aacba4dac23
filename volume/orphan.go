package volume

import (
	"fmt"
	"slices"

	"holdfast/layout"
)

// The orphan list (I8) holds inodes that a crash must not forget: those without a name that
// somebody held, and those whose blocks behind the end are still to be freed. It begins in the
// totals and goes on in the inodes; v.orphans is the same list in memory, the first one first.

// orphanAdd puts an inode at the head of the list.
func (o *op) orphanAdd(ino Ino, in *layout.Inode) error {
	v := o.v
	in.Flags |= layout.FlagOrphan
	in.NextOrphan = v.totals.Orphan
	v.totals.Orphan = uint64(ino)
	before := v.orphans
	v.orphans = append([]Ino{ino}, v.orphans...)
	o.onFail(func() { v.orphans = before })
	return o.putInode(ino, in)
}

// orphanRemove takes an inode off the list.
func (o *op) orphanRemove(ino Ino, in *layout.Inode) error {
	v := o.v
	i := slices.Index(v.orphans, ino)
	if i < 0 {
		return layout.Corrupt(fmt.Sprintf("inode %d", ino), 0, 0, "marked as an orphan but not on the list (I8)", nil)
	}
	if i == 0 {
		v.totals.Orphan = in.NextOrphan
	} else {
		before := v.orphans[i-1]
		p, err := o.inode(before)
		if err != nil {
			return err
		}
		p.NextOrphan = in.NextOrphan
		if err := o.putInode(before, &p); err != nil {
			return err
		}
	}
	in.Flags &^= layout.FlagOrphan
	in.NextOrphan = 0
	before := v.orphans
	v.orphans = slices.Delete(slices.Clone(v.orphans), i, i+1)
	o.onFail(func() { v.orphans = before })
	return o.putInode(ino, in)
}

// destroy frees an inode that has no name and no holder, and all it owns: what does not fit
// into one operation is left to later ones, the inode being on the orphan list meanwhile.
func (o *op) destroy(ino Ino, in *layout.Inode) error {
	v := o.v
	o.deep = true
	for l := range v.files[ino] {
		o.setPage(ino, l, nil)
	}
	more := false
	switch {
	case in.IsDir():
		if err := o.dir(ino, in).Free(); err != nil {
			return err
		}
	case in.Flags&layout.FlagInlineLink == 0:
		todo := len(v.todo)
		if err := o.freeFrom(ino, in, 0); err != nil {
			return err
		}
		more = len(v.todo) > todo
	}
	if more {
		return nil
	}
	if in.Flags&layout.FlagOrphan != 0 {
		if err := o.orphanRemove(ino, in); err != nil {
			return err
		}
	}
	return o.freeInode(ino, in)
}

// continueFree goes on where an operation has left blocks to be freed.
func (v *Volume) continueFree(ino Ino) error {
	return v.updateDeep(v.needFree(), true, func(o *op) error {
		in, err := o.inode(ino)
		if err != nil || in.Flags&layout.FlagOrphan == 0 {
			return nil // freed, or finished, meanwhile
		}
		if in.Links == 0 {
			if v.holds.count(ino) > 0 {
				return nil
			}
			return o.destroy(ino, &in)
		}
		bs := uint64(v.g.BlockSize)
		return o.freeFrom(ino, &in, (in.Size+bs-1)/bs)
	})
}

// needFree bounds the blocks that one step of freeing touches: a bitmap per extent, the path
// of the extent index and its last nodes, the inode, its predecessor, the totals.
func (v *Volume) needFree() int {
	return int(min(freeStep, v.g.Groups)) + 2*layout.MaxDepth + 6
}

// loadOrphans reads the list at Open.
func (v *Volume) loadOrphans() error {
	o := &op{v: v}
	for ino := Ino(v.totals.Orphan); ino != 0; {
		if len(v.orphans) > 1<<20 || slices.Contains(v.orphans, ino) {
			return layout.Corrupt("orphan list", v.g.TotalsBlock(), 80, fmt.Sprintf("inode %d twice", ino), "a list without a cycle (I8)")
		}
		in, err := o.inode(ino)
		if err != nil {
			return fmt.Errorf("orphan list: inode %d: %w", ino, err)
		}
		v.orphans = append(v.orphans, ino)
		ino = Ino(in.NextOrphan)
	}
	return nil
}
