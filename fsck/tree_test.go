package fsck

import (
	"testing"
	"time"

	"holdfast/layout"
)

// slots is a checker that has read n directories without names, and no device.
func slots(n int) *checker {
	c := &checker{r: &Report{}, super: &layout.Superblock{Root: 1}, totals: &layout.Totals{Groups: 1},
		g: layout.Geometry{BlockSize: 1024, Groups: 1, InodesPerGroup: uint32(n)}}
	c.groups = []group{{inodes: make([]inodeInfo, n)}}
	for i := range c.groups[0].inodes {
		c.groups[0].inodes[i] = inodeInfo{mode: layout.ModeDir, links: 2, state: slotUsed}
	}
	c.slot(1).parent = 1
	return c
}

// name makes dir name ino.
func (c *checker) name(dir, ino uint64) {
	x := c.slot(ino)
	x.above, x.parent = dir, dir
	x.seen++
	c.slot(dir).subdirs++
	c.slot(dir).links++
}

// A chain of directories below one without a name: each must be passed a bounded number of
// times (2^18 walks of its length would take minutes), and only its head is lost.
func TestDeep(t *testing.T) {
	const n = 1 << 18
	c := slots(n)
	for ino := uint64(3); ino <= n; ino++ {
		c.name(ino-1, ino)
	}
	begin := time.Now()
	c.tree()
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("%v for a chain of %d directories", d, n)
	}
	if c.r.Total != 1 || c.r.Counts[Lost] != 1 || c.r.Findings[0].Inode != 2 {
		t.Errorf("%d findings, %v", c.r.Total, c.r.Counts)
	}
	if c.slot(n).state == slotReachable {
		t.Error("the end of a chain that hangs nowhere is reachable")
	}
}

// A cycle is where the parents lead back: what hangs below it is none.
func TestCycles(t *testing.T) {
	c := slots(9)
	c.name(1, 2)
	c.name(2, 3) // reached
	c.name(6, 4)
	c.name(4, 5)
	c.name(5, 6) // 4 5 6: a cycle
	c.name(6, 7)
	c.name(7, 8) // below it
	c.name(9, 9) // its own parent
	c.tree()
	var got []uint64
	for _, f := range c.r.Findings {
		if f.Code != Cycle {
			t.Errorf("%v", f)
		}
		got = append(got, f.Inode)
	}
	if len(got) != 4 || got[0] != 4 || got[1] != 5 || got[2] != 6 || got[3] != 9 {
		t.Errorf("in a cycle: %v, want 4 5 6 9", got)
	}
	for ino := uint64(1); ino <= 9; ino++ {
		if reached := c.slot(ino).state == slotReachable; reached != (ino <= 3) {
			t.Errorf("inode %d: reachable %v", ino, reached)
		}
	}
}
