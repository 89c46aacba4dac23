package layout

import "fmt"

// Every metadata block but those of the inode table begins with a header and ends with a tail:
//
//	offset size field
//	     0    4 magic: what the block is for
//	     4    4 count: entries, bytes used or free blocks, by kind
//	     8    8 sequence of the transaction that last changed the block
//	    16    8 owner: inode or group number
//	    24    8 index: position among its owner's blocks of this kind
//	    32    8 aux, by kind
//	    40    8 aux2, by kind
//	    48      body
//	  B-16   12 reserved
//	   B-4    4 CRC-32C of bytes 0 to B-5, from Seeds.Block(block number)
const (
	HeaderSize = 48
	TailSize   = 16
)

// Kind is the magic of a metadata block.
type Kind uint32

// The kinds of metadata blocks. KindInodes has no header on disk: each inode is checked by itself.
const (
	KindTotals   Kind = 0x4c544f54 // "TOTL"
	KindBitmap   Kind = 0x50414d42 // "BMAP"
	KindSums     Kind = 0x534d5553 // "SUMS"
	KindExtents  Kind = 0x4e545845 // "EXTN"
	KindDirLeaf  Kind = 0x46454c44 // "DLEF"
	KindDirIndex Kind = 0x58444e49 // "INDX"
	KindDirSpace Kind = 0x43415053 // "SPAC"
	KindXattr    Kind = 0x52544158 // "XATR"
	KindInodes   Kind = 0
)

func (k Kind) String() string {
	switch k {
	case KindTotals:
		return "volume totals"
	case KindBitmap:
		return "bitmap"
	case KindSums:
		return "checksum table"
	case KindExtents:
		return "extent index"
	case KindDirLeaf:
		return "directory block"
	case KindDirIndex:
		return "directory index"
	case KindDirSpace:
		return "directory space map"
	case KindXattr:
		return "attributes"
	case KindInodes:
		return "inode table"
	}
	return fmt.Sprintf("kind %#x", uint32(k))
}

// Header is the decoded head of a metadata block.
type Header struct {
	Kind  Kind
	Count uint32
	Seq   uint64
	Owner uint64
	Index uint64
	Aux   uint64
	Aux2  uint64
}

// EncodeHeader writes h into the start of block p.
func EncodeHeader(p []byte, h Header) {
	c := cursor{b: p[:HeaderSize]}
	c.put32(uint32(h.Kind))
	c.put32(h.Count)
	c.put64(h.Seq)
	c.put64(h.Owner)
	c.put64(h.Index)
	c.put64(h.Aux)
	c.put64(h.Aux2)
}

// DecodeHeader reads the header of block p.
func DecodeHeader(p []byte) Header {
	c := cursor{b: p[:HeaderSize]}
	var h Header
	h.Kind = Kind(c.u32())
	h.Count = c.u32()
	h.Seq = c.u64()
	h.Owner = c.u64()
	h.Index = c.u64()
	h.Aux = c.u64()
	h.Aux2 = c.u64()
	return h
}

// InitBlock makes p an empty block of this kind.
func InitBlock(p []byte, k Kind, owner, index uint64) {
	clear(p)
	EncodeHeader(p, Header{Kind: k, Owner: owner, Index: index})
}

// SealBlock stamps p with the sequence of its transaction and its checksum.
func SealBlock(p []byte, block, seq uint64, s Seeds) {
	le.PutUint64(p[8:], seq)
	Seal(p, s.Block(block))
}

// BlockBody is the part of p between header and tail.
func BlockBody(p []byte) []byte { return p[HeaderSize : len(p)-TailSize : len(p)-TailSize] }

// CheckHeader answers whether an already checksummed block is what the reader expects at
// this place: kind, owner and index, and a tail of zero.
func CheckHeader(p []byte, block uint64, k Kind, owner, index uint64) error {
	h := DecodeHeader(p)
	switch {
	case h.Kind != k:
		return Corrupt(k.String(), block, 0, h.Kind.String(), k.String())
	case h.Owner != owner:
		return Corrupt(k.String(), block, 16, fmt.Sprintf("owner %d", h.Owner), owner)
	case h.Index != index:
		return Corrupt(k.String(), block, 24, fmt.Sprintf("index %d", h.Index), index)
	case !allZero(p[len(p)-TailSize : len(p)-4]):
		return Corrupt(k.String(), block, len(p)-TailSize, "reserved bytes are not zero", nil)
	}
	return nil
}
