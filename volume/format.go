package volume

import (
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"holdfast/disk"
	"holdfast/journal"
	"holdfast/layout"
)

// FormatOptions say what volume to make; zero fields have defaults.
type FormatOptions struct {
	Label          string
	UUID           [16]byte // zero: random
	HashKey        [16]byte // zero: random
	BlockSize      int      // 1024, 2048 or 4096 (default)
	SectorSize     int      // 512 (default) or 4096
	InodesPerGroup uint32
	RunBlocks      uint64    // blocks of one log run; default: by size
	NoJournal      bool      // the ordered mode: there is no log
	Reserved       uint64    // blocks kept back; default: 0.5%, 8 to 1024
	Copies         int       // of every block: 1 (default) or 2, the halves of the device
	Size           int64     // bytes, of all copies together; of a mirror those of each file; default: the device's
	Now            time.Time // zero: the time
	RootMode       uint16    // permissions of the root directory; default 0755
	UID, GID       uint32
	Twin           disk.Device // the second file of a mirror: there are two copies then, one in each
}

const (
	smallRunBytes = 16 << 20 // the default log run is at most a 32nd of the volume up to here,
	maxRunBytes   = 64 << 20 // and a 256th up to here
	minFreeBlocks = 32       // what a volume has for files, at least, beside what is kept back
)

// superblock is what Format will write, with every default filled in.
func (o *FormatOptions) superblock(size int64) (*layout.Superblock, error) {
	s := &layout.Superblock{BlockSize: uint32(o.BlockSize), SectorSize: uint32(o.SectorSize), Copies: uint32(o.Copies), UUID: o.UUID, Label: o.Label,
		HashKey: o.HashKey, Sequence: 1, Root: uint64(Root), InodesPerGroup: o.InodesPerGroup, Reserved: o.Reserved, RunBlocks: o.RunBlocks}
	switch s.Copies {
	case 0:
		s.Copies = 1
	case 1:
	case 2:
		s.Incompat |= layout.IncompatCopies
	default:
		return nil, fmt.Errorf("%d copies: want 1 or 2: %w", o.Copies, ErrInvalid)
	}
	inOne := int64(s.Copies) // copies in one device
	if o.Twin != nil {
		inOne, s.Copies, s.Incompat, s.MirrorEvents = 1, 2, s.Incompat|layout.IncompatCopies, 1
		for i := range s.MirrorSet { // both are drawn, so nobody else has it
			s.MirrorSet[i] = o.UUID[i] ^ o.HashKey[i]
		}
		if s.MirrorSet == [16]byte{} {
			s.MirrorSet[0] = 1
		}
	}
	if s.BlockSize == 0 {
		s.BlockSize = 4096
	}
	if s.SectorSize == 0 {
		s.SectorSize = 512
	}
	if s.BlockSize != 1024 && s.BlockSize != 2048 && s.BlockSize != 4096 {
		return nil, fmt.Errorf("block size %d: want 1024, 2048 or 4096: %w", s.BlockSize, ErrInvalid)
	}
	if s.SectorSize != 512 && s.SectorSize != 4096 || s.SectorSize > s.BlockSize {
		return nil, fmt.Errorf("sector size %d: want 512 or 4096, at most the block size: %w", s.SectorSize, ErrInvalid)
	}
	if len(o.Label) > 64 {
		return nil, fmt.Errorf("label of %d bytes, at most 64: %w", len(o.Label), ErrInvalid)
	}
	bs := int64(s.BlockSize)
	s.Blocks = uint64(size / inOne / bs)
	if s.InodesPerGroup == 0 {
		s.InodesPerGroup = layout.DefaultInodesPerGroup(int(bs))
		group := uint64(layout.Body(int(bs))) * 8
		if s.Blocks < group { // a short only group: as many inodes as its share
			per := uint64(bs) / layout.InodeSize
			want := max(64, s.Blocks*uint64(bs)/16384)
			s.InodesPerGroup = uint32((want + per - 1) / per * per)
		}
	}
	if s.Reserved == 0 {
		s.Reserved = min(max(s.Blocks/200, 8), 1024)
	}
	switch {
	case o.NoJournal && s.RunBlocks > 0:
		return nil, fmt.Errorf("a log run of %d blocks and no journal: %w", s.RunBlocks, ErrInvalid)
	case o.NoJournal && s.Copies > 1: // without recovery nobody mends what a crash left different
		return nil, fmt.Errorf("two copies and no journal: %w", ErrInvalid)
	case o.NoJournal:
		s.Incompat |= layout.IncompatNoJournal
	case s.RunBlocks == 0:
		// By size, and at least what four of the largest operations need.
		s.RunBlocks = max(min(s.Blocks/32, smallRunBytes/uint64(bs)), min(s.Blocks/256, maxRunBytes/uint64(bs)))
		for range 4 { // the bound depends on the groups, and they on the run
			least, err := minRun(s)
			if err != nil {
				return nil, tooSmall(size)
			}
			if s.RunBlocks >= least {
				break
			}
			s.RunBlocks = least
		}
	}
	s.Created = toTime(o.Now)
	if _, err := layout.NewGeometry(s); err != nil {
		return nil, tooSmall(size)
	}
	least, err := minRun(s)
	if err != nil {
		return nil, tooSmall(size)
	}
	if g, _ := layout.NewGeometry(s); freeBlocks(&g) < s.Reserved+minFreeBlocks {
		return nil, tooSmall(size)
	}
	if s.RunBlocks < least && !o.NoJournal {
		return nil, fmt.Errorf("a log run of %d blocks: the largest operation needs %d: %w", s.RunBlocks, least, ErrInvalid)
	}
	return s, nil
}

func tooSmall(size int64) error { return fmt.Errorf("%d bytes: %w", size, ErrTooSmall) }

// minRun is how many blocks a log run of this volume must have: four times the largest operation.
func minRun(s *layout.Superblock) (uint64, error) {
	g, err := layout.NewGeometry(s)
	if err != nil {
		return 0, err
	}
	v := &Volume{g: g, super: *s, tx: newTx(), files: pages{}, unalloc: maxUnallocated}
	v.totals.Groups = g.Groups
	payload := 4 * v.logNeed(v.largestNeed())
	sectors := (payload + layout.LogPayload(g.SectorSize) - 1) / layout.LogPayload(g.SectorSize)
	per := g.BlockSize / g.SectorSize
	return uint64(sectors/per + 4), nil
}

// largestNeed is the largest bound that an operation of the name space passes to update. A
// write whose bound is larger gets its blocks at once, and then what it costs is known.
func (v *Volume) largestNeed() int {
	return max(v.needFree(), v.needCreate(), v.needLink(), v.needRemove(), v.needRename(), v.needSetattr())
}

// MinSize is the smallest size in bytes that Format accepts with these options.
func MinSize(o FormatOptions) int64 {
	lo, hi := int64(0), int64(1)<<30
	for hi-lo > 4096 {
		mid := (lo + hi) / 2 &^ 4095
		if _, err := o.superblock(mid); err != nil {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

// freeBlocks is how many blocks of an empty volume files may use.
func freeBlocks(g *layout.Geometry) uint64 {
	last := g.Groups - 1 // all but the last group are alike
	return last*(g.GroupLen(0)-g.GroupTables(0)) + g.GroupLen(last) - g.GroupTables(last)
}

// defaults fills in what is not derived from the size.
func (o *FormatOptions) defaults() error {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	var zero [16]byte
	if o.UUID == zero {
		if _, err := rand.Read(o.UUID[:]); err != nil {
			return err
		}
		o.UUID[6], o.UUID[8] = o.UUID[6]&0x0f|0x40, o.UUID[8]&0x3f|0x80 // RFC 9562, version 4
	}
	if o.HashKey == zero {
		if _, err := rand.Read(o.HashKey[:]); err != nil {
			return err
		}
	}
	return nil
}

// makeLog makes an empty log, if there is to be one.
func makeLog(dev disk.Device, g *layout.Geometry, seeds layout.Seeds) error {
	if g.RunBlocks == 0 {
		return nil
	}
	if err := clearRuns(dev, g); err != nil {
		return err
	}
	return journal.Make(dev, g, seeds)
}

// clearRuns makes sure that nothing of an older log with the same UUID is left in the runs. Only
// what is not zero is written, so that a sparse image stays so.
func clearRuns(dev disk.Device, g *layout.Geometry) error {
	off := int64(g.LogRun(0)) * int64(g.BlockSize)
	return clearRange(dev, off, off+2*int64(g.RunBlocks)*int64(g.BlockSize))
}

// clearRange makes bytes zero. Only what is not is written, and only what may be other is read.
func clearRange(dev disk.Device, off, end int64) error {
	var p []byte
	for {
		if off = disk.NextData(dev, off); off >= end {
			return nil
		}
		if p == nil {
			p = make([]byte, 1<<20)
		}
		q := p[:min(int64(len(p)), end-off)]
		err := disk.ReadFull(dev, q, off)
		if err != nil && !isMedia(err) {
			return err
		}
		if err != nil || slices.ContainsFunc(q, func(b byte) bool { return b != 0 }) {
			clear(q)
			if _, err := dev.WriteAt(q, off); err != nil {
				return err
			}
		}
		off += int64(len(q))
	}
}

// Format makes an empty volume on a device. It is not valid before its last write, the superblock.
//
// Errors: ErrTooSmall, ErrInvalid, and those of the device.
func Format(dev disk.Device, o FormatOptions) error {
	size := o.Size
	if size == 0 {
		size = dev.Size()
	}
	if err := o.defaults(); err != nil {
		return err
	}
	if size > dev.Size() {
		return fmt.Errorf("size %d, the device has %d: %w", size, dev.Size(), ErrInvalid)
	}
	s, err := o.superblock(size)
	if err != nil {
		return err
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		return err
	}
	seeds := layout.NewSeeds(s.UUID)
	if dev, err = blank(dev, o.Twin, s, &g); err != nil {
		return err
	}
	write := func(no uint64, p []byte) error {
		_, err := dev.WriteAt(p, int64(no)*int64(g.BlockSize))
		return err
	}
	block := func() []byte { return make([]byte, g.BlockSize) }

	bitmap := block()
	layout.InitBitmap(bitmap, &g, 0)
	per := uint32(g.InodesPerBlock())
	st := layout.Stats(bitmap)
	st.InodesInit, st.InodesFree, st.Directories = per, per-1, 1
	layout.SetStats(bitmap, st)
	layout.SealBlock(bitmap, g.BitmapBlock(0), 0, seeds)
	if err := write(g.BitmapBlock(0), bitmap); err != nil {
		return err
	}
	for i := range g.SumBlocks(0) {
		p := block()
		layout.InitBlock(p, layout.KindSums, 0, i)
		layout.SealBlock(p, g.SumBlock(0, i), 0, seeds)
		if err := write(g.SumBlock(0, i), p); err != nil {
			return err
		}
	}
	mode := o.RootMode
	if mode == 0 {
		mode = 0o755
	}
	now := toTime(o.Now)
	table := block()
	for i := range per {
		in := layout.Inode{}
		if i == 0 {
			in = layout.Inode{Mode: layout.ModeDir | mode&layout.ModePerm, Links: 2, UID: o.UID, GID: o.GID, Generation: 1,
				Atime: now, Mtime: now, Ctime: now, Btime: now, Parent: uint64(Root)}
		}
		layout.EncodeInode(table[int(i)*layout.InodeSize:], &in, uint64(i)+1, seeds)
	}
	if err := write(g.InodeTable(0), table); err != nil {
		return err
	}
	totals := block()
	layout.InitBlock(totals, layout.KindTotals, 0, 0)
	layout.EncodeTotals(totals, &layout.Totals{FreeBlocks: freeBlocks(&g), FreeInodes: g.Inodes() - 1, Dirs: 1, Groups: 1})
	layout.SealBlock(totals, g.TotalsBlock(), 0, seeds)
	if err := write(g.TotalsBlock(), totals); err != nil {
		return err
	}
	if err := makeLog(dev, &g, seeds); err != nil {
		return err
	}
	return writeSuperblocks(dev, &g, s)
}

// blank makes sure that a device holds no volume, and gives the one that a volume of this
// superblock is written to.
func blank(dev, second disk.Device, s *layout.Superblock, g *layout.Geometry) (disk.Device, error) {
	if second != nil {
		return blankMirror([2]disk.Device{dev, second}, s, g)
	}
	var old []int64
	if second := middle(dev); second != nil { // of what the device held, which is found by it
		at := int64(second.Blocks) * int64(second.BlockSize)
		old = []int64{at + layout.SuperOffset(0), at + layout.SuperOffset(1)}
	}
	slots := superSlots(g)
	if err := voidSuperblocks(dev, append(old, slots[:]...)); err != nil || s.Copies == 1 {
		return dev, err
	}
	dev, err := halves(dev, s)
	if err != nil {
		return nil, err
	}
	return dev, voidSuperblocks(dev, slots[:])
}

// blankMirror is blank for the two files of a mirror.
func blankMirror(files [2]disk.Device, s *layout.Superblock, g *layout.Geometry) (disk.Device, error) {
	opt, err := stableOptions(s)
	if err != nil {
		return nil, err
	}
	var twins [2]disk.Device
	for i, f := range files {
		if size := int64(s.Blocks) * int64(s.BlockSize); f.Size() < size {
			return nil, fmt.Errorf("size %d, file %d of the mirror has %d: %w", size, i, f.Size(), ErrInvalid)
		}
		one := *s
		one.Copies = 1
		if _, err := blank(f, nil, &one, g); err != nil {
			return nil, err
		}
		if twins[i], err = newTwin(f, s, uint32(i)); err != nil {
			return nil, err
		}
	}
	return disk.NewStableWith(twins[0], twins[1], opt), nil
}

// voidSuperblocks makes sure that the device holds no volume, and what it held is not opened
// whatever becomes of the writes that follow.
func voidSuperblocks(dev disk.Device, slots []int64) error {
	zero, slot := make([]byte, layout.SlotSize), make([]byte, layout.SlotSize)
	wrote := false
	for _, off := range slots {
		err := disk.ReadFull(dev, slot, off)
		if err != nil && !isMedia(err) {
			return err
		}
		if err == nil && slices.Equal(slot, zero) {
			continue
		}
		if _, err := dev.WriteAt(zero, off); err != nil {
			return err
		}
		wrote = true
	}
	if !wrote {
		return nil
	}
	return dev.Flush() // the old superblocks are gone before anything that they describe is
}

// writeSuperblocks makes a volume of what is on the device: before the flush there is none.
func writeSuperblocks(dev disk.Device, g *layout.Geometry, s *layout.Superblock) error {
	if err := dev.Flush(); err != nil { // everything before the superblocks that make it valid
		return err
	}
	slot := make([]byte, layout.SlotSize)
	layout.EncodeSuperblock(slot, s)
	for _, off := range []int64{g.BackupOffset(), layout.SuperOffset(0), layout.SuperOffset(1)} {
		if _, err := dev.WriteAt(slot, off); err != nil {
			return err
		}
	}
	return dev.Flush()
}
