package layout

// A bitmap block describes a group: bit i of the body (least significant bit of byte i/8
// first) is set when block i of the group is used. Bits behind the group's length are set.
//
//	header: count = free blocks, owner 0, index = group,
//	        aux = initialised inodes | free inodes among them << 32,
//	        aux2 = directories | reserved << 32
//
// Initialised inodes are a high-water mark: inode slots below it hold an inode (allocated
// or free), slots at or above it were never written and are to be taken as free.
type GroupStats struct {
	FreeBlocks  uint32
	InodesInit  uint32 // initialised inode slots
	InodesFree  uint32 // free ones among the initialised
	Directories uint32
}

// Stats reads the group counters of bitmap block p.
func Stats(p []byte) GroupStats {
	h := DecodeHeader(p)
	return GroupStats{h.Count, uint32(h.Aux), uint32(h.Aux >> 32), uint32(h.Aux2)}
}

// SetStats writes the group counters of bitmap block p.
func SetStats(p []byte, s GroupStats) {
	h := DecodeHeader(p)
	h.Count = s.FreeBlocks
	h.Aux = uint64(s.InodesInit) | uint64(s.InodesFree)<<32
	h.Aux2 = uint64(s.Directories)
	EncodeHeader(p, h)
}

// CheckBitmap answers whether the checksummed block p is a possible bitmap of the group.
func CheckBitmap(p []byte, g *Geometry, group uint64) error {
	block := g.BitmapBlock(group)
	if err := CheckHeader(p, block, KindBitmap, 0, group); err != nil {
		return err
	}
	s := Stats(p)
	n := g.GroupLen(group)
	switch {
	case uint64(s.FreeBlocks) > n:
		return Corrupt("bitmap", block, 4, s.FreeBlocks, "at most the blocks of the group")
	case s.InodesInit > g.InodesPerGroup || s.InodesInit%uint32(g.InodesPerBlock()) != 0:
		return Corrupt("bitmap", block, 32, s.InodesInit, "whole blocks of the inode table")
	case s.InodesFree > s.InodesInit:
		return Corrupt("bitmap", block, 36, s.InodesFree, "at most the initialised inodes")
	case s.Directories > s.InodesInit:
		return Corrupt("bitmap", block, 40, s.Directories, "at most the initialised inodes")
	case DecodeHeader(p).Aux2>>32 != 0:
		return Corrupt("bitmap", block, 44, "reserved bytes are not zero", nil)
	}
	return nil
}

// InitBitmap makes p the bitmap of a fresh group: its own tables and what lies behind its
// end are used, everything else is free, no inode is initialised.
func InitBitmap(p []byte, g *Geometry, group uint64) {
	InitBlock(p, KindBitmap, 0, group)
	n, t := g.GroupLen(group), g.GroupTables(group)
	b := BlockBody(p)
	for i := range t {
		SetBit(b, i, true)
	}
	for i := n; i < g.GroupBlocks; i++ {
		SetBit(b, i, true)
	}
	SetStats(p, GroupStats{FreeBlocks: uint32(n - t)})
}

// Bit reads bit i of a bitmap body.
func Bit(body []byte, i uint64) bool { return body[i>>3]>>(i&7)&1 != 0 }

// SetBit writes bit i of a bitmap body.
func SetBit(body []byte, i uint64, v bool) {
	if v {
		body[i>>3] |= 1 << (i & 7)
	} else {
		body[i>>3] &^= 1 << (i & 7)
	}
}
