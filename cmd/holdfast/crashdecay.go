package main

import (
	"errors"
	"slices"
	"strings"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/layout"
	"holdfast/volume"
	"holdfast/workload"
)

// What is owed to an image of one copy some of whose sectors went bad: nothing false. It may
// refuse, if it says what is damaged; what it serves must be right, and fsck must find the rest.

// covers reports whether so many bad sectors may cost nothing: where there are two copies of every
// block one sector is an error of the medium like a crash, from which everything is recovered.
func (x *session) covers(sectors int) bool { return x.script.Image.Copies == 2 && sectors == 1 }

// mediaError reports whether an error says that the medium lost something.
func mediaError(err error) bool {
	return errors.Is(err, layout.ErrCorrupt) || errors.Is(err, disk.ErrBadSector) || errors.Is(err, disk.ErrChecksum) || workload.Media(err)
}

// namesDamage reports whether a check found something that cannot be read, and not only what
// contradicts.
func namesDamage(r *fsck.Report) bool {
	for _, f := range r.Findings {
		if f.Code == fsck.BadStructure || f.Code == fsck.BadData {
			return true
		}
	}
	return false
}

// decayed judges a state in which the check met sectors that had gone bad: v is the volume if it
// opened, strict the judgement of sound media.
func (x *session) decayed(s *crash.State, v *volume.Volume, at workload.Progress, strict error) error {
	var verdict *workload.Verdict
	switch {
	case strict == nil:
		return nil // nothing was lost
	case !errors.As(strict, &verdict):
		return strict
	case verdict.Class != workload.ErrInvariant && x.redundant(s):
		return strict // what is there twice costs nothing, but for what fsck has to say of it
	case v == nil:
		return x.refused(s, at, verdict)
	case verdict.Class == workload.ErrInvariant:
		if r, err := x.fsckOf(s.Dev); err == nil && namesDamage(r) {
			return nil // what was lost has been found
		}
		return strict
	}
	// With one copy, what is lost of the last commit costs that commit, and recovery says so,
	// unless both copies of the sector with which it begins in the log are lost. A crash may
	// have hidden the recovery that said so.
	synced := at.Synced
	if v.Recovery().Dropped || s.Decayed() > 1 || s.Depth > 0 {
		at.Synced = x.lastButOne(s.Point)
	}
	k, damaged, err := workload.JudgeDamaged(v, x.run.States, at)
	if errors.As(err, &verdict) {
		verdict.During, verdict.Cause = x.run.During(at), strict
		return verdict
	}
	if err != nil {
		return err
	}
	switch {
	case len(damaged) > 0:
	case k < synced:
		s.Note("dropped")
		return nil
	default: // nothing is lost, and nothing damaged: decay is no excuse
		return strict
	}
	s.Note("damaged")
	r, err := x.fsckOf(s.Dev)
	if err == nil && !namesDamage(r) {
		err = errors.New(strings.Join(damaged, "; "))
	}
	if err != nil {
		return x.broken(workload.ErrUnnoticed, at, k, err)
	}
	return nil
}

// redundant reports whether all that decayed is one sector of what the image has twice, and its
// twin is neither in flight nor within a recovery that a crash cut off, either of which may have
// cost it: superblocks, headers of the log, and the runs of the log.
func (x *session) redundant(s *crash.State) bool {
	if s.Depth > 0 || s.Decayed() != 1 || x.script.Image.Copies > 1 {
		return false
	}
	for _, at := range s.DecayedAt() {
		twin := x.twin(at)
		if twin < 0 || slices.ContainsFunc(s.InFlight, func(w crash.Write) bool { return w.Off <= twin && twin < w.Off+int64(w.Len) }) {
			return false
		}
	}
	return true
}

// twin is where the other copy of a sector lies; -1: there is none. The backup superblock is the
// third copy of something, and has none here.
func (x *session) twin(at int64) int64 {
	g := &x.layout
	block := int64(g.BlockSize)
	for _, pair := range []struct{ a, b, n int64 }{
		{layout.SuperOffset(0), layout.SuperOffset(1), layout.SlotSize},
		{int64(g.LogHead(0)) * block, int64(g.LogHead(1)) * block, block},
		{int64(g.LogRun(0)) * block, int64(g.LogRun(1)) * block, int64(g.RunBlocks) * block},
	} {
		switch {
		case at >= pair.a && at < pair.a+pair.n:
			return at - pair.a + pair.b
		case at >= pair.b && at < pair.b+pair.n:
			return at - pair.b + pair.a
		}
	}
	return -1
}

// refused judges an image that does not open: it must say that the medium lost something, and
// name the structure.
func (x *session) refused(s *crash.State, at workload.Progress, verdict *workload.Verdict) error {
	s.Note("refused")
	var c *layout.CorruptError
	switch text := verdict.Cause.Error(); {
	case !mediaError(verdict.Cause):
		return verdict
	case !errors.As(verdict.Cause, &c) && !strings.HasPrefix(text, "superblock") && !strings.Contains(text, "(block "):
		return x.broken(workload.ErrUnnoticed, at, -1, verdict.Cause)
	}
	return nil
}

// holds says what lies in a range of whole sectors of the image as the workload found it.
func (x *session) holds(e disk.Extent) string { return x.label(e.Off, x.trace.Base[e.Off:e.End()]) }

// lastButOne is how far the tree was synced before the commit that the last sync waited for:
// syncs that found nothing to do made none.
func (x *session) lastButOne(p *crash.Point) int {
	var at workload.Progress
	synced := []int{0}
	for _, m := range p.Marks {
		if strings.HasPrefix(m, scriptMark) || at.Note(m) != nil {
			continue
		}
		if at.Synced > synced[len(synced)-1] {
			synced = append(synced, at.Synced)
		}
	}
	last := len(synced) - 1
	for i := last - 1; i >= 0; i-- {
		if x.run.States[synced[i]].Digest() != x.run.States[synced[last]].Digest() {
			return synced[i]
		}
	}
	return 0
}
