package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"holdfast/disk"
)

// Every write of every workload is named by what it holds: no label is left general, and each
// kind of structure comes up.
func TestLabels(t *testing.T) {
	files, err := filepath.Glob("../../testdata/workloads/*.hf")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	kinds := []*regexp.Regexp{}
	seen := map[int]int{}
	for _, s := range []string{
		`journal (commit|records) of transaction \d+, run [AB]`,
		`journal header [01]`,
		`volume totals`,
		`bitmap of group \d+`,
		`checksum table of group \d+`,
		`inodes? \d+(, \d+)*( and \d+ more)?`,
		`directory block of inode \d+`,
		`directory index of inode \d+`,
		`directory space map of inode \d+`,
		`extent index of inode \d+`,
		`data of inode \d+ bytes \d+ to \d+(, inode \d+ bytes \d+ to \d+)*( and \d+ more)?`,
		`data`, // of a commit of more than 1 MiB, which lists none
	} {
		kinds = append(kinds, regexp.MustCompile("^"+s+"$"))
	}
	place := regexp.MustCompile(`^(.*?)( and \d+ more)?, (block \d+|blocks \d+ to \d+)$`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		x, err := play(name, string(text), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range x.trace.Events {
			if e.Kind != disk.EventWrite {
				continue
			}
			label := x.label(e.Off, e.Data)
			m := place.FindStringSubmatch(label)
			if m == nil {
				t.Fatalf("%s: a write of %d bytes at %d is %q", name, len(e.Data), e.Off, label)
			}
			for part := range strings.SplitSeq(m[1], "; ") {
				i := slices.IndexFunc(kinds, func(k *regexp.Regexp) bool { return k.MatchString(part) })
				if i < 0 {
					t.Fatalf("%s: a write of %d bytes at %d is %q", name, len(e.Data), e.Off, label)
				}
				seen[i]++
			}
		}
	}
	for i, k := range kinds {
		t.Logf("%6d %s", seen[i], k)
		if seen[i] == 0 {
			t.Errorf("nothing is labelled as %s", k)
		}
	}
}
