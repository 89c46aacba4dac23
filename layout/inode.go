package layout

import "fmt"

// File types and permission bits in Mode are those of POSIX (stat.h).
const (
	ModeType   uint16 = 0o170000
	ModeFIFO   uint16 = 0o010000
	ModeChar   uint16 = 0o020000
	ModeDir    uint16 = 0o040000
	ModeBlock  uint16 = 0o060000
	ModeFile   uint16 = 0o100000
	ModeLink   uint16 = 0o120000 // symbolic link
	ModeSocket uint16 = 0o140000
	ModePerm   uint16 = 0o007777
)

// Flags of an inode.
const (
	FlagInlineLink uint32 = 1 << 0 // the target of the symbolic link is in the inline area
	FlagIndexed    uint32 = 1 << 1 // the directory has an index and a space map
	FlagOrphan     uint32 = 1 << 2 // on the orphan list
	FlagImmutable  uint32 = 1 << 3
	FlagAppend     uint32 = 1 << 4
	flagsKnown            = FlagInlineLink | FlagIndexed | FlagOrphan | FlagImmutable | FlagAppend
)

const (
	inodeMark  = 0x4e49 // "IN"
	InlineSize = 104    // bytes of the inline area
	MaxDepth   = 6      // levels of extent index blocks below an inode
	MaxLinks   = 1 << 31
)

// Inode is the decoded form of an inode. Mode 0 means that the slot is free (then only
// Generation and Seq have a meaning).
//
//	offset size field
//	     0    2 mark "IN"
//	     2    2 mode, 0: free
//	     4    4 links
//	     8    4 owner
//	    12    4 group
//	    16    8 size, bytes
//	    24    8 blocks owned: data, extent index, directory, attributes
//	    32    4 generation: how often this slot has been allocated
//	    36    4 flags
//	    40   32 access, modification, change, birth time: seconds
//	    72   16 the same: nanoseconds
//	    88    4 device major
//	    92    4 device minor
//	    96    8 first attribute block, 0: none
//	   104    8 next inode of the orphan list, 0: end
//	   112    8 sequence of the transaction that last changed the inode
//	   120    8 parent (directories)
//	   128    8 root block of the directory index, 0: none
//	   136    1 depth of the extent index, 0: extents are inline
//	   137    1 inline attribute bytes, at the end of the inline area
//	   138    2 extents (depth 0) or children (depth > 0) in the inline area
//	   140    4 names in the directory
//	   144  104 inline area: extents of 16 bytes, or the target of a short symbolic link
//	   248    4 reserved
//	   252    4 CRC-32C of bytes 0 to 251, from Seeds.Inode
type Inode struct {
	Mode       uint16
	Links      uint32
	UID, GID   uint32
	Size       uint64
	Blocks     uint64
	Generation uint32
	Flags      uint32
	Atime      Time
	Mtime      Time
	Ctime      Time
	Btime      Time
	Major      uint32
	Minor      uint32
	Xattr      uint64
	NextOrphan uint64
	Seq        uint64
	Parent     uint64
	IndexRoot  uint64
	Depth      uint8
	XattrLen   uint8
	Extents    uint16
	Names      uint32
	Inline     [InlineSize]byte
}

// Type is the file type bits of the mode.
func (in *Inode) Type() uint16 { return in.Mode & ModeType }

// IsDir reports whether the inode is a directory.
func (in *Inode) IsDir() bool { return in.Type() == ModeDir }

// MaxInlineExtents is how many extents fit beside the inline attributes.
func (in *Inode) MaxInlineExtents() int { return (InlineSize - int(in.XattrLen)) / ExtentSize }

// EncodeInode writes in, as inode ino, into p[:InodeSize].
func EncodeInode(p []byte, in *Inode, ino uint64, s Seeds) {
	c := cursor{b: p[:InodeSize]}
	c.put16(inodeMark)
	c.put16(in.Mode)
	c.put32(in.Links)
	c.put32(in.UID)
	c.put32(in.GID)
	c.put64(in.Size)
	c.put64(in.Blocks)
	c.put32(in.Generation)
	c.put32(in.Flags)
	times := [4]*Time{&in.Atime, &in.Mtime, &in.Ctime, &in.Btime}
	for _, t := range times {
		c.put64(uint64(t.Sec))
	}
	for _, t := range times {
		c.put32(t.Nsec)
	}
	c.put32(in.Major)
	c.put32(in.Minor)
	c.put64(in.Xattr)
	c.put64(in.NextOrphan)
	c.put64(in.Seq)
	c.put64(in.Parent)
	c.put64(in.IndexRoot)
	c.put8(in.Depth)
	c.put8(in.XattrLen)
	c.put16(in.Extents)
	c.put32(in.Names)
	c.put(in.Inline[:])
	c.zero(4)
	Seal(c.b, s.Inode(ino))
}

// DecodeInode reads inode ino from p[:InodeSize] into in. The caller has not checked the
// checksum; block and off say where p lies, for the error.
func DecodeInode(p []byte, in *Inode, ino, block uint64, off int, s Seeds) error {
	if !Sealed(p[:InodeSize], s.Inode(ino)) {
		return Corrupt(fmt.Sprintf("inode %d", ino), block, off+252, "checksum does not match", nil)
	}
	return DecodeCheckedInode(p, in, ino, block, off)
}

// DecodeCheckedInode is DecodeInode for a caller that has checked the checksum.
func DecodeCheckedInode(p []byte, in *Inode, ino, block uint64, off int) error {
	bad := func(at int, found, want any) error {
		return Corrupt(fmt.Sprintf("inode %d", ino), block, off+at, found, want)
	}
	p = p[:InodeSize]
	c := cursor{b: p}
	if m := c.u16(); m != inodeMark {
		return bad(0, fmt.Sprintf("mark %#x", m), fmt.Sprintf("%#x", inodeMark))
	}
	in.Mode = c.u16()
	in.Links = c.u32()
	in.UID = c.u32()
	in.GID = c.u32()
	in.Size = c.u64()
	in.Blocks = c.u64()
	in.Generation = c.u32()
	in.Flags = c.u32()
	times := [4]*Time{&in.Atime, &in.Mtime, &in.Ctime, &in.Btime}
	for _, t := range times {
		t.Sec = int64(c.u64())
	}
	for i, t := range times {
		if t.Nsec = c.u32(); t.Nsec >= 1e9 {
			return bad(72+4*i, t.Nsec, "nanoseconds below 1e9")
		}
	}
	in.Major = c.u32()
	in.Minor = c.u32()
	in.Xattr = c.u64()
	in.NextOrphan = c.u64()
	in.Seq = c.u64()
	in.Parent = c.u64()
	in.IndexRoot = c.u64()
	in.Depth = c.u8()
	in.XattrLen = c.u8()
	in.Extents = c.u16()
	in.Names = c.u32()
	c.get(in.Inline[:])
	if !c.isZero(4) {
		return bad(248, "reserved bytes are not zero", nil)
	}
	switch in.Type() {
	case 0:
		if in.Mode != 0 {
			return bad(2, fmt.Sprintf("mode %#o", in.Mode), "a file type")
		}
	case ModeFIFO, ModeChar, ModeDir, ModeBlock, ModeFile, ModeLink, ModeSocket:
	default:
		return bad(2, fmt.Sprintf("mode %#o", in.Mode), "a file type")
	}
	switch {
	case in.Flags&^flagsKnown != 0:
		return bad(36, fmt.Sprintf("flags %#x", in.Flags), "known flags")
	case in.Size >= MaxLogical*1024:
		return bad(16, in.Size, "a size below 2^58")
	case in.Depth > MaxDepth:
		return bad(136, in.Depth, "an extent depth of at most 6")
	case in.XattrLen > InlineSize:
		return bad(137, in.XattrLen, "at most the inline area")
	case in.Flags&FlagInlineLink != 0 && (in.Type() != ModeLink || in.Size > InlineSize-uint64(in.XattrLen) || in.Extents != 0 || in.Depth != 0):
		return bad(36, "inline target", "a short symbolic link without extents")
	case int(in.Extents) > in.MaxInlineExtents():
		return bad(138, in.Extents, "at most what fits inline")
	}
	return nil
}

// InodeSeq is the sequence of the encoded inode p.
func InodeSeq(p []byte) uint64 { return le.Uint64(p[112:]) }

// StampInode writes the sequence of a transaction into the encoded inode p and seals it again.
func StampInode(p []byte, ino, seq uint64, s Seeds) {
	p = p[:InodeSize]
	le.PutUint64(p[112:], seq)
	Seal(p, s.Inode(ino))
}
