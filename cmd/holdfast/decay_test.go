package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"

	"holdfast/crash"
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
