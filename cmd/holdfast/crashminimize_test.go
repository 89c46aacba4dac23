package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/workload"
)

// TestMinimizeBroken: a failure of a broken program comes down to a script of which no operation
// can be taken away, and an ID that shows it again.
func TestMinimizeBroken(t *testing.T) {
	for _, c := range []struct {
		name, file, old, with string
		flags, from           []string
		workload              string
		depth                 int
	}{
		{"no flush at a commit", "journal/log.go", commitFlush, noCommitFlush, nil, nil, "rename_across", 0},
		{"no flush in recovery", "journal/recover.go", recoveryFlush, "", []string{"--nested", "1"}, nil, "mkdir", 1},
		{"with a second script", "journal/log.go", commitFlush, noCommitFlush, nil, []string{"--then", secondScript}, "mkdir", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bin := broken(t, c.file, c.old, c.with)
			dir := t.TempDir()
			small := filepath.Join(dir, "small.hf")
			var got minimizedJSON
			from := filepath.Join("../../testdata/workloads", c.workload+".hf")
			flags := func(args ...string) []string { return slices.Concat(args, c.flags, c.from) }
			if err := json.Unmarshal(output(t, 0, bin, flags("crash", "minimize", from, "--first", "--json", "-o", small)...), &got); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(small)
			if err != nil || string(text) != got.Script {
				t.Fatalf("the file is not the script: %v", err)
			}
			t.Logf("%d of %d operations, %d scripts: %s\n%s\n%s\n%s", got.Operations, got.Of, got.Tried, got.Violation.ID, got.Violation.Error, strings.Join(got.Violation.Missing, "\n"), text)
			if got.Operations >= got.Of || got.Violation.Depth != c.depth || got.Violation.Verdict == "" {
				t.Errorf("%d of %d operations, depth %d, verdict %q", got.Operations, got.Of, got.Violation.Depth, got.Violation.Verdict)
			}
			if len(got.Violation.Missing) == 0 {
				t.Error("nothing is missing")
			}
			// The ID rebuilds an image that fails, and minimizing it again changes nothing.
			out := string(output(t, 0, bin, append([]string{"crash", "replay", small, got.Violation.ID, "-o", filepath.Join(dir, "image")}, c.from...)...))
			if !strings.Contains(out, "verdict: "+got.Violation.Verdict) {
				t.Errorf("replayed: %s", out)
			}
			var again minimizedJSON
			if err := json.Unmarshal(output(t, 0, bin, flags("crash", "minimize", small, got.Violation.ID, "--json")...), &again); err != nil {
				t.Fatal(err)
			}
			if again.Operations != got.Operations || len(again.Violation.Missing) > len(got.Violation.Missing) || again.Violation.Depth != got.Violation.Depth {
				t.Errorf("minimized again: %+v\nwas %+v", again, got)
			}
			// No operation can go.
			s, err := workload.Parse(small, string(text))
			if err != nil {
				t.Fatal(err)
			}
			s.Relax()
			for i := range got.Operations {
				q := *s
				q.Setup, q.Ops = slices.Clone(s.Setup), slices.Clone(s.Ops)
				if n := len(s.Setup); i < n {
					q.Setup = slices.Delete(q.Setup, i, i+1)
				} else {
					q.Ops = slices.Delete(q.Ops, i-n, i-n+1)
				}
				name := filepath.Join(dir, "less.hf")
				if err := os.WriteFile(name, []byte(q.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				for _, v := range violationsOf(t, bin, flags("crash", "explore", "--json", "--keep", "1000", name)) {
					if v.Verdict == got.Violation.Verdict {
						t.Errorf("without operation %d it fails alike: %s\n%s", i+1, v.ID, q.String())
						break
					}
				}
			}
		})
	}
}

// violationsOf is what an exploration with --json finds.
func violationsOf(t *testing.T, bin string, args []string) []violationJSON {
	t.Helper()
	out, _ := exec.Command(bin, args...).Output() // exit status 1 for a violation
	if len(out) == 0 {
		return nil // it cannot be played
	}
	var r exploreJSON
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var list []violationJSON
	for _, p := range r.Points {
		list = append(list, p.Violations...)
	}
	return list
}

// TestSameClass: a failure is of the class of its verdict, not of that of a cause.
func TestSameClass(t *testing.T) {
	h := &shrinker{class: workload.ErrDurability}
	short := &workload.Verdict{Class: workload.ErrDurability}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{short, true}, {fmt.Errorf("in a frame: %w", short), true},
		{&workload.Verdict{Class: workload.ErrAtomicity, Cause: short}, false}, {errors.New("panic: no verdict"), false},
	} {
		if h.same(c.err) != c.want {
			t.Errorf("%v is alike: %v, want %v", c.err, !c.want, c.want)
		}
	}
	if h.class = workload.ErrPanic; !h.same(errors.New("panic: no verdict")) || h.same(short) {
		t.Error("a panic is what is no verdict")
	}
}
