package workload

import (
	"reflect"
	"strings"
	"testing"
)

// parse is Parse for scripts that must be good.
func parse(t testing.TB, text string) *Script {
	t.Helper()
	s, err := Parse("test.hf", text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	s := parse(t, `
# a comment
image size=2m block=1k sector=512 run=64 inodes=32 reserved=9 dirty=8k cache=0
mkdir d 0700
create "d/odd \"name\"\n" # behind an operation
---
mknod /dev c 1 300 mode=0600
mknod p p
ln d/a d/b
ln -s "../x y" l
mv -n a b
write f 4k 1m 7
append //f 10 18446744073709551615
truncate f 3k
chmod 4755 /
chown 1000:100 f
touch f -5.25
!ENOTEMPTY rmdir d
?rm gone
open h f
writeh h 0 1 2
appendh h 1 2
truncateh h 0
fsynch h
close h
fsync f
sync
fdatasync f
fdatasynch h
`)
	want := &Script{
		Name:  "test.hf",
		Image: Image{Size: 2 << 20, Block: 1024, Sector: 512, Run: 64, Inodes: 32, Reserved: 9, Dirty: 8192},
		Setup: []Op{
			{Kind: OpMkdir, Path: "d", Mode: ModeDir | 0o700, Line: 4},
			{Kind: OpCreate, Path: "d/odd \"name\"\n", Mode: ModeFile | 0o644, Line: 5},
		},
		Ops: []Op{
			{Kind: OpMknod, Path: "dev", Mode: ModeChar | 0o600, Major: 1, Minor: 300, Line: 7},
			{Kind: OpMknod, Path: "p", Mode: ModeFIFO | 0o644, Line: 8},
			{Kind: OpLink, Path: "d/a", New: "d/b", Line: 9},
			{Kind: OpSymlink, Target: "../x y", New: "l", Line: 10},
			{Kind: OpRename, Path: "a", New: "b", Flags: RenameNoReplace, Line: 11},
			{Kind: OpWrite, Path: "f", Offset: 4096, Length: 1 << 20, Seed: 7, Line: 12},
			{Kind: OpAppend, Path: "f", Length: 10, Seed: 1<<64 - 1, Line: 13},
			{Kind: OpTruncate, Path: "f", Size: 3072, Line: 14},
			{Kind: OpChmod, Mode: 0o4755, Line: 15},
			{Kind: OpChown, Path: "f", UID: 1000, GID: 100, Line: 16},
			{Kind: OpTouch, Path: "f", Time: Time{-5, 250000000}, Line: 17},
			{Kind: OpRmdir, Path: "d", Expect: ENOTEMPTY, Line: 18},
			{Kind: OpRemove, Path: "gone", Any: true, Line: 19},
			{Kind: OpOpen, Handle: "h", Path: "f", Line: 20},
			{Kind: OpWriteHandle, Handle: "h", Length: 1, Seed: 2, Line: 21},
			{Kind: OpAppendHandle, Handle: "h", Length: 1, Seed: 2, Line: 22},
			{Kind: OpTruncateHandle, Handle: "h", Line: 23},
			{Kind: OpFsyncHandle, Handle: "h", Line: 24},
			{Kind: OpClose, Handle: "h", Line: 25},
			{Kind: OpFsync, Path: "f", Line: 26},
			{Kind: OpSync, Line: 27},
			{Kind: OpFdatasync, Path: "f", Line: 28},
			{Kind: OpFdatasyncHandle, Handle: "h", Line: 29},
		},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("found\n%+v\nwant\n%+v", s, want)
	}
	roundTrip(t, s)
}

// fataler is what a test of the testing package and one of package rapid share.
type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// roundTrip checks that the text of a script gives the script again.
func roundTrip(t fataler, s *Script) {
	t.Helper()
	back, err := Parse(s.Name, s.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	plain := func(ops []Op) []Op {
		var out []Op
		for _, op := range ops {
			op.Line = 0
			out = append(out, op)
		}
		return out
	}
	if back.Image != s.Image || !reflect.DeepEqual(plain(back.Setup), plain(s.Setup)) || !reflect.DeepEqual(plain(back.Ops), plain(s.Ops)) {
		t.Fatalf("another script came back from\n%s\nnamely\n%s", s, back)
	}
}

func TestParseRepeat(t *testing.T) {
	s := parse(t, `
repeat 2 {
  repeat 7..8 {
    create f$i-${j}0$$
  }
}
repeat 0 {
  create never$i
}
sync
`)
	var got []string
	for _, op := range s.Ops {
		got = append(got, op.String())
	}
	want := []string{"create /f0-70$$", "create /f0-80$$", "create /f1-70$$", "create /f1-80$$", "sync"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if s.Ops[0].Path != "f0-70$" || s.Ops[0].Line != 4 {
		t.Errorf("the first operation is %+v", s.Ops[0])
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"frob x", `test.hf:1: unknown operation "frob"`},
		{"\n\nmkdir", "test.hf:3: a path is missing"},
		{"mkdir a 0999", `test.hf:1: mode "0999": want octal digits`},
		{"mkdir a 0755 b", `"b" is too much`},
		{"mkdir /", "the root has no name"},
		{"mkdir a/../b", "holds .."},
		{`mkdir "a\x00b"`, "holds a NUL"},
		{`mkdir "a`, "bad quoted word"},
		{`mkdir "a"b`, "no blank after"},
		{"mkdir " + strings.Repeat("a/", 2100), "is too long"},
		{"mknod x", "a type is missing"},
		{"mknod x q", `type "q"`},
		{"mknod x c 1", "minor is missing"},
		{"mknod x p 0600", "want mode=MODE"},
		{"ln -s \"\" x", "is empty"},
		{"write f 0 2m 1", "more than one operation can write"},
		{"write f 0 1q 1", `size "1q"`},
		{"write f 0 1", "seed is missing"},
		{"write f 0 1 x", `seed: "x" is no number`},
		{"truncate f 9999999999g", "size"},
		{"chown 1 f", "want UID:GID"},
		{"touch f x", "want SECONDS"},
		{"touch f 1.", "nine digits"},
		{"touch f 1.1234567890", "nine digits"},
		{"open", "the name of a handle is missing"},
		{"!EWHAT rm x", `unknown error "EWHAT"`},
		{"!ENOENT", "an operation is missing"},
		{"?", "an operation is missing"},
		{"sync\nimage size=1m", "test.hf:2: the image line comes first"},
		{"image size=1m\nimage size=1m", "test.hf:2: the image line comes first"},
		{"image size", "want name=value"},
		{"image color=1", "unknown parameter"},
		{"image inodes=8g", "is too large"},
		{"---\n---", "test.hf:2: unexpected ---"},
		{"}", "test.hf:1: unexpected }"},
		{"repeat 3 {\nsync", "test.hf:1: repeat without }"},
		{"repeat 0 {\nsync", "test.hf:1: repeat without }"},
		{"repeat 3", "want: repeat N {"},
		{"repeat 5..3 {\n}", "want a number, or FROM..TO"},
		{"repeat x {\n}", "want a number"},
		{"repeat 1 {\n---\n}", "test.hf:2: unexpected ---"},
		{"create f$i", "no such counter"},
		{"repeat 1 {\ncreate f$j\n}", "test.hf:2: "},
		{"create f$", "no such counter"},
		{"repeat 1 {\nrepeat 1 {\nrepeat 1 {\nrepeat 1 {\n}\n}\n}\n}", "test.hf:4: repeat is nested"},
		{"repeat 1000000 {\nsync\n}", "test.hf:2: more than 65536 operations"},
	} {
		_, err := Parse("test.hf", c.text)
		if err == nil || !strings.HasPrefix(err.Error(), "test.hf:") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: found %v, want %s", c.text, err, c.want)
		}
	}
}

func TestOverrideAndRelax(t *testing.T) {
	s := parse(t, "image size=1m block=1k\n!ENOENT rm x\n!ENOSPC mkdir d\nsync")
	if err := s.Override("sector=4096 block=4k size=4m"); err != nil {
		t.Fatal(err)
	}
	if want := (Image{Size: 4 << 20, Block: 4096, Sector: 4096}); s.Image != want {
		t.Errorf("found %+v, want %+v", s.Image, want)
	}
	if err := s.Override("size=8m color=red"); err == nil || s.Image.Size != 4<<20 {
		t.Errorf("a bad override: %v, %+v", err, s.Image)
	}
	s.Relax()
	if !s.Ops[0].Any || s.Ops[0].Expect != OK || s.Ops[1].Any || s.Ops[1].Expect != ENOSPC {
		t.Errorf("relaxed: %+v", s.Ops)
	}
}

// FuzzParse: a parser never panics, and what it accepts it writes so that it reads it again.
func FuzzParse(f *testing.F) {
	f.Add("image size=1m block=1k\nmkdir d 0700\n---\nrepeat 2 {\ncreate \"d/\\xff $$ $i\"\n}\n")
	f.Add("mknod a b 1 2 mode=0600\nln -s -s x\n!ENOENT mv -n a b\n?touch f -1.5\nrepeat 0..1 {\n}\n")
	f.Add("open \"a b\" f\nwriteh \"a b\" 1k 2k 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("fuzz", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz:") {
				t.Fatalf("no place in %q", err)
			}
			return
		}
		if len(s.Ops) > 1000 {
			return
		}
		roundTrip(t, s)
	})
}
