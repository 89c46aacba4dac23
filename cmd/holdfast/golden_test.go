package main

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"holdfast/crash"
)

var goldenAll = flag.Bool("golden", false, "explore the long golden workloads with every fault at once, too")

// longer are the beginnings of the names of golden workloads that take minutes with every fault
// at once: they have much data, or fill the log.
var longer = []string{"big_", "block_reuse", "dir_deep", "large_write", "meta_to_data", "no_space", "wrap_"}

// TestGolden explores every golden workload completely, for both sector sizes, with torn and bad
// sectors, one that decayed, and crashes inside recovery to the fixpoint; those that take minutes
// so without decay and with one crash inside recovery, unless -golden is given. Every legal crash
// state opens as the state after some prefix of the operations, no shorter than what was synced,
// and fsck finds nothing in it; what decay costs is named, and never served as good.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("../../testdata/workloads/*.hf")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d golden workloads, %v", len(files), err)
	}
	for _, sector := range []string{"", "sector=4096 block=4k size=8m run=0"} {
		for _, f := range files {
			name := strings.TrimSuffix(filepath.Base(f), ".hf")
			if sector != "" {
				name += "/4096"
			}
			t.Run(name, func(t *testing.T) {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				x, err := play(f, string(text), sector)
				if err != nil {
					t.Fatal(err)
				}
				long := slices.ContainsFunc(longer, func(s string) bool { return strings.HasPrefix(filepath.Base(f), s) })
				if testing.Short() || long && !*goldenAll {
					explore(t, x)
				} else {
					exploreAs(t, x, crash.Options{Bad: true, Decay: 1, Nested: crash.Fixpoint})
				}
			})
		}
	}
}

// explore explores a played script completely.
func explore(t *testing.T, x *session) {
	t.Helper()
	exploreAs(t, x, crash.Options{Bad: true, Nested: nested()})
}

// exploreAs explores a played script completely, with the faults that opt says.
func exploreAs(t *testing.T, x *session, opt crash.Options) {
	t.Helper()
	opt.Workers, opt.Label = runtime.GOMAXPROCS(0), x.label
	r, err := crash.Explore(x.trace, opt, x.check)
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
}

// nested is how deep crashes inside recovery are explored.
func nested() int {
	if testing.Short() {
		return 0
	}
	return 1
}
