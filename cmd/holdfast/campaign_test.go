package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/workload"
)

// holdfast runs the program; it returns the exit status and what it printed.
func holdfast(t *testing.T, args ...string) (status int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(args, strings.NewReader(""), &o, &e)
	return status, o.String(), e.String()
}

// campaignOf runs a campaign that must have the exit status, and reads its summary.
func campaignOf(t *testing.T, want int, args ...string) *campaignSum {
	t.Helper()
	status, out, errOut := holdfast(t, append([]string{"crash", "campaign", "--json"}, args...)...)
	if status != want {
		t.Fatalf("%v: exit status %d, want %d\n%s%s", args, status, want, out, errOut)
	}
	var s campaignSum
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// Every crash state of every workload of one operation, with torn and bad sectors and a crash
// inside recovery, is good; and of some of two operations.
func TestCampaignBounded(t *testing.T) {
	for _, c := range []struct {
		args  []string
		done  uint64
		least int // leaves
	}{
		{[]string{"--seq", "1", "--nested", "1"}, 366, 5000},
		{[]string{"--seq", "2", "--nested", "1", "--sample", "60"}, 60, 3000},
		{[]string{"--seq", "3", "--sample", "20"}, 20, 100},
		{[]string{"--seq", "1", "--nested", "1", "--sample", "40", "--image", "sector=4096 block=4k size=4m"}, 40, 500},
		{[]string{"--random", "--seed", "7", "--count", "3"}, 3, 50},
	} {
		s := campaignOf(t, 0, c.args...)
		if s.Done != c.done || s.Violations != 0 || s.leaves() < c.least || s.Legal.Cmp(&s.Covered) != 0 {
			t.Errorf("%v: %+v", c.args, s)
		}
		t.Logf("%v: %d workloads, %d crash points, %d leaves in %.1f s", c.args, s.Done, s.Points, s.leaves(), s.Seconds)
	}
}

// What a workload leaves to a shorter one is the same there, write for write: cutting the script
// before the operation from which on it owns its crash points changes nothing before.
func TestCampaignSharedBeginning(t *testing.T) {
	shared := 0
	for n, step := range map[int]uint64{2: 1811, 3: 1234567} {
		b, err := workload.NewBounded(n)
		if err != nil {
			t.Fatal(err)
		}
		for i := uint64(0); i < b.Len(); i += step {
			w := b.At(i)
			if w.From == 1 {
				continue
			}
			shared++
			before := *w.Script
			before.Ops = before.Ops[:w.From-1]
			long, short := mustPlay(t, w.Script), mustPlay(t, &before)
			if !bytes.Equal(long.Base, short.Base) {
				t.Fatalf("%s: another base image", w.Script.Name)
			}
			// up to the mark that the last operation before From has finished
			mark := workload.Mark{Kind: workload.Started, K: w.From}.String()
			for k := 0; ; k++ {
				e := long.Events[k]
				if e.Kind == disk.EventMark && e.Mark == mark {
					break
				}
				if k > 0 && !reflect.DeepEqual(e, short.Events[k]) { // the first is the script
					t.Fatalf("%s: event %d is %v, in the run that ends before operation %d %v\n%s", w.Script.Name, k, e.Kind, w.From, short.Events[k].Kind, w.Script)
				}
			}
			for _, p := range mustPoints(t, long) {
				if began := strings.Contains(strings.Join(p.Marks, "\n")+"\n", mark+"\n"); began != owns(p, w.From) {
					t.Fatalf("%s: point %d: owned %v, operation %d has started %v", w.Script.Name, p.Index, owns(p, w.From), w.From, began)
				}
			}
		}
	}
	if shared < 100 {
		t.Errorf("only %d workloads share something", shared)
	}
}

func mustPlay(t *testing.T, s *workload.Script) *disk.Trace {
	t.Helper()
	x, err := play(s.Name, s.String(), "")
	if err != nil {
		t.Fatal(err)
	}
	return x.trace
}

func mustPoints(t *testing.T, trace *disk.Trace) []*crash.Point {
	t.Helper()
	list, err := crash.Points(trace, nil)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Runs that differ in anything but the text of the script are not taken for the same.
func TestSameRun(t *testing.T) {
	base := func() *disk.Trace {
		return mustPlay(t, workload.Generate(workload.FromSeed(3), workload.GenerateOptions{Ops: 5}))
	}
	a := base()
	for i := range a.Events {
		b := base()
		e := &b.Events[i]
		switch e.Kind {
		case disk.EventMark:
			if strings.HasPrefix(e.Mark, scriptMark) {
				e.Mark += "# more"
				if !sameRun(a, b) {
					t.Error("another text makes another run")
				}
				continue
			}
			e.Mark += "0"
		case disk.EventWrite:
			e.Data[len(e.Data)-1] ^= 1
		default:
			e.Kind = disk.EventMark
		}
		if sameRun(a, b) {
			t.Errorf("event %d (%v) is another, and the runs are taken for the same", i, a.Events[i].Kind)
		}
	}
	b := base()
	b.Events = b.Events[:len(b.Events)-1]
	if sameRun(a, b) {
		t.Error("a shorter run is taken for the same")
	}
}

// Shards add up to the whole, whatever the order of merging.
func TestCampaignMerge(t *testing.T) {
	dir := t.TempDir()
	whole := campaignOf(t, 0, "--seq", "1", "--nested", "1")
	var files []string
	for i := 1; i <= 3; i++ {
		status, out, errOut := holdfast(t, "crash", "campaign", "--json", "--seq", "1", "--nested", "1", "--shard", fmt.Sprintf("%d/3", i))
		if status != 0 {
			t.Fatalf("shard %d: exit status %d: %s", i, status, errOut)
		}
		files = append(files, filepath.Join(dir, fmt.Sprint(i)))
		if err := os.WriteFile(files[i-1], []byte(out), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	status, part, errOut := holdfast(t, "crash", "merge", "--json", files[2], files[0])
	if status != 3 || !strings.Contains(errOut, "shard 2 of 3: missing") {
		t.Errorf("two shards of three: exit status %d: %s", status, errOut)
	}
	two := filepath.Join(dir, "two")
	if err := os.WriteFile(two, []byte(part), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errOut := holdfast(t, "crash", "merge", "--json", two, files[1])
	if status != 0 {
		t.Fatalf("exit status %d: %s", status, errOut)
	}
	var sum campaignSum
	if err := json.Unmarshal([]byte(out), &sum); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(sum.Shards, []int{1, 2, 3}) {
		t.Errorf("shards %v", sum.Shards)
	}
	whole.Plan.Shards, whole.Shards, whole.Seconds, sum.Seconds = 3, sum.Shards, 0, 0
	if !reflect.DeepEqual(whole, &sum) {
		t.Errorf("the shards add up to\n%+v\nthe whole is\n%+v", &sum, whole)
	}

	other := filepath.Join(dir, "other")
	_, out, _ = holdfast(t, "crash", "campaign", "--json", "--seq", "1", "--shard", "2/3")
	if err := os.WriteFile(other, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("\n{\"campaign\":{\"shards\":2},\"shards\":[3]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	lies := map[string]string{}
	for field, said := range map[string]string{
		"assigned": "1", "done": "9999", "same": "123", "uncovered": "1", "legal_states": "1", "sum": "1", "points": "-1",
		"violations": "-1", "nested_leaves": "-3", "program": `"another"`,
	} {
		text := regexp.MustCompile(`"`+field+`":("[^"]*"|[0-9]+)`).ReplaceAll(good, []byte(`"`+field+`":`+said))
		if bytes.Equal(text, good) {
			t.Fatalf("%s is not in %s", field, good)
		}
		lies[field] = filepath.Join(dir, "lie-"+field)
		if err := os.WriteFile(lies[field], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for field, file := range lies {
		status, _, errOut := holdfast(t, "crash", "merge", files[0], file, files[2])
		if status != 2 || strings.Count(errOut, "\n") != 1 {
			t.Errorf("%s is a lie: exit status %d: %s", field, status, errOut)
		}
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{files[0], files[0]}, "1:1: shard 1 of 3 is there already"},
		{[]string{two, files[2]}, "3:1: shard 3 of 3 is there already"},
		{[]string{files[0], other}, "other:1: another campaign than the first: nested (1, 0) differs"},
		{[]string{junk}, "junk:2: not a summary of a campaign: shard 3 of 2"},
		{[]string{empty}, "empty: no summary of a campaign"},
		{[]string{dir + "/none"}, "no such file"},
	} {
		status, _, errOut := holdfast(t, append([]string{"crash", "merge"}, c.args...)...)
		if status != 2 || !strings.Contains(errOut, c.want) || strings.Count(errOut, "\n") != 1 {
			t.Errorf("merge %v: exit status %d: %s; want 2 and %q", c.args, status, errOut, c.want)
		}
	}
}

// A violation is counted, shown, saved as a script that can be played, and ends in status 1, alone
// and merged.
func TestCampaignViolation(t *testing.T) {
	dir := t.TempDir()
	c := &campaign{out: dir}
	c.sum.Plan, c.sum.Shards, c.sum.Assigned = plan{Kind: "seq-1", Of: 246, Selected: 246, Shards: 1}, []int{1}, 246
	b, err := workload.NewBounded(1)
	if err != nil {
		t.Fatal(err)
	}
	c.bounded = b
	w := b.At(17)
	r := &crash.Report{
		Points: []*crash.PointReport{{
			States: new(big.Int), Covered: new(big.Int), Violating: 2,
			Kept: []*crash.Violation{{ID: "hf1-the-id", Err: errors.New("the tree is wrong\nhere")}},
		}},
		States: big.NewInt(4), Covered: big.NewInt(4), Leaves: 3, Violations: 2,
	}
	if err := c.add(17, w.Script.Name, w.Script.String(), r); err != nil {
		t.Fatal(err)
	}
	if err := c.failed(18, b.At(18).Script, &workload.ResultError{Script: "seq-1/18"}); err != nil {
		t.Fatal(err)
	}
	if err := c.failed(19, w.Script, os.ErrPermission); err == nil {
		t.Error("what is no violation was taken for one")
	}
	if c.sum.Violations != 3 || len(c.sum.Violating) != 2 || c.sum.Done != 2 {
		t.Errorf("%+v", c.sum)
	}
	text, err := os.ReadFile(filepath.Join(dir, "seq-1-17.hf"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# seq-1/17 hf1-the-id\n# the tree is wrong\n# here\nimage ") {
		t.Errorf("%s", text)
	}
	if _, err := play("saved", string(text), ""); err != nil {
		t.Errorf("the saved script: %v", err)
	}
	var out bytes.Buffer
	var status *statusError
	if err := c.sum.finish(&out, true); !errors.As(err, &status) || status.status != 1 {
		t.Errorf("%v, want status 1", err)
	}
	file := filepath.Join(dir, "sum")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	code, shown, _ := holdfast(t, "crash", "merge", file)
	if code != 1 || !strings.Contains(shown, "VIOLATION seq-1/17 hf1-the-id\n") || !strings.Contains(shown, "violations  3 in 2 workloads") {
		t.Errorf("merged: status %d\n%s", code, shown)
	}
}

// A sample has one workload of each of equal parts, and does not keep step with the order.
func TestCampaignSample(t *testing.T) {
	for _, of := range []uint64{10, 160, 366, 114636, 56145508} {
		for _, selected := range []uint64{1, 7, 10, of - 1} {
			if selected > 1<<16 {
				continue
			}
			c := &campaign{sum: campaignSum{Plan: plan{Of: of, Selected: selected}}}
			for j := range selected {
				if i := c.number(j); i < j*of/selected || i >= (j+1)*of/selected {
					t.Errorf("%d of %d: number %d is %d", selected, of, j, i)
				}
			}
		}
	}
	c := &campaign{sum: campaignSum{Plan: plan{Of: 1 << 20, Selected: 1 << 10}}}
	residues, last := map[uint64]int{}, uint64(0)
	for j := range uint64(1 << 10) {
		i := c.number(j)
		if j > 0 && i <= last {
			t.Fatalf("number %d is %d, after %d", j, i, last)
		}
		last = i
		residues[i%16]++
	}
	for r := range uint64(16) {
		if residues[r] < 32 {
			t.Errorf("%d of 1024 numbers are %d modulo 16", residues[r], r)
		}
	}
}

// Every workload is in exactly one shard.
func TestCampaignShards(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 7, 16} {
		for _, selected := range []uint64{0, 1, 5, 16, 33, 246} {
			seen := map[uint64]int{}
			for i := 1; i <= n; i++ {
				c := &campaign{sum: campaignSum{Plan: plan{Of: selected, Selected: selected, Shards: n}, Shards: []int{i}}}
				for k := range c.assigned() {
					seen[c.position(k)]++
				}
			}
			for j := range selected {
				if seen[j] != 1 {
					t.Errorf("%d of %d workloads is in %d of %d shards", j, selected, seen[j], n)
				}
			}
			if uint64(len(seen)) != selected {
				t.Errorf("%d workloads in %d shards: there are %d", len(seen), n, selected)
			}
		}
	}
}

func TestCampaignUsage(t *testing.T) {
	for _, args := range []string{
		"", "--seq 1 --random --count 1", "--seq 4", "--seq -1", "--random", "--random --count 1 --sample 1", "--seq 1 --seed 1",
		"--seq 1 --shard 0/2", "--seq 1 --shard 3/2", "--seq 1 --shard 1", "--seq 1 --nested -1", "--seq 1 --nested 9", "--seq 1 -j -1",
		"--seq 1 --time -1s", "--seq 1 --image size=1", "--seq 1 --image nonsense", "--seq 1 more",
	} {
		status, _, errOut := holdfast(t, append([]string{"crash", "campaign"}, strings.Fields(args)...)...)
		if status != 2 || strings.Count(errOut, "\n") != 1 {
			t.Errorf("%q: exit status %d: %s", args, status, errOut)
		}
	}
	s := campaignOf(t, 3, "--seq", "2", "--time", "1ns")
	if s.complete() || s.Violations != 0 {
		t.Errorf("stopped at once: %+v", s)
	}
	s = campaignOf(t, 3, "--seq", "1", "--sample", "10", "--max-leaves", "1")
	if s.Uncovered == 0 || s.Uncovered+s.Done != 10 {
		t.Errorf("with one leaf per crash point: %+v", s)
	}
}
