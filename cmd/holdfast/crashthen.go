package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"holdfast/crash"
	"holdfast/volume"
	"holdfast/workload"
)

// A second script runs on what recovery made of a crash. Its writes are the check's own, so the
// crashes inside them are explored with --nested; what a crash there must leave is told by the
// marks that the run made before it.

// recoveredMark says that recovery is over, and which tree it gave.
const recoveredMark = "recovered "

// second reads the script that runs after recovery.
func (x *session) second(name string) error {
	if x.script.Image.None {
		return errors.New("--then is for volumes with a journal")
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	s, err := workload.Parse(name, string(text))
	if err != nil {
		return err
	}
	x.then, err = workload.NewSecond(x.run, s)
	return err
}

// runSecond runs the second script on the volume that holds the tree after k operations.
func (x *session) runSecond(s *crash.State, run *workload.Run, v *volume.Volume, at workload.Progress, k int) error {
	s.Mark(recoveredMark + strconv.Itoa(k))
	if err := x.then.Play(run, v, k, func(m workload.Mark) { s.Mark(m.String()) }); err != nil {
		return x.broken(workload.ErrUnusable, at, k, err)
	}
	return x.sound(s.Dev, at, k)
}

// checkSecond judges what a crash after recovery left: the tree that recovery gave, and on it
// the first operations of the second script, no fewer than were synced.
func (x *session) checkSecond(s *crash.State) error {
	k, err := strconv.Atoi(strings.TrimPrefix(s.Before[0], recoveredMark))
	if err != nil || k < 0 || k >= len(x.run.States) {
		return fmt.Errorf("mark %q: %w", s.Before[0], err)
	}
	var at workload.Progress
	for _, m := range s.Before[1:] {
		if strings.HasPrefix(m, recoveredMark) {
			continue // the recovery of a crash inside the second script
		}
		if err := at.Note(m); err != nil {
			return err
		}
	}
	during := ""
	if ops := x.then.Script().Ops; at.Started > at.Finished && at.Started <= len(ops) {
		op := ops[at.Started-1]
		during = fmt.Sprintf("operation %d of the second script, %s (%s:%d), after a crash that left the tree after operation %d",
			at.Started, op, x.then.Script().Name, op.Line, k)
	}
	tell := func(verdict *workload.Verdict) error {
		verdict.During = during
		return verdict
	}
	v, err := openVolume(&x.script.Image, s.Dev, x.options())
	if err != nil {
		return tell(x.broken(workload.ErrOpen, at, -1, err))
	}
	m, err := workload.Judge(v, x.then.States(k), at)
	var verdict *workload.Verdict
	if errors.As(err, &verdict) {
		return tell(verdict)
	}
	if err != nil {
		return err
	}
	s.Note(fmt.Sprintf("%d and %d of the second script", k, m))
	if err := x.sound(s.Dev, at, m); errors.As(err, &verdict) {
		return tell(verdict)
	}
	return nil
}
