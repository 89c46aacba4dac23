package volume

import (
	"bytes"
	"cmp"
	"slices"

	"holdfast/disk"
	"holdfast/layout"
)

// inTable reports whether damage is in what lies at a place of its own in the volume, and may be
// held in memory.
func (d *Damage) inTable() bool {
	switch d.Use.Purpose {
	case PurposeTotals, PurposeBitmap, PurposeSums, PurposeInodes:
		return true
	}
	return false
}

// cure writes the damaged tables that memory still has, through the log, and looks whether they
// are good then.
func (s *scrubber) cure() error {
	v := s.v
	if v.steps != nil {
		return nil // without a journal the rewriting of a table could be torn, like that of any block
	}
	cured := map[uint64]bool{}
	for i := range s.report.Damage {
		d := &s.report.Damage[i]
		if d.Healed || !d.inTable() || cured[d.Use.Block] {
			continue
		}
		// What an operation cannot do, as in a volume that is full of damage, stays damage.
		_ = v.update(1, func(o *op) error {
			cured[d.Use.Block] = o.restore(d.Use)
			return nil
		})
	}
	if !slices.ContainsFunc(s.report.Damage, func(d Damage) bool { return cured[d.Use.Block] }) {
		return nil
	}
	if err := v.writeHome(); err != nil {
		return err
	}
	room := make([]byte, v.g.BlockSize)
	for i := range s.report.Damage {
		d := &s.report.Damage[i]
		if d.Healed || !d.inTable() || !cured[d.Use.Block] {
			continue
		}
		err := v.view(func(*op) error {
			if v.held(d.Use.Block) != nil {
				return nil // it has been changed again, and will be written once more
			}
			off := int64(d.Use.Block) * int64(v.g.BlockSize)
			if d.Use.Purpose != PurposeInodes {
				_, err := v.dev.ReadChecked(room, disk.Check{Seed: v.seeds.Block(d.Use.Block), Want: layout.Residue, Version: layout.BlockVersion}, off)
				return err
			}
			_, at := v.g.InodePlace(uint64(d.Use.Ino))
			return v.readInode(room[:layout.InodeSize], d.Use.Block, at, uint64(d.Use.Ino), new(spot))
		})
		if err != nil {
			if isMedia(err) {
				continue
			}
			return err
		}
		d.Healed = true
		s.report.Healed++
		c := s.report.Counts[d.Use.Purpose]
		c.Healed++
		s.report.Counts[d.Use.Purpose] = c
	}
	return nil
}

// restore puts a table that memory has into the transaction, as it is, so that it is written
// again; false if memory does not have it.
func (o *op) restore(u Use) bool {
	v := o.v
	if v.held(u.Block) != nil {
		return true // it is on its way already
	}
	if u.Purpose == PurposeTotals {
		b := o.adopt(u.Block, layout.KindTotals)
		layout.InitBlock(b, layout.KindTotals, 0, 0)
		layout.EncodeTotals(b, &v.totals)
		return true
	}
	p := v.cache.get(u.Block)
	if p == nil {
		return false
	}
	if u.Purpose == PurposeInodes {
		_, at := v.g.InodePlace(uint64(u.Ino))
		if !layout.Sealed(p[at:at+layout.InodeSize], v.seeds.Inode(uint64(u.Ino))) {
			return false
		}
		// What is sealed with the sequence of this transaction are those that differ from old: none
		// but those that are damaged there too, and they stay as they are.
		b := o.adopt(u.Block, layout.KindInodes)
		copy(b, p)
		v.tx.blocks[u.Block].old = bytes.Clone(p)
		return true
	}
	copy(o.adopt(u.Block, u.Kind), p)
	return true
}

// finish makes what was healed durable, and says whose the damage is.
func (s *scrubber) finish() error {
	v, r := s.v, s.report
	r.Bytes = s.done.Load()
	if s.wrote {
		if err := v.dev.Flush(); err != nil { // what was healed is healed now
			return err
		}
	}
	if s.opt.Progress != nil {
		s.opt.Progress(s.total, s.total)
	}
	slices.SortFunc(r.Damage, func(a, b Damage) int {
		return cmp.Or(cmp.Compare(a.Use.Block, b.Use.Block), cmp.Compare(a.Use.Ino, b.Use.Ino))
	})
	var inos []Ino
	for _, d := range r.Damage {
		inos = append(inos, d.Use.Ino)
	}
	if len(inos) == 0 {
		return nil
	}
	paths, err := v.Paths(inos)
	for i := range r.Damage {
		r.Damage[i].Path = paths[r.Damage[i].Use.Ino]
	}
	return err
}
