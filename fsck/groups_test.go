package fsck_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/layout"
	"holdfast/volume"
)

// A group that has inodes and no blocks of its own is judged as any other, though its bitmap
// is not kept where groups are many.
func TestGroupsWithoutBlocks(t *testing.T) {
	mem := disk.NewMemory(96 << 20)
	now := time.Unix(1600000000, 0)
	if err := volume.Format(mem, volume.FormatOptions{BlockSize: 1024, InodesPerGroup: 4, Now: now}); err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(mem, volume.Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 { // of four inodes each, eight groups come into use
		if _, err := v.Create(volume.Root, fmt.Sprintf("f%d", i), volume.NewNode{Mode: layout.ModeFile | 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	pristine := imageOf(t, mem)
	g := pristine.g
	const group = 6
	bit := g.GroupTables(group) + 5
	for _, c := range []struct {
		name   string
		damage func(x *img)
		want   fsck.Code
	}{
		{"nothing", func(*img) {}, ""},
		{"count of free blocks", func(x *img) {
			x.edit(g.BitmapBlock(group), func(b []byte) {
				s := layout.Stats(b)
				s.FreeBlocks--
				layout.SetStats(b, s)
			})
		}, fsck.WrongCount},
		{"leak", func(x *img) {
			x.edit(g.BitmapBlock(group), func(b []byte) { layout.SetBit(layout.BlockBody(b), bit, true) })
		}, fsck.Leak},
		{"own tables free", func(x *img) {
			x.edit(g.BitmapBlock(group), func(b []byte) { layout.SetBit(layout.BlockBody(b), 1, false) })
		}, fsck.MarkedFree},
		{"used and free", func(x *img) {
			x.editInode(1, func(in *layout.Inode) {
				layout.PutExtent(in.Inline[:], 0, layout.Extent{Block: g.GroupStart(group) + bit, Len: 1})
			})
		}, fsck.MarkedFree},
		{"flipped", func(x *img) { x.block(g.BitmapBlock(group))[200] ^= 1 }, fsck.BadStructure},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &img{t, bytes.Clone(pristine.p), g, pristine.seeds}
			c.damage(x)
			r := x.check()
			if c.want == "" && !r.Clean() || c.want != "" && r.Counts[c.want] == 0 {
				t.Errorf("want %q, findings %v", c.want, r.Findings)
			}
		})
	}
}
