package layout

import "bytes"

// Fixed places. The first 4 KiB belong to a boot loader or a partition table and are
// never written; the superblock slots do not depend on the block size.
const (
	SlotSize       = 4096 // bytes of a superblock slot
	SuperOffset0   = 1 * SlotSize
	SuperOffset1   = 2 * SlotSize
	FrontBytes     = 3 * SlotSize // boot area and both live copies
	SuperblockSize = 512          // bytes of the structure, at the start of its slot
	Version        = 1
)

// Magic is the first eight bytes of a superblock.
var Magic = [8]byte{'H', 'O', 'L', 'D', 'F', 'A', 'S', 'T'}

// Feature words. An unknown compat bit is ignored, an unknown ro-compat bit allows
// reading only, an unknown incompat bit refuses the image.
const (
	CompatKnown       uint64 = 0
	ROCompatKnown     uint64 = 0
	IncompatNoJournal uint64 = 1 << 0 // ordered mode: there is no log
	IncompatCopies    uint64 = 1 << 1 // Copies > 1
	IncompatKnown            = IncompatNoJournal | IncompatCopies
)

// Superblock describes a volume. It has two live copies, written alternately with an
// increasing Sequence (a new version overwrites whichever is not the current good one),
// and a backup for fsck in the last slot of the image. Every field is safe one version
// stale; none says that replay may be skipped.
//
//	offset size field
//	     0    8 magic "HOLDFAST"
//	     8    4 version
//	    12    4 block size, bytes: 1024, 2048 or 4096
//	    16    4 sector size, bytes: 512 or 4096, at most the block size
//	    20    4 copies of every block: 1 or 2
//	    24    8 compat features
//	    32    8 ro-compat features
//	    40    8 incompat features
//	    48   16 UUID
//	    64   64 label, UTF-8, padded with zero bytes
//	   128   16 key of the directory hash (SipHash-2-4)
//	   144    8 sequence of this superblock, from 1
//	   152    8 blocks in the volume (one copy of it)
//	   160    4 inodes per group
//	   164    4 reserved
//	   168    8 root inode
//	   176    8 blocks kept back for freeing and overwriting when full
//	   184    8 blocks of one log run; 0: no journal
//	   192    8 created, seconds since 1970 (signed)
//	   200    4 created, nanoseconds
//	   204    4 replica: 0 or 1, which copy of a mirror this is
//	   208   16 mirror set id, zero if not mirrored over two files
//	   224    8 mirror event counter
//	   232    8 last full check, seconds since 1970
//	   240  268 reserved
//	   508    4 CRC-32C of bytes 0 to 507, from seed 0
type Superblock struct {
	BlockSize      uint32
	SectorSize     uint32
	Copies         uint32
	Compat         uint64
	ROCompat       uint64
	Incompat       uint64
	UUID           [16]byte
	Label          string // at most 64 bytes, no NUL
	HashKey        [16]byte
	Sequence       uint64
	Blocks         uint64
	InodesPerGroup uint32
	Root           uint64
	Reserved       uint64
	RunBlocks      uint64
	Created        Time
	Replica        uint32
	MirrorSet      [16]byte
	MirrorEvents   uint64
	Checked        int64
}

// EncodeSuperblock writes s into p[:SuperblockSize].
func EncodeSuperblock(p []byte, s *Superblock) {
	c := cursor{b: p[:SuperblockSize]}
	c.put(Magic[:])
	c.put32(Version)
	c.put32(s.BlockSize)
	c.put32(s.SectorSize)
	c.put32(s.Copies)
	c.put64(s.Compat)
	c.put64(s.ROCompat)
	c.put64(s.Incompat)
	c.put(s.UUID[:])
	var label [64]byte
	copy(label[:], s.Label)
	c.put(label[:])
	c.put(s.HashKey[:])
	c.put64(s.Sequence)
	c.put64(s.Blocks)
	c.put32(s.InodesPerGroup)
	c.zero(4)
	c.put64(s.Root)
	c.put64(s.Reserved)
	c.put64(s.RunBlocks)
	c.put64(uint64(s.Created.Sec))
	c.put32(s.Created.Nsec)
	c.put32(s.Replica)
	c.put(s.MirrorSet[:])
	c.put64(s.MirrorEvents)
	c.put64(uint64(s.Checked))
	c.zero(268)
	Seal(c.b, 0)
}

// DecodeSuperblock reads a superblock from p, which begins with one. It answers
// ErrNotHoldfast without the magic, ErrVersion or ErrFeature for an intact one that this
// program must not open, and ErrCorrupt for anything that is damaged or impossible.
func DecodeSuperblock(p []byte) (*Superblock, error) {
	const what = "superblock"
	bad := func(off int, found, want any) (*Superblock, error) {
		return nil, Corrupt(what, 0, off, found, want)
	}
	if len(p) < SuperblockSize || !bytes.Equal(p[:8], Magic[:]) {
		return nil, ErrNotHoldfast
	}
	p = p[:SuperblockSize]
	if !Sealed(p, 0) {
		return bad(508, "checksum does not match", nil)
	}
	c := cursor{b: p, n: 8}
	if v := c.u32(); v != Version {
		return nil, &versionError{v}
	}
	s := &Superblock{}
	s.BlockSize = c.u32()
	s.SectorSize = c.u32()
	s.Copies = c.u32()
	s.Compat = c.u64()
	s.ROCompat = c.u64()
	s.Incompat = c.u64()
	c.get(s.UUID[:])
	label := c.take(64)
	end := bytes.IndexByte(label, 0)
	if end < 0 {
		end = len(label)
	}
	if !allZero(label[end:]) {
		return bad(64, "label is not zero-padded", nil)
	}
	s.Label = string(label[:end])
	c.get(s.HashKey[:])
	s.Sequence = c.u64()
	s.Blocks = c.u64()
	s.InodesPerGroup = c.u32()
	if !c.isZero(4) {
		return bad(164, "reserved bytes are not zero", nil)
	}
	s.Root = c.u64()
	s.Reserved = c.u64()
	s.RunBlocks = c.u64()
	s.Created.Sec = int64(c.u64())
	s.Created.Nsec = c.u32()
	s.Replica = c.u32()
	c.get(s.MirrorSet[:])
	s.MirrorEvents = c.u64()
	s.Checked = int64(c.u64())
	if !c.isZero(268) {
		return bad(240, "reserved bytes are not zero", nil)
	}
	if f := s.Incompat &^ IncompatKnown; f != 0 {
		return nil, &featureError{f}
	}
	g, err := NewGeometry(s)
	if err != nil {
		return nil, err
	}
	switch {
	case s.Copies != 1 && s.Copies != 2:
		return bad(20, s.Copies, "1 or 2 copies")
	case (s.Copies == 2) != (s.Incompat&IncompatCopies != 0):
		return bad(40, "copies and feature word disagree", nil)
	case (s.RunBlocks == 0) != (s.Incompat&IncompatNoJournal != 0):
		return bad(40, "log length and feature word disagree", nil)
	case s.Root == 0 || s.Root > g.Inodes():
		return bad(168, s.Root, "a root inode in range")
	case s.Reserved > s.Blocks:
		return bad(176, s.Reserved, "at most the blocks of the volume")
	case s.Created.Nsec >= 1e9:
		return bad(200, s.Created.Nsec, "less than 1e9")
	case s.Replica > 1:
		return bad(204, s.Replica, "0 or 1")
	}
	return s, nil
}
