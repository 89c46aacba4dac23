package workload

// boundedKind is a row of the table of core operations.
type boundedKind struct {
	what  string
	pairs [][2]spot // what it is done to: one spot (twice), or old and new
	// can does it on the tree, or reports that it cannot succeed there.
	can func(t *tree, a, b spot) bool
	// op is the operation in the script language, as core operation k of a sequence: data depends on
	// k alone.
	op func(a, b spot, k uint64) Op
	// persist is what may follow; subject is the spot that an fsync is of, as tree.syncs says.
	persist []persistence
	subject func(a, b spot) spot
}

// persistence is what may follow a core operation.
type persistence uint8

const (
	persistNone persistence = iota
	persistFsync
	persistFdatasync
	persistSync
	persistFsyncHandle
	persistFdatasyncHandle
)

var (
	everyPersistence  = []persistence{persistNone, persistFsync, persistFdatasync, persistSync}
	handlePersistence = []persistence{persistNone, persistFsyncHandle, persistFdatasyncHandle, persistSync}
)

// boundedHandle is the one handle that a sequence may have open.
const boundedHandle = "h"

func first(a, _ spot) spot  { return a }
func second(_, b spot) spot { return b }

// boundedKinds is the table: what is not in it is not enumerated. The order is part of the
// numbering of workloads. A new kind of operation is a new row, at the end. Not in it: exchanging
// a file with a directory, since what a name stands for is read from the name.
var boundedKinds = []boundedKind{
	{"create", single(boundedFiles), func(t *tree, a, _ spot) bool { return t.create(a, treeFile) },
		onPath(Op{Kind: OpCreate, Mode: ModeFile | 0o644}), everyPersistence, first},
	{"mkdir", single(boundedDirs), func(t *tree, a, _ spot) bool { return t.create(a, treeDir) },
		onPath(Op{Kind: OpMkdir, Mode: ModeDir | 0o755}), everyPersistence, first},
	{"mknod", single(spotsOf("foo", "bar")), func(t *tree, a, _ spot) bool { return t.create(a, treeSpecial) },
		onPath(Op{Kind: OpMknod, Mode: ModeFIFO | 0o644}), everyPersistence, first},
	{"symlink", mirrored(boundedFiles), func(t *tree, _, b spot) bool { return t.create(b, treeLink) },
		func(a, b spot, _ uint64) Op {
			return Op{Kind: OpSymlink, Target: boundedName[a.last()], New: b.String()}
		}, everyPersistence, second},
	{"link", different(boundedFiles), link,
		func(a, b spot, _ uint64) Op { return Op{Kind: OpLink, Path: a.String(), New: b.String()} }, everyPersistence, second},
	{"unlink", single(boundedFiles), unlink, onPath(Op{Kind: OpRemove}), everyPersistence, first},
	{"rmdir", single(boundedDirs), rmdir, onPath(Op{Kind: OpRmdir}), everyPersistence, first},
	{"rename", different(boundedFiles), func(t *tree, a, b spot) bool { return t.rename(a, b, false) }, renameOp, everyPersistence, second},
	{"rename over a file", different(boundedFiles), func(t *tree, a, b spot) bool { return t.rename(a, b, true) }, renameOp, everyPersistence, second},
	{"rename directory", different(boundedDirs), func(t *tree, a, b spot) bool { return t.rename(a, b, false) }, renameOp, everyPersistence, second},
	{"rename over an empty directory", different(boundedDirs), func(t *tree, a, b spot) bool { return t.rename(a, b, true) }, renameOp, everyPersistence, second},
	{"write at the start", single(boundedFiles), sized(-1, func(n int16) int16 { return max(n, 1024) }),
		data(Op{Kind: OpWrite, Length: 1024}), everyPersistence, first},
	{"append", single(boundedFiles), sized(-1, func(n int16) int16 { return n + 1500 }),
		data(Op{Kind: OpAppend, Length: 1500}), everyPersistence, first},
	{"overwrite in the middle", single(boundedFiles), sized(1600, func(n int16) int16 { return n }),
		data(Op{Kind: OpWrite, Offset: 900, Length: 700}), everyPersistence, first},
	{"write beyond the end", single(boundedFiles), sized(-1, func(n int16) int16 { return max(n, 7500) }),
		data(Op{Kind: OpWrite, Offset: 7000, Length: 500}), everyPersistence, first},
	{"truncate shorter", single(boundedFiles), sized(701, func(int16) int16 { return 700 }),
		onPath(Op{Kind: OpTruncate, Size: 700}), everyPersistence, first},
	{"truncate longer", single(boundedFiles), truncateLonger,
		onPath(Op{Kind: OpTruncate, Size: 5000}), everyPersistence, first},
	{"chmod", single(spotsOf("foo", "bar", "A", "B")), attributes, onPath(Op{Kind: OpChmod, Mode: 0o600}), everyPersistence, first},
	{"chown", single(spotsOf("foo", "bar", "A", "B")), attributes, onPath(Op{Kind: OpChown, UID: 1000, GID: 100}), everyPersistence, first},
	{"touch", single(spotsOf("foo", "bar", "A", "B")), attributes, onPath(Op{Kind: OpTouch, Time: Time{1e9, 5e8}}), everyPersistence, first},
	{"open", single(boundedFiles), open,
		func(a, _ spot, _ uint64) Op { return Op{Kind: OpOpen, Handle: boundedHandle, Path: a.String()} }, []persistence{persistNone}, nil},
	{"append to the open file", none, heldFile(func(n *treeNode) { n.size += 1500 }),
		onHandle(Op{Kind: OpAppendHandle, Length: 1500}), handlePersistence, nil},
	{"truncate the open file", none, heldFile(func(n *treeNode) { n.size = 700 }),
		onHandle(Op{Kind: OpTruncateHandle, Size: 700}), handlePersistence, nil},
	{"close", none, func(t *tree, _, _ spot) bool { was := t.held; t.held = 0; return was != 0 },
		func(_, _ spot, _ uint64) Op { return Op{Kind: OpClose, Handle: boundedHandle} }, []persistence{persistNone, persistSync}, nil},
	{"exchange", append(unordered(boundedFiles), unordered(boundedDirs)...), exchange,
		func(a, b spot, _ uint64) Op {
			return Op{Kind: OpRename, Path: a.String(), New: b.String(), Flags: RenameExchange}
		}, everyPersistence, second},
	{"rename and leave a whiteout", different(boundedFiles), whiteout,
		func(a, b spot, _ uint64) Op {
			return Op{Kind: OpRename, Path: a.String(), New: b.String(), Flags: RenameWhiteout}
		}, everyPersistence, second},
	{"allocate beyond the end", single(boundedFiles), sized(-1, func(n int16) int16 { return max(n, 6000) }),
		onPath(Op{Kind: OpAlloc, Offset: 2000, Length: 4000}), everyPersistence, first},
	{"allocate and keep the size", single(boundedFiles), sized(-1, func(n int16) int16 { return n }),
		onPath(Op{Kind: OpAlloc, Offset: 4000, Length: 3000, Flags: KeepSize}), everyPersistence, first},
	{"punch a hole", single(boundedFiles), sized(1025, func(n int16) int16 { return n }),
		onPath(Op{Kind: OpPunch, Offset: 1024, Length: 1024}), everyPersistence, first},
	{"zero a range", single(boundedFiles), sized(-1, func(n int16) int16 { return max(n, 2000) }),
		onPath(Op{Kind: OpZero, Offset: 500, Length: 1500}), everyPersistence, first},
	{"set a short attribute", single(spotsOf("foo", "bar", "A", "B")), setxattr(1),
		attribute(Op{Kind: OpSetxattr, Attr: "user.short", Length: 20}), everyPersistence, first},
	{"set a long attribute", single(spotsOf("foo", "bar", "A", "B")), setxattr(2),
		attribute(Op{Kind: OpSetxattr, Attr: "user.long", Length: 700}), everyPersistence, first},
	{"remove a short attribute", single(spotsOf("foo", "bar", "A", "B")), rmxattr(1),
		onPath(Op{Kind: OpRemovexattr, Attr: "user.short"}), everyPersistence, first},
	{"remove a long attribute", single(spotsOf("foo", "bar", "A", "B")), rmxattr(2),
		onPath(Op{Kind: OpRemovexattr, Attr: "user.long"}), everyPersistence, first},
	{"open a file without a name", single(spotsOf("A", "B")), temp,
		func(a, _ spot, _ uint64) Op {
			return Op{Kind: OpTemp, Handle: boundedHandle, Path: a.String(), Mode: ModeFile | 0o644}
		}, handlePersistence, nil},
	{"name the open file", single(boundedFiles), linkHeld,
		func(a, _ spot, _ uint64) Op {
			return Op{Kind: OpLinkHandle, Handle: boundedHandle, New: a.String()}
		}, handlePersistence, nil},
}

// none: the operation is done to no spot.
var none = [][2]spot{{}}

// single is each spot of a list.
func single(list []spot) [][2]spot {
	var pairs [][2]spot
	for _, p := range list {
		pairs = append(pairs, [2]spot{p, p})
	}
	return pairs
}

// different is each pair of different spots.
func different(list []spot) [][2]spot {
	var pairs [][2]spot
	for _, p := range list {
		for _, q := range list {
			if p != q {
				pairs = append(pairs, [2]spot{p, q})
			}
		}
	}
	return pairs
}

// unordered is each pair of different places once: which one comes first does not matter.
func unordered(list []spot) [][2]spot {
	var pairs [][2]spot
	for i, p := range list {
		for _, q := range list[i+1:] {
			pairs = append(pairs, [2]spot{p, q})
		}
	}
	return pairs
}

// mirrored is each spot with its mirror image in the same directory before it.
func mirrored(list []spot) [][2]spot {
	var pairs [][2]spot
	for _, p := range list {
		pairs = append(pairs, [2]spot{p.mirror(1), p})
	}
	return pairs
}

// onPath is the operation on one spot.
func onPath(op Op) func(a, b spot, k uint64) Op {
	return func(a, _ spot, _ uint64) Op { op := op; op.Path = a.String(); return op }
}

// data is a write to one spot.
func data(op Op) func(a, b spot, k uint64) Op {
	return func(a, _ spot, k uint64) Op { op := op; op.Path, op.Seed = a.String(), k; return op }
}

// attribute is a value, of bytes that depend on k, for something at one place.
func attribute(op Op) func(a, b spot, k uint64) Op { return data(op) }

func onHandle(op Op) func(a, b spot, k uint64) Op {
	return func(_, _ spot, k uint64) Op {
		op := op
		op.Handle = boundedHandle
		if op.Kind == OpAppendHandle {
			op.Seed = k
		}
		return op
	}
}

func renameOp(a, b spot, _ uint64) Op {
	return Op{Kind: OpRename, Path: a.String(), New: b.String()}
}

func link(t *tree, a, b spot) bool {
	_, node, ok := t.existing(a)
	if !ok {
		return false
	}
	dir, ok := t.vacant(b)
	if ok {
		t.enter(dir, b.last(), node)
	}
	return ok
}

func unlink(t *tree, a, _ spot) bool {
	dir, _, ok := t.existing(a)
	if ok {
		t.enter(dir, a.last(), absent)
	}
	return ok
}

func rmdir(t *tree, a, _ spot) bool {
	dir, node, ok := t.existing(a)
	if !ok || !t.empty(node) {
		return false
	}
	t.enter(dir, a.last(), absent)
	return true
}

// sized changes the size of a file that has at least so many bytes.
func sized(least int16, change func(size int16) int16) func(t *tree, a, b spot) bool {
	return func(t *tree, a, _ spot) bool {
		n, ok := t.file(a)
		if !ok || n.size < least {
			return false
		}
		n.size = change(n.size)
		return true
	}
}

func truncateLonger(t *tree, a, _ spot) bool {
	n, ok := t.file(a)
	if !ok || n.size >= 5000 {
		return false
	}
	n.size = 5000
	return true
}

// attributes changes what has no bearing on other operations. A symbolic link would be followed.
func attributes(t *tree, a, _ spot) bool {
	_, node, ok := t.existing(a)
	return ok && t.nodes[node].kind != treeLink
}

func open(t *tree, a, _ spot) bool {
	_, node, ok := t.existing(a)
	if !ok || t.held != 0 || t.nodes[node].kind != treeFile {
		return false
	}
	t.held = node
	return true
}

func heldFile(change func(n *treeNode)) func(t *tree, a, b spot) bool {
	return func(t *tree, _, _ spot) bool {
		if t.held == 0 {
			return false
		}
		change(&t.nodes[t.held])
		return true
	}
}

func exchange(t *tree, a, b spot) bool {
	from, node, ok := t.existing(a)
	if !ok {
		return false
	}
	to, other, ok := t.existing(b)
	if !ok || t.inside(to, node) || t.inside(from, other) {
		return false
	}
	t.enter(from, a.last(), other)
	t.enter(to, b.last(), node)
	return true
}

// whiteout replaces what is at b, if it is known to be there.
func whiteout(t *tree, a, b spot) bool {
	_, node, ok := t.existing(a)
	if !ok {
		return false
	}
	dir, ok := t.parent(b)
	if !ok {
		return false
	}
	target := t.look(dir, b.last(), false)
	if target == node {
		return true // two names of one file stay
	}
	return t.rename(a, b, target != absent) && t.create(a, treeSpecial)
}

// attributed is what at a place can have attributes.
func attributed(t *tree, p spot) (*treeNode, bool) {
	_, node, ok := t.existing(p)
	if !ok || t.nodes[node].kind != treeFile && t.nodes[node].kind != treeDir {
		return nil, false
	}
	return &t.nodes[node], true
}

func setxattr(which uint8) func(t *tree, a, b spot) bool {
	return func(t *tree, a, _ spot) bool {
		n, ok := attributed(t, a)
		if ok {
			n.xattrs |= which
		}
		return ok
	}
}

// rmxattr removes an attribute that an operation of the sequence has set.
func rmxattr(which uint8) func(t *tree, a, b spot) bool {
	return func(t *tree, a, _ spot) bool {
		n, ok := attributed(t, a)
		if !ok || n.xattrs&which == 0 {
			return false
		}
		n.xattrs &^= which
		return true
	}
}

func temp(t *tree, a, _ spot) bool {
	_, _, ok := t.existing(a)
	if !ok || t.held != 0 {
		return false
	}
	t.held = t.add(treeFile, noOrigin, 0)
	t.nodes[t.held].temp = true
	return true
}

func linkHeld(t *tree, a, _ spot) bool {
	if t.held == 0 || !t.nodes[t.held].temp && !t.named(t.held) { // unlinked: it does not come back
		return false
	}
	dir, ok := t.vacant(a)
	if ok {
		t.enter(dir, a.last(), t.held)
		t.nodes[t.held].temp = false
	}
	return ok
}

// boundedOp is a row applied to spots.
type boundedOp struct {
	kind *boundedKind
	a, b spot
	// mirrors[g] is the number of the operation that this one is under mirror image g.
	mirrors [mirrorImages]int16
}

// mirrorImages: nothing is exchanged, foo and bar are, A and B are, both are.
const mirrorImages = 4

// boundedOps numbers the operations, row by row.
var boundedOps = func() []boundedOp {
	type key struct {
		kind int
		a, b spot
	}
	var list []boundedOp
	var keys []key
	index := map[key]int16{}
	for i := range boundedKinds {
		for _, p := range boundedKinds[i].pairs {
			k := key{i, p[0], p[1]}
			index[k] = int16(len(list))
			list, keys = append(list, boundedOp{kind: &boundedKinds[i], a: p[0], b: p[1]}), append(keys, k)
		}
	}
	for i, k := range keys {
		for g := range mirrorImages {
			m, ok := index[key{k.kind, k.a.mirror(g), k.b.mirror(g)}]
			if !ok { // unordered
				m, ok = index[key{k.kind, k.b.mirror(g), k.a.mirror(g)}]
			}
			if !ok {
				panic("workload: the spots of " + boundedKinds[k.kind].what + " are not closed under mirror images")
			}
			list[i].mirrors[g] = m
		}
	}
	return list
}()

func (o *boundedOp) can(t *tree) bool { return o.kind.can(t, o.a, o.b) }

// persist is the operation that makes durable what o did, on the tree after it; none for
// persistNone.
func (o *boundedOp) persist(t *tree, p persistence) []Op {
	var op Op
	switch p {
	case persistNone:
		return nil
	case persistFsync:
		op = Op{Kind: OpFsync, Path: t.syncs(o.kind.subject(o.a, o.b))}
	case persistFdatasync:
		op = Op{Kind: OpFdatasync, Path: t.syncs(o.kind.subject(o.a, o.b))}
	case persistFsyncHandle:
		op = Op{Kind: OpFsyncHandle, Handle: boundedHandle}
	case persistFdatasyncHandle:
		op = Op{Kind: OpFdatasyncHandle, Handle: boundedHandle}
	case persistSync:
		op = Op{Kind: OpSync}
	}
	return []Op{op}
}
