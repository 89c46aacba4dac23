package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
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
				exploreAs(t, playFile(t, f, override), crash.Options{Model: crash.Atomic})
			})
		}
	}
}

// TestSwaps holds the table of docs/CRASH.md to what exploration finds: two steps of an operation
// in each other's place break what the table says. The counter-example can be rebuilt.
func TestSwaps(t *testing.T) {
	text, err := os.ReadFile("../../docs/CRASH.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "<!-- swapped orders -->\n")
	if !ok {
		t.Fatal("no table of swapped orders")
	}
	played := map[string]*session{}
	kinds := map[string]int{}
	for _, line := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(line, " | ")
		if len(cells) != 5 {
			break
		}
		where, pair, want := cells[1], cells[2], strings.TrimSuffix(cells[4], " |")
		t.Run(where+":"+pair, func(t *testing.T) {
			file, op, _ := strings.Cut(where, " ")
			x := played[file]
			if x == nil {
				x = playFile(t, "../../testdata/workloads/ordered/"+file+".hf", "")
				played[file] = x
			}
			var s swapFlag
			if err := s.Set(op + ":" + pair); err != nil {
				t.Fatal(err)
			}
			y, err := x.swapped(s)
			if err != nil {
				t.Fatal(err)
			}
			inside := func(p *crash.Point) bool { return p.Started == op }
			r, err := crash.Explore(y.trace, crash.Options{Model: crash.Atomic, Label: y.label, Points: inside}, y.check)
			if err != nil {
				t.Fatal(err)
			}
			got := "harmless"
			if v, p := simplest(r); v != nil {
				got = breach(verdictOf(v.Err, p.Point))
				image, err := crash.Rebuild(y.trace, v.ID, y.label, y.check)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := image.Judge(y.check); err == nil {
					t.Errorf("%s: rebuilt, it is good", v.ID)
				}
				t.Logf("%s: %s\n%v", x.script.Ops[s.op-1], v.ID, v.Err)
			}
			if got != want {
				t.Errorf("it leaves %s, the table says %s", got, want)
			}
			kinds[got]++
		})
	}
	if kinds["lost"] < 4 || kinds["I3"] < 6 || kinds["I2 I3"] < 6 || kinds["I5"] < 6 || kinds["I6"] < 6 || kinds["I7"] < 2 || kinds["harmless"] < 3 {
		t.Errorf("the table has rows of %v only", kinds)
	}
}

// A step that does not exist, or an image with a journal, is refused.
func TestSwapRefusals(t *testing.T) {
	x := playFile(t, "../../testdata/workloads/ordered/link.hf", "")
	for swap, want := range map[string]string{
		"9,2":   "--swap 1:2,9: operation 1, ln /f /g, has 2 steps",
		"9:1,2": "--swap 9:1,2: there are 5 operations",
	} {
		var s swapFlag
		if err := s.Set(swap); err != nil {
			t.Fatal(err)
		}
		if _, err := x.swapped(s); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", swap, err, want)
		}
	}
	for _, swap := range []string{"", "1", "1,1", "0,1", "a,b", "1:2", "1,2,3", "-1:1,2"} {
		if err := new(swapFlag).Set(swap); err == nil {
			t.Errorf("%q is accepted", swap)
		}
	}
	x = playFile(t, "../../testdata/workloads/link.hf", "")
	if _, err := x.swapped(swapFlag{1, 1, 2}); err == nil || !strings.Contains(err.Error(), "journal=none") {
		t.Errorf("with a journal: %v", err)
	}
}

// In whatever order the steps come, in the end all is done.
func TestSwapEnd(t *testing.T) {
	x := playFile(t, "../../testdata/workloads/ordered/rename_dir.hf", "")
	for k := range x.script.Ops {
		steps, _, _ := stepsOf(x.trace, k+1)
		for i := 1; i < len(steps); i++ {
			y, err := x.swapped(swapFlag{k + 1, i, i + 1})
			if err != nil {
				t.Fatal(err)
			}
			a, b := slices.Clone(x.trace.Base), slices.Clone(x.trace.Base)
			for _, e := range x.trace.Events {
				copy(a[e.Off:], e.Data)
			}
			for _, e := range y.trace.Events {
				copy(b[e.Off:], e.Data)
			}
			if !bytes.Equal(a, b) {
				t.Errorf("operation %d, steps %d and %d: the image differs in the end", k+1, i, i+1)
			}
		}
	}
}

// TestCompare: docs/CRASH.md shows what the comparison prints, and only the wrong order loses.
func TestCompare(t *testing.T) {
	doc, err := os.ReadFile("../../docs/CRASH.md")
	readme, err2 := os.ReadFile("../../README.md")
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	const script = "../../testdata/workloads/rename_once.hf"
	for _, c := range []struct {
		override string
		swap     swapFlag
		worst    [3]severity
		shown    bool
	}{
		{"", swapFlag{1, 2, 3}, [3]severity{worstLoss, worstLeak, worstNone}, true},
		{"", swapFlag{1, 1, 2}, [3]severity{worstLoss, worstLeak, worstNone}, false},
		{"sector=4096 block=4k size=8m", swapFlag{1, 2, 3}, [3]severity{worstLoss, worstLeak, worstNone}, false},
	} {
		ways, err := compareWays(script, c.override, 0, c.swap)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if bad, err := printWays(&out, ways); bad || err != nil {
			t.Errorf("%+v: %v, %v", c.swap, bad, err)
		}
		if c.shown && !(bytes.Contains(doc, out.Bytes()) && bytes.Contains(readme, out.Bytes())) {
			t.Errorf("docs/CRASH.md and README.md do not both show\n%s", &out)
		}
		for _, line := range strings.Split(out.String(), "\n") {
			if len(line) > columns {
				t.Errorf("%d columns: %s", len(line), line)
			}
		}
		for i, w := range ways {
			worst := worstNone
			for _, x := range w.cells {
				worst = max(worst, x.worst)
			}
			if worst != c.worst[i] || len(w.cells) == 0 || w.flushes == 0 {
				t.Errorf("%+v, way %d: severity %d of %d points, %d flushes", c.swap, i, worst, len(w.cells), w.flushes)
			}
		}
	}
	for op, want := range map[int]string{9: "which of its 4 operations? say --op", 2: "has 0 steps"} {
		if _, err := compareWays(script, "", op, swapFlag{1, 2, 3}); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("operation %d: %v", op, err)
		}
	}
	if _, err := compareWays("../../testdata/workloads/ordered/link.hf", "", 1, swapFlag{1, 1, 2}); err == nil {
		t.Error("an image without a journal is compared with itself")
	}
}

// TestOrderedCampaign explores all single operations, a sample of all pairs, and random workloads
// without a journal: nothing but what the mode allows.
func TestOrderedCampaign(t *testing.T) {
	for _, args := range [][]string{{"--seq", "1"}, {"--seq", "2", "--sample", "500"}, {"--random", "--count", "20"}} {
		s := campaignOf(t, 0, append(args, "--atomic", "--image", "journal=none")...)
		if s.Violations > 0 || s.Done != s.Assigned || s.Points == 0 || s.Legal.Cmp(&s.Covered) != 0 {
			t.Errorf("%v: %+v", args, s)
		}
		t.Logf("%v: %d workloads, %d refused, %d leaves", args, s.Done, s.Refused, s.Leaves)
	}
}
