package layout

import "fmt"

// A directory's logical blocks 0 to 2^32-1 are leaves; entries never move once placed, so
// (logical block, offset) is a stable position. A leaf (header kind "DLEF", count = live
// entries, owner = inode, index = logical block, aux = largest hole in bytes, aux2 =
// generation of the inode) has a body tiled by records:
//
//	offset size field
//	     0    8 inode, 0: a hole
//	     8    2 length of the record in bytes, a multiple of 4, at least 16
//	    10    1 length of the name, 1 to 255 (0 in a hole)
//	    11    1 type: Mode>>12 of the inode (0 in a hole)
//	    12      name, padded with zero bytes to the record's length (a hole is zero)
//
// Two holes are never neighbours. "." and ".." have no record: an inode names its parent.
type Dirent struct {
	Ino  uint64
	Type uint8 // mode type bits >> 12
	Name []byte
}

const (
	direntHead = 12
	direntMin  = 16
	MaxName    = 255
	// MaxRecord is the record of the longest name.
	MaxRecord = (direntHead + MaxName + 3) &^ 3
	// MaxDirBlocks bounds the leaves of a directory.
	MaxDirBlocks = 1 << 32
	// SpaceBase is the logical block of the first space-map block of a directory.
	SpaceBase = 1 << 33
)

// RecordLen is the length of the record that a name of n bytes needs.
func RecordLen(n int) int { return max(direntMin, (direntHead+n+3)&^3) }

// Record is one record of a leaf as it lies there.
type Record struct {
	Off int // byte offset in the body
	Len int
	Dirent
}

// Hole reports whether the record is free.
func (r *Record) Hole() bool { return r.Ino == 0 }

// InitLeaf makes p an empty leaf.
func InitLeaf(p []byte, ino uint64, gen uint32, logical uint64) {
	InitBlock(p, KindDirLeaf, ino, logical)
	b := BlockBody(p)
	PutHole(b, 0, len(b))
	h := DecodeHeader(p)
	h.Aux, h.Aux2 = uint64(len(b)), uint64(gen)
	EncodeHeader(p, h)
}

// PutRecord writes a live record of length n at off of a leaf's body.
func PutRecord(body []byte, off, n int, d Dirent) {
	c := cursor{b: body[off : off+n]}
	c.put64(d.Ino)
	c.put16(uint16(n))
	c.put8(uint8(len(d.Name)))
	c.put8(d.Type)
	c.put(d.Name)
	c.zero(n - direntHead - len(d.Name))
}

// PutHole writes a hole of length n at off of a leaf's body.
func PutHole(body []byte, off, n int) {
	clear(body[off : off+n])
	le.PutUint16(body[off+8:], uint16(n))
}

// GetRecord reads the record at off of a leaf's body. It checks all that can be checked of
// one record; the name aliases body. The error says what is wrong, without a place.
func GetRecord(body []byte, off int) (Record, error) {
	var r Record
	if off < 0 || off%4 != 0 || off+direntMin > len(body) {
		return r, fmt.Errorf("no record at %d", off)
	}
	c := cursor{b: body, n: off}
	r.Off = off
	r.Ino = c.u64()
	r.Len = int(c.u16())
	n := int(c.u8())
	r.Type = c.u8()
	switch {
	case r.Len < direntMin || r.Len%4 != 0 || off+r.Len > len(body):
		return r, fmt.Errorf("record length %d", r.Len)
	case r.Ino == 0 && (n != 0 || r.Type != 0):
		return r, fmt.Errorf("a hole with a name")
	case r.Ino != 0 && (n == 0 || direntHead+n > r.Len):
		return r, fmt.Errorf("name length %d in a record of %d", n, r.Len)
	}
	r.Name = c.take(n)
	return r, nil
}

// Position packs a place in a directory: leaf and offset in its body. 0 is a valid place.
func Position(logical uint64, off int) uint64 { return logical<<16 | uint64(off) }

// SplitPosition is the inverse of Position.
func SplitPosition(p uint64) (logical uint64, off int) { return p >> 16, int(p & 0xffff) }

// The space map of an indexed directory: byte i of map block k (header kind "SPAC", owner =
// inode, index = k, aux2 = generation) describes leaf k*SpacePerBlock+i: its largest hole in
// units of 16 bytes, rounded down and at most SpaceMax, or SpaceNone where there is no leaf.
const (
	SpaceUnit = 16
	SpaceMax  = 254
	SpaceNone = 255
)

// SpacePerBlock is how many leaves a space-map block describes.
func SpacePerBlock(blockSize int) int { return Body(blockSize) }

// SpaceByte is the entry for a leaf with this largest hole in bytes.
func SpaceByte(hole int) uint8 { return uint8(min(hole/SpaceUnit, SpaceMax)) }
