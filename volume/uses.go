package volume

import (
	"errors"
	"fmt"

	"holdfast/layout"
	"holdfast/volume/internal/dirs"
	"holdfast/volume/internal/extents"
)

// Purpose is what a block is for, in the words of the command line.
type Purpose string

// The purposes of blocks (I1).
const (
	PurposeSuperblock Purpose = "superblock"
	PurposeLogHead    Purpose = "log-head"
	PurposeLog        Purpose = "log"
	PurposeTotals     Purpose = "totals"
	PurposeBitmap     Purpose = "bitmap"
	PurposeSums       Purpose = "checksum-table"
	PurposeInodes     Purpose = "inode-table"
	PurposeDirectory  Purpose = "directory"
	PurposeIndex      Purpose = "index" // of names, of free places in a directory, of a file's extents
	PurposeAttributes Purpose = "attributes"
	PurposeData       Purpose = "data"
)

// Purposes are all of them, in the order in which they lie on the device.
var Purposes = []Purpose{PurposeSuperblock, PurposeLogHead, PurposeLog, PurposeTotals, PurposeBitmap, PurposeSums,
	PurposeInodes, PurposeDirectory, PurposeIndex, PurposeAttributes, PurposeData}

// Use is what blocks are used for: data and the blocks of directories come in runs, all others one
// by one.
type Use struct {
	Purpose Purpose
	Kind    layout.Kind // of a metadata block with a header, layout.KindInodes otherwise
	Block   uint64      // the first one
	Count   uint64      // of blocks, from 1
	Copy    int         // of a superblock 0, 1 or 2 (the backup; -1: it is not known which), of a log header 0 or 1, of the log run A (0) or B (1)
	Group   uint64      // of bitmaps and tables
	Ino     Ino         // whose it is; of an inode table the first inode in the block; else 0
	Index   uint64      // among its owner's blocks of this kind, of the first one; of data the logical block

	gen uint32 // of the inode
}

// String says what the blocks hold, as "extent index of inode 12".
func (u Use) String() string {
	switch u.Purpose {
	case PurposeSuperblock:
		switch u.Copy {
		case -1:
			return "superblock"
		case 2:
			return "backup superblock"
		}
		return fmt.Sprintf("superblock copy %d", u.Copy)
	case PurposeLogHead:
		return fmt.Sprintf("log header %d", u.Copy)
	case PurposeLog:
		return "log run " + string(rune('A'+u.Copy))
	case PurposeTotals:
		return "volume totals"
	case PurposeBitmap, PurposeSums, PurposeInodes:
		return fmt.Sprintf("%v of group %d", u.Kind, u.Group)
	case PurposeData:
		return fmt.Sprintf("data of inode %d", u.Ino)
	}
	return fmt.Sprintf("%v of inode %d", u.Kind, u.Ino)
}

// errStop ends a walk.
var errStop = errors.New("stop")

// Uses calls fn for the blocks that are in use, until it returns false: the superblocks and log
// headers, the totals, and group by group the tables and then what the inodes of the group own,
// in the order in which it is mapped. What lies in the log is not among them, and neither are
// blocks that were allocated and not written. The volume may be used meanwhile, but not by fn;
// what moves then is seen at one place, at both, or at none.
//
// What damage hides is left out; lost is called for each structure that could not be read, and
// may be nil. The error is that of a device that fails otherwise than by bad sectors.
func (v *Volume) Uses(fn func(u Use) bool, lost func(u Use, err error)) error {
	if lost == nil {
		lost = func(Use, error) {}
	}
	visit := func(_ *op, u Use) error {
		if !fn(u) {
			return errStop
		}
		return nil
	}
	w := &usesWalk{v: v, visit: visit, lost: lost, between: func() error { return nil }}
	if err := w.walk(); err != errStop { //nolint:errorlint // it is never wrapped
		return err
	}
	return nil
}

// usesWalk is one walk over the blocks in use. Structures of an inode are visited within the
// view that found them (o is not nil then), as many at a time as one leaf of a map or an index
// names, so that who looks at them knows that they are still what the walk says.
type usesWalk struct {
	v       *Volume
	visit   func(o *op, u Use) error
	lost    func(u Use, err error)
	between func() error // called where no view is open: here one may wait
}

func (w *usesWalk) walk() error {
	v := w.v
	if err := w.front(); err != nil {
		return err
	}
	for group := uint64(0); ; group++ {
		var groups uint64
		if err := v.view(func(*op) error { groups = v.totals.Groups; return nil }); err != nil {
			return err
		}
		if group >= groups {
			return nil
		}
		if err := w.group(group); err != nil {
			return err
		}
	}
}

// front visits what lies outside the groups.
func (w *usesWalk) front() error {
	g := &w.v.g
	for i, off := range superSlots(g) {
		if err := w.visit(nil, Use{Purpose: PurposeSuperblock, Block: uint64(off) / uint64(g.BlockSize), Count: 1, Copy: i}); err != nil {
			return err
		}
	}
	if g.RunBlocks > 0 {
		for i := range 2 {
			if err := w.visit(nil, Use{Purpose: PurposeLogHead, Block: g.LogHead(i), Count: 1, Copy: i}); err != nil {
				return err
			}
		}
	}
	return w.visit(nil, Use{Purpose: PurposeTotals, Kind: layout.KindTotals, Block: g.TotalsBlock(), Count: 1})
}

// group visits the tables of a group and what its inodes own.
func (w *usesWalk) group(group uint64) error {
	v, g := w.v, &w.v.g
	bitmap := Use{Purpose: PurposeBitmap, Kind: layout.KindBitmap, Block: g.BitmapBlock(group), Count: 1, Group: group, Index: group}
	if err := w.visit(nil, bitmap); err != nil {
		return err
	}
	for i := range g.SumBlocks(group) {
		u := Use{Purpose: PurposeSums, Kind: layout.KindSums, Block: g.SumBlock(group, i), Count: 1, Group: group, Index: i}
		if err := w.visit(nil, u); err != nil {
			return err
		}
	}
	// How many inodes there are the bitmap says; where it is damaged, all that are good are.
	init, known := g.InodesPerGroup, true
	err := v.view(func(o *op) error {
		b, err := o.Read(bitmap.Block, layout.KindBitmap)
		if err == nil {
			init = layout.Stats(b).InodesInit
		}
		return err
	})
	if err != nil {
		if !isMedia(err) {
			return err
		}
		known = false
		w.lost(bitmap, err)
	}
	per := uint32(g.InodesPerBlock())
	for i := uint32(0); known && i < init; i += per {
		u := Use{Purpose: PurposeInodes, Kind: layout.KindInodes, Block: g.InodeTable(group) + uint64(i/per), Count: 1,
			Group: group, Ino: Ino(g.InodeNumber(group, i)), Index: uint64(i / per)}
		if err := w.visit(nil, u); err != nil {
			return err
		}
		if err := w.between(); err != nil {
			return err
		}
	}
	for i := range init {
		ino := Ino(g.InodeNumber(group, i))
		if err := w.inode(ino, known); err != nil {
			return err
		}
	}
	return nil
}

// inode visits what an inode owns. known says that there is one: else it may as well be a slot
// that was never written.
func (w *usesWalk) inode(ino Ino, known bool) error {
	v := w.v
	block, _ := v.g.InodePlace(uint64(ino))
	self := Use{Purpose: PurposeInodes, Kind: layout.KindInodes, Block: block, Count: 1, Ino: ino}
	self.Group, _ = v.g.InodeGroup(uint64(ino))
	// step is one view of the inode, nil when it is gone or the walk is another inode's.
	gen := uint32(0)
	step := func(fn func(o *op, in *layout.Inode) error) error {
		err := v.view(func(o *op) error {
			in, err := o.inode(ino)
			switch {
			case errors.Is(err, ErrStale):
				return errGone
			case err != nil && isMedia(err):
				if known {
					w.lost(self, err)
				}
				return errGone
			case err != nil:
				return err
			case gen != 0 && in.Generation != gen:
				return errGone
			}
			gen = in.Generation
			return fn(o, &in)
		})
		if err != nil {
			return err
		}
		return w.between()
	}
	last := []uint64(nil) // index nodes above the part before
	dir := false
	for pos := uint64(0); pos < layout.MaxLogical; {
		err := step(func(o *op, in *layout.Inode) error {
			if in.Flags&layout.FlagInlineLink != 0 || in.Type() != layout.ModeFile && in.Type() != layout.ModeDir && in.Type() != layout.ModeLink {
				pos = layout.MaxLogical
				return nil
			}
			dir = in.IsDir()
			part, damage := extents.PartAt(o, &v.g, uint64(ino), in, pos)
			for i, no := range part.Nodes {
				if i < len(last) && last[i] == no {
					continue
				}
				last = nil // what is below another node is another one
				if err := w.visit(o, w.owned(ino, in, PurposeIndex, layout.KindExtents, no, 0)); err != nil {
					return err
				}
			}
			last = part.Nodes
			if damage != nil {
				if !isMedia(damage) {
					return damage
				}
				at := self
				if n := len(part.Nodes); n > 0 {
					at = w.owned(ino, in, PurposeIndex, layout.KindExtents, part.Nodes[n-1], 0)
				}
				w.lost(at, damage)
			}
			pos = max(part.Next, pos+1)
			return w.extents(o, ino, in, part.Ents)
		})
		if err == errGone { //nolint:errorlint // it is never wrapped
			return nil
		}
		if err != nil {
			return err
		}
	}
	if dir {
		if err := w.index(ino, step); err != nil {
			return ignoreGone(err)
		}
	}
	return ignoreGone(step(func(o *op, in *layout.Inode) error { return w.attributes(o, ino, in) }))
}

// errGone says that an inode is no longer the one that is walked.
var errGone = errors.New("gone")

func ignoreGone(err error) error {
	if err == errGone { //nolint:errorlint // it is never wrapped
		return nil
	}
	return err
}

// owned is a metadata block of an inode.
func (w *usesWalk) owned(ino Ino, in *layout.Inode, p Purpose, k layout.Kind, no, index uint64) Use {
	return Use{Purpose: p, Kind: k, Block: no, Count: 1, Ino: ino, Index: index, gen: in.Generation}
}

// extents visits what a leaf of a map maps.
func (w *usesWalk) extents(o *op, ino Ino, in *layout.Inode, list []layout.Extent) error {
	bs := uint64(w.v.g.BlockSize)
	end := (in.Size + bs - 1) / bs
	for _, e := range list {
		u := Use{Purpose: PurposeData, Block: e.Block, Count: uint64(e.Len), Ino: ino, Index: e.Logical, gen: in.Generation}
		switch {
		case !in.IsDir() && (e.Unwritten || e.Logical >= end):
			continue
		case !in.IsDir():
			u.Count = min(u.Count, end-e.Logical)
		case u.Index >= layout.SpaceBase:
			u.Purpose, u.Kind, u.Index = PurposeIndex, layout.KindDirSpace, u.Index-layout.SpaceBase
		default:
			u.Purpose, u.Kind = PurposeDirectory, layout.KindDirLeaf
		}
		if err := w.visit(o, u); err != nil {
			return err
		}
	}
	return nil
}

// index visits the index of a directory.
func (w *usesWalk) index(ino Ino, step func(fn func(o *op, in *layout.Inode) error) error) error {
	var key layout.IndexEntry
	var last []uint64
	for more := true; more; {
		err := step(func(o *op, in *layout.Inode) error {
			more = false
			if in.IndexRoot == 0 {
				return nil
			}
			d := dirs.New(o, &w.v.g, w.v.super.HashKey, uint64(ino), in)
			nodes, next, ok, damage := d.IndexPath(key)
			for i, no := range nodes {
				if i < len(last) && last[i] == no {
					continue
				}
				last = nil
				if !w.v.g.Allocatable(no) {
					break // the damage that follows
				}
				if err := w.visit(o, w.owned(ino, in, PurposeIndex, layout.KindDirIndex, no, 0)); err != nil {
					return err
				}
			}
			last = nodes
			if damage != nil {
				if !isMedia(damage) {
					return damage
				}
				w.lost(w.owned(ino, in, PurposeIndex, layout.KindDirIndex, nodes[len(nodes)-1], 0), damage)
			}
			more = ok && key.Less(next) // a damaged tree may lead back
			key = next
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// attributes visits the chain of attributes.
func (w *usesWalk) attributes(o *op, ino Ino, in *layout.Inode) error {
	a := o.attrs(ino, in)
	for no, i := in.Xattr, uint64(0); no != 0; i++ {
		u := w.owned(ino, in, PurposeAttributes, layout.KindXattr, no, i)
		if err := w.visit(o, u); err != nil {
			return err
		}
		h, _, err := a.block(no, i)
		if err != nil {
			if !isMedia(err) {
				return err
			}
			w.lost(u, err)
			return nil
		}
		no = h.Aux
	}
	return nil
}
