package workload

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"holdfast/volume"
)

const classScript = `
image block=1k
create f
write f 0 8192 1
create gone
---
rm gone
sync
write f 0 8192 2
create late
`

// A broken tree gets the class that says most: what a sync had removed is back, a mix of old
// and new pages, or bytes that never were.
func TestClasses(t *testing.T) {
	page := func(i int64, seed, from uint64) func(*Run, *volume.Volume) error {
		return func(_ *Run, v *volume.Volume) error {
			ino, err := v.Tree().Resolve("/f", true)
			if err != nil {
				return err
			}
			a, err := v.Getattr(ino)
			if err != nil {
				return err
			}
			p := make([]byte, pageSize)
			if seed != 0 {
				Fill(p, seed, from)
			}
			if _, err := v.Write(ino, p, i*pageSize); err != nil {
				return err
			}
			_, err = v.Setattr(ino, volume.SetAttr{Mtime: &a.Mtime})
			return err
		}
	}
	create := func(name string) func(*Run, *volume.Volume) error {
		return func(_ *Run, v *volume.Volume) error {
			_, err := v.Create(volume.Root, name, volume.NewNode{Mode: ModeFile | 0o644})
			return err
		}
	}
	for _, c := range []struct {
		name string
		at   int // operations that have run
		p    Progress
		do   func(*Run, *volume.Volume) error
		want error
	}{
		{"removed and back", 2, Progress{2, 2, 2}, create("gone"), ErrResurrection},
		{"never there", 2, Progress{2, 2, 2}, create("other"), ErrAtomicity},
		{"there too early", 2, Progress{2, 2, 2}, create("late"), ErrAtomicity},
		{"removed and back, not synced", 2, Progress{0, 2, 2}, create("gone"), ErrAtomicity},
		{"old page with a new one", 3, Progress{2, 3, 3}, page(1, 1, pageSize), ErrAtomicity},
		{"zeros", 3, Progress{2, 3, 3}, page(1, 0, 0), ErrData},
		{"the page of another place", 3, Progress{2, 3, 3}, page(1, 1, 0), ErrData},
		{"shorter than synced", 0, Progress{2, 3, 3}, func(*Run, *volume.Volume) error { return nil }, ErrDurability},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, v := judged(t, classScript, c.at)
			if err := c.do(r, v); err != nil {
				t.Fatal(err)
			}
			_, err := r.Judge(v, c.p)
			var verdict *Verdict
			if !errors.As(err, &verdict) || !errors.Is(err, c.want) {
				t.Fatalf("found %v\nwant %v", err, c.want)
			}
			if verdict.Nearest < c.p.Synced || verdict.Nearest > c.p.Started {
				t.Errorf("the nearest tree, after operation %d, is not allowed", verdict.Nearest)
			}
			if len(verdict.Lines(0)) == 0 {
				t.Error("no difference is shown")
			}
		})
	}
}

// Every class has a name of its own, and a long difference is cut.
func TestVerdictText(t *testing.T) {
	names := map[string]bool{}
	for _, c := range Classes() {
		if c.String() == "" || c.Meaning() == "" || names[c.String()] || !strings.HasPrefix(c.Error(), c.String()) {
			t.Errorf("class %d is %q: %q", c, c, c.Meaning())
		}
		names[c.String()] = true
	}
	v := &Verdict{Class: ErrInvariant, Is: -1, Nearest: -1, Progress: Progress{1, 2, 3}}
	for i := range 3 * maxDiff {
		v.Findings = append(v.Findings, fmt.Sprint("finding ", i))
	}
	lines := v.Lines(maxDiff)
	if len(lines) != maxDiff || lines[maxDiff-1] != "and 41 lines more" || v.Findings[maxDiff] != "finding 20" || len(v.Lines(0)) != 3*maxDiff {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	if !strings.Contains(v.Error(), "after operations 1 to 3 (1 synced, 2 finished, 3 started)") {
		t.Errorf("what is allowed is not told: %v", v)
	}
}
