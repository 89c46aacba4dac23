package workload

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// term is a node's part of a digest: everything that is compared but the names and which of
// them share the node.
func (n *node) term() uint64 {
	h := hasher(n.mode)
	h.word(uint64(n.links)<<32 | uint64(n.major))
	h.word(uint64(n.uid)<<32 | uint64(n.gid))
	h.word(uint64(n.minor)<<32 | uint64(n.mtime.Nsec))
	h.word(uint64(n.mtime.Sec))
	switch n.kind() {
	case ModeFile:
		h.word(n.size)
		h.word(n.content.sum)
	case ModeLink:
		h.text(n.target)
	}
	n.xattrs.all(func(name, value string) bool {
		h.text(name)
		h.text(value)
		return true
	})
	return uint64(h)
}

// tally makes the digest of a tree from a walk in the order of paths: a node is told once, and
// later names of it by when it was first seen.
type tally struct {
	h    hasher
	seen map[uint64]uint64 // inode number to the order of its first visit
}

// name tells a name of inode ino and reports whether the inode has to be told, being new.
func (t *tally) name(name string, ino uint64) bool {
	t.h.text(name)
	n, ok := t.seen[ino]
	if !ok {
		n = uint64(len(t.seen)) + 1
		t.seen[ino] = n
	}
	t.h.word(n)
	return !ok
}

func (t *tally) node(n *node) { t.h.word(n.term()) }

// up tells the end of a directory.
func (t *tally) up() { t.h.word(hashSeed2) }

// Digest is the same for two states, or a state and a volume (see the function Digest), if
// they are the same tree; if they are not, it differs but for one pair in 2^64.
func (s *State) Digest() uint64 {
	s.digest.once.Do(func() { s.digest.sum = s.computeDigest() })
	return s.digest.sum
}

// digest is computed when it is first asked for.
type digest struct {
	once sync.Once
	sum  uint64
}

func (s *State) computeDigest() uint64 {
	t := tally{seen: make(map[uint64]uint64, s.nodes.len())}
	s.visit(rootIno, "", func(name string, ino uint64, n *node) bool {
		if !t.name(name, ino) {
			return false
		}
		t.node(n)
		return true
	}, t.up)
	return uint64(t.h)
}

// visit walks the tree below ino in the order of names; down says whether to go into a
// directory, and up is called behind one.
func (s *State) visit(ino uint64, name string, down func(name string, ino uint64, n *node) bool, up func()) {
	n, _ := s.nodes.get(ino)
	if !down(name, ino, n) || !n.isDir() {
		return
	}
	n.names.all(func(name string, ino uint64) bool {
		s.visit(ino, name, down, up)
		return true
	})
	up()
}

// entry is one path of a tree.
type entry struct {
	path  string
	ino   uint64
	first string // the first path of the same inode
	node  *node
}

// list is all paths, in the order of a walk.
func (s *State) list() []entry {
	var out []entry
	first := map[uint64]string{}
	var walk func(path string, ino uint64)
	walk = func(path string, ino uint64) {
		n, _ := s.nodes.get(ino)
		if _, ok := first[ino]; !ok {
			first[ino] = path
		}
		out = append(out, entry{path, ino, first[ino], n})
		n.names.all(func(name string, ino uint64) bool {
			walk(strings.TrimSuffix(path, "/")+"/"+name, ino)
			return true
		})
	}
	walk("/", rootIno)
	return out
}

// Paths lists all names of the tree in the order of a walk, "/" first.
func (s *State) Paths() []string {
	var out []string
	for _, e := range s.list() {
		out = append(out, e.path)
	}
	return out
}

// Nodes is the number of inodes, those that are only held open included.
func (s *State) Nodes() int { return s.nodes.len() }

// Dump is the tree as text, one path a line, the same for the same tree.
func (s *State) Dump() string {
	var b strings.Builder
	for _, e := range s.list() {
		if e.first != e.path {
			fmt.Fprintf(&b, "%s = %s\n", word(e.path), word(e.first))
			continue
		}
		fmt.Fprintf(&b, "%s %s\n", word(e.path), e.node)
	}
	return b.String()
}

var kindNames = map[uint16]string{
	ModeFIFO: "fifo", ModeChar: "char", ModeDir: "dir", ModeBlock: "block",
	ModeFile: "file", ModeLink: "symlink", ModeSocket: "socket",
}

func kindName(mode uint16) string {
	if s, ok := kindNames[mode&ModeType]; ok {
		return s
	}
	return fmt.Sprintf("type %#o", mode&ModeType)
}

func (n *node) String() string {
	s := fmt.Sprintf("%s %04o links=%d owner=%d:%d mtime=%s", kindName(n.mode), n.mode&ModePerm, n.links, n.uid, n.gid, n.mtime)
	switch n.kind() {
	case ModeFile:
		s += fmt.Sprintf(" size=%d content=%016x", n.size, n.content.sum)
	case ModeLink:
		s += " -> " + word(n.target)
	case ModeChar, ModeBlock:
		s += fmt.Sprintf(" device=%d:%d", n.major, n.minor)
	}
	if n.xattrs.len() > 0 {
		s += " attributes=" + n.attributes()
		var values hasher
		n.xattrs.all(func(_, value string) bool { values.text(value); return true })
		s += fmt.Sprintf(" values=%016x", uint64(values))
	}
	return s
}

// attributes is the names and the lengths of the values of what a node has.
func (n *node) attributes() string {
	var list []string
	n.xattrs.all(func(name, value string) bool {
		list = append(list, fmt.Sprintf("%s(%d bytes)", name, len(value)))
		return true
	})
	return strings.Join(list, ",")
}

// String is seconds, a dot and nine digits.
func (t Time) String() string { return fmt.Sprintf("%d.%09d", t.Sec, t.Nsec) }

// at is the inode of a path as Paths writes it, without following links; nil if there is none.
func (s *State) at(path string) (ino uint64, n *node) {
	ino = rootIno
	for _, name := range components(path) {
		n, _ := s.nodes.get(ino)
		next, ok := n.names.get(name)
		if !ok {
			return 0, nil
		}
		ino = next
	}
	n, _ = s.nodes.get(ino)
	return ino, n
}

// brief is a node in a few words.
func (n *node) brief() string {
	s := kindName(n.mode)
	switch n.kind() {
	case ModeFile:
		s += fmt.Sprintf(" %d bytes", n.size)
	case ModeLink:
		s += " -> " + word(n.target)
	case ModeChar, ModeBlock:
		s += fmt.Sprintf(" %d:%d", n.major, n.minor)
	}
	return s
}

// Difference is one thing in which two trees differ.
type Difference struct {
	Path    string
	Content bool   // only the bytes of a file differ
	Field   string // what of the path differs; "" for the path itself
	Found   string // "" if the path is missing
	Want    string // "" if the path must not exist
}

// Lines is the difference as in a patch: "-" with what is wanted, "+" with what was found.
func (d Difference) Lines() []string {
	var lines []string
	add := func(sign, what string) {
		if what == "" {
			return
		}
		if d.Field != "" {
			what = d.Field + " " + what
		}
		lines = append(lines, sign+" "+word(d.Path)+": "+what)
	}
	add("-", d.Want)
	add("+", d.Found)
	return lines
}

// Diff says in what found differs from want, in the order of paths; nothing if they are the
// same tree.
func Diff(found, want *State) []Difference {
	var out []Difference
	byPath := func(a, b entry) int { return strings.Compare(a.path, b.path) }
	f, w := found.list(), want.list()
	slices.SortFunc(f, byPath)
	slices.SortFunc(w, byPath)
	for len(f) > 0 || len(w) > 0 {
		switch {
		case len(w) == 0 || len(f) > 0 && f[0].path < w[0].path:
			out = append(out, Difference{Path: f[0].path, Found: f[0].node.brief()})
			f = f[1:]
		case len(f) == 0 || w[0].path < f[0].path:
			out = append(out, Difference{Path: w[0].path, Want: w[0].node.brief()})
			w = w[1:]
		default:
			out = append(out, diffEntry(&f[0], &w[0])...)
			f, w = f[1:], w[1:]
		}
	}
	return out
}

func diffEntry(f, w *entry) []Difference {
	var out []Difference
	add := func(field string, found, want any) {
		if found != want {
			out = append(out, Difference{Path: f.path, Field: field, Found: fmt.Sprint(found), Want: fmt.Sprint(want)})
		}
	}
	a, b := f.node, w.node
	if a.kind() != b.kind() {
		add("is a", kindName(a.mode), kindName(b.mode))
		return out
	}
	add("is the same file as", word(f.first), word(w.first))
	if f.first != f.path && w.first == f.first {
		return out // told at its first name
	}
	add("mode", fmt.Sprintf("%04o", a.mode&ModePerm), fmt.Sprintf("%04o", b.mode&ModePerm))
	add("link count", a.links, b.links)
	add("owner", fmt.Sprintf("%d:%d", a.uid, a.gid), fmt.Sprintf("%d:%d", b.uid, b.gid))
	add("mtime", a.mtime.String(), b.mtime.String())
	add("device", fmt.Sprintf("%d:%d", a.major, a.minor), fmt.Sprintf("%d:%d", b.major, b.minor))
	add("target", word(a.target), word(b.target))
	add("attributes", a.attributes(), b.attributes())
	b.xattrs.all(func(name, value string) bool {
		if found, ok := a.xattrs.get(name); ok && len(found) == len(value) && found != value {
			add("value of "+name, fmt.Sprintf("%x", found[:min(8, len(found))]), fmt.Sprintf("%x", value[:min(8, len(value))]))
		}
		return true
	})
	add("size", a.size, b.size)
	if a.kind() == ModeFile {
		if where, found, want := diffContent(a, b); where != "" {
			out = append(out, Difference{Path: f.path, Content: true, Field: where, Found: found, Want: want})
		}
	}
	return out
}

// diffContent compares the bytes that both files have: where they differ, and how they begin
// there; where is "" if they do not.
func diffContent(a, b *node) (where, found, want string) {
	if a.content.sum == b.content.sum {
		return "", "", ""
	}
	size := min(a.size, b.size)
	pages := map[uint64]bool{}
	note := func(i uint64, _ *page) bool { pages[i] = true; return true }
	a.content.pages.all(note)
	b.content.pages.all(note)
	order := make([]uint64, 0, len(pages))
	for i := range pages {
		order = append(order, i)
	}
	slices.Sort(order)
	at := func(c *content, i uint64) []byte {
		p, ok := c.pages.get(i)
		if !ok {
			return zeroPage[:]
		}
		return p.data[:]
	}
	first, last, count := uint64(0), uint64(0), 0
	var x, y []byte
	for _, i := range order {
		p, q := at(&a.content, i), at(&b.content, i)
		if bytes.Equal(p, q) {
			continue
		}
		for j := range p {
			off := i*pageSize + uint64(j)
			if p[j] == q[j] || off >= size {
				continue
			}
			if count == 0 {
				first = off
				x, y = p[j:min(j+8, pageSize)], q[j:min(j+8, pageSize)]
			}
			last = off
			count++
		}
	}
	if count == 0 {
		return "", "", ""
	}
	where = fmt.Sprintf("content differs in %d bytes from %d to %d:", count, first, last)
	return where, fmt.Sprintf("%x", x), fmt.Sprintf("%x", y)
}
