package fsck_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/layout"
	"holdfast/volume"
)

// buildAttributes makes a volume with one file, whose attributes take a chain of three blocks.
func buildAttributes(t *testing.T) (x *img, ino uint64) {
	t.Helper()
	mem := disk.NewMemory(4 << 20)
	now := time.Unix(1600000000, 0)
	if err := volume.Format(mem, volume.FormatOptions{BlockSize: 1024, Now: now}); err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(mem, volume.Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	a, err := v.Create(volume.Root, "f", volume.NewNode{Mode: layout.ModeFile | 0o644})
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"user.a": 2500, "user.b": 20} {
		if err := v.Setxattr(a.Ino, name, bytes.Repeat([]byte{1}, n), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return imageOf(t, mem), uint64(a.Ino)
}

// lengthen puts n blocks of count bytes each behind the last of the chain, with all that counts
// blocks as it has to be.
func (x *img) lengthen(ino uint64, n, count int) {
	last := x.inode(ino).Xattr
	for h := layout.DecodeHeader(x.block(last)); h.Aux != 0; h = layout.DecodeHeader(x.block(last)) {
		last = h.Aux
	}
	free := x.g.Blocks / 2
	for range n {
		h := layout.DecodeHeader(x.block(last))
		h.Aux = free
		x.edit(last, func(b []byte) { layout.EncodeHeader(b, h) })
		layout.InitBlock(x.block(free), layout.KindXattr, ino, h.Index+1)
		x.edit(free, func(b []byte) {
			layout.EncodeHeader(b, layout.Header{Kind: layout.KindXattr, Count: uint32(count), Owner: ino, Index: h.Index + 1, Aux2: h.Aux2})
		})
		group, _ := x.g.GroupOf(free)
		x.edit(x.g.BitmapBlock(group), func(b []byte) {
			layout.SetBit(layout.BlockBody(b), free-x.g.GroupStart(group), true)
			s := layout.Stats(b)
			s.FreeBlocks--
			layout.SetStats(b, s)
		})
		last, free = free, free+1
	}
	x.edit(x.g.TotalsBlock(), func(b []byte) {
		t, err := layout.DecodeTotals(b, &x.g)
		if err != nil {
			x.t.Fatal(err)
		}
		t.FreeBlocks -= uint64(n)
		layout.EncodeTotals(b, t)
	})
	x.editInode(ino, func(in *layout.Inode) { in.Blocks += uint64(n) })
}

// Attributes that a volume cannot read, or does not find, are damage, and so is a size that no file has.
func TestAttributesAndSize(t *testing.T) {
	head := func(x *img, ino uint64, edit func(body []byte)) {
		x.edit(x.inode(ino).Xattr, func(b []byte) { edit(layout.BlockBody(b)) })
	}
	for _, c := range []struct {
		name   string
		damage func(x *img, ino uint64)
		want   string
	}{
		{"out of order", func(x *img, ino uint64) { head(x, ino, func(p []byte) { p[8] = 'c' }) }, `attribute "b" behind "c"`},
		{"twice", func(x *img, ino uint64) { head(x, ino, func(p []byte) { p[8] = 'b' }) }, `attribute "b" behind "b"`},
		{"name with NUL", func(x *img, ino uint64) { head(x, ino, func(p []byte) { p[8] = 0 }) }, "NUL"},
		{"empty block", func(x *img, ino uint64) { x.lengthen(ino, 1, 0) }, "0 bytes"},
		{"too long", func(x *img, ino uint64) { x.lengthen(ino, 140, 960) }, "more than 131072 bytes"},
		{"size", func(x *img, ino uint64) { x.editInode(ino, func(in *layout.Inode) { in.Size = 1 << 58 }) }, "below 2^58"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, ino := buildAttributes(t)
			if r := x.check(); !r.Clean() {
				t.Fatalf("before: %v", r.Findings)
			}
			c.damage(x, ino)
			r := x.check()
			if r.Total != 1 || r.Counts[fsck.BadStructure] != 1 || !strings.Contains(r.Findings[0].Message, c.want) {
				t.Errorf("findings %v, want one that says %q", r.Findings, c.want)
			}
			v, err := volume.Open(disk.MemoryFrom(x.p), volume.Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Getxattr(volume.Ino(ino), "user.a"); err == nil {
				t.Error("the volume reads it")
			}
		})
	}
}
