package main

import (
	"errors"
	"fmt"
	"strconv"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/volume"
	"holdfast/workload"
)

// check is what each crash state must satisfy: it opens, the tree is that after some prefix of
// the operations and no shorter than what was synced, fsck finds nothing, opening it once more
// changes nothing, and it can be used. Its errors are *workload.Verdict.
func (x *session) check(s *crash.State) (err error) {
	at, err := progress(s.Point)
	if err != nil {
		return err
	}
	if x.soft {
		s.Dev = &soft{Device: s.Dev}
	}
	if x.script.Image.None {
		return x.checkOrdered(s, at)
	}
	if x.then != nil && len(s.Before) > 0 {
		return x.checkSecond(s)
	}
	opt, second := x.options(), (*workload.Run)(nil)
	if x.then != nil {
		second = x.then.Run()
		opt.Clock = second.Options().Clock
	}
	v, k, err := x.open(s.Dev, opt, at)
	if k >= 0 {
		s.Note(strconv.Itoa(k))
	}
	lossy := s.Decayed() > 0 && !x.covers(s.Decayed())
	if lossy {
		return x.decayed(s, v, at, err)
	}
	if err != nil {
		return err
	}
	if x.script.Image.Copies == 2 && !s.MayDecay() {
		if err := x.twins(s.Dev, at, k); err != nil {
			return err
		}
	}
	if x.then != nil {
		return x.runSecond(s, second, v, at, k)
	}
	if s.Depth > 0 {
		return nil // the states behind crashes inside recovery are many: they are judged, not used
	}
	// What follows writes to an overlay: it is no part of the recovery in which a crash is explored.
	over := x.overlay(s.Dev)
	class := workload.ErrIdempotence
	if v, err = openVolume(&x.script.Image, over, x.options()); err == nil {
		err = x.same(v, k)
	}
	if err == nil {
		class, err = workload.ErrUnusable, x.use(over, v, k)
	}
	if err == nil {
		x.overlays.Put(over)
	}
	if err == nil || s.Decayed() > 0 && !x.covers(s.Decayed()) && mediaError(err) { // a sector that nothing before had to read
		return nil
	}
	return x.broken(class, at, k, err)
}

// overlay is one with nothing written, over dev: one that an earlier check is done with, if there
// is any, for there are as many as leaves.
func (x *session) overlay(dev disk.Device) *disk.Overlay {
	if over, ok := x.overlays.Get().(*disk.Overlay); ok {
		over.Over(dev)
		return over
	}
	return disk.NewOverlay(dev, x.trace.SectorSize)
}

// judge opens what a crash left, its recovery included, compares the whole tree with the model
// and lets fsck look at it. The tree is that after k operations, -1 if it is that after none;
// an error is a *workload.Verdict.
func (x *session) judge(dev disk.Device, at workload.Progress) (k int, err error) {
	_, k, err = x.open(dev, x.options(), at)
	return k, err
}

// open is judge, and gives the volume if it opened.
func (x *session) open(dev disk.Device, opt volume.Options, at workload.Progress) (v *volume.Volume, k int, err error) {
	if v, err = openVolume(&x.script.Image, dev, opt); err != nil {
		return nil, -1, x.broken(workload.ErrOpen, at, -1, err)
	}
	if k, err = x.run.Judge(v, at); err != nil {
		return v, -1, err
	}
	return v, k, x.sound(dev, at, k)
}

// fsckOf lets fsck look at an image whose journal is empty.
func (x *session) fsckOf(dev disk.Device) (*fsck.Report, error) {
	dev, _, err := assembled(&x.script.Image, dev)
	if err != nil {
		return nil, err
	}
	return fsck.Check(dev, fsck.Options{})
}

// sound lets fsck look at an image that holds the tree after k operations.
func (x *session) sound(dev disk.Device, at workload.Progress, k int) error {
	r, err := x.fsckOf(dev)
	if err != nil {
		return x.broken(workload.ErrInvariant, at, k, fmt.Errorf("fsck cannot look: %w", err))
	}
	if r.Clean() {
		return nil
	}
	verdict := x.broken(workload.ErrInvariant, at, k, nil)
	for _, f := range r.Findings {
		verdict.Findings = append(verdict.Findings, f.String())
	}
	return verdict
}

func (x *session) broken(class workload.Class, at workload.Progress, k int, cause error) *workload.Verdict {
	return &workload.Verdict{Class: class, Progress: at, During: x.run.During(at), Is: -1, Nearest: k, Cause: cause}
}

// options are those of the volumes of crash states: they are open too briefly for a cache.
func (x *session) options() volume.Options {
	opt := x.run.Options()
	opt.CacheBytes = 0
	return opt
}

// same is nil if the volume holds the tree after k operations.
func (x *session) same(v *volume.Volume, k int) error {
	return workload.Compare(v, x.run.States[k])
}

// use makes, fills, renames and removes a file, each time durably, and wants the tree back that
// was there before, also after opening the image again, and closed to be content with it. An
// image without room may say so.
func (x *session) use(dev disk.Device, v *volume.Volume, k int) error {
	if err := x.probe(v); err != nil {
		return err
	}
	if err := x.closed(dev); err != nil {
		return err
	}
	v, err := openVolume(&x.script.Image, dev, x.options())
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	return x.same(v, k)
}

// probe is what use does, up to closing the volume.
func (x *session) probe(v *volume.Volume) error {
	const name, other = ".holdfast-probe", ".holdfast-probe2"
	root, err := v.Getattr(volume.Root)
	if err != nil {
		return err
	}
	a, err := v.Create(volume.Root, name, volume.NewNode{Mode: workload.ModeFile | 0o600})
	if errors.Is(err, volume.ErrNoSpace) {
		return v.Close()
	}
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if _, err := v.Write(a.Ino, []byte(name), 0); err != nil && !errors.Is(err, volume.ErrNoSpace) {
		return fmt.Errorf("write: %w", err)
	}
	if err := v.Fsync(a.Ino); err != nil {
		return fmt.Errorf("fsync: %w", err)
	}
	if err := v.Rename(volume.Root, name, volume.Root, other, 0); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	if err := v.Unlink(volume.Root, other); err != nil {
		return fmt.Errorf("unlink: %w", err)
	}
	if _, err := v.Setattr(volume.Root, volume.SetAttr{Mtime: &root.Mtime}); err != nil {
		return fmt.Errorf("set a time: %w", err)
	}
	if err := v.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// closed is nil if fsck finds nothing on an image that was closed, and no orphan: nobody held
// anything after the crash, so that what has no name is freed by then.
func (x *session) closed(dev disk.Device) error {
	r, err := x.fsckOf(dev)
	switch {
	case err != nil:
		return fmt.Errorf("fsck cannot look: %w", err)
	case !r.Clean():
		return fmt.Errorf("fsck after close: %s", r.Findings[0])
	case r.Orphans > 0:
		return fmt.Errorf("after close %d inodes are on the orphan list", r.Orphans)
	}
	return nil
}

// verdictOf is the verdict that an error of check is; whatever else the check came to, a panic
// above all, is one too.
func verdictOf(err error, p *crash.Point) *workload.Verdict {
	var v *workload.Verdict
	if errors.As(err, &v) {
		return v
	}
	at, _ := progress(p)
	return &workload.Verdict{Class: workload.ErrPanic, Progress: at, Is: -1, Nearest: -1, Cause: err}
}
