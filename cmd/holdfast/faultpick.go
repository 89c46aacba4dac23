package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"holdfast/disk"
	"holdfast/journal"
	"holdfast/layout"
	"holdfast/volume"
)

// faultTarget is an image that is to be damaged.
type faultTarget struct {
	files   *imageDevice
	file    *disk.File  // the one that is damaged
	dev     disk.Device // one replica of what is in it, read-only
	super   *layout.Superblock
	runs    [2]bool // the runs of the log that the replica keeps
	name    string  // of the file
	g       layout.Geometry
	v       *volume.Volume // what it holds, read-only; nil if it cannot be opened
	why     error          // why it cannot
	replica int64          // where the replica begins, in bytes
}

func openTarget(name string, write bool, replica int) (*faultTarget, error) {
	d, err := openDeviceWith(name, write, volume.Assembly{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	t := &faultTarget{files: d, file: d.files[0].File, name: name}
	if err := t.assemble(replica); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), d.Close())
	}
	t.v, t.why = volume.Open(t.dev, volume.Options{ReadOnly: true, CacheBytes: 16 << 20})
	return t, nil
}

// assemble finds the replica that is to be damaged, and what all of them hold.
func (t *faultTarget) assemble(replica int) (err error) {
	if t.dev, t.super, err = volume.Assemble(t.files.Device, volume.Assembly{ReadOnly: true}); err != nil {
		return halfMirror(err)
	}
	if t.g, err = layout.NewGeometry(t.super); err != nil {
		return err
	}
	if replica == 1 && (t.super.Copies != 2 || degraded) {
		return errors.New("it has one copy of each block, --replica 0")
	}
	t.runs = [2]bool{true, true}
	switch {
	case degraded:
		h, err := volume.HalfOf(t.file)
		if err != nil {
			return err
		}
		t.runs[1-h.Replica] = h.Alone
	case len(t.files.files) == 2: // whichever was named first
		h, err := volume.HalfOf(t.file)
		if err != nil {
			return err
		}
		f := t.files.files[h.Replica^replica]
		t.file, t.name = f.File, f.name
		t.runs[1-replica] = false
	case t.super.Copies == 2:
		t.replica = int64(replica) * int64(t.g.Blocks) * int64(t.g.BlockSize)
		t.runs[1-replica] = false
	}
	return nil
}

func (t *faultTarget) close() error {
	if t.v != nil {
		_ = t.v.Close() // it holds nothing that is not on the device
	}
	return t.files.Close()
}

// pick is a block to be damaged, and what it holds.
type pick struct {
	use    volume.Use // of one block
	sector int        // the only one to be damaged, -1: all
	path   string
}

// pick chooses the blocks.
func (t *faultTarget) pick(o *faultOptions, inside string, random *rand.Rand) ([]pick, error) {
	if o.sector >= t.g.BlockSize/t.g.SectorSize {
		return nil, usage("--sector %d: a block has %d sectors of %d bytes", o.sector, t.g.BlockSize/t.g.SectorSize, t.g.SectorSize)
	}
	if o.byBlock {
		if o.block >= t.g.Blocks {
			return nil, usage("--block %d: the volume has blocks 0 to %d", o.block, t.g.Blocks-1)
		}
		return t.named([]pick{{use: volume.Use{Block: o.block, Count: 1}, sector: o.sector}})
	}
	if t.v == nil {
		return nil, fmt.Errorf("which blocks are in use cannot be told, --block can still name one: %w", t.why)
	}
	want := func(u volume.Use) bool { return o.what == "" || u.Purpose == volume.Purpose(o.what) }
	sector := o.sector
	if inside != "" {
		ino, err := t.v.Tree().Resolve(inside, false)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quoteName(inside), cause(err))
		}
		what := volume.Purpose(o.what)
		if what == volume.PurposeInodes {
			block, off := t.g.InodePlace(uint64(ino))
			group, _ := t.g.GroupOf(block)
			u := volume.Use{Purpose: what, Kind: layout.KindInodes, Block: block, Count: 1, Group: group, Ino: ino}
			if sector < 0 { // its neighbours in other sectors are other files
				sector = off / t.g.SectorSize
			}
			return t.named([]pick{{use: u, sector: sector}})
		}
		want = func(u volume.Use) bool {
			if u.Ino != ino || u.Purpose == volume.PurposeInodes {
				return false
			}
			return u.Purpose == what || what == "" && (u.Purpose == volume.PurposeData || u.Purpose == volume.PurposeDirectory)
		}
	}
	s := sample{n: o.count, random: random}
	err := t.v.Uses(func(u volume.Use) bool {
		if want(u) {
			s.add(u)
		}
		return true
	}, nil)
	if err != nil {
		return nil, err
	}
	if inside == "" {
		log, err := t.log()
		if err != nil {
			return nil, err
		}
		for _, u := range log {
			if want(u) {
				s.add(u)
			}
		}
	}
	if len(s.list) == 0 {
		of := "in the image"
		if inside != "" {
			of = "of " + quoteName(inside)
		}
		if o.what == "" {
			return nil, fmt.Errorf("no block %s is in use", of)
		}
		return nil, fmt.Errorf("no block %s is in use for %s", of, o.what)
	}
	picked := make([]pick, len(s.list))
	for i, u := range s.list {
		picked[i] = pick{use: u, sector: sector}
		if sector < 0 && o.how != "swap" && (u.Purpose == volume.PurposeSuperblock || u.Purpose == volume.PurposeLogHead) {
			picked[i].sector = 0 // the rest of the block holds nothing
		}
	}
	return t.named(picked)
}

// log is the blocks of the log that recovery needs. A log that was closed has none; of two copies
// each has one of the runs.
func (t *faultTarget) log() ([]volume.Use, error) {
	if t.g.RunBlocks == 0 {
		return nil, nil
	}
	r, err := journal.Scan(t.dev, &t.g, layout.NewSeeds(t.super.UUID))
	if err != nil {
		return nil, err
	}
	var list []volume.Use
	per := uint64(t.g.BlockSize / t.g.SectorSize)
	for run := range 2 {
		if !t.runs[run] {
			continue
		}
		last := uint64(0)
		for pos := r.Tail; pos < r.Head; pos++ {
			if no := t.g.LogRun(run) + pos%(t.g.RunBlocks*per)/per; no != last {
				list = append(list, volume.Use{Purpose: volume.PurposeLog, Block: no, Count: 1, Copy: run})
				last = no
			}
		}
	}
	return list, nil
}

// sample keeps n blocks of those that are added, each with the same chance (Vitter, "Random
// Sampling with a Reservoir", 1985, algorithm R).
type sample struct {
	n      int
	random *rand.Rand
	seen   uint64
	list   []volume.Use
}

func (s *sample) add(u volume.Use) {
	for i := range u.Count {
		one := u
		one.Block, one.Index, one.Count = u.Block+i, u.Index+i, 1
		s.seen++
		if len(s.list) < s.n {
			s.list = append(s.list, one)
		} else if k := s.random.Uint64N(s.seen); k < uint64(s.n) {
			s.list[k] = one
		}
	}
}

// named fills in what blocks hold, where only the number is known, and the paths.
func (t *faultTarget) named(list []pick) ([]pick, error) {
	if t.v == nil {
		return list, nil
	}
	unknown := map[uint64]int{}
	for i := range list {
		if list[i].use.Purpose == "" {
			unknown[list[i].use.Block] = i
		}
	}
	if len(unknown) > 0 {
		left := len(unknown)
		err := t.v.Uses(func(u volume.Use) bool {
			for no, i := range unknown {
				if no-u.Block < u.Count {
					u.Index += no - u.Block
					u.Block, u.Count = no, 1
					list[i].use = u
					left--
				}
			}
			return left > 0
		}, nil)
		if err != nil {
			return nil, err
		}
	}
	var inos []volume.Ino
	for _, p := range list {
		inos = append(inos, p.use.Ino)
	}
	paths, err := t.v.Paths(inos)
	for i := range list {
		if u := list[i].use; u.Purpose != volume.PurposeInodes || len(list) == 1 && list[i].sector >= 0 {
			list[i].path = paths[u.Ino]
		}
	}
	return list, err
}

// holds says what a block holds, and whose it is. Of a block that is not known to be in use its
// place says what it is for.
func (t *faultTarget) holds(p pick) string {
	if p.use.Purpose == "" {
		return strings.Replace(purpose(&t.g, p.use.Block), "content", "nothing that is in use", 1)
	}
	s := p.use.String()
	bs := uint64(t.g.BlockSize)
	switch p.use.Purpose {
	case volume.PurposeInodes:
		if ss := uint64(t.g.SectorSize); p.sector >= 0 {
			first, _ := t.inodesOf(p)
			return s + fmt.Sprintf(", inodes %d to %d", first, first+ss/layout.InodeSize-1)
		}
		first, _ := t.inodesOf(p)
		return s + fmt.Sprintf(", inodes %d to %d", first, first+bs/layout.InodeSize-1)
	case volume.PurposeData:
		s += fmt.Sprintf(", bytes %d to %d", p.use.Index*bs, (p.use.Index+1)*bs-1)
	}
	if p.path != "" {
		s += ", " + quoteName(p.path)
	}
	return s
}

// inodesOf is the first inode in the block or sector of an inode table.
func (t *faultTarget) inodesOf(p pick) (uint64, uint64) {
	index := uint32(p.use.Block-t.g.InodeTable(p.use.Group)) * uint32(t.g.InodesPerBlock())
	if p.sector > 0 {
		index += uint32(p.sector * t.g.SectorSize / layout.InodeSize)
	}
	return t.g.InodeNumber(p.use.Group, index), p.use.Group
}
