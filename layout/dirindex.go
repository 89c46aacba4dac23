package layout

import "fmt"

// The index of a directory is a B+tree over (hash of the name, position). Its blocks are
// named by block number, from Inode.IndexRoot down. A node (header kind "INDX", count =
// entries, owner = inode, index 0, aux = height above the leaves, aux2 = generation) holds
// entries sorted by (hash, position):
//
//	leaf (height 0)          inner
//	offset size field        offset size field
//	     0    8 hash              0    8 hash      } lower bound of all keys
//	     8    8 position          8    8 position  } below the child
//	                             16    8 child block
type IndexEntry struct {
	Hash  uint64
	Pos   uint64
	Child uint64 // inner nodes only
}

// Entry sizes in bytes.
const (
	IndexLeafSize  = 16
	IndexInnerSize = 24
	MaxIndexDepth  = 12
)

// IndexEntries is how many entries a node holds.
func IndexEntries(blockSize int, leaf bool) int {
	if leaf {
		return Body(blockSize) / IndexLeafSize
	}
	return Body(blockSize) / IndexInnerSize
}

// Less orders keys.
func (e IndexEntry) Less(f IndexEntry) bool {
	return e.Hash < f.Hash || e.Hash == f.Hash && e.Pos < f.Pos
}

// GetIndex reads entry i of a node's body.
func GetIndex(body []byte, i int, leaf bool) IndexEntry {
	if leaf {
		q := body[i*IndexLeafSize : (i+1)*IndexLeafSize]
		return IndexEntry{Hash: le.Uint64(q), Pos: le.Uint64(q[8:])}
	}
	q := body[i*IndexInnerSize : (i+1)*IndexInnerSize]
	return IndexEntry{le.Uint64(q), le.Uint64(q[8:]), le.Uint64(q[16:])}
}

// PutIndex writes entry i of a node's body.
func PutIndex(body []byte, i int, leaf bool, e IndexEntry) {
	size := IndexInnerSize
	if leaf {
		size = IndexLeafSize
	}
	q := body[i*size : (i+1)*size]
	le.PutUint64(q, e.Hash)
	le.PutUint64(q[8:], e.Pos)
	if !leaf {
		le.PutUint64(q[16:], e.Child)
	}
}

// CheckIndexNode answers whether the checksummed block p is a possible index node of the
// directory at this height: header, count, order.
func CheckIndexNode(p []byte, block, ino uint64, gen uint32, height int) error {
	if err := CheckHeader(p, block, KindDirIndex, ino, 0); err != nil {
		return err
	}
	const what = "directory index"
	h := DecodeHeader(p)
	leaf := height == 0
	switch {
	case h.Aux != uint64(height):
		return Corrupt(what, block, 32, fmt.Sprintf("height %d", h.Aux), height)
	case h.Aux2 != uint64(gen):
		return Corrupt(what, block, 40, fmt.Sprintf("generation %d", h.Aux2), gen)
	case int64(h.Count) > int64(IndexEntries(len(p), leaf)):
		return Corrupt(what, block, 4, fmt.Sprintf("%d entries", h.Count), IndexEntries(len(p), leaf))
	}
	if i := unsorted(BlockBody(p), int(h.Count), leaf); i > 0 {
		return Corrupt(what, block, HeaderSize, fmt.Sprintf("entry %d out of order", i), nil)
	}
	return nil
}

// unsorted is the first of n entries that is not above the one before it, 0 if there is none. It
// is run over each node on the way to each name.
func unsorted(b []byte, n int, leaf bool) int {
	size := IndexInnerSize
	if leaf {
		size = IndexLeafSize
	}
	hash, pos := uint64(0), uint64(0)
	for i := range n {
		q := b[i*size : i*size+16]
		h := le.Uint64(q)
		if h <= hash && i > 0 && (h < hash || le.Uint64(q[8:]) <= pos) {
			return i
		}
		hash, pos = h, le.Uint64(q[8:])
	}
	return 0
}
