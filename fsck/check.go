package fsck

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"holdfast/disk"
	"holdfast/layout"
)

// Options of a check; the zero value checks everything.
type Options struct {
	NoData bool // data blocks are not read: I2 is checked for metadata only
}

// inodeInfo is what pass 1 keeps of an inode slot.
type inodeInfo struct {
	mode    uint16
	state   uint8
	marks   uint8 // of the walks: markWalk to markListed
	flags   uint32
	links   uint32
	seen    uint32 // names found
	subdirs uint32
	parent  uint64
	above   uint64 // the directory that names it (directories)
	next    uint64 // orphan list
}

func (x *inodeInfo) dir() bool { return x.mode&layout.ModeType == layout.ModeDir }

// group is what is kept of an initialised group. What is not there costs nothing: a group
// that cannot be read has no inodes, one in which nothing is owned has no owners.
type group struct {
	read   bool // its bitmap is good
	stats  layout.GroupStats
	bitmap []byte      // nil: as in a group in which no block has been allocated yet
	inodes []inodeInfo // the initialised slots
	owner  [][]uint64  // by block, in runs of ownerRun; a run without an owner is nil
}

// ownerRun is how many blocks of a group share an allocation: in a volume that is all but empty
// each directory is in a group of its own, and owns little there.
const ownerRun = 1 << 10

// ownerOf is the inode that owns block i of the group, 0 if none does.
func (g *group) ownerOf(i uint64) uint64 {
	if g.owner == nil || g.owner[i/ownerRun] == nil {
		return 0
	}
	return g.owner[i/ownerRun][i%ownerRun]
}

const (
	slotUnknown   uint8 = iota // cannot be read
	slotFree                   // initialised and free
	slotUsed                   // allocated
	slotReachable              // allocated, and reached from the root
)

// checker is one run.
type checker struct {
	dev    disk.Device
	opt    Options
	r      *Report
	super  *layout.Superblock
	g      layout.Geometry
	seeds  layout.Seeds
	totals *layout.Totals

	groups  []group // the initialised ones
	buf     []byte
	room                        // memory for the rest
	blur    bool                // something could not be read: what nothing reaches may belong to it
	visited map[uint64]struct{} // for a walk without verdict: blocks claimed, in place of the owners
}

// Check reads the volume on dev. An error means that there is no volume to judge, or that the
// device failed otherwise than by bad sectors; damage is in the report.
func Check(dev disk.Device, opt Options) (*Report, error) {
	c := checkers.Get().(*checker)
	defer c.done()
	c.dev, c.opt, c.r = dev, opt, &Report{Findings: []Finding{}}
	if err := c.superblocks(); err != nil {
		return nil, err
	}
	c.buf = c.bytes(c.g.BlockSize)
	if c.readTotals(); c.totals == nil {
		return c.r, nil
	}
	c.readGroups()
	c.readInodes()
	for ino, x := range c.inodes() {
		if x.state == slotUsed {
			c.content(ino)
		}
	}
	c.tree()
	c.orphans()
	c.counts()
	c.space()
	c.paths()
	return c.r, nil
}

// inodes gives the initialised slots in the order of their numbers.
func (c *checker) inodes() iter.Seq2[uint64, *inodeInfo] {
	return func(yield func(uint64, *inodeInfo) bool) {
		for i := range c.groups {
			list := c.groups[i].inodes
			for k := range list {
				if !yield(c.g.InodeNumber(uint64(i), uint32(k)), &list[k]) {
					return
				}
			}
		}
	}
}

// slot is an initialised slot, nil if there is none with this number.
func (c *checker) slot(ino uint64) *inodeInfo {
	if ino == 0 || ino > c.g.Inodes() {
		return nil
	}
	group, i := c.g.InodeGroup(ino)
	if group >= uint64(len(c.groups)) || i >= uint32(len(c.groups[group].inodes)) {
		return nil
	}
	return &c.groups[group].inodes[i]
}

func (c *checker) find(code Code, structure string, block, ino uint64, format string, args ...any) {
	c.r.Add(Finding{Code: code, Structure: structure, Block: block, Inode: ino, Message: fmt.Sprintf(format, args...)})
}

// broken reports a structure that cannot be read or contradicts itself; what it would have
// reached is unknown from here on.
func (c *checker) broken(structure string, block, ino uint64, err error) {
	c.blur = true
	var ce *layout.CorruptError
	if errors.As(err, &ce) {
		msg := ce.Found
		if ce.Want != "" {
			msg += ", want " + ce.Want
		}
		c.find(BadStructure, ce.What, ce.Block, ino, "%s", msg)
		return
	}
	c.find(BadStructure, structure, block, ino, "%v", err)
}

// superblocks reads all copies: one good one is enough to go on.
func (c *checker) superblocks() error {
	var first error
	var state [2]error
	for i := range 2 {
		p := c.raw[:layout.SuperblockSize]
		if err := c.superblock(p, layout.SuperOffset(i)); err != nil {
			if errors.Is(err, disk.ErrRange) {
				return layout.ErrNotHoldfast
			}
			state[i] = err
			continue
		}
		s, err := layout.DecodeSuperblock(p)
		if err != nil {
			state[i] = err
			if first == nil || errors.Is(first, layout.ErrNotHoldfast) {
				first = err
			}
			continue
		}
		if c.super == nil || s.Sequence > c.super.Sequence {
			c.super = s
		}
	}
	if c.super == nil {
		if first == nil {
			first = state[0]
		}
		return first
	}
	g, err := layout.NewGeometry(c.super)
	if err != nil {
		return err
	}
	c.g, c.seeds = g, layout.NewSeeds(c.super.UUID)
	c.r.Ordered = g.RunBlocks == 0
	if c.super.Copies == 2 && disk.Replicas(c.dev) == 0 {
		return errors.New("a volume of two copies has to be assembled first")
	}
	if c.dev.Size() < int64(g.Blocks)*int64(g.BlockSize) {
		return fmt.Errorf("the image is cut off: it has %d bytes, its superblock says %d", c.dev.Size(), int64(g.Blocks)*int64(g.BlockSize))
	}
	for i, err := range state {
		if err != nil {
			c.find(BadStructure, fmt.Sprintf("superblock copy %d", i), uint64(layout.SuperOffset(i))/uint64(g.BlockSize), 0, "%v", err)
		}
	}
	p := c.raw[:layout.SuperblockSize]
	no := uint64(g.BackupOffset()) / uint64(g.BlockSize)
	if err := c.superblock(p, g.BackupOffset()); err != nil {
		c.find(BadStructure, "backup superblock", no, 0, "%v", err)
	} else if b, err := layout.DecodeSuperblock(p); err != nil {
		c.find(BadStructure, "backup superblock", no, 0, "%v", err)
	} else if b.UUID != c.super.UUID || b.Blocks != c.super.Blocks || b.BlockSize != c.super.BlockSize || b.RunBlocks != c.super.RunBlocks || b.InodesPerGroup != c.super.InodesPerGroup {
		c.find(BadStructure, "backup superblock", no, 0, "it describes another volume")
	}
	if g.RunBlocks > 0 {
		c.logHeads()
	}
	c.r.Inodes, c.r.Blocks = g.Inodes(), g.Blocks
	return nil
}

// superblock reads a slot: of replicas the newest that is good, else whatever is there.
func (c *checker) superblock(p []byte, off int64) error {
	if off+int64(len(p)) > c.dev.Size() {
		return disk.ErrRange
	}
	_, err := c.dev.ReadChecked(p, disk.Check{Want: layout.Residue, Version: layout.SuperblockVersion}, off)
	if errors.Is(err, disk.ErrChecksum) {
		return disk.ReadFull(c.dev, p, off)
	}
	return err
}

// logHeads checks that a header of the log is good; the other may have been interrupted.
func (c *checker) logHeads() {
	var last error
	for i := range 2 {
		p := c.raw[:layout.LogHeadSize]
		_, err := c.dev.ReadChecked(p, disk.Check{Seed: c.seeds.Head(i), Want: layout.Residue, Version: layout.LogHeadVersion}, int64(c.g.LogHead(i))*int64(c.g.BlockSize))
		if err == nil {
			if _, err = layout.DecodeLogHead(p, i, c.g.LogHead(i), c.seeds); err == nil {
				return
			}
		}
		last = err
	}
	c.find(BadStructure, "log header", c.g.LogHead(0), 0, "neither copy is good: %v", last)
}

// checked is a checked read of one place.
func (c *checker) checked(p []byte, check disk.Check, off int64) error {
	c.place[0] = off
	_, err := c.dev.ReadChecked(p, check, c.place[:]...)
	return err
}

func (c *checker) inodeCheck(ino uint64) disk.Check {
	return disk.Check{Seed: c.seeds.Inode(ino), Want: layout.Residue, Version: layout.InodeSeq}
}

// errReplicas says that a block is not to be read as a whole.
var errReplicas = errors.New("kept on two replicas")

// block reads a self-checked block into p.
func (c *checker) block(p []byte, no uint64) error {
	err := c.checked(p, disk.Check{Seed: c.seeds.Block(no), Want: layout.Residue, Version: layout.BlockVersion}, int64(no)*int64(c.g.BlockSize))
	if errors.Is(err, disk.ErrChecksum) {
		return errors.New("checksum does not match")
	}
	return err
}

func (c *checker) readTotals() {
	no := c.g.TotalsBlock()
	if err := c.block(c.buf, no); err != nil {
		c.broken("volume totals", no, 0, err)
		return
	}
	t, err := layout.DecodeTotals(c.buf, &c.g)
	if err != nil {
		c.broken("volume totals", no, 0, err)
		return
	}
	c.totals = t
}

func (c *checker) readGroups() {
	c.groups = c.newGroups(int(c.totals.Groups))
	var fresh []byte
	if len(c.groups) > maxRoom {
		fresh = make([]byte, c.g.BlockSize)
	}
	for i := range c.totals.Groups {
		no := c.g.BitmapBlock(i)
		err := c.block(c.buf, no)
		if err == nil {
			err = layout.CheckBitmap(c.buf, &c.g, i)
		}
		if err != nil {
			c.broken(fmt.Sprintf("bitmap of group %d", i), no, 0, err)
			continue
		}
		c.groups[i].read, c.groups[i].stats = true, layout.Stats(c.buf)
		// Where groups are many, those without blocks of their own are not kept: a volume of
		// many terabytes may have inodes in all of them.
		if fresh != nil {
			layout.InitBitmap(fresh, &c.g, i)
			if bytes.Equal(layout.BlockBody(fresh), layout.BlockBody(c.buf)) {
				continue
			}
		}
		c.groups[i].bitmap = c.bytes(c.g.BlockSize)
		copy(c.groups[i].bitmap, c.buf)
	}
	for i := range c.totals.Groups {
		for k := range c.g.SumBlocks(i) {
			no := c.g.SumBlock(i, k)
			err := c.block(c.buf, no)
			if err == nil {
				err = layout.CheckHeader(c.buf, no, layout.KindSums, i, k)
			}
			if err != nil {
				c.broken(fmt.Sprintf("checksum table of group %d", i), no, 0, err)
			}
		}
	}
}

// readInodes is pass 1: every initialised slot.
func (c *checker) readInodes() {
	per := c.g.InodesPerBlock()
	for group := range c.totals.Groups {
		base := group * uint64(c.g.InodesPerGroup)
		init := c.groups[group].stats.InodesInit
		known := c.groups[group].read
		if !known { // how many there are, the bitmap says: all that are good are
			init = c.g.InodesPerGroup
		}
		c.groups[group].inodes = c.slots(int(init))
		var free, dirs uint32
		for i := uint32(0); i < init; i += uint32(per) {
			no := c.g.InodeTable(group) + uint64(int(i)/per)
			// Of replicas each inode is wanted by itself: the whole block may be good on neither.
			err := errReplicas
			if c.super.Copies == 1 {
				err = disk.ReadFull(c.dev, c.buf, int64(no)*int64(c.g.BlockSize))
			}
			for k := range per {
				ino := base + uint64(i) + uint64(k) + 1
				p := c.buf[k*layout.InodeSize : (k+1)*layout.InodeSize]
				if err != nil { // one bad sector does not take its neighbours along
					err2 := c.checked(p, c.inodeCheck(ino), int64(no)*int64(c.g.BlockSize)+int64(k*layout.InodeSize))
					if err2 != nil {
						if known {
							c.broken(fmt.Sprintf("inode %d", ino), no, ino, err2)
						}
						continue
					}
				}
				var in layout.Inode
				if err := layout.DecodeInode(p, &in, ino, no, k*layout.InodeSize, c.seeds); err != nil {
					if known {
						c.broken(fmt.Sprintf("inode %d", ino), no, ino, err)
					}
					continue
				}
				x := &c.groups[group].inodes[ino-1-base]
				if in.Mode == 0 {
					x.state = slotFree
					free++
					continue
				}
				*x = inodeInfo{mode: in.Mode, flags: in.Flags, links: in.Links, parent: in.Parent, next: in.NextOrphan, state: slotUsed}
				if in.Generation == 0 {
					c.find(BadStructure, fmt.Sprintf("inode %d", ino), no, ino, "allocated, with generation 0")
				}
				switch in.Type() {
				case layout.ModeFile:
					c.r.Files++
				case layout.ModeDir:
					c.r.Dirs++
					dirs++
				default:
					c.r.Others++
				}
			}
		}
		if c.blur {
			continue
		}
		s := c.groups[group].stats
		if s.InodesFree != free {
			c.find(WrongCount, fmt.Sprintf("bitmap of group %d", group), c.g.BitmapBlock(group), 0, "%d free inodes counted, %d found", s.InodesFree, free)
		}
		if s.Directories != dirs {
			c.find(WrongCount, fmt.Sprintf("bitmap of group %d", group), c.g.BitmapBlock(group), 0, "%d directories counted, %d found", s.Directories, dirs)
		}
	}
}

// inode reads an inode again for pass 2; it is valid until the next call.
func (c *checker) inode(ino uint64) (*layout.Inode, error) {
	no, off := c.g.InodePlace(ino)
	p := c.raw[:layout.InodeSize]
	if err := c.checked(p, c.inodeCheck(ino), int64(no)*int64(c.g.BlockSize)+int64(off)); err != nil {
		return nil, err
	}
	c.in = layout.Inode{}
	return &c.in, layout.DecodeInode(p, &c.in, ino, no, off, c.seeds)
}

// claim makes ino the owner of a block; false if it is not a block to own or has an owner.
func (c *checker) claim(block, ino uint64, what structure) bool {
	no, ok := c.g.GroupOf(block)
	if !ok || !c.g.Allocatable(block) || no >= c.totals.Groups {
		c.find(SharedBlock, what.of(ino), block, ino, "inode %d claims a block that no file may own", ino)
		return false
	}
	if c.visited != nil {
		_, twice := c.visited[block]
		c.visited[block] = struct{}{}
		return !twice
	}
	g := &c.groups[no]
	i := block - c.g.GroupStart(no)
	if other := g.ownerOf(i); other != 0 {
		c.find(SharedBlock, what.of(ino), block, ino, "inode %d claims a block that inode %d owns", ino, other)
		return false
	}
	if g.owner == nil {
		g.owner = make([][]uint64, (c.g.GroupBlocks+ownerRun-1)/ownerRun)
	}
	if g.owner[i/ownerRun] == nil {
		g.owner[i/ownerRun] = c.owners(ownerRun)
	}
	g.owner[i/ownerRun][i%ownerRun] = ino
	c.r.Used++
	if g.read && (g.bitmap == nil || !layout.Bit(layout.BlockBody(g.bitmap), i)) {
		c.find(MarkedFree, fmt.Sprintf("bitmap of group %d", no), c.g.BitmapBlock(no), ino, "block %d of inode %d is marked free", block, ino)
	}
	return true
}

// counts compares the volume's totals with what was found.
func (c *checker) counts() {
	var freeBlocks, freeInodes uint64
	for i := range c.g.Groups {
		if i < c.totals.Groups {
			if !c.groups[i].read {
				return
			}
			s := c.groups[i].stats
			freeBlocks += uint64(s.FreeBlocks)
			freeInodes += uint64(s.InodesFree) + uint64(c.g.InodesPerGroup-s.InodesInit)
			continue
		}
		rest := c.g.Groups - i
		last := c.g.Groups - 1
		freeBlocks += (rest-1)*(c.g.GroupBlocks-c.g.GroupTables(i)) + c.g.GroupLen(last) - c.g.GroupTables(last)
		freeInodes += rest * uint64(c.g.InodesPerGroup)
		break
	}
	t, no := c.totals, c.g.TotalsBlock()
	if t.FreeBlocks != freeBlocks {
		c.find(WrongCount, "volume totals", no, 0, "%d free blocks counted, %d in the bitmaps", t.FreeBlocks, freeBlocks)
	}
	if t.FreeInodes != freeInodes {
		c.find(WrongCount, "volume totals", no, 0, "%d free inodes counted, %d in the groups", t.FreeInodes, freeInodes)
	}
	if t.Dirs != c.r.Dirs && !c.blur {
		c.find(WrongCount, "volume totals", no, 0, "%d directories counted, %d found", t.Dirs, c.r.Dirs)
	}
}

// space compares the bitmaps with what is reached.
func (c *checker) space() {
	for i := range c.groups {
		if !c.groups[i].read {
			continue
		}
		group := uint64(i)
		what, no := fmt.Sprintf("bitmap of group %d", group), c.g.BitmapBlock(group)
		start, n, tables := c.g.GroupStart(group), c.g.GroupLen(group), c.g.GroupTables(group)
		s, b := c.groups[i].stats, c.groups[i].bitmap
		if b == nil {
			if uint64(s.FreeBlocks) != n-tables {
				c.find(WrongCount, what, no, 0, "%d free blocks counted, %d bits clear", s.FreeBlocks, n-tables)
			}
			continue
		}
		body := layout.BlockBody(b)
		var free uint32
		for k := range n {
			used := layout.Bit(body, k)
			if !used {
				free++
			}
			switch {
			case k < tables:
				if !used {
					c.find(MarkedFree, what, no, 0, "block %d of the group's own tables is marked free", start+k)
				}
			case used && c.groups[i].ownerOf(k) == 0 && !c.blur:
				c.find(Leak, what, no, 0, "block %d is marked used and nothing reaches it", start+k)
			}
		}
		for k := n; k < c.g.GroupBlocks; k++ {
			if k%8 == 0 && body[k/8] == 0xff {
				k += 7
			} else if !layout.Bit(body, k) {
				c.find(BadStructure, what, no, 0, "bit %d behind the end of the group is clear", k)
				break
			}
		}
		if s.FreeBlocks != free {
			c.find(WrongCount, what, no, 0, "%d free blocks counted, %d bits clear", s.FreeBlocks, free)
		}
	}
	for i := range c.totals.Groups {
		c.r.Used += c.g.GroupTables(i)
	}
}
