package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/crash"
)

var copiesAll = flag.Bool("copies", false, "explore every golden workload on two copies, with decay")

// TestGoldenCopies explores golden workloads on images of two copies, in one file and in two. Without decay each copy
// must be whole by itself after recovery. With one sector of either copy gone bad at the crash,
// wherever it is, nothing at all may be lost: what is owed is what an image of sound media owes.
func TestGoldenCopies(t *testing.T) {
	files, err := filepath.Glob("../../testdata/workloads/*.hf")
	if err != nil || len(files) < 25 {
		t.Fatal(len(files), err)
	}
	images := map[string]string{"": "copies=2", "/mirror": "copies=mirror"}
	quick := []string{"append", "attributes", "create", "link", "mkdir", "rename_over_file", "unlink"}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".hf")
		for decay := range 2 {
			if !*copiesAll && (!slices.Contains(quick, name) || decay > 0 && (testing.Short() || !slices.Contains(quick[1:4], name))) {
				continue
			}
			run := name
			if decay > 0 {
				run += "/decay"
			}
			for suffix, image := range images {
				t.Run(run+suffix, func(t *testing.T) {
					text, err := os.ReadFile(f)
					if err != nil {
						t.Fatal(err)
					}
					x, err := play(f, string(text), image)
					if err != nil {
						t.Fatal(err)
					}
					exploreAs(t, x, crash.Options{Bad: true, Decay: decay})
				})
			}
		}
	}
}
