package layout

import "fmt"

// Extent maps a run of logical blocks of a file or directory to blocks of the volume.
//
//	offset size field
//	     0    6 first logical block
//	     6    6 first block
//	    12    4 length in blocks, 1 to 2^31-1; bit 31: unwritten (reads as zero)
//
// In an inner node of the extent index the same 16 bytes are a child: its first logical
// block, its block, and zero. A node (header kind "EXTN", count = entries, owner = inode,
// index = its first logical block, aux = height above the leaves, aux2 = generation of
// the inode) holds them sorted by logical block without overlap; so does the inode.
type Extent struct {
	Logical   uint64
	Block     uint64
	Len       uint32
	Unwritten bool
}

// ExtentSize is the size of an extent or child in bytes.
const ExtentSize = 16

// MaxExtentLen is the longest extent in blocks.
const MaxExtentLen = 1<<31 - 1

// MaxLogical bounds logical block numbers (48 bits).
const MaxLogical = 1 << 48

const unwritten = 1 << 31

// End is the logical block behind the extent.
func (e Extent) End() uint64 { return e.Logical + uint64(e.Len) }

func (e Extent) String() string {
	s := fmt.Sprintf("%d+%d at %d", e.Logical, e.Len, e.Block)
	if e.Unwritten {
		s += " unwritten"
	}
	return s
}

// PutExtent writes e as entry i of area p.
func PutExtent(p []byte, i int, e Extent) {
	q := p[i*ExtentSize : (i+1)*ExtentSize]
	put48(q, e.Logical)
	put48(q[6:], e.Block)
	n := e.Len
	if e.Unwritten {
		n |= unwritten
	}
	le.PutUint32(q[12:], n)
}

// GetExtent reads entry i of area p; validity is the caller's to check (CheckExtents).
func GetExtent(p []byte, i int) Extent {
	q := p[i*ExtentSize : (i+1)*ExtentSize]
	n := le.Uint32(q[12:])
	return Extent{u48(q), u48(q[6:]), n &^ unwritten, n&unwritten != 0}
}

// NodeEntries is how many entries a node of the extent index holds.
func NodeEntries(blockSize int) int { return Body(blockSize) / ExtentSize }

// CheckExtents answers whether the first n entries of area p are sorted, do not overlap,
// lie in logical blocks low to high (exclusive) and name allocatable blocks. leaf says
// whether they are extents or children. The error is a CorruptError for what in block.
func CheckExtents(p []byte, n int, leaf bool, low, high uint64, g *Geometry, what string, block uint64) error {
	if n*ExtentSize > len(p) {
		return Corrupt(what, block, 0, fmt.Sprintf("%d entries", n), fmt.Sprintf("at most %d", len(p)/ExtentSize))
	}
	next := low
	var from, to uint64 // what a file may own of the group of the entry before
	for i := range n {
		e := GetExtent(p, i)
		length := uint64(e.Len)
		if !leaf {
			if e.Len != 0 || e.Unwritten {
				return Corrupt(what, block, i*ExtentSize, fmt.Sprintf("child %d with a length", i), nil)
			}
			length = 1
		}
		if length == 0 || e.Logical < next || e.Logical+length > high {
			return Corrupt(what, block, i*ExtentSize, fmt.Sprintf("entry %d (%v)", i, e),
				fmt.Sprintf("sorted entries in %d to %d", low, high))
		}
		if e.Block < from || e.Block+length > to {
			group, ok := g.GroupOf(e.Block)
			if ok {
				start := g.GroupStart(group)
				from, to = start+g.GroupTables(group), start+g.GroupLen(group)
			}
			if !ok || e.Block < from || e.Block+length > to {
				return Corrupt(what, block, i*ExtentSize, fmt.Sprintf("entry %d (%v)", i, e), "blocks of one group behind its tables")
			}
		}
		next = e.Logical + length
	}
	return nil
}
