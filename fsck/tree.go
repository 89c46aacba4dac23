package fsck

import (
	"fmt"

	"holdfast/layout"
)

// Marks of a slot.
const (
	markWalk   uint8 = 1 << iota // on the walk towards the root that is going on
	markWalked                   // on an earlier one
	markCycle                    // its parents lead back to it
	markListed                   // on the orphan list
)

// tree checks names against inodes: link counts, parents, reachability.
func (c *checker) tree() {
	root := c.super.Root
	r := c.slot(root)
	if r == nil || r.state != slotUsed || !r.dir() {
		if !c.blur {
			c.find(Dangling, "superblock", 0, root, "the root inode is not a directory")
		}
		return
	}
	if r.above != 0 {
		c.find(SecondParent, fmt.Sprintf("inode %d", root), 0, root, "directory inode %d has an entry for the root", r.above)
	} else if r.parent != root {
		c.find(WrongParent, fmt.Sprintf("inode %d", root), 0, root, "the parent of the root is inode %d", r.parent)
	}
	r.state = slotReachable
	for _, x := range c.inodes() {
		if x.state == slotUsed && x.dir() && x.marks&markWalked == 0 {
			c.climb(x)
		}
	}
	for ino, x := range c.inodes() {
		if x.state >= slotUsed {
			c.links(ino, x)
		}
	}
}

// climb follows the naming directories of x up to one whose way is known, to the root, to one
// without a name, or back onto its own way, which is a cycle. Each directory is passed once.
func (c *checker) climb(x *inodeInfo) {
	at := x
	for at.state == slotUsed && at.marks&(markWalk|markWalked) == 0 {
		at.marks |= markWalk
		if at.above == 0 {
			break
		}
		at = c.slot(at.above)
	}
	if at.marks&markWalk != 0 && at.above != 0 {
		for y := at; y.marks&markCycle == 0; y = c.slot(y.above) {
			y.marks |= markCycle
		}
	}
	reached := at.state == slotReachable
	for at = x; at.marks&markWalk != 0; at = c.slot(at.above) {
		at.marks = at.marks&^markWalk | markWalked
		if reached {
			at.state = slotReachable
		}
		if at.above == 0 {
			break
		}
	}
}

// links checks what an allocated inode says of its names. A directory below one that has no
// name, or that cannot be read, is not lost itself: it comes back with the one above.
func (c *checker) links(ino uint64, x *inodeInfo) {
	find := func(code Code, format string, args ...any) {
		no, _ := c.g.InodePlace(ino)
		c.find(code, inodeItself.of(ino), no, ino, format, args...)
	}
	want := x.seen
	if x.dir() {
		want = 2 + x.subdirs
		orphan := x.flags&layout.FlagOrphan != 0 && x.seen == 0
		switch {
		case orphan:
			want = 0
		case x.marks&markCycle != 0:
			find(Cycle, "its parents lead back to it, not to the root")
		case x.state == slotUsed && x.seen == 0:
			if !c.blur {
				find(Lost, "a directory without a name")
			}
			return
		case x.above != 0 && x.parent != x.above:
			find(WrongParent, "\"..\" is inode %d, the name is in inode %d", x.parent, x.above)
		}
	} else if x.seen == 0 && x.flags&layout.FlagOrphan == 0 {
		if !c.blur {
			find(Lost, "no name, and not on the orphan list")
		}
		return
	}
	switch {
	case c.blur && x.links > want: // the names may be where nothing could be read
	case x.links > want:
		find(LinksHigh, "link count %d, names %d", x.links, want)
	case x.links < want:
		find(LinksLow, "link count %d, names %d", x.links, want)
	}
}

// orphans walks the orphan list and compares it with the marks of the inodes.
func (c *checker) orphans() {
	no := c.g.TotalsBlock()
	for ino := c.totals.Orphan; ino != 0; {
		x := c.slot(ino)
		if x == nil || x.state < slotUsed {
			c.find(OrphanList, "orphan list", no, ino, "inode %d is not allocated", ino)
			break
		}
		if x.marks&markListed != 0 {
			c.find(OrphanList, "orphan list", no, ino, "inode %d is on it twice", ino)
			break
		}
		x.marks |= markListed
		c.r.Orphans++
		if x.flags&layout.FlagOrphan == 0 {
			c.find(OrphanList, "orphan list", no, ino, "inode %d is on it and not marked", ino)
		}
		ino = x.next
	}
	if c.blur {
		return
	}
	for ino, x := range c.inodes() {
		if x.state >= slotUsed && x.flags&layout.FlagOrphan != 0 && x.marks&markListed == 0 {
			c.find(OrphanList, fmt.Sprintf("inode %d", ino), 0, ino, "marked as an orphan and not on the list")
		}
	}
}
