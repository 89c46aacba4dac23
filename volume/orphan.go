package volume

import (
	"fmt"
	"maps"
	"slices"

	"holdfast/layout"
)

// The orphan list (I8) holds inodes that a crash must not forget: those without a name that
// somebody held, and those whose blocks behind the end are still to be freed. It begins in the
// totals and goes on in the inodes; v.orphans has the members in memory, each with the one
// before it (0 for the first), so that one is taken out without walking.

// orphanAdd puts an inode at the head of the list.
func (o *op) orphanAdd(ino Ino, in *layout.Inode) error {
	v := o.v
	in.Flags |= layout.FlagOrphan
	in.NextOrphan = v.totals.Orphan
	if next := Ino(in.NextOrphan); next != 0 {
		o.setOrphan(next, ino, true)
	}
	v.totals.Orphan = uint64(ino)
	o.setOrphan(ino, 0, true)
	return o.putInode(ino, in)
}

// orphanRemove takes an inode off the list.
func (o *op) orphanRemove(ino Ino, in *layout.Inode) error {
	v := o.v
	before, ok := v.orphans[ino]
	if !ok {
		return layout.Corrupt(fmt.Sprintf("inode %d", ino), 0, 0, "marked as an orphan but not on the list (I8)", nil)
	}
	if before == 0 {
		v.totals.Orphan = in.NextOrphan
	} else {
		p, err := o.inode(before)
		if err != nil {
			return err
		}
		p.NextOrphan = in.NextOrphan
		if err := o.putInode(before, &p); err != nil {
			return err
		}
	}
	if next := Ino(in.NextOrphan); next != 0 {
		o.setOrphan(next, before, true)
	}
	o.setOrphan(ino, 0, false)
	in.Flags &^= layout.FlagOrphan
	in.NextOrphan = 0
	return o.putInode(ino, in)
}

// setOrphan notes which member of the list comes before one, or that it is none.
func (o *op) setOrphan(ino, before Ino, on bool) {
	v := o.v
	set := func(before Ino, on bool) {
		if on {
			v.orphans[ino] = before
		} else {
			delete(v.orphans, ino)
		}
	}
	old, was := v.orphans[ino]
	o.onFail(func() { set(old, was) })
	set(before, on)
}

// destroy frees an inode that has no name and no holder, and all it owns: what does not fit
// into one operation is left to later ones, the inode being on the orphan list meanwhile.
func (o *op) destroy(ino Ino, in *layout.Inode) error {
	v := o.v
	o.deep = true
	for _, l := range slices.Sorted(maps.Keys(v.files[ino])) {
		o.setPage(ino, l, nil)
	}
	if in.IsDir() {
		if err := o.dir(ino, in).Free(); err != nil {
			return err
		}
	} else if in.Flags&layout.FlagInlineLink == 0 {
		if more, err := o.freeFrom(ino, in, 0); err != nil || more {
			return err
		}
	}
	if err := o.attrs(ino, in).free(&in.Xattr, 0); err != nil {
		return err
	}
	if in.Flags&layout.FlagOrphan != 0 {
		if err := o.orphanRemove(ino, in); err != nil {
			return err
		}
	}
	o.trimming(ino, false)
	return o.freeInode(ino, in)
}

// trimming notes whether blocks of the inode are still to be freed by later operations.
func (o *op) trimming(ino Ino, on bool) {
	v := o.v
	before, was := v.trims[ino]
	o.onFail(func() {
		if was {
			v.trims[ino] = before
		} else {
			delete(v.trims, ino)
		}
	})
	if on {
		v.trims[ino] = nil
	} else {
		delete(v.trims, ino)
	}
}

// trimmed answers whether the blocks behind the end of an inode are gone, so that it may grow:
// what a truncation cut off must never come back.
func (o *op) trimmed(ino Ino) error {
	why, waits := o.v.trims[ino]
	if !waits {
		return nil
	}
	if why != nil {
		return why
	}
	return &trimFirst{ino}
}

// trim frees, in as many operations as it takes, what earlier operations have left to be freed
// of an inode on the orphan list.
func (v *Volume) trim(ino Ino) error {
	for more := true; more; {
		_, err := v.change(func(*op) int { return v.needFree() }, true, func(o *op) error {
			more = false
			why, waits := v.trims[ino]
			if !waits {
				return nil // others have done it
			}
			if why != nil {
				return why
			}
			in, err := o.inode(ino)
			switch {
			case err != nil:
				return err
			case in.Flags&layout.FlagOrphan == 0:
				return layout.Corrupt(fmt.Sprintf("inode %d", ino), 0, 0, "on the orphan list but not marked (I8)", nil)
			case in.Links == 0 && v.holds.count(ino) == 0:
				err = o.destroy(ino, &in)
			default:
				bs := uint64(v.g.BlockSize)
				if more, err = o.freeFrom(ino, &in, (in.Size+bs-1)/bs); err == nil && !more {
					err = o.putInode(ino, &in)
				}
			}
			_, more = v.trims[ino]
			return err
		})
		if err != nil {
			v.mu.Lock()
			if _, waits := v.trims[ino]; waits && isMedia(err) {
				v.trims[ino] = err
			}
			v.mu.Unlock()
			return err
		}
	}
	return nil
}

// needFree bounds the blocks that one step of freeing touches: a bitmap per extent, the path
// of the extent index with a neighbour in each level, the inode, its predecessor, the totals.
func (v *Volume) needFree() int {
	return int(min(freeStep, v.g.Groups)) + 2*v.maxDepth() + 4
}

// maxDepth is how many levels the extent index of a file of this volume may have: its nodes
// are a quarter full or better but for those next to a level's end.
func (v *Volume) maxDepth() int {
	fan := uint64(layout.NodeEntries(v.g.BlockSize) / 4)
	depth := 1
	for n := (layout.InlineSize - maxInlineXattrs) / layout.ExtentSize * fan; n < v.g.Blocks && depth < layout.MaxDepth; n *= fan {
		depth++
	}
	return depth
}

// loadOrphans reads the list at Open, and returns it in its order.
func (v *Volume) loadOrphans() ([]Ino, error) {
	if v.totals.Orphan == 0 {
		return nil, nil
	}
	o := &op{v: v}
	var list []Ino
	before := Ino(0)
	for ino := Ino(v.totals.Orphan); ino != 0; {
		if _, twice := v.orphans[ino]; twice {
			return nil, layout.Corrupt("orphan list", v.g.TotalsBlock(), 80, fmt.Sprintf("inode %d twice", ino), "a list without a cycle (I8)")
		}
		in, err := o.inode(ino)
		if err != nil {
			return nil, fmt.Errorf("orphan list: inode %d: %w", ino, err)
		}
		v.orphans[ino] = before
		list = append(list, ino)
		before, ino = ino, Ino(in.NextOrphan)
	}
	return list, nil
}
