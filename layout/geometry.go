package layout

// Geometry says what lies where. It is derived from a superblock alone.
//
//	block 0                                                     Blocks
//	| boot, superblocks | totals | log heads | run A | run B | group 0 | group 1 ... | tail |
//	                    ^FrontBlocks                         ^FirstGroup
//	group: | bitmap | checksum table | inode table | blocks ... |
//
// The last slot of the image (tail, SlotSize bytes) holds the backup superblock. The front
// and the tail are outside all groups and never allocated. A last group too small to hold
// its own tables and minGroupBlocks blocks more is left unused.
type Geometry struct {
	BlockSize      int
	SectorSize     int
	Blocks         uint64 // of the volume
	InodesPerGroup uint32
	RunBlocks      uint64 // blocks of one log run, 0 without a journal

	GroupBlocks uint64 // blocks that one bitmap block covers
	FirstGroup  uint64 // first block of group 0
	Groups      uint64
	end         uint64 // first block behind the last group
}

// InodeSize is the size of an inode in bytes.
const InodeSize = 256

const minGroupBlocks = 4

// MaxBlocks bounds a volume: block numbers have 48 bits.
const MaxBlocks = 1 << 48

// Body is the part of a metadata block between its header and its tail, in bytes.
func Body(blockSize int) int { return blockSize - HeaderSize - TailSize }

// NewGeometry derives the geometry from s, checking that it is possible.
func NewGeometry(s *Superblock) (Geometry, error) {
	const what = "superblock"
	var g Geometry
	switch s.BlockSize {
	case 1024, 2048, 4096:
	default:
		return g, Corrupt(what, 0, 12, s.BlockSize, "block size 1024, 2048 or 4096")
	}
	if s.SectorSize != 512 && s.SectorSize != 4096 || s.SectorSize > s.BlockSize {
		return g, Corrupt(what, 0, 16, s.SectorSize, "sector size 512 or 4096, at most the block size")
	}
	if s.Blocks > MaxBlocks || s.RunBlocks > MaxBlocks {
		return g, Corrupt(what, 0, 152, s.Blocks, "at most 2^48 blocks")
	}
	g.BlockSize = int(s.BlockSize)
	g.SectorSize = int(s.SectorSize)
	g.Blocks = s.Blocks
	g.InodesPerGroup = s.InodesPerGroup
	g.RunBlocks = s.RunBlocks
	g.GroupBlocks = uint64(Body(g.BlockSize)) * 8
	if g.InodesPerGroup == 0 || g.InodesPerGroup%uint32(g.BlockSize/InodeSize) != 0 ||
		uint64(g.InodeBlocks()) > g.GroupBlocks/2 {
		return g, Corrupt(what, 0, 160, s.InodesPerGroup, "a possible number of inodes per group")
	}
	g.FirstGroup = g.TotalsBlock() + 1
	if g.RunBlocks > 0 {
		g.FirstGroup += 2 + 2*g.RunBlocks
	}
	tail := uint64(SlotSize / g.BlockSize)
	if g.Blocks < g.FirstGroup+tail+g.smallest() {
		return g, Corrupt(what, 0, 152, s.Blocks, "room for one group")
	}
	n := g.Blocks - tail - g.FirstGroup
	g.Groups = n / g.GroupBlocks
	if rest := n % g.GroupBlocks; rest >= g.smallest() {
		g.Groups++
		g.end = g.FirstGroup + n
	} else {
		g.end = g.FirstGroup + n - rest
	}
	if g.Groups == 0 {
		return g, Corrupt(what, 0, 152, s.Blocks, "room for one group")
	}
	return g, nil
}

// tables is how many blocks the bitmap, checksum table and inode table of a group of n blocks take.
func (g *Geometry) tables(n uint64) uint64 { return 1 + g.sumBlocks(n) + uint64(g.InodeBlocks()) }

// smallest is the least number of blocks that makes a group.
func (g *Geometry) smallest() uint64 {
	n := 2 + uint64(g.InodeBlocks()) + minGroupBlocks
	return n - 1 + g.sumBlocks(n)
}

func (g *Geometry) sumBlocks(n uint64) uint64 {
	per := uint64(g.SumsPerBlock())
	return (n + per - 1) / per
}

// SumsPerBlock is the number of checksums in a block of the checksum table.
func (g *Geometry) SumsPerBlock() int { return Body(g.BlockSize) / 4 }

// InodesPerBlock is the number of inodes in a block of the inode table.
func (g *Geometry) InodesPerBlock() int { return g.BlockSize / InodeSize }

// InodeBlocks is the number of inode-table blocks of a group.
func (g *Geometry) InodeBlocks() int { return int(g.InodesPerGroup) / g.InodesPerBlock() }

// Inodes is the number of inodes of the volume; they are numbered from 1.
func (g *Geometry) Inodes() uint64 { return g.Groups * uint64(g.InodesPerGroup) }

// SuperOffset is the byte offset of live superblock copy 0 or 1.
func SuperOffset(copy int) int64 { return int64(SuperOffset0 + copy*SlotSize) }

// BackupOffset is the byte offset of the backup superblock.
func (g *Geometry) BackupOffset() int64 { return int64(g.Blocks)*int64(g.BlockSize) - SlotSize }

// TotalsBlock holds the volume totals.
func (g *Geometry) TotalsBlock() uint64 { return uint64(FrontBytes / g.BlockSize) }

// LogHead is the block of log header copy 0 or 1.
func (g *Geometry) LogHead(copy int) uint64 { return g.TotalsBlock() + 1 + uint64(copy) }

// LogRun is the first block of run 0 (A) or 1 (B).
func (g *Geometry) LogRun(run int) uint64 { return g.TotalsBlock() + 3 + uint64(run)*g.RunBlocks }

// GroupStart is the first block of a group, its bitmap.
func (g *Geometry) GroupStart(group uint64) uint64 { return g.FirstGroup + group*g.GroupBlocks }

// GroupLen is the number of blocks of a group; the last one may be shorter.
func (g *Geometry) GroupLen(group uint64) uint64 {
	return min(g.GroupBlocks, g.end-g.GroupStart(group))
}

// GroupTables is the number of blocks at the start of a group that hold its own tables.
func (g *Geometry) GroupTables(group uint64) uint64 { return g.tables(g.GroupLen(group)) }

// GroupOf is the group of a block; ok is false in the front and behind the last group.
func (g *Geometry) GroupOf(block uint64) (group uint64, ok bool) {
	if block < g.FirstGroup || block >= g.end {
		return 0, false
	}
	return (block - g.FirstGroup) / g.GroupBlocks, true
}

// Allocatable reports whether a file or directory may own the block: it lies in a group, behind its tables.
func (g *Geometry) Allocatable(block uint64) bool {
	group, ok := g.GroupOf(block)
	return ok && block-g.GroupStart(group) >= g.GroupTables(group)
}

// BitmapBlock is the bitmap of a group.
func (g *Geometry) BitmapBlock(group uint64) uint64 { return g.GroupStart(group) }

// SumBlocks is the number of checksum-table blocks of a group.
func (g *Geometry) SumBlocks(group uint64) uint64 { return g.sumBlocks(g.GroupLen(group)) }

// SumBlock is checksum-table block i of a group.
func (g *Geometry) SumBlock(group uint64, i uint64) uint64 { return g.GroupStart(group) + 1 + i }

// SumPlace is where the checksum of a block in a group is: a checksum-table block and an index in it.
func (g *Geometry) SumPlace(block uint64) (table uint64, index int) {
	group := (block - g.FirstGroup) / g.GroupBlocks
	rel := block - g.GroupStart(group)
	per := uint64(g.SumsPerBlock())
	return g.SumBlock(group, rel/per), int(rel % per)
}

// InodeTable is the first inode-table block of a group.
func (g *Geometry) InodeTable(group uint64) uint64 {
	return g.GroupStart(group) + 1 + g.SumBlocks(group)
}

// InodeGroup is the group of an inode and its index in the group's table; ino is in 1..Inodes().
func (g *Geometry) InodeGroup(ino uint64) (group uint64, index uint32) {
	n := uint64(g.InodesPerGroup)
	return (ino - 1) / n, uint32((ino - 1) % n)
}

// InodeNumber is the inverse of InodeGroup.
func (g *Geometry) InodeNumber(group uint64, index uint32) uint64 {
	return group*uint64(g.InodesPerGroup) + uint64(index) + 1
}

// InodePlace is the block and byte offset in it of an inode in 1..Inodes().
func (g *Geometry) InodePlace(ino uint64) (block uint64, off int) {
	group, index := g.InodeGroup(ino)
	per := uint32(g.InodesPerBlock())
	return g.InodeTable(group) + uint64(index/per), int(index%per) * InodeSize
}

// DefaultInodesPerGroup gives an inode per 16 KiB, rounded up to whole blocks.
func DefaultInodesPerGroup(blockSize int) uint32 {
	n := Body(blockSize) * 8 * blockSize / 16384
	per := blockSize / InodeSize
	return uint32((n + per - 1) / per * per)
}
