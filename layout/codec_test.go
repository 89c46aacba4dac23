package layout

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func testSuper() *Superblock {
	return &Superblock{BlockSize: 1024, SectorSize: 512, Copies: 1, UUID: [16]byte{1, 2, 3}, Label: "a label",
		HashKey: [16]byte{9}, Sequence: 3, Blocks: 20000, InodesPerGroup: 64, Root: 1, Reserved: 8, RunBlocks: 100,
		Created: Time{-5, 7}, Checked: 11}
}

func testGeometry(t testing.TB) *Geometry {
	g, err := NewGeometry(testSuper())
	if err != nil {
		t.Fatal(err)
	}
	return &g
}

func TestSuperblockRoundTrip(t *testing.T) {
	p := make([]byte, SuperblockSize)
	EncodeSuperblock(p, testSuper())
	got, err := DecodeSuperblock(p)
	if err != nil || !reflect.DeepEqual(got, testSuper()) {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestSuperblockCorrupt(t *testing.T) {
	set := func(off int, b ...byte) func(p []byte) { return func(p []byte) { copy(p[off:], b) } }
	for _, c := range []struct {
		name    string
		corrupt func(p []byte)
		reseal  bool
		want    error
		text    string
	}{
		{"magic", set(0, 'X'), true, ErrNotHoldfast, ""},
		{"bit rot", set(100, 1), false, ErrCorrupt, "checksum"},
		{"newer version", set(8, 2), true, ErrVersion, "version 2"},
		{"block size", set(12, 0, 3), true, ErrCorrupt, "block size"},
		{"block size zero", set(12, 0, 0, 0, 0), true, ErrCorrupt, "block size"},
		{"sector size", set(16, 0, 16), true, ErrCorrupt, "sector size"},
		{"copies", set(20, 3), true, ErrCorrupt, "copies"},
		{"copies without feature", set(20, 2), true, ErrCorrupt, "feature"},
		{"unknown feature", set(47, 0x80), true, ErrFeature, "0x8000000000000000"},
		{"label padding", set(127, 1), true, ErrCorrupt, "label"},
		{"blocks 0", set(152, 0, 0, 0, 0), true, ErrCorrupt, "room"},
		{"blocks huge", set(152, 255, 255, 255, 255, 255, 255, 255, 255), true, ErrCorrupt, "2^48"},
		{"inodes per group 0", set(160, 0), true, ErrCorrupt, "inodes per group"},
		{"inodes per group odd", set(160, 63), true, ErrCorrupt, "inodes per group"},
		{"inodes per group huge", set(160, 0, 255, 255, 255), true, ErrCorrupt, "inodes per group"},
		{"reserved field", set(164, 1), true, ErrCorrupt, "reserved"},
		{"root 0", set(168, 0), true, ErrCorrupt, "root"},
		{"root out of range", set(168, 0, 0, 1), true, ErrCorrupt, "root"},
		{"kept back", set(176, 0, 0, 0, 1), true, ErrCorrupt, "blocks of the volume"},
		{"no log without feature", set(184, 0), true, ErrCorrupt, "log length"},
		{"log larger than the volume", set(184, 0, 0, 0, 0, 0, 0, 0, 1), true, ErrCorrupt, ""},
		{"nanoseconds", set(203, 255), true, ErrCorrupt, "1e9"},
		{"replica", set(204, 2), true, ErrCorrupt, "0 or 1"},
		{"tail", set(300, 1), true, ErrCorrupt, "reserved"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := make([]byte, SuperblockSize)
			EncodeSuperblock(p, testSuper())
			c.corrupt(p)
			if c.reseal {
				Seal(p, 0)
			}
			if _, err := DecodeSuperblock(p); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("error %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
	if _, err := DecodeSuperblock(nil); !errors.Is(err, ErrNotHoldfast) {
		t.Fatal(err)
	}
}

// Every block of a volume is in the front, in one group or in the tail, and the places of
// a group's tables do not overlap.
func TestGeometryTiles(t *testing.T) {
	for _, bs := range []uint32{1024, 2048, 4096} {
		for _, blocks := range []uint64{300, 900, 5000, 7168, 8000, 40000, 100000} {
			s := testSuper()
			s.BlockSize, s.Blocks, s.RunBlocks, s.InodesPerGroup = bs, blocks, 16, 64
			g, err := NewGeometry(s)
			if err != nil {
				t.Fatalf("block size %d, %d blocks: %v", bs, blocks, err)
			}
			next := g.FirstGroup
			for i := range g.Groups {
				if g.GroupStart(i) != next {
					t.Fatalf("group %d at %d, want %d", i, g.GroupStart(i), next)
				}
				n := g.GroupLen(i)
				if n < g.GroupTables(i)+minGroupBlocks {
					t.Fatalf("group %d of %d blocks, %d of tables", i, n, g.GroupTables(i))
				}
				for _, b := range []uint64{next, next + n - 1} {
					if at, ok := g.GroupOf(b); !ok || at != i {
						t.Fatalf("block %d in group %d, want %d", b, at, i)
					}
				}
				if g.Allocatable(next+g.GroupTables(i)-1) || !g.Allocatable(next+g.GroupTables(i)) {
					t.Fatalf("group %d: tables end wrong", i)
				}
				tab, idx := g.SumPlace(next + n - 1)
				if tab >= g.InodeTable(i) || tab <= g.BitmapBlock(i) || idx >= g.SumsPerBlock() {
					t.Fatalf("checksum of the last block at %d/%d", tab, idx)
				}
				ino := g.InodeNumber(i, g.InodesPerGroup-1)
				if b, off := g.InodePlace(ino); b != g.GroupStart(i)+g.GroupTables(i)-1 || off+InodeSize != g.BlockSize {
					t.Fatalf("last inode of group %d at %d+%d", i, b, off)
				}
				if gr, ix := g.InodeGroup(ino); gr != i || ix != g.InodesPerGroup-1 {
					t.Fatal("InodeGroup is not the inverse of InodeNumber")
				}
				next += n
			}
			if uint64(g.BackupOffset())/uint64(bs) < next {
				t.Fatalf("backup at %d inside the groups (%d)", g.BackupOffset(), next)
			}
			if _, ok := g.GroupOf(next); ok && next != g.FirstGroup {
				t.Fatal("a block behind the last group is in a group")
			}
		}
	}
}

func TestHeaderAndTotals(t *testing.T) {
	g := testGeometry(t)
	s := NewSeeds([16]byte{4})
	p := make([]byte, 1024)
	InitBlock(p, KindTotals, 0, 0)
	want := &Totals{1000, 60, 3, 1, 5, 0}
	EncodeTotals(p, want)
	SealBlock(p, g.TotalsBlock(), 77, s)
	if !Sealed(p, s.Block(g.TotalsBlock())) || Sealed(p, s.Block(g.TotalsBlock()+1)) {
		t.Fatal("the seal does not depend on the address")
	}
	if h := DecodeHeader(p); h.Seq != 77 {
		t.Fatalf("sequence %d", h.Seq)
	}
	if got, err := DecodeTotals(p, g); err != nil || *got != *want {
		t.Fatal(got, err)
	}
	for name, corrupt := range map[string]func(p []byte){
		"magic":    func(p []byte) { p[0]++ },
		"owner":    func(p []byte) { p[16] = 1 },
		"index":    func(p []byte) { p[24] = 1 },
		"tail":     func(p []byte) { p[len(p)-8] = 1 },
		"body":     func(p []byte) { p[200] = 1 },
		"free":     func(p []byte) { p[55] = 1 },
		"inodes":   func(p []byte) { p[60] = 1 },
		"dirs":     func(p []byte) { p[68] = 1 },
		"groups 0": func(p []byte) { p[72] = 0 },
		"groups":   func(p []byte) { p[73] = 1 },
		"orphan":   func(p []byte) { p[86] = 1 },
		"bad":      func(p []byte) { p[95] = 1 },
	} {
		q := bytes.Clone(p)
		corrupt(q)
		if _, err := DecodeTotals(q, g); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBitmap(t *testing.T) {
	g := testGeometry(t)
	last := g.Groups - 1
	p := make([]byte, g.BlockSize)
	InitBitmap(p, g, last)
	if err := CheckBitmap(p, g, last); err != nil {
		t.Fatal(err)
	}
	free := uint64(0)
	for i := range g.GroupBlocks {
		used := Bit(BlockBody(p), i)
		if used != (i < g.GroupTables(last) || i >= g.GroupLen(last)) {
			t.Fatalf("bit %d is %v", i, used)
		}
		if !used {
			free++
		}
	}
	if s := Stats(p); uint64(s.FreeBlocks) != free {
		t.Fatalf("stats %+v, free %d", s, free)
	}
	want := GroupStats{17, 16, 3, 2}
	SetStats(p, want)
	if Stats(p) != want || CheckBitmap(p, g, last) != nil {
		t.Fatal("stats do not round-trip")
	}
	for name, corrupt := range map[string]func(p []byte){
		"free":        func(p []byte) { p[7] = 1 },
		"initialised": func(p []byte) { p[32] = 17 },
		"free inodes": func(p []byte) { p[36] = 17 },
		"dirs":        func(p []byte) { p[40] = 200 },
		"reserved":    func(p []byte) { p[44] = 1 },
		"group":       func(p []byte) { p[24]++ },
	} {
		q := bytes.Clone(p)
		corrupt(q)
		if err := CheckBitmap(q, g, last); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInode(t *testing.T) {
	s := NewSeeds([16]byte{4})
	want := Inode{Mode: ModeFile | 0o640, Links: 2, UID: 70000, GID: 3, Size: 1 << 40, Blocks: 9, Generation: 4, Flags: FlagAppend,
		Atime: Time{1, 2}, Mtime: Time{-3, 4}, Ctime: Time{5, 6}, Btime: Time{7, 999999999}, Major: 8, Minor: 9, Xattr: 10,
		NextOrphan: 11, Seq: 12, Parent: 13, IndexRoot: 14, Depth: 2, XattrLen: 24, Extents: 3, Names: 15}
	want.Inline[103] = 1
	p := make([]byte, InodeSize)
	EncodeInode(p, &want, 9, s)
	var got Inode
	if err := DecodeInode(p, &got, 9, 40, 256, s); err != nil || got != want {
		t.Fatalf("%+v %v", got, err)
	}
	if err := DecodeInode(p, &got, 10, 40, 256, s); !errors.Is(err, ErrCorrupt) || err.Error() != "inode 10 (block 40, offset 508): checksum does not match" {
		t.Fatal("an inode passes at another number: ", err)
	}
	for name, corrupt := range map[string]func(p []byte){
		"mark":        func(p []byte) { p[0]++ },
		"type":        func(p []byte) { p[3] = 0x30 },
		"no type":     func(p []byte) { p[3] = 1 },
		"size":        func(p []byte) { p[23] = 0x80 },
		"flags":       func(p []byte) { p[39] = 1 },
		"inline link": func(p []byte) { p[36] |= 1 },
		"nsec":        func(p []byte) { p[75] = 0xff },
		"depth":       func(p []byte) { p[136] = 7 },
		"xattr":       func(p []byte) { p[137] = 105 },
		"extents":     func(p []byte) { p[138] = 7 },
		"reserved":    func(p []byte) { p[248] = 1 },
	} {
		q := bytes.Clone(p)
		corrupt(q)
		Seal(q, s.Inode(9))
		if err := DecodeInode(q, &got, 9, 40, 0, s); !errors.Is(err, ErrCorrupt) || strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExtents(t *testing.T) {
	g := testGeometry(t)
	first := g.GroupStart(0) + g.GroupTables(0)
	area := make([]byte, 6*ExtentSize)
	want := []Extent{{0, first, 3, false}, {3, first + 10, 1, true}, {1 << 40, first + 20, 5, false}}
	for i, e := range want {
		PutExtent(area, i, e)
		if GetExtent(area, i) != e {
			t.Fatalf("%v != %v", GetExtent(area, i), e)
		}
	}
	check := func(n int, leaf bool, lo, hi uint64) error {
		return CheckExtents(area, n, leaf, lo, hi, g, "inode 5", 7)
	}
	if err := check(3, true, 0, MaxLogical); err != nil {
		t.Fatal(err)
	}
	bad := map[string]Extent{
		"overlap":       {2, first + 30, 2, false},
		"length 0":      {10, first + 30, 0, false},
		"in tables":     {10, g.GroupStart(0), 1, false},
		"front":         {10, 1, 1, false},
		"across groups": {10, g.GroupStart(1) - 1, 2, false},
		"beyond":        {10, g.Blocks, 1, false},
		"too far":       {MaxLogical - 1, first + 30, 2, false},
	}
	for name, e := range bad {
		PutExtent(area, 1, e)
		if err := check(2, true, 0, MaxLogical); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := check(7, true, 0, MaxLogical); !errors.Is(err, ErrCorrupt) {
		t.Error("a count beyond the area passes")
	}
	if err := check(1, false, 0, MaxLogical); !errors.Is(err, ErrCorrupt) {
		t.Error("an extent passes as a child")
	}
}

func TestRecords(t *testing.T) {
	p := make([]byte, 1024)
	InitLeaf(p, 5, 2, 9)
	b := BlockBody(p)
	r, err := GetRecord(b, 0)
	if err != nil || !r.Hole() || r.Len != len(b) {
		t.Fatalf("%+v %v", r, err)
	}
	PutRecord(b, 0, RecordLen(5), Dirent{7, 8, []byte("hello")})
	PutHole(b, RecordLen(5), len(b)-RecordLen(5))
	r, err = GetRecord(b, 0)
	if err != nil || string(r.Name) != "hello" || r.Ino != 7 || r.Type != 8 || r.Len != 20 {
		t.Fatalf("%+v %v", r, err)
	}
	for name, corrupt := range map[string]func(b []byte){
		"short":         func(b []byte) { b[8] = 12 },
		"unaligned":     func(b []byte) { b[8] = 22 },
		"long":          func(b []byte) { b[9] = 0xff },
		"name too long": func(b []byte) { b[10] = 9 },
		"no name":       func(b []byte) { b[10] = 0 },
		"hole named":    func(b []byte) { clear(b[:8]) },
	} {
		q := bytes.Clone(b)
		corrupt(q)
		if _, err := GetRecord(q, 0); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	for _, off := range []int{-4, 2, len(b), len(b) - 12, 1 << 30} {
		if _, err := GetRecord(b, off); err == nil {
			t.Errorf("a record at %d", off)
		}
	}
	if l, o := SplitPosition(Position(1<<31, 960)); l != 1<<31 || o != 960 {
		t.Error("positions do not round-trip")
	}
}

func TestIndexNode(t *testing.T) {
	p := make([]byte, 1024)
	for _, leaf := range []bool{true, false} {
		height := 1
		if leaf {
			height = 0
		}
		InitBlock(p, KindDirIndex, 5, 0)
		n := IndexEntries(1024, leaf)
		for i := range n {
			e := IndexEntry{Hash: uint64(i / 2), Pos: uint64(i)}
			if !leaf {
				e.Child = uint64(i) + 100
			}
			PutIndex(BlockBody(p), i, leaf, e)
			if GetIndex(BlockBody(p), i, leaf) != e {
				t.Fatal("entry does not round-trip")
			}
		}
		EncodeHeader(p, Header{Kind: KindDirIndex, Count: uint32(n), Owner: 5, Aux: uint64(height), Aux2: 3})
		if err := CheckIndexNode(p, 8, 5, 3, height); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"generation": CheckIndexNode(p, 8, 5, 4, height),
			"height":     CheckIndexNode(p, 8, 5, 3, height+1),
			"owner":      CheckIndexNode(p, 8, 6, 3, height),
		} {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s passes", name)
			}
		}
		PutIndex(BlockBody(p), 3, leaf, IndexEntry{})
		if err := CheckIndexNode(p, 8, 5, 3, height); !errors.Is(err, ErrCorrupt) {
			t.Error("disorder passes")
		}
		EncodeHeader(p, Header{Kind: KindDirIndex, Count: 1 << 31, Owner: 5, Aux: uint64(height), Aux2: 3})
		if err := CheckIndexNode(p, 8, 5, 3, height); !errors.Is(err, ErrCorrupt) {
			t.Error("a count beyond the block passes")
		}
	}
}

func TestXattrStream(t *testing.T) {
	a := Xattr{XattrUser, "name", []byte("value")}
	b := Xattr{XattrSystem, "acl", nil}
	stream := AppendXattr(AppendXattr(nil, a), b)
	x, rest, err := NextXattr(stream)
	if err != nil || !reflect.DeepEqual(x, a) {
		t.Fatal(x, err)
	}
	if x, rest, err = NextXattr(rest); err != nil || x.Name != "acl" || len(x.Value) != 0 || len(rest) != 0 {
		t.Fatal(x, err)
	}
	for i := 1; i < len(stream)-11; i++ {
		if _, _, err := NextXattr(stream[:i]); i < 17 && err == nil {
			t.Errorf("cut at %d passes", i)
		}
	}
	for off, v := range map[int]byte{0: 9, 1: 0, 2: 1, 6: 2} {
		q := bytes.Clone(stream)
		q[off] = v
		if _, _, err := NextXattr(q); err == nil {
			t.Errorf("byte %d = %d passes", off, v)
		}
	}
}

func TestLogStructures(t *testing.T) {
	s := NewSeeds([16]byte{4})
	head := LogHead{9, 8, 7, 6}
	p := make([]byte, LogHeadSize)
	EncodeLogHead(p, &head, 1, s)
	if got, err := DecodeLogHead(p, 1, 3, s); err != nil || *got != head {
		t.Fatal(got, err)
	}
	if _, err := DecodeLogHead(p, 0, 3, s); !errors.Is(err, ErrCorrupt) {
		t.Fatal("a header passes as the other copy")
	}
	for _, off := range []int{0, 4, 45} {
		q := bytes.Clone(p)
		q[off] ^= 1
		Seal(q, s.Head(1))
		if _, err := DecodeLogHead(q, 1, 3, s); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d: %v", off, err)
		}
	}
	sec := make([]byte, 512)
	h := LogSector{Epoch: 2, Pos: 30, Seq: 5, Attested: 4, Index: 1, Count: 3}
	EncodeLogSector(sec, &h, []byte("payload"), s)
	got, ok := PeekLogSector(sec)
	if !ok || got != h || string(LogSectorPayload(sec, &got)) != "payload" || !Sealed(sec, s.Log(30)) || Sealed(sec, s.Log(31)) {
		t.Fatalf("%+v %v", got, ok)
	}
	for _, off := range []int{0, 6, 5, 47, 35} { // magic, reserved, used, count, attested
		q := bytes.Clone(sec)
		q[off] = 0xff
		if off == 47 {
			q[40], q[44] = 9, 1
			q[47] = 0
		}
		if _, ok := PeekLogSector(q); ok {
			t.Errorf("byte %d passes", off)
		}
	}
}

func TestRecordsOfTheLog(t *testing.T) {
	image := bytes.Repeat([]byte{7}, 1024)
	var p []byte
	p = AppendImage(p, 11, image)
	p = AppendDelta(p, 12, true, []Range{{Off: 0, Bytes: []byte("ab")}, {Off: 1000, Bytes: []byte("c")}})
	p = AppendDelta(p, 15, false, []Range{{Off: 4, Bytes: []byte("x")}, {Off: 16, From: 0, Len: 32}})
	p = AppendRevoke(p, 13)
	p = AppendData(p, 14, 5, 6, 7, []uint32{1, 2, 3})
	p = AppendCommit(p, 5)
	var types []RecordType
	for off := 0; off < len(p); {
		r, next, err := NextRecord(p, off, 1024)
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, r.Type)
		switch r.Type {
		case RecordImage:
			if r.Block != 11 || !bytes.Equal(r.Image, image) {
				t.Fatal("image")
			}
		case RecordDelta:
			if r.Block == 15 {
				b := bytes.Repeat([]byte("abcd"), 16)
				Apply(b, r.Ranges)
				if want := "abcdxbcdabcdabcd" + strings.Repeat("abcd", 12); string(b) != want || DeltaSize(r.Ranges) != next-off {
					t.Fatalf("copy: %q", b)
				}
				break
			}
			if !r.ZeroBase || len(r.Ranges) != 2 || r.Ranges[1].Off != 1000 || DeltaSize(r.Ranges) != next-off {
				t.Fatal("delta")
			}
		case RecordData:
			if r.Block != 14 || r.Ino != 5 || r.Logical != 6 || r.Gen != 7 || len(r.Sums) != 3 || r.Sums[2] != 3 {
				t.Fatal("data")
			}
		case RecordCommit:
			if r.Records != 5 || next != len(p) {
				t.Fatal("commit")
			}
		}
		off = next
	}
	if len(types) != 6 {
		t.Fatal(types)
	}
	for i := range p { // the commit record vouches for every byte before it
		q := bytes.Clone(p)
		q[i] ^= 0x10
		ok := true
		for off := 0; off < len(q) && ok; {
			_, next, err := NextRecord(q, off, 1024)
			ok = err == nil
			off = next
		}
		if ok && i < len(p)-8 {
			t.Fatalf("byte %d of the payload changed and nothing noticed", i)
		}
	}
}

func FuzzDecode(f *testing.F) {
	s := NewSeeds([16]byte{4})
	sb := make([]byte, SuperblockSize)
	EncodeSuperblock(sb, testSuper())
	f.Add(sb, 0)
	blk := make([]byte, 1024)
	InitLeaf(blk, 5, 2, 9)
	f.Add(blk, 16)
	var p []byte
	p = AppendDelta(p, 12, true, []Range{{Off: 0, Bytes: []byte("ab")}})
	f.Add(AppendCommit(p, 1), 0)
	g := testGeometry(f)
	f.Fuzz(func(t *testing.T, p []byte, n int) {
		if s, err := DecodeSuperblock(p); err == nil {
			q := make([]byte, SuperblockSize)
			EncodeSuperblock(q, s)
			if !bytes.Equal(p[:SuperblockSize], q) {
				t.Fatal("decode then encode differs")
			}
		}
		if len(p) >= SuperblockSize { // the same behind a valid checksum
			q := bytes.Clone(p[:SuperblockSize])
			Seal(q, 0)
			_, _ = DecodeSuperblock(q)
		}
		block := make([]byte, 1024)
		copy(block, p)
		_, _ = DecodeTotals(block, g)
		_ = CheckBitmap(block, g, 0)
		_ = CheckIndexNode(block, 3, 5, 1, n&1)
		_ = CheckExtents(BlockBody(block), n, n&1 == 0, 0, MaxLogical, g, "fuzz", 0)
		_, _ = GetRecord(BlockBody(block), n)
		if h, ok := PeekLogSector(block[:512]); ok {
			_ = LogSectorPayload(block[:512], &h)
		}
		var in Inode
		Seal(block[:InodeSize], s.Inode(3))
		if DecodeInode(block, &in, 3, 0, 0, s) == nil {
			q := make([]byte, InodeSize)
			EncodeInode(q, &in, 3, s)
			if !bytes.Equal(q, block[:InodeSize]) {
				t.Fatal("inode: decode then encode differs")
			}
		}
		Seal(block[:LogHeadSize], s.Head(0))
		_, _ = DecodeLogHead(block, 0, 0, s)
		for rest := p; len(rest) > 0; {
			_, r, err := NextXattr(rest)
			if err != nil {
				break
			}
			rest = r
		}
		for off := 0; off < len(p); {
			_, next, err := NextRecord(p, off, 1024)
			if err != nil {
				break
			}
			if next <= off {
				t.Fatal("no progress")
			}
			off = next
		}
	})
}
