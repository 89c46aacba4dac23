package main

import (
	"os"
	"testing"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// The workload that is to fill a transaction does, and no crash state of it fails.
func TestNearLogLimit(t *testing.T) {
	const name = "../../testdata/workloads/large/near_log_limit.hf"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	x, err := play(name, string(text), "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := volume.ReadSuperblock(disk.MemoryFrom(x.trace.Base))
	if err != nil {
		t.Fatal(err)
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		t.Fatal(err)
	}
	largest := uint64(0)
	for _, e := range x.trace.Events {
		if e.Kind == disk.EventWrite {
			if h, ok := layout.PeekLogSector(e.Data[:g.SectorSize]); ok {
				largest = max(largest, uint64(h.Count))
			}
		}
	}
	quarter := g.RunBlocks * uint64(g.BlockSize/g.SectorSize) / 4
	t.Logf("the largest transaction has %d sectors, at most %d are allowed", largest, quarter)
	if largest < quarter*6/10 {
		t.Errorf("the largest transaction has %d sectors of %d", largest, quarter)
	}
	explore(t, x)
}
