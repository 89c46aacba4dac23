package workload

import "strings"

// The names of bounded workloads: foo and bar are never directories, A and B always are.
const (
	nameFoo = iota
	nameBar
	nameA
	nameB
	boundedNames
)

var boundedName = [boundedNames]string{"foo", "bar", "A", "B"}

// spot is a path of one or two names.
type spot struct {
	depth int
	at    [2]int8
}

func (p spot) String() string {
	if p.depth == 1 {
		return boundedName[p.at[0]]
	}
	return boundedName[p.at[0]] + "/" + boundedName[p.at[1]]
}

// dir is where the name is: "" for the root.
func (p spot) dir() string {
	if p.depth == 1 {
		return ""
	}
	return boundedName[p.at[0]]
}

// last is the name in its directory.
func (p spot) last() int8 { return p.at[p.depth-1] }

// isDir says what the name says.
func (p spot) isDir() bool { return p.last() == nameA || p.last() == nameB }

// mirror is the spot under a mirror image: bit 0 of g exchanges foo and bar, bit 1 A and B.
func (p spot) mirror(g int) spot {
	for i := range p.depth {
		switch n := p.at[i]; {
		case n <= nameBar && g&1 != 0:
			p.at[i] = nameFoo + nameBar - n
		case n >= nameA && g&2 != 0:
			p.at[i] = nameA + nameB - n
		}
	}
	return p
}

func spotOf(path string) spot {
	var p spot
	for c := range strings.SplitSeq(path, "/") {
		for i, n := range boundedName {
			if c == n {
				p.at[p.depth] = int8(i)
			}
		}
		p.depth++
	}
	return p
}

// The spots of bounded workloads. The set is closed under mirror images, and a directory comes
// before what is in it: this is the order in which a setup makes them. A set of spots is a
// bit mask over it.
var (
	boundedDirs  = spotsOf("A", "B", "A/B", "B/A")
	boundedFiles = spotsOf("foo", "bar", "A/foo", "A/bar", "B/foo", "B/bar")
	allSpots     = append(append([]spot(nil), boundedDirs...), boundedFiles...)
)

func spotsOf(paths ...string) []spot {
	list := make([]spot, len(paths))
	for i, p := range paths {
		list[i] = spotOf(p)
	}
	return list
}

// setupSize is the length of a file that the setup makes: two blocks of 1 KiB and part of a third.
const setupSize = 2500

// dependencies makes what is in the set.
func dependencies(set uint16) []Op {
	var ops []Op
	for i, p := range allSpots {
		switch {
		case set&(1<<i) == 0:
		case p.isDir():
			ops = append(ops, Op{Kind: OpMkdir, Path: p.String(), Mode: ModeDir | 0o755})
		default:
			ops = append(ops, Op{Kind: OpCreate, Path: p.String(), Mode: ModeFile | 0o644},
				Op{Kind: OpWrite, Path: p.String(), Length: setupSize, Seed: uint64(100 + i)})
		}
	}
	return ops
}

// tree is a file tree of which the beginning is not decided yet: whether a name was there before
// the first operation is decided when an operation first depends on it, and what was never
// asked for was not there. So each sequence of operations has the smallest setup under
// which all of them succeed, and a sequence for which there is none is seen as such. It is a
// value: copying it copies the tree.
type tree struct {
	nodes [maxNodes]treeNode
	used  int8
	held  int8   // node open under the handle, 0 if there is none
	setup uint16 // the spots that must be there before the first operation
}

// maxNodes: the root, what a setup may make, and what three operations may add.
const maxNodes = 1 + 10 + 3

type treeKind uint8

const (
	treeDir treeKind = 1 + iota
	treeFile
	treeLink
	treeSpecial
)

type treeNode struct {
	kind treeKind
	// origin is which directory of the setup it is, an index of origins; noOrigin if it is none.
	origin int8
	names  [boundedNames]int8 // a node, undecided, or absent
	size   int16              // bytes
	xattrs uint8              // a bit for each attribute
	temp   bool               // it never had a name
}

// What a name may stand for instead of a node; the root has no name.
const (
	undecided int8 = 0
	absent    int8 = -1
)

// The directories in which a setup makes names: origins[d][name] is the index in allSpots, -1
// if it is none of them.
const (
	originRoot = iota
	originA
	originB
	noOrigin
)

var origins = func() (o [noOrigin][boundedNames]int8) {
	for d := range o {
		for n := range o[d] {
			o[d][n] = -1
		}
	}
	for i, p := range allSpots {
		d := originRoot
		if p.depth == 2 {
			d = int(p.at[0]) - nameA + originA
		}
		o[d][p.last()] = int8(i)
	}
	return o
}()

func newTree() tree {
	t := tree{used: 1}
	t.nodes[0] = treeNode{kind: treeDir, origin: originRoot}
	return t
}

// add makes a node.
func (t *tree) add(kind treeKind, origin, size int) int8 {
	n := t.used
	t.nodes[n] = treeNode{kind: kind, origin: int8(origin), size: int16(size)}
	t.used++
	return n
}

// look is the node of a name in a directory, absent if there is none. If that is undecided it
// is what the caller would rather have.
func (t *tree) look(dir, name int8, rather bool) int8 {
	d := &t.nodes[dir]
	if d.names[name] != undecided {
		return d.names[name]
	}
	d.names[name] = absent
	if d.origin == noOrigin || !rather {
		return absent
	}
	i := origins[d.origin][name]
	if i < 0 {
		return absent
	}
	t.setup |= 1 << i
	switch p := allSpots[i]; {
	case !p.isDir():
		d.names[name] = t.add(treeFile, noOrigin, setupSize)
	case p.depth == 1:
		d.names[name] = t.add(treeDir, int(name)-nameA+originA, 0)
	default:
		d.names[name] = t.add(treeDir, noOrigin, 0)
	}
	return d.names[name]
}

// parent is the directory that a spot is in; ok is false if there is none.
func (t *tree) parent(p spot) (dir int8, ok bool) {
	if p.depth == 1 {
		return 0, true
	}
	dir = t.look(0, p.at[0], true)
	return dir, dir != absent
}

// existing is the node at a spot, and its directory; it must be there.
func (t *tree) existing(p spot) (dir, node int8, ok bool) {
	dir, ok = t.parent(p)
	if !ok {
		return 0, 0, false
	}
	node = t.look(dir, p.last(), true)
	return dir, node, node != absent
}

// vacant is the directory of a spot at which there must be nothing.
func (t *tree) vacant(p spot) (dir int8, ok bool) {
	dir, ok = t.parent(p)
	return dir, ok && t.look(dir, p.last(), false) == absent
}

// file is the regular file at a spot.
func (t *tree) file(p spot) (*treeNode, bool) {
	_, n, ok := t.existing(p)
	if !ok || t.nodes[n].kind != treeFile {
		return nil, false
	}
	return &t.nodes[n], true
}

// enter gives a node a name.
func (t *tree) enter(dir, name, node int8) { t.nodes[dir].names[name] = node }

// empty reports whether a directory can be empty, and makes it so.
func (t *tree) empty(dir int8) bool {
	for name := range int8(boundedNames) {
		if t.look(dir, name, false) != absent {
			return false
		}
	}
	return true
}

// inside reports whether dir is node or lies below it.
func (t *tree) inside(dir, node int8) bool {
	if dir == node {
		return true
	}
	for _, n := range t.nodes[node].names {
		if n > 0 && t.nodes[n].kind == treeDir && t.inside(dir, n) {
			return true
		}
	}
	return false
}

// named reports whether a file has a name.
func (t *tree) named(node int8) bool {
	for i := range t.nodes[:t.used] {
		for _, n := range t.nodes[i].names {
			if n == node {
				return true
			}
		}
	}
	return false
}

// create makes a node at a spot at which there is nothing.
func (t *tree) create(p spot, kind treeKind) bool {
	dir, ok := t.vacant(p)
	if !ok {
		return false
	}
	t.enter(dir, p.last(), t.add(kind, noOrigin, 0))
	return true
}

// rename moves old to spot p, at which there is something if over is set, else nothing.
func (t *tree) rename(old, p spot, over bool) bool {
	from, node, ok := t.existing(old)
	if !ok {
		return false
	}
	var to int8
	if over {
		var target int8
		if to, target, ok = t.existing(p); !ok {
			return false
		}
		if target == node {
			return true // two names of one file stay, rename(2)
		}
		if t.nodes[target].kind == treeDir && !t.empty(target) {
			return false
		}
	} else if to, ok = t.vacant(p); !ok {
		return false
	}
	if t.inside(to, node) {
		return false
	}
	t.enter(from, old.last(), absent)
	t.enter(to, p.last(), node)
	return true
}

// syncs is what an fsync after an operation on p is of: the file or directory at p if there is
// one, else, and for a symbolic link, the directory in which the name is or was.
func (t *tree) syncs(p spot) string {
	if _, node, ok := t.existing(p); ok && t.nodes[node].kind != treeLink {
		return p.String()
	}
	return p.dir()
}
