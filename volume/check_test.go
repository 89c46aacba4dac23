package volume

import (
	"slices"
	"testing"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/journal"
	"holdfast/layout"
)

// checkDevice holds what is on a device to the invariants, as a crash would leave it: its
// journal is replayed into an overlay, and fsck looks at that. Then the same is asked of what
// opening it makes of it, orphans and all. The device is not written.
func checkDevice(t testing.TB, dev disk.Device) {
	t.Helper()
	dev, s, err := Assemble(dev, Assembly{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		t.Fatal(err)
	}
	o := disk.NewOverlay(dev, g.SectorSize)
	r, err := journal.Recover(o, &g, layout.NewSeeds(s.UUID))
	if err != nil {
		t.Fatal(err)
	}
	if g.RunBlocks == 0 {
		judge(t, "without a journal", o, fsck.Lost) // what is held and has no name
		return
	}
	judge(t, "as recovered", o)
	if !r.Dropped && r.Replayed == 0 {
		return
	}
	v, err := Open(o, Options{Clock: testClock})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(v.orphans); n != 0 {
		t.Errorf("%d orphans are left", n)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	judge(t, "opened and closed", o)
}

func judge(t testing.TB, what string, dev disk.Device, allowed ...fsck.Code) {
	t.Helper()
	r, err := fsck.Check(dev, fsck.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if !slices.Contains(allowed, f.Code) {
			t.Errorf("%s: %v", what, f)
		}
	}
}
