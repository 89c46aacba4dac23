package fsck_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/layout"
	"holdfast/volume"
)

// img is a small volume, and the means to damage its structures so that only what they say is
// wrong, not their checksums.
type img struct {
	t     testing.TB
	p     []byte
	g     layout.Geometry
	seeds layout.Seeds
}

// build makes a volume with a file of two names, an indexed directory, a long symbolic link
// and a subdirectory.
func build(t testing.TB) *img {
	t.Helper()
	mem := disk.NewMemory(2 << 20)
	now := time.Unix(1600000000, 0)
	if err := volume.Format(mem, volume.FormatOptions{BlockSize: 1024, Now: now}); err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(mem, volume.Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	make := func(dir volume.Ino, name string, n volume.NewNode) volume.Ino {
		a, err := v.Create(dir, name, n)
		if err != nil {
			t.Fatal(name, err)
		}
		return a.Ino
	}
	f := make(volume.Root, "f", volume.NewNode{Mode: layout.ModeFile | 0o644})                                   // 2
	d := make(volume.Root, "d", volume.NewNode{Mode: layout.ModeDir | 0o755})                                    // 3
	make(d, "sub", volume.NewNode{Mode: layout.ModeDir | 0o755})                                                 // 4
	make(volume.Root, "l", volume.NewNode{Mode: layout.ModeLink | 0o777, Target: strings.Repeat("target/", 30)}) // 5
	big := make(volume.Root, "big", volume.NewNode{Mode: layout.ModeDir | 0o755})                                // 6
	if _, err := v.Write(f, []byte(strings.Repeat("data of a file, ", 250)[:3999]+"!"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Link(f, d, "g"); err != nil {
		t.Fatal(err)
	}
	for i := range 80 {
		if _, err := v.Link(f, big, fmt.Sprintf("name-%03d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return imageOf(t, mem)
}

// imageOf is what a closed volume has left.
func imageOf(t testing.TB, mem *disk.Memory) *img {
	t.Helper()
	s, err := volume.ReadSuperblock(mem)
	if err != nil {
		t.Fatal(err)
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		t.Fatal(err)
	}
	return &img{t, mem.Bytes(), g, layout.NewSeeds(s.UUID)}
}

func (x *img) check() *fsck.Report {
	x.t.Helper()
	r, err := fsck.Check(disk.MemoryFrom(x.p), fsck.Options{})
	if err != nil {
		x.t.Fatal(err)
	}
	return r
}

func (x *img) block(no uint64) []byte {
	return x.p[no*uint64(x.g.BlockSize) : (no+1)*uint64(x.g.BlockSize)]
}

// edit changes a metadata block and seals it again.
func (x *img) edit(no uint64, f func(b []byte)) {
	b := x.block(no)
	f(b)
	layout.Seal(b, x.seeds.Block(no))
}

func (x *img) inode(ino uint64) *layout.Inode {
	no, off := x.g.InodePlace(ino)
	in := &layout.Inode{}
	if err := layout.DecodeInode(x.block(no)[off:], in, ino, no, off, x.seeds); err != nil {
		x.t.Fatal(err)
	}
	return in
}

// editInode changes an inode and seals it again.
func (x *img) editInode(ino uint64, f func(in *layout.Inode)) {
	in := x.inode(ino)
	f(in)
	no, off := x.g.InodePlace(ino)
	layout.EncodeInode(x.block(no)[off:], in, ino, x.seeds)
}

// first is the first block that an inode maps.
func (x *img) first(ino uint64) uint64 { return layout.GetExtent(x.inode(ino).Inline[:], 0).Block }

// editName changes the record of a name in a leaf.
func (x *img) editName(dir uint64, name string, f func(p []byte)) {
	x.edit(x.first(dir), func(b []byte) {
		body := layout.BlockBody(b)
		for off := 0; off < len(body); {
			r, err := layout.GetRecord(body, off)
			if err != nil {
				x.t.Fatal(err)
			}
			if string(r.Name) == name {
				f(body[off : off+r.Len])
				return
			}
			off += r.Len
		}
		x.t.Fatalf("no name %q", name)
	})
}

func TestClean(t *testing.T) {
	r := build(t).check()
	if !r.Clean() {
		t.Fatalf("%v", r.Findings)
	}
	if r.Files != 1 || r.Dirs != 4 || r.Others != 1 || r.Data != 5 {
		t.Errorf("%+v", r)
	}
}

// TestFindings damages one thing at a time: the check must find exactly that.
func TestFindings(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name   string
		damage func(x *img)
		want   fsck.Code
		also   []fsck.Code // what follows from it
	}{
		{"two owners", func(x *img) {
			x.editInode(5, func(in *layout.Inode) { layout.PutExtent(in.Inline[:], 0, layout.Extent{Block: x.first(2), Len: 1}) })
		}, fsck.SharedBlock, []fsck.Code{fsck.Leak, fsck.WrongCount, fsck.BadData}},
		{"data flipped", func(x *img) { x.block(x.first(2))[100] ^= 1 }, fsck.BadData, nil},
		{"old data", func(x *img) { copy(x.block(x.first(2)), x.block(x.first(2)+3)) }, fsck.BadData, nil},
		{"directory block flipped", func(x *img) { x.block(x.first(3))[100] ^= 1 }, fsck.BadStructure, []fsck.Code{fsck.LinksHigh, fsck.WrongCount}},
		{"inode flipped", func(x *img) {
			no, off := x.g.InodePlace(4)
			x.block(no)[off+20] ^= 1
		}, fsck.BadStructure, []fsck.Code{fsck.WrongCount, fsck.LinksHigh}},
		{"bitmap flipped", func(x *img) { x.block(x.g.BitmapBlock(0))[200] ^= 1 }, fsck.BadStructure, nil},
		{"checksum table flipped", func(x *img) { x.block(x.g.SumBlock(0, 0))[200] ^= 1 }, fsck.BadStructure, nil},
		{"superblock flipped", func(x *img) { x.p[layout.SuperOffset1+100] ^= 1 }, fsck.BadStructure, nil},
		{"backup superblock", func(x *img) { x.p[x.g.BackupOffset()+100] ^= 1 }, fsck.BadStructure, nil},
		{"both log headers", func(x *img) { x.block(x.g.LogHead(0))[9] ^= 1; x.block(x.g.LogHead(1))[9] ^= 1 }, fsck.BadStructure, nil},
		{"marked free", func(x *img) {
			x.edit(x.g.BitmapBlock(0), func(b []byte) {
				layout.SetBit(layout.BlockBody(b), x.first(2)-x.g.GroupStart(0), false)
			})
		}, fsck.MarkedFree, []fsck.Code{fsck.WrongCount}},
		{"leak", func(x *img) {
			x.edit(x.g.BitmapBlock(0), func(b []byte) { layout.SetBit(layout.BlockBody(b), x.g.GroupLen(0)-1, true) })
		}, fsck.Leak, []fsck.Code{fsck.WrongCount}},
		{"dangling", func(x *img) { x.editName(3, "g", func(p []byte) { le.PutUint64(p, 15) }) }, fsck.Dangling, []fsck.Code{fsck.LinksHigh}},
		{"out of range", func(x *img) { x.editName(3, "g", func(p []byte) { le.PutUint64(p, 1<<40) }) }, fsck.Dangling, []fsck.Code{fsck.LinksHigh}},
		{"type", func(x *img) { x.editName(3, "g", func(p []byte) { p[11] = 4 }) }, fsck.WrongType, nil},
		{"links high", func(x *img) { x.editInode(2, func(in *layout.Inode) { in.Links++ }) }, fsck.LinksHigh, nil},
		{"links low", func(x *img) { x.editInode(2, func(in *layout.Inode) { in.Links-- }) }, fsck.LinksLow, nil},
		{"directory links", func(x *img) { x.editInode(3, func(in *layout.Inode) { in.Links-- }) }, fsck.LinksLow, nil},
		{"parent", func(x *img) { x.editInode(4, func(in *layout.Inode) { in.Parent = 6 }) }, fsck.WrongParent, nil},
		{"second parent", func(x *img) {
			x.editName(3, "g", func(p []byte) { le.PutUint64(p, 6); p[11] = 4 })
		}, fsck.SecondParent, []fsck.Code{fsck.LinksHigh, fsck.LinksLow, fsck.WrongParent}},
		{"cycle", func(x *img) {
			x.editName(1, "d", func(p []byte) { le.PutUint64(p, 2); p[11] = 8 })
			x.editName(3, "g", func(p []byte) { le.PutUint64(p, 3); p[11] = 4 })
		}, fsck.Cycle, []fsck.Code{fsck.LinksHigh, fsck.LinksLow, fsck.WrongParent}},
		{"below an unreadable directory", func(x *img) { x.block(x.first(1))[100] ^= 1 }, fsck.BadStructure, []fsck.Code{fsck.LinksHigh, fsck.WrongCount}},
		{"below a lost directory", func(x *img) {
			x.editName(1, "d", func(p []byte) { le.PutUint64(p, 2); p[11] = 8 })
		}, fsck.Lost, []fsck.Code{fsck.LinksHigh, fsck.LinksLow}},
		{"names in an orphan", func(x *img) {
			x.editName(1, "d", func(p []byte) { le.PutUint64(p, 2); p[11] = 8 })
			x.editInode(3, func(in *layout.Inode) { in.Flags |= layout.FlagOrphan; in.Links = 0 })
			x.edit(x.g.TotalsBlock(), func(b []byte) {
				tt, _ := layout.DecodeTotals(b, &x.g)
				tt.Orphan = 3
				layout.EncodeTotals(b, tt)
			})
		}, fsck.OrphanList, []fsck.Code{fsck.LinksHigh, fsck.LinksLow}},
		{"lost", func(x *img) {
			x.editInode(8, func(in *layout.Inode) { *in = layout.Inode{Mode: layout.ModeFile, Generation: 1} })
		}, fsck.Lost, []fsck.Code{fsck.WrongCount}},
		{"orphan mark", func(x *img) { x.editInode(2, func(in *layout.Inode) { in.Flags |= layout.FlagOrphan }) }, fsck.OrphanList, nil},
		{"orphan list", func(x *img) {
			x.edit(x.g.TotalsBlock(), func(b []byte) {
				tt, _ := layout.DecodeTotals(b, &x.g)
				tt.Orphan = 2
				layout.EncodeTotals(b, tt)
			})
		}, fsck.OrphanList, nil},
		{"free blocks", func(x *img) {
			x.edit(x.g.TotalsBlock(), func(b []byte) {
				tt, _ := layout.DecodeTotals(b, &x.g)
				tt.FreeBlocks--
				layout.EncodeTotals(b, tt)
			})
		}, fsck.WrongCount, nil},
		{"names", func(x *img) { x.editInode(3, func(in *layout.Inode) { in.Names++ }) }, fsck.WrongCount, nil},
		{"blocks of a file", func(x *img) { x.editInode(2, func(in *layout.Inode) { in.Blocks++ }) }, fsck.WrongCount, nil},
		{"largest hole", func(x *img) {
			x.edit(x.first(3), func(b []byte) { h := layout.DecodeHeader(b); h.Aux -= 4; layout.EncodeHeader(b, h) })
		}, fsck.WrongCount, nil},
		{"slash in a name", func(x *img) { x.editName(3, "g", func(p []byte) { p[12] = '/' }) }, fsck.BadName, nil},
		{"name not indexed", func(x *img) { x.editName(6, "name-000", func(p []byte) { p[12] = 'N' }) }, fsck.BadIndex, nil},
		{"name twice", func(x *img) { x.editName(6, "name-001", func(p []byte) { p[12+7] = '0' }) }, fsck.BadName, []fsck.Code{fsck.BadIndex}},
		{"raised separator", func(x *img) {
			x.edit(x.inode(6).IndexRoot, func(b []byte) {
				e := layout.GetIndex(layout.BlockBody(b), 1, false)
				e.Pos++ // now above the first entry of its child, and no other
				layout.PutIndex(layout.BlockBody(b), 1, false, e)
			})
		}, fsck.BadIndex, nil},
		{"raised leftmost separator", func(x *img) {
			x.edit(x.inode(6).IndexRoot, func(b []byte) {
				e := layout.GetIndex(layout.BlockBody(b), 1, false)
				e.Child = layout.GetIndex(layout.BlockBody(b), 0, false).Child
				e.Hash--
				layout.PutIndex(layout.BlockBody(b), 0, false, e)
			})
		}, fsck.BadIndex, nil},
		{"empty index node", func(x *img) {
			var child uint64
			x.edit(x.inode(6).IndexRoot, func(b []byte) { child = layout.GetIndex(layout.BlockBody(b), 1, false).Child })
			x.edit(child, func(b []byte) { h := layout.DecodeHeader(b); h.Count = 0; layout.EncodeHeader(b, h) })
		}, fsck.BadIndex, nil},
		{"space map", func(x *img) {
			for i := range int(x.inode(6).Extents) {
				if e := layout.GetExtent(x.inode(6).Inline[:], i); e.Logical >= layout.SpaceBase {
					x.edit(e.Block, func(b []byte) { layout.BlockBody(b)[0] ^= 1 })
				}
			}
		}, fsck.BadIndex, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := build(t)
			c.damage(x)
			r := x.check()
			if r.Counts[c.want] == 0 {
				t.Fatalf("not found; findings: %v", r.Findings)
			}
			for code := range r.Counts {
				ok := code == c.want
				for _, a := range c.also {
					ok = ok || code == a
				}
				if !ok {
					t.Errorf("a false alarm: %s in %v", code, r.Findings)
				}
			}
			for _, f := range r.Findings {
				if f.Cost == "" || f.Invariant < 1 || f.Invariant > 10 || !strings.HasPrefix(f.String(), fmt.Sprintf("I%d ", f.Invariant)) {
					t.Errorf("finding %+v", f)
				}
			}
		})
	}
}

// A finding is given its path without a second copy of what is known of the volume: what the
// check of 400 directories takes does not grow with them once there is something to report.
func TestPathMemory(t *testing.T) {
	mem := disk.NewMemory(128 << 20)
	if err := volume.Format(mem, volume.FormatOptions{Now: time.Unix(1600000000, 0)}); err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(mem, volume.Options{Clock: func() time.Time { return time.Unix(1600000000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	var last volume.Attr
	for i := range 400 {
		d, err := v.Create(volume.Root, fmt.Sprintf("dir-%03d", i), volume.NewNode{Mode: layout.ModeDir | 0o755})
		if err != nil {
			t.Fatal(err)
		}
		if last, err = v.Create(d.Ino, "file", volume.NewNode{Mode: layout.ModeFile | 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	allocated := func() (uint64, *fsck.Report) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := fsck.Check(mem, fsck.Options{})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		return after.TotalAlloc - before.TotalAlloc, r
	}
	clean, r := allocated()
	if !r.Clean() {
		t.Fatal(r.Findings)
	}
	s, err := volume.ReadSuperblock(mem)
	if err != nil {
		t.Fatal(err)
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		t.Fatal(err)
	}
	no, off := g.InodePlace(uint64(last.Ino))
	mem.Bytes()[no*uint64(g.BlockSize)+uint64(off)+20] ^= 1
	damaged, r := allocated()
	if len(r.Findings) == 0 || r.Findings[0].Path != "/dir-399/file" {
		t.Fatal(r.Findings)
	}
	if damaged > clean+2<<20 {
		t.Errorf("%d KiB allocated for a clean volume, %d KiB with one damaged inode", clean>>10, damaged>>10)
	}
}

// Damage that is resealed reaches every check behind the checksums: none may panic or hang.
func FuzzCheck(f *testing.F) {
	base := build(f)
	pristine := append([]byte(nil), base.p...)
	f.Add(uint16(0), uint16(100), []byte{1, 2, 3})
	f.Add(uint16(9), uint16(60), []byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, which, at uint16, damage []byte) {
		x := &img{t, append([]byte(nil), pristine...), base.g, base.seeds}
		no := x.g.TotalsBlock()
		if which > 0 {
			no = x.g.FirstGroup + uint64(which)%x.g.GroupLen(0)
		}
		copy(x.block(no)[int(at)%x.g.BlockSize:], damage)
		if inodes := x.g.InodeTable(0); no >= inodes && no < inodes+uint64(x.g.InodeBlocks()) {
			for i := range x.g.InodesPerBlock() {
				ino := x.g.InodeNumber(0, uint32(no-inodes)*uint32(x.g.InodesPerBlock())+uint32(i))
				layout.Seal(x.block(no)[i*layout.InodeSize:(i+1)*layout.InodeSize], x.seeds.Inode(ino))
			}
		} else {
			layout.Seal(x.block(no), x.seeds.Block(no))
		}
		_, _ = fsck.Check(disk.MemoryFrom(x.p), fsck.Options{})
	})
}

// A damaged bitmap does not hide what the inodes of its group say, nor other damage.
func TestBehindABitmap(t *testing.T) {
	x := build(t)
	whole := x.check()
	x.block(x.g.BitmapBlock(0))[200] ^= 1
	x.block(x.first(2))[10] ^= 1
	r := x.check()
	if r.Files != whole.Files || r.Dirs != whole.Dirs || r.Others != whole.Others {
		t.Errorf("%d files, %d directories, %d others; there are %d, %d, %d", r.Files, r.Dirs, r.Others, whole.Files, whole.Dirs, whole.Others)
	}
	if r.Counts[fsck.BadData] == 0 || r.Counts[fsck.BadStructure] == 0 || len(r.Counts) != 2 {
		t.Errorf("found %v", r.Findings)
	}
}
