package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
	"holdfast/workload"
)

// TestGoldenDecay: with one or two sectors of the image gone bad at the crash, wherever they
// are, nothing false is served: the image refuses and says why, or what it serves is right and
// fsck finds the rest, and at most the last commit is lost, which recovery says.
func TestGoldenDecay(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []struct {
		name          string
		decay, nested int
	}{
		{"append", 1, 0}, {"atomic_replace", 1, 0}, {"create", 2, 0}, {"dir_cycle", 1, 0}, {"link", 1, 1}, {"orphan", 1, 0},
		{"overwrite", 1, 0}, {"rename_over_file", 1, 0}, {"sync_often", 1, 0}, {"unlink", 2, 0},
	} {
		if testing.Short() && (c.decay > 1 || c.nested > 0) {
			continue
		}
		t.Run(fmt.Sprintf("%s/%d", c.name, c.decay), func(t *testing.T) {
			file := "../../testdata/workloads/" + c.name + ".hf"
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			x, err := play(file, string(text), "")
			if err != nil {
				t.Fatal(err)
			}
			r, err := crash.Explore(x.trace, crash.Options{Bad: true, Decay: c.decay, Nested: c.nested, Workers: runtime.GOMAXPROCS(0), Label: x.label}, x.check)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range r.Points {
				for _, v := range p.Kept {
					t.Errorf("point %d: %s: %v\nmissing: %v\ndecayed: %v", p.Point.Index, v.ID, v.Err, v.Missing, v.Decayed)
				}
			}
			if !r.Complete() {
				t.Errorf("no certificate: %v legal states, the leaves stand for %v", r.States, r.Covered)
			}
			for _, l := range r.Labels {
				seen[l.Label] = true
			}
			t.Logf("%d crash points, %s legal states, %d leaves, %d inside recovery", len(r.Points), short(r.States), r.Leaves, r.Nested.Leaves)
		})
	}
	for _, label := range []string{"refused", "damaged", "dropped"} {
		if !seen[label] {
			t.Errorf("no state was %s", label)
		}
	}
}

// TestLastButOne: only the last commit may be lost, and a sync that had nothing to do made none.
func TestLastButOne(t *testing.T) {
	x, err := play("sync.hf", "image size=1m block=1k sector=512\n---\nmkdir a\nsync\nmkdir b\nsync\nsync\nmkdir c\n", "")
	if err != nil {
		t.Fatal(err)
	}
	points, err := crash.Points(x.trace, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, p := range points {
		got = append(got, x.lastButOne(p))
	}
	// Nothing, after the first sync, after the second and the third; the close covers the rest.
	if got = slices.Compact(got); !slices.Equal(got, []int{0, 2, 5}) {
		t.Errorf("%v", got)
	}
}

// fragile is a device that cannot be read any more once a superblock could not.
type fragile struct {
	disk.Device
	broken bool
}

func (f *fragile) ReadChecked(p []byte, c disk.Check, places ...int64) (int, error) {
	if f.broken {
		return 0, disk.ErrBadSector
	}
	n, err := f.Device.ReadChecked(p, c, places...)
	for copy := range 2 {
		f.broken = f.broken || errors.Is(err, disk.ErrBadSector) && slices.Contains(places, layout.SuperOffset(copy))
	}
	return n, err
}

// TestRedundantDecay: decay of what the image has twice is no excuse for a loss.
func TestRedundantDecay(t *testing.T) {
	x, err := play("twice.hf", "image size=1m block=1k sector=512\n---\ncreate a\nwrite a 0 2000 1\nfsync a\n", "")
	if err != nil {
		t.Fatal(err)
	}
	opt := crash.Options{Bad: true, Decay: 1, Workers: 2}
	r, err := crash.Explore(x.trace, opt, x.check)
	if err != nil || r.Violations > 0 || !r.Complete() {
		t.Fatalf("%v, %d violations", err, r.Violations)
	}
	r, err = crash.Explore(x.trace, opt, func(s *crash.State) error {
		s.Dev = &fragile{Device: s.Dev}
		return x.check(s)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Points {
		if p.Violating != 2 { // one leaf for each copy
			t.Errorf("point %d: %d violations where one superblock is as good as none", p.Point.Index, p.Violating)
		}
		for _, v := range p.Kept {
			if !errors.Is(v.Err, workload.ErrOpen) || len(v.Decayed) != 1 {
				t.Errorf("%v: decayed %v", v.Err, v.Decayed)
			}
		}
	}
	g, block := &x.layout, int64(x.layout.BlockSize)
	for at, want := range map[int64]int64{
		layout.SuperOffset(0):                      layout.SuperOffset(1),
		layout.SuperOffset(1) + 512:                layout.SuperOffset(0) + 512,
		int64(g.LogHead(0)) * block:                int64(g.LogHead(1)) * block,
		int64(g.LogRun(1)) * block:                 int64(g.LogRun(0)) * block,
		int64(g.LogRun(0)+g.RunBlocks)*block - 512: int64(g.LogRun(1)+g.RunBlocks)*block - 512,
		int64(g.TotalsBlock()) * block:             -1,
		int64(g.LogRun(1)+g.RunBlocks) * block:     -1,
		g.BackupOffset():                           -1,
		int64(g.GroupStart(0)) * block:             -1,
	} {
		if got := x.twin(at); got != want {
			t.Errorf("the twin of %d is %d, want %d", at, got, want)
		}
	}
}

// TestDecayIsNoExcuse: a tree that was synced, and that is wrong although nothing is damaged and nothing
// was dropped, is wrong whatever decayed.
func TestDecayIsNoExcuse(t *testing.T) {
	x, err := play("excuse.hf", "image size=1m block=1k sector=512\n---\ncreate a\nfsync a\n", "")
	if err != nil {
		t.Fatal(err)
	}
	last := crash.Options{Bad: true, Decay: 2, Points: func(p *crash.Point) bool { return p.End }}
	strict := x.broken(workload.ErrUnreadable, workload.Progress{}, -1, nil)
	met := 0
	_, err = crash.Explore(x.trace, last, func(s *crash.State) error {
		v, err := volume.Open(s.Dev, x.options())
		if err != nil || s.Decayed() == 0 || v.Recovery().Dropped {
			return nil
		}
		at, err := progress(s.Point)
		if err != nil {
			return err
		}
		if _, damaged, err := workload.JudgeDamaged(v, x.run.States, at); err != nil || len(damaged) > 0 {
			return nil
		}
		met++
		if x.decayed(s, v, at, strict) == nil {
			t.Errorf("decay at %v excuses everything", s.DecayedAt())
		}
		return nil
	})
	if err != nil || met == 0 {
		t.Errorf("%v, %d states", err, met)
	}
}
