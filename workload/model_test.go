package workload

import (
	"bytes"
	"fmt"
	goparser "go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The cases of POSIX and of the Linux manual pages: a preparation, one operation (with "!" the
// error it must have), and what must hold afterwards, as lines of a dump without the times.
func TestModelCases(t *testing.T) {
	const tree = `
mkdir d
mkdir d/sub
mkdir e
create f
create d/g
ln f h
ln -s f link
ln -s d dlink
ln -s nowhere dangling
ln -s loop loop
mknod p p
`
	long := strings.Repeat("n", 256)
	for _, c := range []struct {
		name, op string
		want     []string
		gone     []string
	}{
		{"mkdir counts in its parent", "mkdir d/x", []string{"/d/x dir 0755 links=2", "/d dir 0755 links=4"}, nil},
		{"mkdir over a name", "!EEXIST mkdir f", nil, nil},
		{"mkdir over a dangling link", "!EEXIST mkdir dangling", nil, nil},
		{"mkdir without a parent", "!ENOENT mkdir x/y", nil, nil},
		{"mkdir in a file", "!ENOTDIR mkdir f/y", nil, nil},
		{"mkdir through a link", "mkdir dlink/x", []string{"/d/x dir 0755 links=2"}, nil},
		{"mkdir in a loop", "!ELOOP mkdir loop/x", nil, nil},
		{"name too long", "!ENAMETOOLONG create " + long, nil, nil},
		{"name just not too long", "create " + long[:255], []string{"/" + long[:255] + " file 0644 links=1"}, nil},
		{"name too long on the way", "!ENAMETOOLONG create " + long + "/x", nil, nil},
		{"device", "mknod x b 8 1 mode=0600", []string{"/x block 0600 links=1 owner=0:0 device=8:1"}, nil},
		{"hard link", "ln f d/f2", []string{"/d/f2 file 0644 links=3", "/f = /d/f2", "/h = /d/f2"}, nil},
		{"hard link of a link is of the link", "ln link l2", []string{"/l2 symlink 0777 links=2", "/link = /l2"}, nil},
		{"hard link of a directory", "!EPERM ln d x", nil, nil},
		{"hard link of a directory over a name", "!EEXIST ln d f", nil, nil},
		{"hard link of nothing", "!ENOENT ln x y", nil, nil},
		{"symbolic link over a name", "!EEXIST ln -s x f", nil, nil},
		{"target too long", "!ENAMETOOLONG ln -s " + strings.Repeat("t", 4096) + " x", nil, nil},
		{"unlink of one name of two", "rm f", []string{"/h file 0644 links=1"}, []string{"/f"}},
		{"unlink of a link", "rm dlink", []string{"/d dir 0755 links=3"}, []string{"/dlink"}},
		{"unlink of a directory", "!EISDIR rm d", nil, nil},
		{"unlink of nothing", "!ENOENT rm x", nil, nil},
		{"unlink below a file", "!ENOTDIR rm f/x", nil, nil},
		{"rmdir", "rmdir d/sub", []string{"/d dir 0755 links=2"}, []string{"/d/sub"}},
		{"rmdir of what is not empty", "!ENOTEMPTY rmdir d", nil, nil},
		{"rmdir of a file", "!ENOTDIR rmdir f", nil, nil},
		{"rmdir of a link to a directory", "!ENOTDIR rmdir dlink", nil, nil},
		{"rename", "mv f x", []string{"/h file 0644 links=2", "/x = /h"}, []string{"/f"}},
		{"rename over a file", "mv d/g f", []string{"/f file 0644 links=1", "/h file 0644 links=1"}, []string{"/d/g"}},
		{"rename to another name of the same file", "mv f h", []string{"/f file 0644 links=2", "/h = /f"}, nil},
		{"rename to itself", "mv f f", []string{"/f file 0644 links=2"}, nil},
		{"rename of a directory", "mv d/sub e/s", []string{"/d dir 0755 links=2", "/e dir 0755 links=3", "/e/s dir 0755 links=2"}, []string{"/d/sub"}},
		{"rename over an empty directory", "mv d e", []string{"/e dir 0755 links=3", "/e/g file 0644"}, []string{"/d"}},
		{"rename over a directory with names", "!ENOTEMPTY mv e d", nil, nil},
		{"rename of a directory over a file", "!ENOTDIR mv e f", nil, nil},
		{"rename of a file over a directory", "!EISDIR mv f e", nil, nil},
		{"rename into itself", "!EINVAL mv d d/sub/x", nil, nil},
		{"rename over its own parent", "!ENOTEMPTY mv d/sub d", nil, nil},
		{"rename of nothing", "!ENOENT mv x y", nil, nil},
		{"rename without replacing", "!EEXIST mv -n f h", nil, nil},
		{"rename without replacing, to a new name", "mv -n f x", []string{"/x = /h"}, []string{"/f"}},
		{"rename of a link moves the link", "mv link d/l", []string{"/d/l symlink 0777 links=1 owner=0:0 -> f"}, []string{"/link"}},
		{"rename over a link replaces the link", "mv d/g link", []string{"/link file 0644 links=1", "/f file 0644 links=2"}, []string{"/d/g"}},
		{"write", "write f 10 20 1", []string{"/f file 0644 links=2 owner=0:0 size=30"}, nil},
		{"write through a link", "write link 0 5 1", []string{"/f file 0644 links=2 owner=0:0 size=5"}, nil},
		{"write to a directory", "!EISDIR write d 0 5 1", nil, nil},
		{"write to a pipe", "!EINVAL write p 0 5 1", nil, nil},
		{"write to a dangling link", "!ENOENT write dangling 0 5 1", nil, nil},
		{"truncate makes it longer", "truncate f 100", []string{"/f file 0644 links=2 owner=0:0 size=100"}, nil},
		{"truncate of a directory", "!EISDIR truncate d 0", nil, nil},
		{"chmod follows", "chmod 0600 link", []string{"/f file 0600 links=2", "/link symlink 0777"}, nil},
		{"chown", "chown 5:6 d", []string{"/d dir 0755 links=3 owner=5:6"}, nil},
		{"a handle that is not open", "!EBADF close x", nil, nil},
		{"fsync of nothing", "!ENOENT fsync x", nil, nil},
		{"sync changes nothing", "sync", []string{"/f file 0644 links=2"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := parse(t, tree+"---\n"+c.op+"\n")
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
			before := apply(s.Setup, NewState(0o755, 0, 0, Time{}))
			after := apply(s.Ops, before)
			if s.Ops[0].Expect != OK && after != before {
				t.Error("an operation that failed changed something")
			}
			dump := withoutTimes(after)
			for _, w := range c.want {
				if !slices.ContainsFunc(dump, func(l string) bool { return strings.HasPrefix(l, w) }) {
					t.Errorf("no line %q in\n%s", w, strings.Join(dump, "\n"))
				}
			}
			for _, p := range c.gone {
				if slices.Contains(after.Paths(), p) {
					t.Errorf("%s is still there", p)
				}
			}
		})
	}
}

func apply(ops []Op, s *State) *State {
	for i, op := range ops {
		s, _ = s.Apply(op, Time{Sec: int64(i + 1)})
	}
	return s
}

func withoutTimes(s *State) []string {
	var out []string
	for l := range strings.Lines(s.Dump()) {
		a, b, cut := strings.Cut(strings.TrimSpace(l), " mtime=")
		if cut {
			if _, rest, more := strings.Cut(b, " "); more {
				a += " " + rest
			}
		}
		out = append(out, a)
	}
	return out
}

// Which operations change which modification times.
func TestModelTimes(t *testing.T) {
	for _, c := range []struct{ op, want string }{ // paths whose time is that of the operation
		{"create d/x", "/d /d/x"},
		{"ln f d/x", "/d"},
		{"rm d/g", "/d"},
		{"rmdir d/sub", "/d"},
		{"mv d/g e/g", "/d /e"},
		{"mv d/g d/x", "/d"},
		{"mv d/sub e/sub", "/d /e"},
		{"mv f f2", ""}, // two names of one file
		{"write f 0 1 1", "/f /f2"},
		{"write f 0 0 1", ""},
		{"truncate f 0", "/f /f2"}, // to the size that it has: truncate(2) in POSIX
		{"chmod 0600 f", ""},
		{"chown 1:1 f", ""},
		{"fsync f", ""},
	} {
		s := parse(t, "mkdir d\nmkdir d/sub\nmkdir e\ncreate f\ncreate d/g\nln f f2\n---\n"+c.op)
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		now := Time{Sec: 77}
		after, _ := apply(s.Setup, NewState(0o755, 0, 0, Time{})).Apply(s.Ops[0], now)
		var got []string
		for _, e := range after.list() {
			if e.node.mtime == now {
				got = append(got, e.path)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: the time of %v, want %s", c.op, got, c.want)
		}
	}
	s := apply(parse(t, "create f\ntouch f -3.5").Ops, NewState(0o755, 0, 0, Time{}))
	if d := s.Dump(); !strings.Contains(d, "mtime=-3.500000000") {
		t.Errorf("touch: %s", d)
	}
}

// Modes that operations change by themselves, inode(7) and chown(2).
func TestModelModes(t *testing.T) {
	s := apply(parse(t, `
mkdir d
chmod 2775 d
chown 7:8 d
create d/f
mkdir d/e
create a 4755
create b 2755
create c 2745
chown 1:1 a
chown 1:1 b
chown 1:1 c
`).Ops, NewState(0o755, 0, 0, Time{}))
	dump := withoutTimes(s)
	for _, want := range []string{
		"/d dir 2775 links=3 owner=7:8",
		"/d/f file 0644 links=1 owner=0:8 size=0",
		"/d/e dir 2755 links=2 owner=0:8",
		"/a file 0755 links=1 owner=1:1",
		"/b file 0755 links=1 owner=1:1",
		"/c file 2745 links=1 owner=1:1",
	} {
		if !slices.ContainsFunc(dump, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("no line %q in\n%s", want, strings.Join(dump, "\n"))
		}
	}
}

// A file without a name lives as long as a handle, and is not in the tree.
func TestModelHandles(t *testing.T) {
	s := apply(parse(t, "create f\nopen h f\nopen g f\nrm f\nappendh h 10 1").Ops, NewState(0o755, 0, 0, Time{}))
	empty := apply(parse(t, "create f\nrm f").Ops, NewState(0o755, 0, 0, Time{}))
	if s.Nodes() != 2 || len(s.Paths()) != 1 {
		t.Errorf("with handles: %d nodes, %v", s.Nodes(), s.Paths())
	}
	if next, e := s.Apply(Op{Kind: OpOpen, Handle: "h"}, Time{}); e != EBADF || next != s {
		t.Errorf("a handle opened twice: %v", e)
	}
	s = apply(parse(t, "close h\nappendh g 10 1").Ops, s)
	if s.Nodes() != 2 {
		t.Errorf("with one handle: %d nodes", s.Nodes())
	}
	s = apply(parse(t, "close g").Ops, s)
	if s.Nodes() != 1 {
		t.Errorf("without: %d nodes", s.Nodes())
	}
	if d := Diff(s, empty); len(d) != 1 || !strings.HasPrefix(fmt.Sprint(d[0].Lines()), "[- /: mtime ") {
		t.Errorf("the trees differ in %v", d)
	}
}

// The content of a file is that of a plain byte slice.
func TestModelContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := apply([]Op{{Kind: OpCreate, Path: "f", Mode: ModeFile}}, NewState(0o755, 0, 0, Time{}))
		var want []byte
		grow := func(n int) {
			if n > len(want) {
				want = append(want, make([]byte, n-len(want))...)
			}
		}
		for i := range rapid.IntRange(0, 12).Draw(t, "operations") {
			off, n := rapid.IntRange(0, 20000).Draw(t, "offset"), rapid.IntRange(0, 9000).Draw(t, "length")
			op := Op{Path: "f", Seed: uint64(i), Offset: uint64(off), Length: uint64(n), Size: uint64(off)}
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				op.Kind = OpWrite
				if n > 0 {
					grow(off + n)
					Fill(want[off:off+n], op.Seed, 0)
				}
			case 1:
				op.Kind, off = OpAppend, len(want)
				grow(off + n)
				Fill(want[off:], op.Seed, 0)
			case 2:
				op.Kind = OpTruncate
				grow(off)
				want = slices.Clip(want[:off])
			}
			s, _ = s.Apply(op, Time{})
		}
		ino, _ := s.resolve("f", true)
		n, _ := s.nodes.get(ino)
		got := make([]byte, len(want))
		var sum uint64
		n.content.pages.all(func(i uint64, p *page) bool {
			copy(got[i*pageSize:], p.data[:])
			sum += pageTerm(i, &p.data)
			if p.data == zeroPage {
				t.Fatalf("page %d is kept, but zero", i)
			}
			return true
		})
		if n.size != uint64(len(want)) || !bytes.Equal(got, want) || sum != n.content.sum {
			t.Fatalf("size %d, want %d; equal %v; sum %x, kept %x", n.size, len(want), bytes.Equal(got, want), sum, n.content.sum)
		}
	})
}

// A later operation never changes an earlier state.
func TestModelStatesStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Generate(rapidDraw(t), GenerateOptions{Ops: 40})
		st := NewState(0o755, 0, 0, Time{})
		states, dumps := []*State{st}, []string{st.Dump()}
		for i, op := range s.Ops {
			st, _ = st.Apply(op, playTime(i+1))
			states, dumps = append(states, st), append(dumps, st.Dump())
		}
		for i, st := range states {
			if d := st.Dump(); d != dumps[i] {
				t.Fatalf("state %d was\n%sand is\n%s", i, dumps[i], d)
			}
			if st.Digest() != st.computeDigest() {
				t.Fatalf("state %d has another digest now", i)
			}
		}
	})
}

func rapidDraw(t *rapid.T) func(n int) int {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "draw") }
}

// The invariants that the model owes to itself: link counts equal names, the directories are a
// tree, every node has a name or a handle, and digest, dump and Diff agree on what is equal.
func TestModelInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Generate(rapidDraw(t), GenerateOptions{Setup: 20, Ops: 40})
		st := NewState(0o755, 0, 0, Time{})
		prev := st
		for _, ops := range [][]Op{s.Setup, s.Ops} {
			for i, op := range ops {
				st, _ = st.Apply(op, playTime(i+1))
				if err := sound(st); err != nil {
					t.Fatalf("after %s: %v\n%s", op, err, st.Dump())
				}
				same := st.Dump() == prev.Dump()
				if d := Diff(st, prev); (len(d) == 0) != same || (st.Digest() == prev.Digest()) != same {
					t.Fatalf("after %s: same dump %v, digests %x %x, differences %v", op, same, st.Digest(), prev.Digest(), d)
				}
				prev = st
			}
		}
	})
}

func sound(s *State) error {
	names, subdirs := map[uint64]int{}, map[uint64]int{}
	parent := map[uint64]uint64{rootIno: rootIno}
	s.nodes.all(func(ino uint64, n *node) bool {
		n.names.all(func(_ string, child uint64) bool {
			names[child]++
			if c, ok := s.nodes.get(child); ok && c.isDir() {
				subdirs[ino]++
				parent[child] = ino
			}
			return true
		})
		return true
	})
	handles := map[uint64]int{}
	s.handles.all(func(_ string, ino uint64) bool { handles[ino]++; return true })
	var err error
	s.nodes.all(func(ino uint64, n *node) bool {
		links := names[ino]
		if n.isDir() && (links > 0 || ino == rootIno) {
			links = 2 + subdirs[ino]
			if n.parent != parent[ino] || ino != rootIno && names[ino] != 1 {
				err = fmt.Errorf("directory %d: parent %d, want %d; %d names", ino, n.parent, parent[ino], names[ino])
			}
		}
		if int(n.links) != links || n.opens != handles[ino] || links == 0 && n.opens == 0 {
			err = fmt.Errorf("node %d: links %d, want %d; opens %d, want %d", ino, n.links, links, n.opens, handles[ino])
		}
		return err == nil
	})
	for ino := range names {
		if _, ok := s.nodes.get(ino); !ok {
			return fmt.Errorf("a name of inode %d, which does not exist", ino)
		}
	}
	return err
}

func TestDiff(t *testing.T) {
	base := "mkdir d\ncreate d/f\nwrite d/f 0 9000 1\ncreate g\nln g g2\nln -s d l\n"
	for _, c := range []struct{ more, want string }{
		{"rm l", "- /l: symlink -> d"},
		{"create x", "+ /x: file 0 bytes"},
		{"chmod 0600 g", "- /g: mode 0644|+ /g: mode 0600"},
		{"chown 1:2 g", "- /g: owner 0:0|+ /g: owner 1:2"},
		{"touch g 5", "- /g: mtime 4.000000000|+ /g: mtime 5.000000000"},
		{"write d/f 8500 10 2", "- /d/f: content differs in 10 bytes from 8500 to 8509: |+ /d/f: content"},
		{"truncate d/f 8999", "- /d/f: size 9000|+ /d/f: size 8999"},
		{"rm g2\ncreate g2", "- /g: link count 2|+ /g: link count 1|- /g2: is the same file as /g|+ /g2: is the same file as /g2"},
		{"rm l\nln -s x l", "- /l: target d|+ /l: target x"},
		{"rm l\nmkdir l", "- /l: is a symlink|+ /l: is a dir"},
	} {
		want := apply(parse(t, base).Ops, NewState(0o755, 0, 0, Time{}))
		found := apply(parse(t, c.more).Ops, want)
		var got []string
		for _, d := range Diff(found, want) {
			got = append(got, d.Lines()...)
			if d.Content != strings.HasPrefix(d.Field, "content differs") {
				t.Errorf("%+v: content is %v", d, d.Content)
			}
		}
		for w := range strings.SplitSeq(c.want, "|") {
			if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, w) }) {
				t.Errorf("%q: found %q, want %q", c.more, got, w)
			}
		}
	}
}

// The model and what it stands on import nothing of ours, so that the volume cannot be judged
// by itself.
func TestModelImports(t *testing.T) {
	for _, name := range []string{"model.go", "pmap.go", "hash.go", "tree.go", "errno.go", "script.go"} {
		f, err := goparser.ParseFile(token.NewFileSet(), name, nil, goparser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			if strings.Contains(imp.Path.Value, "holdfast") {
				t.Errorf("%s imports %s", name, imp.Path.Value)
			}
		}
	}
}
