package main

import (
	"os"
	"path/filepath"
	"testing"

	"holdfast/crash"
)

// TestSaveOverResumed: going on into the file that was resumed loses nothing of it, however soon the run
// ends, and lists no point twice.
func TestSaveOverResumed(t *testing.T) {
	x, err := play("save.hf", "image size=1m block=1k sector=512\n---\ncreate a\nfsync a\nmkdir b\n", "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "done.json")
	opt := crash.Options{Bad: true}
	done, err := x.keep(&opt, file, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := crash.Explore(x.trace, opt, x.check); err != nil {
		t.Fatal(err)
	}
	if err := done(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, explored := range []bool{false, true} {
		opt := crash.Options{Bad: true}
		done, err := x.keep(&opt, file, file)
		if err != nil {
			t.Fatal(err)
		}
		if explored {
			check := func(*crash.State) error { t.Error("a point that is done is explored again"); return nil }
			if _, err := crash.Explore(x.trace, opt, check); err != nil {
				t.Fatal(err)
			}
			if err := done(); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != string(whole) {
			t.Errorf("explored %v: %v\n%s\nwas\n%s", explored, err, got, whole)
		}
	}
}
