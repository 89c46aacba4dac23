package main

import (
	"errors"
	"os"
	"testing"

	"holdfast/crash"
	"holdfast/disk"
)

// TestSoft: reads that fail once change nothing: the same leaves, all good. A reader that does
// not try again is told.
func TestSoft(t *testing.T) {
	for _, name := range []string{"create", "orphan", "overwrite"} {
		file := "../../testdata/workloads/" + name + ".hf"
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		x, err := play(file, string(text), "")
		if err != nil {
			t.Fatal(err)
		}
		opt := crash.Options{Bad: true, Nested: 1}
		sound, err := crash.Explore(x.trace, opt, x.check)
		if err != nil {
			t.Fatal(err)
		}
		x.soft = true
		r, err := crash.Explore(x.trace, opt, x.check)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Points {
			for _, v := range p.Kept {
				t.Errorf("%s: point %d: %s: %v", name, p.Point.Index, v.ID, v.Err)
			}
		}
		if !r.Complete() || r.Leaves != sound.Leaves || r.Nested != sound.Nested {
			t.Errorf("%s: %d leaves, %+v; without soft errors %d, %+v", name, r.Leaves, r.Nested, sound.Leaves, sound.Nested)
		}
	}
	d := &soft{Device: disk.NewMemory(4096)}
	p := make([]byte, 512)
	if _, err := d.ReadAt(p, 0); !errors.Is(err, disk.ErrSoft) {
		t.Errorf("the first read: %v", err)
	}
	if _, err := d.ReadAt(p, 0); err != nil {
		t.Errorf("the second: %v", err)
	}
}
