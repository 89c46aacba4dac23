package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"holdfast/crash"
)

// orderedWorkloads are the golden workloads of volumes without a journal.
func orderedWorkloads(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../testdata/workloads/ordered/*.hf")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d golden workloads, %v", len(files), err)
	}
	return files
}

func playFile(t *testing.T, name, override string) *session {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	x, err := play(name, string(text), override)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestOrdered explores the golden workloads of the ordered mode completely, with blocks that are
// written whole or not at all: no crash leaves anything but what the mode allows.
func TestOrdered(t *testing.T) {
	for _, override := range []string{"", "sector=4096 block=4k size=2m"} {
		for _, f := range orderedWorkloads(t) {
			name := strings.TrimSuffix(filepath.Base(f), ".hf")
			if override != "" {
				name += "/4096"
			}
			t.Run(name, func(t *testing.T) {
				x := playFile(t, f, override)
				r, err := crash.Explore(x.trace, crash.Options{Model: crash.Atomic, Workers: runtime.GOMAXPROCS(0), Label: x.label}, x.check)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range r.Points {
					for _, v := range p.Kept {
						t.Errorf("point %d: %s: %v\nmissing: %v", p.Point.Index, v.ID, v.Err, v.Missing)
					}
				}
				if !t.Failed() && !r.Complete() {
					t.Errorf("no certificate: %v legal states, the leaves stand for %v", r.States, r.Covered)
				}
				t.Logf("%d crash points, %s legal states, %d leaves", len(r.Points), short(r.States), r.Leaves)
			})
		}
	}
}
