package volume

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/disk"
	"holdfast/journal"
	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// ScrubOptions say how to scrub; the zero value is good.
type ScrubOptions struct {
	Rate     int64                   // bytes a second that are read at most; 0: as many as can be
	Workers  int                     // that verify files at a time; 0: by the processors, at most 4
	Progress func(done, total int64) // bytes; called now and then, from one goroutine; may be nil
}

// Damage is what a scrub has found at one place.
type Damage struct {
	Use    Use          // of one block; of an inode the block of the table and the inode itself
	Why    string       // "checksum does not match"
	Copies [2]disk.Copy // what was found on each replica, and what became of it
	Healed bool         // it is good again, and durably so
	Path   string       // of the file whose it is, if it has one that can be found
}

// ScrubCount is what was found in the blocks of one purpose.
type ScrubCount struct {
	Blocks  uint64 // read
	Damaged uint64 // places
	Healed  uint64 // of them
}

// ScrubReport is what a scrub has found.
type ScrubReport struct {
	Counts   map[Purpose]ScrubCount
	Damage   []Damage // by block; at most maxDamage, the counts go on
	Damaged  uint64   // places
	Healed   uint64   // of them
	Blocks   uint64   // read, each counted once however many replicas it has
	Bytes    int64    // of all replicas
	InMemory uint64   // blocks that were on their way to the device, which writes them anew
	Copies   int      // of each block
}

// maxDamage bounds the list of a report.
const maxDamage = 1000

// Scrub reads and verifies every block in use, on all replicas: superblocks, the log, totals,
// tables, directories, indexes, attributes and data. What is damaged on one of two replicas is
// rewritten from the other; a superblock heals from its twins, the log from its other run and from
// memory, and tables from memory, where they are held there. What is not healed is in the report.
// A volume that is read-only is only looked at.
//
// Other operations run beside it. What the log has not yet written home it will write in any
// case, so it needs no look; all else is verified within a view that also says whose it is, and
// data that nobody has changed since then is never overwritten in place.
//
// Errors: those of ctx, and of a device that fails otherwise than by bad sectors.
func (v *Volume) Scrub(ctx context.Context, o ScrubOptions) (*ScrubReport, error) {
	s := &scrubber{v: v, opt: o, ctx: ctx, seen: map[damageKey]bool{}, start: time.Now()}
	s.copies = max(1, disk.Replicas(v.dev))
	s.report = &ScrubReport{Counts: map[Purpose]ScrubCount{}, Copies: s.copies}
	s.heal = !v.readOnly
	if both, ok := v.dev.(*disk.Stable); ok {
		s.raw = []disk.Device{both.Replica(0), both.Replica(1)}
	} else if s.copies == 1 {
		s.raw = []disk.Device{v.dev}
	}
	var fs Statfs
	err := v.view(func(*op) error {
		fs = statfs(&v.g, &v.super, v.totals)
		if v.committable() != nil {
			s.heal = false
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.total = s.volumeBytes(&fs)
	if s.heal {
		if err := v.writeHome(); err != nil {
			return nil, err
		}
	}
	if err := s.log(); err != nil {
		return nil, err
	}
	if err := s.walk(); err != nil {
		return nil, err
	}
	if s.heal {
		if err := s.cure(); err != nil {
			return nil, err
		}
	}
	return s.report, s.finish()
}

// writeHome commits everything and leaves nothing in the log: what was damaged at home and is
// still in memory is whole again after it.
func (v *Volume) writeHome() error {
	if err := v.Sync(); err != nil {
		return err
	}
	write := v.log.Attest
	if l, ok := v.log.(*journal.Log); ok {
		write = l.Checkpoint
	}
	return v.bring(write)
}

// scrubber is one scrub.
type scrubber struct {
	v     *Volume
	opt   ScrubOptions
	ctx   context.Context
	heal  bool
	total int64
	start time.Time

	copies int           // that are there
	raw    []disk.Device // the replicas, where they can be read by themselves
	done   atomic.Int64  // bytes verified
	sent   int64         // bytes verified, or given to a worker

	mu      sync.Mutex
	report  *ScrubReport
	seen    map[damageKey]bool
	wrote   bool  // something that a flush has to make durable
	pending []Use // what the view that is open has found for the workers
	failed  error // of a worker
}

// damageKey is one place of damage, so that it is reported once.
type damageKey struct {
	block uint64
	ino   Ino
}

// volumeBytes is about how much there is to read.
func (s *scrubber) volumeBytes(fs *Statfs) int64 {
	g := &s.v.g
	blocks := fs.Blocks - fs.Free
	for group := range fs.InitialisedGrps {
		blocks += 1 + g.SumBlocks(group)
	}
	blocks += (fs.Inodes - fs.FreeInodes) / uint64(g.InodesPerBlock())
	return int64(blocks) * int64(g.BlockSize) * int64(s.copies)
}

// scrubbed counts n blocks as read.
func (s *scrubber) scrubbed(p Purpose, n uint64) {
	s.mu.Lock()
	c := s.report.Counts[p]
	c.Blocks += n
	s.report.Counts[p] = c
	s.report.Blocks += n
	s.mu.Unlock()
	s.done.Add(int64(n) * int64(s.v.g.BlockSize) * int64(s.copies))
}

func (s *scrubber) inMemory() {
	s.mu.Lock()
	s.report.InMemory++
	s.mu.Unlock()
}

// found reports damage, once for each place.
func (s *scrubber) found(d Damage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := damageKey{d.Use.Block, d.Use.Ino}
	if s.seen[key] {
		return
	}
	if len(s.seen) < 1<<20 {
		s.seen[key] = true
	}
	r := s.report
	r.Damaged++
	if len(r.Damage) < maxDamage {
		r.Damage = append(r.Damage, d)
	}
	c := r.Counts[d.Use.Purpose]
	c.Damaged++
	if d.Healed {
		c.Healed++
		r.Healed++
	}
	r.Counts[d.Use.Purpose] = c
}

// why is an error in the words of a report.
func why(err error) string {
	var ce *layout.CorruptError
	switch {
	case errors.As(err, &ce) && ce.Want != "":
		return ce.Found + ", want " + ce.Want
	case errors.As(err, &ce):
		return ce.Found
	case errors.Is(err, disk.ErrChecksum):
		return "checksum does not match"
	}
	return err.Error()
}

// judge reports what reading a structure has found on the replicas. An error that is none of the
// medium is given back.
func (s *scrubber) judge(u Use, copies [2]disk.Copy, err error) error {
	if err != nil {
		if !isMedia(err) {
			return err
		}
		s.found(Damage{Use: u, Why: why(err), Copies: copies})
		return nil
	}
	if !s.heal {
		copies = journal.Unhealed(copies)
	}
	healed := copies[0] == disk.CopyHealed || copies[1] == disk.CopyHealed
	lost := copies[0] == disk.CopyLost || copies[1] == disk.CopyLost
	if healed {
		s.mu.Lock()
		s.wrote = true
		s.mu.Unlock()
	}
	if healed || lost {
		s.found(Damage{Use: u, Why: disk.ErrOneReplica.Error(), Copies: copies, Healed: !lost})
	}
	return nil
}

// log scrubs the log.
func (s *scrubber) log() error {
	v := s.v
	l, ok := v.log.(*journal.Log)
	if !ok {
		return nil // the ordered mode has none
	}
	v.commitMu.Lock()
	defer v.commitMu.Unlock()
	r, err := l.Scrub(s.heal)
	if err != nil {
		return err
	}
	s.scrubbed(PurposeLogHead, uint64(r.Heads))
	if per := v.g.BlockSize / v.g.SectorSize; r.Sectors > 0 {
		s.scrubbed(PurposeLog, uint64((r.Sectors+per-1)/per))
	}
	for _, p := range r.Parts {
		u := Use{Purpose: PurposeLog, Block: p.Block, Count: 1, Copy: p.Copy}
		if p.Head {
			u.Purpose = PurposeLogHead
		}
		s.found(Damage{Use: u, Why: why(p.Err), Copies: p.Copies, Healed: p.Healed})
	}
	return nil
}

// superblock scrubs one of the superblocks, and writes what is current in its place if it is lost.
// While it is written the others stay as they are.
func (s *scrubber) superblock(u Use) error {
	v := s.v
	off := superSlots(&v.g)[u.Copy]
	p := make([]byte, layout.SuperblockSize)
	copies, err := disk.Mend(v.dev, p, disk.Check{Want: layout.Residue, Version: layout.SuperblockVersion}, off)
	if err == nil {
		var found *layout.Superblock
		if found, err = layout.DecodeSuperblock(p); err == nil && (found.UUID != v.super.UUID || found.Blocks != v.super.Blocks) {
			err = layout.Corrupt(u.String(), u.Block, 48, "it describes another volume", nil)
		}
		if errors.Is(err, layout.ErrNotHoldfast) {
			err = layout.Corrupt(u.String(), u.Block, 0, err.Error(), nil)
		}
	}
	s.scrubbed(PurposeSuperblock, 1)
	if err == nil || !isMedia(err) || !s.heal {
		return s.judge(u, copies, err)
	}
	v.commitMu.Lock()
	defer v.commitMu.Unlock()
	slot := make([]byte, layout.SlotSize)
	layout.EncodeSuperblock(slot, &v.super)
	if _, werr := v.dev.WriteAt(slot, off); werr != nil {
		return werr
	}
	if werr := v.dev.Flush(); werr != nil { // it is good before another one is written
		return werr
	}
	s.found(Damage{Use: u, Why: why(err), Copies: copies, Healed: true})
	return nil
}

// block scrubs a metadata block with a header; what it belongs to is known to be current.
func (s *scrubber) block(u Use, p []byte) error {
	v := s.v
	if v.held(u.Block) != nil {
		s.inMemory()
		return nil
	}
	copies, err := disk.Mend(v.dev, p, disk.Check{Seed: v.seeds.Block(u.Block), Want: layout.Residue, Version: layout.BlockVersion}, int64(u.Block)*int64(v.g.BlockSize))
	if err == nil {
		err = s.content(u, p)
	}
	s.scrubbed(u.Purpose, 1)
	return s.judge(u, copies, err)
}

// content answers whether a block that passes is the one that belongs there.
func (s *scrubber) content(u Use, p []byte) error {
	g := &s.v.g
	owner := uint64(u.Ino)
	switch u.Kind {
	case layout.KindTotals:
		_, err := layout.DecodeTotals(p, g)
		return err
	case layout.KindBitmap:
		return layout.CheckBitmap(p, g, u.Group)
	case layout.KindSums:
		owner = u.Group
	case layout.KindExtents:
		u.Index = layout.DecodeHeader(p).Index // the walk compares it
	}
	return layout.CheckHeader(p, u.Block, u.Kind, owner, u.Index)
}

// inodes scrubs a block of an inode table: each inode is a structure of its own.
func (s *scrubber) inodes(u Use, p []byte) error {
	v := s.v
	if v.held(u.Block) != nil {
		s.inMemory()
		return nil
	}
	off := int64(u.Block) * int64(v.g.BlockSize)
	whole := s.copies == 1 && disk.ReadFull(v.dev, p, off) == nil
	first := u.Ino
	s.scrubbed(PurposeInodes, 1)
	for i := range v.g.InodesPerBlock() {
		u.Ino = first + Ino(i)
		at := i * layout.InodeSize
		q := p[at : at+layout.InodeSize]
		var copies [2]disk.Copy
		var err error
		if !whole || !layout.Sealed(q, v.seeds.Inode(uint64(u.Ino))) {
			copies, err = disk.Mend(v.dev, q, disk.Check{Seed: v.seeds.Inode(uint64(u.Ino)), Want: layout.Residue, Version: layout.InodeSeq}, off+int64(at))
		}
		if err == nil {
			var in layout.Inode
			err = layout.DecodeInode(q, &in, uint64(u.Ino), u.Block, at, v.seeds)
		}
		if err := s.judge(u, copies, err); err != nil {
			return err
		}
	}
	return nil
}

// fixed scrubs what lies at a place of its own, in a view.
func (s *scrubber) fixed(u Use, p []byte) error {
	return s.v.view(func(*op) error {
		if u.Purpose == PurposeInodes {
			return s.inodes(u, p)
		}
		return s.block(u, p)
	})
}

// maxJob is how many bytes a worker verifies within one view, for which a change may have to wait.
const maxJob = 1 << 20

// walk visits everything but the log; runs of files and directories go to workers.
func (s *scrubber) walk() error {
	n := s.opt.Workers
	if n <= 0 {
		n = min(runtime.GOMAXPROCS(0), 4)
	}
	jobs := make(chan Use, n)
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			room := make([]byte, len(s.raw)*maxJob+s.v.g.BlockSize)
			for u := range jobs {
				if err := s.run(u, room); err != nil {
					s.mu.Lock()
					s.failed = cmp.Or(s.failed, err)
					s.mu.Unlock()
				}
			}
		})
	}
	p := make([]byte, s.v.g.BlockSize)
	w := &usesWalk{v: s.v, between: func() error { return s.between(jobs) }}
	w.visit = func(o *op, u Use) error {
		switch {
		case u.Purpose == PurposeSuperblock:
			return s.superblock(u)
		case u.Purpose == PurposeLogHead:
			return nil // with the log
		case o == nil:
			if err := s.fixed(u, p); err != nil {
				return err
			}
		case u.Purpose == PurposeData || u.Purpose == PurposeDirectory || u.Kind == layout.KindDirSpace:
			s.pending = append(s.pending, u) // a worker must not be waited for in a view
			return nil
		default:
			if err := s.block(u, p); err != nil {
				return err
			}
		}
		s.sent += int64(s.v.g.BlockSize) * int64(s.copies)
		return nil
	}
	w.lost = func(u Use, err error) { s.found(Damage{Use: u, Why: why(err)}) }
	err := w.walk()
	close(jobs)
	group.Wait()
	return cmp.Or(err, s.failed)
}

// between gives the workers what the last view has found, no faster than it may be read.
func (s *scrubber) between(jobs chan<- Use) error {
	bs := int64(s.v.g.BlockSize)
	for _, u := range s.pending {
		for u.Count > 0 {
			job := u
			job.Count = min(u.Count, uint64(maxJob/bs))
			select {
			case jobs <- job:
			case <-s.ctx.Done():
				return s.ctx.Err()
			}
			s.sent += int64(job.Count) * bs * int64(s.copies)
			if err := s.pace(); err != nil {
				return err
			}
			u.Block, u.Index, u.Count = u.Block+job.Count, u.Index+job.Count, u.Count-job.Count
		}
	}
	s.pending = s.pending[:0]
	s.mu.Lock()
	err := s.failed
	s.mu.Unlock()
	return cmp.Or(err, s.pace())
}

// pace waits until as much may have been read as is by now, and shows how far it is.
func (s *scrubber) pace() error {
	if s.opt.Progress != nil {
		s.opt.Progress(min(s.done.Load(), s.total), s.total)
	}
	if err := s.ctx.Err(); err != nil || s.opt.Rate <= 0 {
		return err
	}
	ahead := time.Duration(float64(s.sent)/float64(s.opt.Rate)*float64(time.Second)) - time.Since(s.start)
	if ahead <= 0 {
		return nil
	}
	select {
	case <-time.After(ahead):
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// run scrubs a run of a file or directory, as it is mapped by now.
func (s *scrubber) run(u Use, room []byte) error {
	v := s.v
	first := u.Index
	if u.Kind == layout.KindDirSpace {
		first += layout.SpaceBase
	}
	err := v.view(func(o *op) error {
		in, err := o.inode(u.Ino)
		if err != nil || in.Generation != u.gen {
			return err
		}
		for l, end := first, first+u.Count; l < end; {
			e, found, err := extents.Lookup(o, &v.g, uint64(u.Ino), &in, l)
			if err != nil {
				return err
			}
			stop := min(e.End(), end)
			if found && !e.Unwritten {
				part := u
				part.Block, part.Index, part.Count = e.Block+l-e.Logical, l-first+u.Index, stop-l
				if u.Purpose == PurposeData {
					err = s.data(o, &in, part, room)
				} else {
					err = s.blocks(part, room)
				}
				if err != nil {
					return err
				}
			}
			l = stop
		}
		return nil
	})
	if err != nil && (errors.Is(err, ErrStale) || isMedia(err)) {
		return nil // it is gone; or the walk has reported what is damaged
	}
	return err
}

// blocks scrubs a run of metadata blocks.
func (s *scrubber) blocks(u Use, room []byte) error {
	for i := range u.Count {
		one := u
		one.Block, one.Index, one.Count = u.Block+i, u.Index+i, 1
		if err := s.block(one, room[:s.v.g.BlockSize]); err != nil {
			return err
		}
	}
	return nil
}

// data scrubs a run of data blocks, which the map of the inode in names.
func (s *scrubber) data(o *op, in *layout.Inode, u Use, room []byte) error {
	v := s.v
	bs := uint64(v.g.BlockSize)
	one, rest := room[:bs], room[bs:]
	whole := s.read(rest, u)
	var sums []byte
	tableNo, verified := uint64(0), uint64(0)
	for i := range u.Count {
		x := u
		x.Block, x.Index, x.Count = u.Block+i, u.Index+i, 1
		if s.onItsWay(x) {
			s.inMemory()
			continue
		}
		table, at := v.g.SumPlace(x.Block)
		if table != tableNo {
			var err error
			if sums, err = o.Read(table, layout.KindSums); err != nil {
				if !isMedia(err) {
					return err
				}
				s.found(Damage{Use: x, Why: "its checksum is lost: " + err.Error()})
				continue
			}
			sums = bytes.Clone(sums) // Read may use its memory for another
			tableNo = table
		}
		check := disk.Check{Seed: v.seeds.Data(x.Block, uint64(u.Ino), in.Generation, x.Index), Want: layout.DataSum(sums, at)}
		verified++
		if whole && check.Pass(rest[i*bs:(i+1)*bs]) {
			continue
		}
		copies, err := disk.Mend(v.dev, one, check, int64(x.Block*bs))
		if err := s.judge(x, copies, err); err != nil {
			return err
		}
	}
	s.scrubbed(PurposeData, verified)
	return nil
}

// read fills the start of room with a run of blocks; true if it could be read, and is the same on
// all replicas. Where it is not each block has to be looked at by itself.
func (s *scrubber) read(room []byte, u Use) bool {
	n, off := int(u.Count)*s.v.g.BlockSize, int64(u.Block)*int64(s.v.g.BlockSize)
	for i, dev := range s.raw {
		p := room[i*maxJob:][:n]
		if disk.ReadFull(dev, p, off) != nil || i > 0 && !bytes.Equal(p, room[:n]) {
			return false
		}
	}
	return len(s.raw) > 0
}

// onItsWay reports whether a data block is not on the device yet.
func (s *scrubber) onItsWay(u Use) bool {
	v := s.v
	if v.dirtyPage(u.Ino, u.Index) != nil {
		return true
	}
	pg := v.committingPages[u.Ino][u.Index]
	return pg != nil && pg.block == u.Block
}
