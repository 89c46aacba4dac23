package main

import (
	"fmt"
	"io"
	"regexp"

	"holdfast/fsck"
)

var numbers = regexp.MustCompile(`[0-9]+`)

// sort of a finding: what findings that differ in their numbers alone have in common.
func sortOf(f fsck.Finding) string {
	return numbers.ReplaceAllString(string(f.Code)+" "+f.Structure+" "+f.Path+" "+f.Message, "N")
}

// printFindings prints a line for each finding. Of more than three of one sort in a row only the
// first is told in full, unless all are wanted: one bad stretch of a disk may hit every group.
func printFindings(w io.Writer, name string, list []fsck.Finding, all bool) {
	for len(list) > 0 {
		n := 1
		for n < len(list) && sortOf(list[n]) == sortOf(list[0]) {
			n++
		}
		if n <= 3 || all {
			for _, f := range list[:n] {
				fmt.Fprintf(w, "%s: %s\n", name, f)
			}
		} else {
			fmt.Fprintf(w, "%s: %s\n%s: ... and %d more like it, the last: %s", name, list[0], name, n-1, list[n-1].Structure)
			if b := list[n-1].Block; b != 0 {
				fmt.Fprintf(w, " (block %d)", b)
			}
			fmt.Fprintln(w)
		}
		list = list[n:]
	}
}
