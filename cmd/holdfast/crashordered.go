package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/volume"
	"holdfast/workload"
)

// checkOrdered is check for a volume without a journal: fsck finds nothing but what a crash may
// leave in that mode, between two operations the tree is exact, inside one it is as before or as
// after but for what the operation changes; and it can be used, and keeps the tree, with no
// finding of another kind.
func (x *session) checkOrdered(s *crash.State, at workload.Progress) error {
	v, err := volume.Open(s.Dev, x.options())
	if err != nil {
		return x.broken(workload.ErrOpen, at, -1, err)
	}
	k, err := x.run.JudgeOrdered(v, at)
	report, ferr := fsck.Check(s.Dev, fsck.Options{})
	if ferr != nil {
		return x.broken(workload.ErrInvariant, at, k, fmt.Errorf("fsck cannot look: %w", ferr))
	}
	s.Note(orderedNote(k, at, report))
	unexpected := unexpectedFindings(report)
	if err != nil {
		verdictOf(err, s.Point).Findings = unexpected
		return err
	}
	if len(unexpected) > 0 {
		verdict := x.broken(workload.ErrInvariant, at, k, nil)
		verdict.Findings = unexpected
		return verdict
	}
	if s.Depth > 0 {
		return nil
	}
	over := x.overlay(s.Dev)
	if err := x.useOrdered(over, at); err != nil {
		return x.broken(workload.ErrUnusable, at, k, err)
	}
	x.overlays.Put(over)
	return nil
}

// orderedNote is how a state is told: the operation after which it is, or that it is inside one;
// and the invariants that are broken.
func orderedNote(k int, at workload.Progress, r *fsck.Report) string {
	note := strconv.Itoa(k)
	if k < 0 {
		note = fmt.Sprintf("inside %d", at.Started)
	}
	if list := invariants(r); len(list) > 0 {
		note += " with " + strings.Join(list, " ")
	}
	return note
}

// invariants is those that are broken, in order.
func invariants(r *fsck.Report) (list []string) {
	var numbers []int
	for code := range r.Counts {
		if n := code.Invariant(); !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		list = append(list, fmt.Sprintf("I%d", n))
	}
	return list
}

// unexpectedFindings is those that no crash may leave on a volume without a journal.
func unexpectedFindings(r *fsck.Report) (list []string) {
	for _, f := range r.Findings {
		if !r.Expected(f.Code) {
			list = append(list, f.String())
		}
	}
	return list
}

// useOrdered is use for a volume without a journal.
func (x *session) useOrdered(dev disk.Device, at workload.Progress) error {
	v, err := volume.Open(dev, x.options())
	if err != nil {
		return err
	}
	if err := x.probe(v); err != nil {
		return err
	}
	r, err := fsck.Check(dev, fsck.Options{})
	if err != nil {
		return fmt.Errorf("fsck cannot look: %w", err)
	}
	if list := unexpectedFindings(r); len(list) > 0 {
		return fmt.Errorf("fsck after close: %s", list[0])
	}
	if v, err = volume.Open(dev, x.options()); err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	_, err = x.run.JudgeOrdered(v, at)
	return err
}

// breach is what a verdict on a volume without a journal comes to: the invariants that are broken
// otherwise than this mode allows, or that something is lost.
func breach(v *workload.Verdict) string {
	if v.Class == workload.ErrLost || len(v.Findings) == 0 {
		return v.Class.String()
	}
	var list []string
	for _, f := range v.Findings {
		if name, _, _ := strings.Cut(f, " "); !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}
