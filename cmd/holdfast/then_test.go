package main

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"holdfast/crash"
	"holdfast/workload"
)

const secondScript = "../../testdata/workloads/then/again.hf"

func withSecond(t *testing.T, name string) *session {
	t.Helper()
	file := "../../testdata/workloads/" + name + ".hf"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	x, err := play(file, string(text), "")
	if err == nil {
		err = x.second(secondScript)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestSecond: operations after recovery, and crashes inside them and inside the recovery before
// them, lead to what recovery gave and the first of these operations, no fewer than were synced.
func TestSecond(t *testing.T) {
	for name, depth := range map[string]int{"create": 2, "unlink": 1, "rename_over_file": 1, "append": 1, "orphan": 1} {
		if testing.Short() && depth > 1 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			x := withSecond(t, name)
			r, err := crash.Explore(x.trace, crash.Options{Bad: true, Nested: depth, Workers: runtime.GOMAXPROCS(0)}, x.check)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range r.Points {
				for _, v := range p.Kept {
					t.Errorf("point %d: %s: %v", p.Point.Index, v.ID, v.Err)
				}
			}
			if !r.Complete() || r.Nested.Leaves < r.Leaves {
				t.Errorf("%d leaves, limits %+v", r.Leaves, r.Nested)
			}
			t.Logf("%d leaves, %d inside", r.Leaves, r.Nested.Leaves)
		})
	}
}

// TestSecondFails: what a crash after recovery may not leave is told, and its ID shows it again.
func TestSecondFails(t *testing.T) {
	x := withSecond(t, "create")
	// The model of the second script is one in which nothing happens.
	for k := range x.run.States {
		states := x.then.States(k)
		for i := range states {
			states[i] = states[0]
		}
	}
	r, err := crash.Explore(x.trace, crash.Options{Bad: true, Nested: 1, StopFirst: true, Label: x.label}, x.check)
	if err != nil {
		t.Fatal(err)
	}
	if r.Violations == 0 {
		t.Fatal("a tree that no operation made passes")
	}
	for _, p := range r.Points {
		for _, v := range p.Kept {
			if !errors.Is(v.Err, workload.ErrAtomicity) && !errors.Is(v.Err, workload.ErrDurability) {
				t.Errorf("%s: %v", v.ID, v.Err)
			}
			m, err := crash.Rebuild(x.trace, v.ID, nil, x.check)
			if err != nil {
				t.Fatal(err)
			}
			if _, verdict := m.Judge(x.check); verdict == nil || verdict.Error() != v.Err.Error() {
				t.Errorf("%s: explored %v, replayed %v", v.ID, v.Err, verdict)
			}
		}
	}
}
