package volume

import (
	"time"

	"holdfast/layout"
	"holdfast/volume/internal/dirs"
)

// Bounds on the metadata blocks that the operations of the name space touch, for update. The
// parts: what a directory changes of its own (dirs.MaxTouched, D below); the bitmaps of what it
// takes and gives back (one for each such block, but no more than there are groups); the tables
// of a group that comes into use, at most one for blocks and one for inodes; the inode-table
// blocks of the inodes that change; what freeing an inode takes (needFree); and the totals. The
// content of a long symbolic link is counted as all pages are, when it is written.

// needTables is a group that comes into use: its bitmap and its checksum table.
func (v *Volume) needTables() int {
	if v.g.Groups == 1 {
		return 0 // it is in use since Format
	}
	return 1 + int(v.g.SumBlocks(0))
}

// needDir is one change of one directory: D, bitmaps, the directory's inode.
func (v *Volume) needDir() int {
	d := dirs.MaxTouched(&v.g)
	return d + int(min(uint64(d), v.g.Groups)) + 1
}

// needCreate: the directory, a block of inodes with its bitmap, tables twice, totals.
func (v *Volume) needCreate() int { return v.needDir() + 2 + 2*v.needTables() + 1 }

// needLink: the directory, the inode, tables, totals.
func (v *Volume) needLink() int { return v.needDir() + 1 + v.needTables() + 1 }

// needRemove: the directory, and the inode freed (with its neighbour on the orphan list, or as
// the head of it, which needFree counts as well).
func (v *Volume) needRemove() int { return v.needDir() + 1 + v.needFree() }

// needRename: the directory that loses the name; the one that gets it, or, where the name is
// there already and only changes its meaning, its leaf and inode and what is replaced; what
// moves; tables.
func (v *Volume) needRename() int {
	return v.needDir() + max(v.needDir(), 2+v.needFree()) + 1 + v.needTables() + 1
}

// needRenameFlags: a whiteout is a new inode.
func (v *Volume) needRenameFlags(flags uint) int {
	n := v.needRename()
	if flags&RenameWhiteout != 0 {
		n += 2 + v.needTables()
	}
	return n
}

// needSetattr: a truncation, and the inode.
func (v *Volume) needSetattr() int { return v.needFree() + 2 }

// attr is what an inode says of itself, in the terms of callers.
func (o *op) attr(ino Ino, in *layout.Inode) Attr {
	t := func(t layout.Time) time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }
	return Attr{Ino: ino, Generation: in.Generation, Mode: in.Mode, Links: in.Links, UID: in.UID, GID: in.GID, Size: in.Size,
		Blocks: in.Blocks + uint64(o.v.waiting[ino].n), // pages that wait lie over holes, and get a block each
		Atime:  t(in.Atime), Mtime: t(in.Mtime), Ctime: t(in.Ctime), Btime: t(in.Btime), Major: in.Major, Minor: in.Minor,
		Xattrs: in.XattrLen > 0 || in.Xattr != 0}
}
