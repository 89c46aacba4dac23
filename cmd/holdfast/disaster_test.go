package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"holdfast/crash"
)

// TestDisasters: a lying disk is noticed where the fault model says so.
func TestDisasters(t *testing.T) {
	for _, name := range []string{"create", "overwrite", "unlink"} {
		file := "../../testdata/workloads/" + name + ".hf"
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		x, err := play(file, string(text), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"phantom", "misdirected", "lying-flush"} {
			var out strings.Builder
			broken, err := x.sampleDisasters(&out, kind)
			if err != nil || broken > 0 {
				t.Errorf("%s, %s: %v\n%s", name, kind, err, out.String())
			}
			if !strings.Contains(out.String(), "not a certificate") || strings.Contains(out.String(), "       0  noticed") {
				t.Errorf("%s, %s: nothing was noticed\n%s", name, kind, out.String())
			}
		}
		if _, err := x.sampleDisasters(&strings.Builder{}, "flood"); err == nil {
			t.Error("a disaster that there is not")
		}
	}
}

// TestPromised: data that never arrived and is served all the same is a violation, old metadata
// is not, and a victim is one only if the place that the write left is not to blame.
func TestPromised(t *testing.T) {
	x, err := play("promise.hf", "image size=1m block=1k sector=512\ncreate a\n---\nwrite a 0 3000 1\nfsync a\nmkdir d\nsync\n", "")
	if err != nil {
		t.Fatal(err)
	}
	points, err := crash.Points(x.trace, x.label)
	if err != nil {
		t.Fatal(err)
	}
	last := points[len(points)-1]
	seen := map[string]bool{}
	for _, p := range points[:len(points)-1] {
		for _, w := range p.InFlight {
			d := disaster{point: last.Index, lost: []int{w.Event}, victim: -1}
			must, err := x.promised("phantom", d, earlier, last)
			if data := strings.HasPrefix(w.Label, "data of"); err != nil || must != data {
				t.Errorf("%v: promised %v, %v", w, must, err)
			} else {
				seen[fmt.Sprint(data)] = true
			}
			if must, err := x.promised("phantom", d, noticed, last); err != nil || must {
				t.Errorf("%v: noticed, and promised %v, %v", w, must, err)
			}
			alone, _, err := x.fate(x.image(d, last), last)
			if err != nil {
				t.Fatal(err)
			}
			if must, err := x.promised("misdirected", d, falseTree, last); err != nil || must != (alone == harmless) {
				t.Errorf("%v: without it %v, promised %v, %v", w, fateNames[alone], must, err)
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("data and metadata: %v", seen)
	}
}
