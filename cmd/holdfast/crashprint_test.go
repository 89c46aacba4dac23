package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"holdfast/crash"
	"holdfast/workload"
)

// TestScreen: without -v a report fits a screen of 80 columns and 24 rows, however many points
// and violations there are; IDs and commands, which are for copying, may be longer.
func TestScreen(t *testing.T) {
	wrap, err := os.ReadFile("../../testdata/workloads/wrap_write.hf")
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(*crash.State) error { return nil }
	everything := func(s *crash.State) error {
		at, err := progress(s.Point)
		if err != nil {
			return err
		}
		p := make([]byte, 512)
		for off := int64(0); off < s.Dev.Size() && s.Point.Index%3 > 0; off += 8192 {
			if _, err := s.Dev.ReadAt(p, off); err != nil {
				break
			}
		}
		v := &workload.Verdict{Class: workload.ErrAtomicity, Progress: at, During: strings.Repeat("operation ", 30), Is: -1, Nearest: at.Synced, Cause: errors.New(strings.Repeat("because ", 60))}
		for i := range 40 {
			v.Diff = append(v.Diff, workload.Difference{Path: "/" + strings.Repeat("x", 100), Want: fmt.Sprint("file ", i)})
		}
		return v
	}
	for _, c := range []struct {
		name, script string
		check        crash.Check
		opt          crash.Options
		want         []string
	}{
		{"few points", checkScript, nothing, crash.Options{}, []string{"    2  2 fsync /a ", "certificate"}},
		{"many points", string(wrap), nothing, crash.Options{}, []string{"224 crash points, none with anything to tell: -v lists them", "certificate"}},
		{"many violations", string(wrap), everything, crash.Options{Bad: true, Keep: 3, Nested: 1}, []string{
			"and 222 points more: -v lists them", "atomicity: the tree is no prefix of the operations", "allowed: ", "- /xxx", "and 38 lines more",
			"kept: atomicity", "holdfast crash minimize my.hf hf1-",
		}},
		{"a budget", string(wrap), everything, crash.Options{Bad: true, Keep: 3, MaxLeaves: 1}, []string{"no certificate: ", " states were not covered (point "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, err := play("my.hf", c.script, "")
			if err != nil {
				t.Fatal(err)
			}
			c.opt.Label = x.label
			r, err := crash.Explore(x.trace, c.opt, c.check)
			if err != nil {
				t.Fatal(err)
			}
			if c.name == "many violations" { // as large as they come
				for _, p := range r.Points {
					p.States = new(big.Int).Exp(big.NewInt(3), big.NewInt(4000), nil)
				}
				r.States, r.Covered = r.Points[0].States, r.Points[0].States
			}
			var b bytes.Buffer
			e := &exploration{x: x, out: &b, from: &sessionSource{name: "my.hf"}}
			e.folded(r)
			if err := e.summary(r); err != nil {
				t.Fatal(err)
			}
			text := b.String()
			if n := strings.Count(text, "\n"); n > 24 {
				t.Errorf("%d lines", n)
			}
			for line := range strings.Lines(text) {
				line = strings.TrimSuffix(line, "\n")
				if utf8.RuneCountInString(line) > columns && !strings.Contains(line, "hf1-") {
					t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
				}
			}
			for _, s := range c.want {
				if !strings.Contains(text, s) {
					t.Errorf("no %q", s)
				}
			}
			t.Log("\n" + text)
		})
	}
}

// TestReadmeTour: the README shows what explore prints.
func TestReadmeTour(t *testing.T) {
	text, err := os.ReadFile("../../testdata/workloads/rename_across.hf")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	x, err := play("rename_across.hf", string(text), "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := crash.Explore(x.trace, crash.Options{Bad: true, Label: x.label}, x.check)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	e := &exploration{x: x, out: &b}
	e.folded(r)
	if err := e.summary(r); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), b.String()) {
		t.Errorf("README.md lacks this:\n%s", b.String())
	}
}
