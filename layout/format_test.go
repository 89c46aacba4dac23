package layout

import (
	"bytes"
	"encoding/hex"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// docField is one row of a table of docs/FORMAT.md.
type docField struct {
	off, size int
	name      string
}

// readFormat returns the tables of docs/FORMAT.md by structure, and the size each declares.
func readFormat(t *testing.T) (map[string][]docField, map[string]int, string) {
	t.Helper()
	text, err := os.ReadFile("../docs/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	tables, sizes := map[string][]docField{}, map[string]int{}
	row := regexp.MustCompile(`^\| (\d+) \| (\d+) \| (.*) \|$`)
	head := regexp.MustCompile(`^<!-- struct (\w+) (\d+) -->$`)
	current := ""
	for _, line := range strings.Split(string(text), "\n") {
		if m := head.FindStringSubmatch(line); m != nil {
			current = m[1]
			sizes[current], _ = strconv.Atoi(m[2])
			continue
		}
		if m := row.FindStringSubmatch(line); m != nil && current != "" {
			off, _ := strconv.Atoi(m[1])
			size, _ := strconv.Atoi(m[2])
			tables[current] = append(tables[current], docField{off, size, m[3]})
			continue
		}
		if strings.HasPrefix(line, "#") {
			current = ""
		}
	}
	return tables, sizes, string(text)
}

// value is what the test writes into every field: a number that is recognisable at its place.
func value(off, size int) uint64 {
	v := uint64(off)*0x0101010101010101 + 0x0102030405060708
	if size >= 8 {
		return v & 0x0000_7fff_ffff_ffff
	}
	return v & (1<<(8*size) - 1)
}

func TestFormatDocument(t *testing.T) {
	tables, sizes, text := readFormat(t)
	want := []string{"superblock", "header", "totals", "inode", "extent", "record", "xattr", "loghead", "logsector"}
	v := func(st string, name string) uint64 {
		for _, f := range tables[st] {
			if strings.HasPrefix(f.name, name) {
				return value(f.off, f.size)
			}
		}
		t.Fatalf("FORMAT.md: structure %s has no field %q", st, name)
		return 0
	}
	u32 := func(st, name string) uint32 { return uint32(v(st, name)) }
	bytesOf := func(st, name string, n int) []byte { return bytes.Repeat([]byte{byte(v(st, name))}, n) }

	encoded := map[string][]byte{}
	sb := make([]byte, SuperblockSize)
	s := &Superblock{
		BlockSize: u32("superblock", "block size"), SectorSize: u32("superblock", "sector size"),
		Copies: u32("superblock", "copies"), Compat: v("superblock", "compat"), ROCompat: v("superblock", "ro-compat"),
		Incompat: v("superblock", "incompat"), Label: string(bytesOf("superblock", "label", 64)),
		Sequence: v("superblock", "sequence"), Blocks: v("superblock", "blocks"),
		InodesPerGroup: u32("superblock", "inodes per group"), Root: v("superblock", "root inode"),
		Reserved: v("superblock", "blocks kept back"), RunBlocks: v("superblock", "log run"),
		Created: Time{int64(v("superblock", "created, seconds")), u32("superblock", "created, nanoseconds")},
		Replica: u32("superblock", "replica"), MirrorEvents: v("superblock", "mirror events"),
		Checked: int64(v("superblock", "last full check")),
	}
	copy(s.UUID[:], bytesOf("superblock", "UUID", 16))
	copy(s.HashKey[:], bytesOf("superblock", "hash key", 16))
	copy(s.MirrorSet[:], bytesOf("superblock", "mirror set", 16))
	EncodeSuperblock(sb, s)
	encoded["superblock"] = sb

	hd := make([]byte, HeaderSize)
	EncodeHeader(hd, Header{Kind(u32("header", "magic")), u32("header", "count"), v("header", "sequence"),
		v("header", "owner"), v("header", "index"), v("header", "aux"), v("header", "aux2")})
	encoded["header"] = hd

	tot := make([]byte, 1024)
	EncodeTotals(tot, &Totals{v("totals", "free blocks"), v("totals", "free inodes"), v("totals", "directories"),
		v("totals", "initialised groups"), v("totals", "first orphan"), v("totals", "known-bad inode")})
	encoded["totals"] = tot

	ib := make([]byte, InodeSize)
	tm := func(n string) Time {
		return Time{int64(v("inode", n+" time, seconds")), u32("inode", n+" time, nanoseconds")}
	}
	in := &Inode{
		Mode: uint16(v("inode", "mode")), Links: u32("inode", "links"), UID: u32("inode", "user"), GID: u32("inode", "group"),
		Size: v("inode", "size"), Blocks: v("inode", "blocks owned"), Generation: u32("inode", "generation"), Flags: u32("inode", "flags"),
		Atime: tm("access"), Mtime: tm("modification"), Ctime: tm("change"), Btime: tm("birth"),
		Major: u32("inode", "device major"), Minor: u32("inode", "device minor"), Xattr: v("inode", "attribute block"),
		NextOrphan: v("inode", "next orphan"), Seq: v("inode", "sequence"), Parent: v("inode", "parent directory"),
		IndexRoot: v("inode", "index root"), Depth: uint8(v("inode", "extent depth")), XattrLen: uint8(v("inode", "inline attribute")),
		Extents: uint16(v("inode", "extents")), Names: u32("inode", "names"),
	}
	copy(in.Inline[:], bytesOf("inode", "inline area", InlineSize))
	EncodeInode(ib, in, 5, Seeds{})
	encoded["inode"] = ib

	ex := make([]byte, ExtentSize)
	PutExtent(ex, 0, Extent{Logical: v("extent", "first logical"), Block: v("extent", "first block"), Len: u32("extent", "length") &^ unwritten})
	encoded["extent"] = ex

	rec := make([]byte, 1024)
	nameLen := int(v("record", "name length"))
	PutRecord(rec, 0, int(v("record", "record length"))&^3&0x1ff, Dirent{v("record", "inode"), uint8(v("record", "type")), bytes.Repeat([]byte{'n'}, nameLen)})
	encoded["record"] = rec

	encoded["xattr"] = AppendXattr(nil, Xattr{uint8(v("xattr", "name space")), strings.Repeat("n", int(v("xattr", "name length"))), make([]byte, 300)})

	lh := make([]byte, LogHeadSize)
	EncodeLogHead(lh, &LogHead{v("loghead", "header sequence"), v("loghead", "epoch"), v("loghead", "tail position"), v("loghead", "tail transaction")}, 0, Seeds{})
	encoded["loghead"] = lh

	ls := make([]byte, 512)
	EncodeLogSector(ls, &LogSector{v("logsector", "epoch"), v("logsector", "position"), v("logsector", "transaction"),
		v("logsector", "attested"), u32("logsector", "index"), u32("logsector", "sectors"), 0}, make([]byte, 400), Seeds{})
	encoded["logsector"] = ls

	special := map[string]uint64{
		"superblock/version": Version, "inode/mark `IN`": inodeMark,
		"record/record length":             v("record", "record length") &^ 3 & 0x1ff,
		"extent/length; bit 31: unwritten": uint64(u32("extent", "length") &^ unwritten),
		"xattr/value length":               300,
		"loghead/magic `HEAD`":             logHeadMagic, "logsector/magic `LOGS`": logSectorMagic, "logsector/payload used": 400,
	}
	for _, st := range want {
		fields, p := tables[st], encoded[st]
		if len(fields) == 0 || p == nil {
			t.Fatalf("FORMAT.md: no table for %s", st)
		}
		at := fields[0].off
		for _, f := range fields {
			if f.off != at {
				t.Errorf("%s: field %q at %d, want %d: fields must be contiguous", st, f.name, f.off, at)
			}
			at = f.off + f.size
			q := p[f.off:at]
			switch {
			case f.name == "reserved":
				if !allZero(q) {
					t.Errorf("%s: reserved bytes at %d are not zero", st, f.off)
				}
			case f.name == "checksum":
				if f.off+4 != len(p) {
					t.Errorf("%s: checksum at %d, structure of %d bytes", st, f.off, len(p))
				}
			case f.name == "magic `HOLDFAST`":
				if !bytes.Equal(q, Magic[:]) {
					t.Errorf("superblock magic %q", q)
				}
			case f.size > 8:
				if !bytes.Equal(q, bytes.Repeat([]byte{byte(value(f.off, f.size))}, f.size)) {
					t.Errorf("%s: field %q is not at %d+%d", st, f.name, f.off, f.size)
				}
			default:
				w, ok := special[st+"/"+f.name]
				if !ok {
					w = value(f.off, f.size)
				}
				var got uint64
				for i := len(q) - 1; i >= 0; i-- {
					got = got<<8 | uint64(q[i])
				}
				if got != w {
					t.Errorf("%s: field %q at %d+%d is %#x, want %#x", st, f.name, f.off, f.size, got, w)
				}
			}
		}
		if at != sizes[st] {
			t.Errorf("%s: fields end at %d, the heading says %d", st, at, sizes[st])
		}
	}

	_, after, ok := strings.Cut(text, "<!-- hex loghead -->\n```\n")
	if !ok {
		t.Fatal("FORMAT.md: no hex example")
	}
	dump, _, _ := strings.Cut(after, "```")
	got := make([]byte, LogHeadSize)
	EncodeLogHead(got, &LogHead{Sequence: 7, Epoch: 3, Tail: 40, TailSeq: 12}, 0, NewSeeds([16]byte{}))
	if h := strings.Join(strings.Fields(dump), ""); h != hex.EncodeToString(got) {
		t.Errorf("hex example is\n%s\nthe code writes\n%s", h, hex.EncodeToString(got))
	}
	for _, k := range []Kind{KindTotals, KindBitmap, KindSums, KindExtents, KindDirLeaf, KindDirIndex, KindDirSpace, KindXattr} {
		var m [4]byte
		le.PutUint32(m[:], uint32(k))
		if !strings.Contains(text, "| "+k.String()+" | `"+string(m[:])+"` |") {
			t.Errorf("FORMAT.md does not list %v with magic %q", k, m)
		}
	}
}
