package journal

import (
	"errors"

	"holdfast/disk"
	"holdfast/layout"
)

// Part is a header or a sector of the log that a scrub has found damaged.
type Part struct {
	Head   bool   // a header; else a sector of a run
	Copy   int    // header 0 or 1, run 0 (A) or 1 (B)
	Block  uint64 // in which it lies
	Pos    uint64 // position in the log, of a sector
	Err    error
	Copies [2]disk.Copy // of a header: what was found on each replica
	Healed bool
}

// ScrubReport is what a scrub of the log has read.
type ScrubReport struct {
	Heads   int // headers
	Sectors int // of both runs
	Parts   []Part
}

// Scrub reads both headers and every sector that a recovery could want, in both runs, and, with
// heal, makes what is damaged good again: a sector from the other run, a header from what is in
// memory, and what both runs have lost by a checkpoint, after which nobody wants it. Each lost
// header is written while the other is good, flushed, so that a crash meanwhile takes none. What
// it has healed is durable when it returns.
//
// Errors: what Err says, and those of the device.
func (l *Log) Scrub(heal bool) (ScrubReport, error) {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	var r ScrubReport
	if l.err != nil {
		return r, l.err
	}
	lost, err := l.scrubRuns(&r, heal)
	if err != nil {
		return r, err
	}
	bad, err := l.scrubHeads(&r, heal)
	if err != nil || !heal {
		return r, err
	}
	if err := l.healHeads(&r, bad, lost); err != nil {
		return r, l.stop(err)
	}
	return r, nil
}

// scrubRuns reads the live sectors; lost says that one is good in neither run.
func (l *Log) scrubRuns(r *ScrubReport, heal bool) (lost bool, err error) {
	size := l.g.SectorSize
	per := uint64(l.g.BlockSize / size)
	p := make([]byte, size)
	wrote := false
	for pos := l.oldTail; pos < l.head; pos++ {
		at := pos % l.sectors
		check := disk.Check{Seed: l.seeds.Log(pos), Want: layout.Residue, Accept: func(p []byte) bool {
			h, ok := layout.PeekLogSector(p)
			return ok && h.Epoch == l.epoch && h.Pos == pos
		}}
		var bad [2]error
		var good []byte
		for run := range 2 {
			r.Sectors++
			_, bad[run] = l.dev.ReadChecked(p, check, runOffset(&l.g, run)+int64(at)*int64(size))
			switch {
			case bad[run] == nil:
				good = append(good[:0], p...)
			case !damaged(bad[run]):
				return lost, bad[run]
			}
		}
		for run, err := range bad {
			if err == nil {
				continue
			}
			part := Part{Copy: run, Block: l.g.LogRun(run) + at/per, Pos: pos, Err: err}
			switch {
			case good == nil:
				lost = true
			case heal:
				if _, err := l.dev.WriteAt(good, runOffset(&l.g, run)+int64(at)*int64(size)); err != nil {
					return lost, l.stop(err)
				}
				part.Healed, wrote = true, true
			}
			r.Parts = append(r.Parts, part)
		}
	}
	if wrote {
		if err := l.dev.Flush(); err != nil {
			return lost, l.stop(err)
		}
	}
	return lost, nil
}

// scrubHeads reads both headers, and says which of them no replica has.
func (l *Log) scrubHeads(r *ScrubReport, heal bool) (bad [2]bool, err error) {
	p := make([]byte, layout.LogHeadSize)
	wrote := false
	for i := range 2 {
		r.Heads++
		no := l.g.LogHead(i)
		copies, err := disk.Mend(l.dev, p, disk.Check{Seed: l.seeds.Head(i), Want: layout.Residue, Version: layout.LogHeadVersion}, int64(no)*int64(l.g.BlockSize))
		if err == nil {
			_, err = layout.DecodeLogHead(p, i, no, l.seeds)
		}
		switch {
		case err == nil && copies[0] != disk.CopyHealed && copies[1] != disk.CopyHealed && copies[0] != disk.CopyLost && copies[1] != disk.CopyLost:
			continue
		case err == nil: // one replica had it
			if !heal { // then it was in memory that it was healed
				copies = Unhealed(copies)
			}
			lost := copies[0] == disk.CopyLost || copies[1] == disk.CopyLost
			wrote = wrote || heal
			r.Parts = append(r.Parts, Part{Head: true, Copy: i, Block: no, Err: disk.ErrOneReplica, Copies: copies, Healed: !lost})
			continue
		case !damaged(err) && !errors.Is(err, layout.ErrCorrupt):
			return bad, err
		}
		bad[i] = true
		r.Parts = append(r.Parts, Part{Head: true, Copy: i, Block: no, Err: err, Copies: copies})
	}
	if wrote {
		if err := l.dev.Flush(); err != nil {
			return bad, l.stop(err)
		}
	}
	return bad, nil
}

// Unhealed is what was found on replicas that were healed in an overlay only.
func Unhealed(copies [2]disk.Copy) [2]disk.Copy {
	for i := range copies {
		if copies[i] == disk.CopyHealed {
			copies[i] = disk.CopyLost
		}
	}
	return copies
}

// healHeads writes the lost headers, and moves the tail behind what both runs have lost.
func (l *Log) healHeads(r *ScrubReport, bad [2]bool, lost bool) error {
	if bad[l.newer] { // as it was: while the older one is all there is, nothing of what it wants may go
		h := layout.LogHead{Sequence: l.headSeq, Epoch: l.epoch, Tail: l.tail, TailSeq: l.tailSeq}
		if err := writeHead(l.dev, &l.g, l.seeds, l.newer, &h); err != nil {
			return err
		}
		if err := l.dev.Flush(); err != nil { // the newer is good before the older is touched
			return err
		}
	}
	headers := 0 // to be written: they are written in turn, so that after two neither wants what was before
	switch {
	case lost:
		headers = 2
	case bad[1-l.newer]:
		headers = 1
	}
	if headers > 0 && l.head != l.tail {
		if err := l.checkpoint(); err != nil { // it writes one
			return err
		}
		headers--
	}
	for range headers {
		if err := l.header(l.epoch); err != nil {
			return err
		}
	}
	for i := range r.Parts {
		if p := &r.Parts[i]; !p.Head || bad[p.Copy] {
			p.Healed = true
		}
	}
	return nil
}

// damaged reports whether err says that the device does not give what was stored on it.
func damaged(err error) bool {
	return errors.Is(err, disk.ErrChecksum) || errors.Is(err, disk.ErrBadSector) || errors.Is(err, disk.ErrSoft)
}
