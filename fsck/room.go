package fsck

import (
	"fmt"
	"slices"
	"sync"

	"holdfast/layout"
)

// room is memory that a checker uses again in the next check: whoever checks many small volumes
// one after the other, as the exploration of crash states does, need not fill and empty the heap.
type room struct {
	place   [1]int64                    // of the read that is being made
	raw     [layout.SuperblockSize]byte // one small structure
	in      layout.Inode                // what inode has read
	pages   [][]byte                    // blocks on a path, by height
	list    []layout.Extent             // extents of one inode
	dir     dirCheck
	flat    []byte
	infos   []inodeInfo
	numbers []uint64
	set     []group
}

// maxRoom is how many initialised groups a check may have for its memory to be kept.
const maxRoom = 4

var checkers = sync.Pool{New: func() any { return new(checker) }}

// done gives the checker back. The report is no longer its own.
func (c *checker) done() {
	if len(c.groups) > maxRoom || len(c.dir.keys) > 1<<12 {
		return
	}
	clear(c.groups)
	r := c.room
	r.dir.c, r.dir.in = nil, nil
	r.flat, r.infos, r.numbers = r.flat[:0], r.infos[:0], r.numbers[:0]
	*c = checker{room: r}
	checkers.Put(c)
}

// bytes is n bytes of any content, until the end of the check.
func (r *room) bytes(n int) []byte { return take(&r.flat, n) }

// slots is n empty slots.
func (r *room) slots(n int) []inodeInfo { p := take(&r.infos, n); clear(p); return p }

// owners is n blocks without an owner.
func (r *room) owners(n int) []uint64 { p := take(&r.numbers, n); clear(p); return p }

// newGroups is n groups of which nothing is known.
func (r *room) newGroups(n int) []group {
	r.set = slices.Grow(r.set[:0], n)[:n]
	clear(r.set)
	return r.set
}

// page is the block at a height of the path that is being walked.
func (r *room) page(height, size int) []byte {
	for len(r.pages) <= height {
		r.pages = append(r.pages, nil)
	}
	r.pages[height] = slices.Grow(r.pages[height][:0], size)[:size]
	return r.pages[height]
}

// large is how many elements are too many to be taken from what is kept.
const large = 1 << 12

// take is n elements behind those of p that are in use. What was taken before stays where it
// is when p has to move.
func take[T any](p *[]T, n int) []T {
	k := len(*p)
	if cap(*p)-k < n {
		if n >= large {
			return make([]T, n)
		}
		*p, k = make([]T, 0, max(n, min(2*cap(*p), large))), 0
	}
	*p = (*p)[:k+n]
	return (*p)[k : k+n : k+n]
}

// structure is what owns or holds a block, for a finding; one of an inode ends in its number.
type structure struct {
	name    string
	ofInode bool
}

var (
	inodeItself = structure{"inode", true}
	fileData    = structure{"data of inode", true}
	directory   = structure{"directory inode", true}
	extentIndex = structure{"extent index", false}
	attributes  = structure{"attributes", false}
	dirIndex    = structure{"directory index", false}
)

func (s structure) of(ino uint64) string {
	if s.ofInode {
		return fmt.Sprintf("%s %d", s.name, ino)
	}
	return s.name
}
