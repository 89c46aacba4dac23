package workload

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func bounded(t testing.TB, n int) *Bounded {
	t.Helper()
	b, err := NewBounded(n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// boundedCounts are pinned: a change of the table changes the numbers of workloads, and results of
// campaigns are no longer comparable.
var boundedCounts = [MaxBounded + 1]struct{ sequences, workloads uint64 }{
	1: {93, 366},
	2: {16619, 256424},
	3: {3278446, 198181076},
}

func TestBoundedCounts(t *testing.T) {
	chapter, err := os.ReadFile("../docs/CRASH.md")
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= MaxBounded; n++ {
		b := bounded(t, n)
		t.Logf("%d operations to choose from; %d of them: %d sequences, %d workloads", b.Operations(), n, b.Sequences(), b.Len())
		if want := boundedCounts[n]; b.Sequences() != want.sequences || b.Len() != want.workloads {
			t.Errorf("%d core operations: %d sequences, %d workloads; want %d, %d", n, b.Sequences(), b.Len(), want.sequences, want.workloads)
		}
		if row := fmt.Sprintf("| %d | %s | %s |", n, thousands(b.Sequences()), thousands(b.Len())); !strings.Contains(string(chapter), row) {
			t.Errorf("docs/CRASH.md does not say %q", row)
		}
	}
	if made := fmt.Sprintf("That makes %d operations", bounded(t, 1).Operations()); !strings.Contains(string(chapter), made) {
		t.Errorf("docs/CRASH.md does not say %q", made)
	}
}

// thousands is n with commas.
func thousands(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// some calls f with each workload of 1 operation, every 17th of 2, which is nearly each sequence
// once, and a sample of those of 3.
func some(t *testing.T, f func(n int, i uint64, w *BoundedWorkload)) {
	t.Helper()
	for n := 1; n <= MaxBounded; n++ {
		b, step := bounded(t, n), uint64(1)
		switch n {
		case 2:
			step = 17
		case 3:
			step = b.Len()/2003 + 1
		}
		for i := uint64(0); i < b.Len(); i += step {
			f(n, i, b.At(i))
		}
	}
}

// Each workload succeeds in the model, is what the language reads back, and needs its setup.
func TestBoundedValid(t *testing.T) {
	some(t, func(n int, i uint64, w *BoundedWorkload) {
		if err := w.Script.Check(); err != nil {
			t.Fatalf("%d of %d operations: %v\n%s", i, n, err, w.Script)
		}
		again := parse(t, w.Script.String())
		if again.String() != w.Script.String() {
			t.Fatalf("%d of %d operations is read back as\n%s\nwas\n%s", i, n, again, w.Script)
		}
		if w.From < 1 || w.From > len(w.Script.Ops) {
			t.Fatalf("%d of %d operations: it owns crash points from operation %d of %d on", i, n, w.From, len(w.Script.Ops))
		}
		if slices.ContainsFunc(w.Script.Ops, func(op Op) bool { return op.Kind == OpRename }) {
			return // a rename succeeds without the target that it replaces
		}
		for k, op := range w.Script.Setup {
			less := *w.Script
			less.Setup = slices.Delete(slices.Clone(less.Setup), k, k+1)
			if op.Kind != OpWrite && less.Check() == nil {
				t.Fatalf("%d of %d operations: the setup does not need %q\n%s", i, n, op, w.Script)
			}
		}
	})
}

// mirrorText exchanges names in a script, line by line: the setup has an order of its own.
func mirrorText(s *Script, g int) string {
	var exchange []string
	if g&1 != 0 {
		exchange = append(exchange, "foo", "bar", "bar", "foo")
	}
	if g&2 != 0 {
		exchange = append(exchange, "A", "B", "B", "A")
	}
	r := strings.NewReplacer(exchange...)
	var setup, ops []string
	for _, op := range s.Setup {
		op.Seed = 0
		setup = append(setup, r.Replace(op.String()))
	}
	for _, op := range s.Ops {
		text := r.Replace(op.String())
		if w := strings.Fields(text); op.Flags == RenameExchange && w[2] > w[3] { // which comes first does not matter
			text = strings.Join([]string{w[0], w[1], w[3], w[2]}, " ")
		}
		ops = append(ops, text)
	}
	slices.Sort(setup)
	return strings.Join(setup, "\n") + "\n---\n" + strings.Join(ops, "\n")
}

// bareWorkloads is those without persistence points whose first operation is wanted.
func bareWorkloads(b *Bounded, first func(op int16) bool) []*BoundedWorkload {
	var list []*BoundedWorkload
	for k, g := range b.groups {
		if b.n > 1 && !first(g.ops[0]) {
			continue
		}
		end := b.Len()
		if k+1 < len(b.groups) {
			end = b.groups[k+1].start
		}
		for i := g.start; i < end; {
			w := b.At(i)
			list = append(list, w)
			weight := uint64(1)
			for _, op := range w.core {
				weight *= uint64(len(boundedOps[op].kind.persist))
			}
			i += weight
		}
	}
	return list
}

// No workload is there twice, and of mirror images only one is: looked at without persistence
// points, of which a mirror image has the same.
func TestBoundedMirrorImages(t *testing.T) {
	for n := 1; n <= 2; n++ {
		b, seen, images := bounded(t, n), map[string]bool{}, 0
		bare := bareWorkloads(b, func(int16) bool { return true })
		for _, w := range bare {
			seen[mirrorText(w.Script, 0)] = true
		}
		if uint64(len(bare)) != b.Sequences() || len(seen) != len(bare) {
			t.Fatalf("%d operations: %d bare workloads, %d different ones, of %d sequences", n, len(bare), len(seen), b.Sequences())
		}
		for _, w := range bare {
			for g := 1; g < mirrorImages; g++ {
				text := mirrorText(w.Script, g)
				if text == mirrorText(w.Script, 0) {
					continue
				}
				images++
				if seen[text] {
					t.Fatalf("%d operations: a mirror image is there, too, of\n%s", n, w.Script)
				}
			}
		}
		if images == 0 {
			t.Errorf("%d operations: nothing has a mirror image", n)
		}
	}
}

// Every sequence that the model accepts under some setup is in the enumeration, or a mirror image
// of it is: found by trying each pair of operations under each setup, without what the enumeration knows.
func TestBoundedComplete(t *testing.T) {
	if testing.Short() {
		t.Skip("tries all pairs under all setups")
	}
	b := bounded(t, 2)
	have := map[string]bool{}
	key := func(s *Script) string { // core operations alone
		text := mirrorText(s, 0)
		_, ops, _ := strings.Cut(text, "---\n")
		return ops
	}
	for _, w := range bareWorkloads(b, func(int16) bool { return true }) {
		for g := range mirrorImages {
			_, ops, _ := strings.Cut(mirrorText(w.Script, g), "---\n")
			have[ops] = true
		}
	}
	var states []*State
	for set := range uint16(1 << len(allSpots)) {
		st, good := NewState(0o755, 0, 0, setupTime(0)), true
		for _, op := range dependencies(set) {
			var e Errno
			if st, e = st.Apply(op, Time{}); e != OK {
				good = false
				break
			}
		}
		if good {
			states = append(states, st)
		}
	}
	missing := 0
	for i := range boundedOps {
		o := &boundedOps[i]
		one := o.kind.op(o.a, o.b, 1)
		var after []*State // wherever it succeeds
		for _, st := range states {
			if next, e := st.Apply(one, Time{1, 0}); e == OK {
				after = append(after, next)
			}
		}
		for j := range boundedOps {
			p := &boundedOps[j]
			two := p.kind.op(p.a, p.b, 2)
			if have[key(&Script{Ops: []Op{one, two}})] || leftOut(o, p) {
				continue
			}
			for _, st := range after {
				if _, e := st.Apply(two, Time{2, 0}); e == OK {
					t.Errorf("not in the enumeration: %s; %s", one, two)
					missing++
					break
				}
			}
			if missing > 10 {
				t.Fatal("and more")
			}
		}
	}
}

// leftOut is what succeeds in the model and is not wanted: an operation through a symbolic link or on
// a special file, and a change of size that would not be one.
func leftOut(o, p *boundedOp) bool {
	switch p.kind.what {
	case "overwrite in the middle", "truncate shorter", "truncate longer", "punch a hole":
		return true
	}
	return o.kind.what == "symlink" || o.kind.what == "mknod" || o.kind.what == "rename and leave a whiteout"
}

// Each stretch of a run that several workloads share, from the start of a core operation up to the
// next one, under one setup and after the same operations, is owned by exactly one of them.
func TestBoundedOwners(t *testing.T) {
	owners, shared := map[string]int{}, map[string]string{}
	take := func(w *BoundedWorkload) {
		start := 0
		for k := range w.core {
			next := start + 1
			if w.persist[k] != persistNone {
				next++
			}
			key := fmt.Sprint(w.setup, w.core[:k+1], w.persist[:k+1])
			if start+1 >= w.From {
				owners[key]++
			} else {
				shared[key] = w.Script.Name
			}
			start = next
		}
	}
	// What shares something has the same first operation: some of these will do.
	some := func(op int16) bool {
		what := boundedOps[op].kind.what
		return what == "rmdir" || what == "open"
	}
	one, two := bounded(t, 1), bounded(t, 2)
	for i := range one.Len() {
		take(one.At(i))
	}
	for k, g := range two.groups {
		if !some(g.ops[0]) && g.ops[0]%11 != 0 {
			continue
		}
		end := two.Len()
		if k+1 < len(two.groups) {
			end = two.groups[k+1].start
		}
		for i := g.start; i < end; i++ {
			take(two.At(i))
		}
	}
	for _, w := range bareWorkloads(bounded(t, 3), some) {
		take(w)
	}
	for key, n := range owners {
		if n != 1 {
			t.Fatalf("%d owners of the end of %s (setup, operations, persistence)", n, key)
		}
	}
	for key, name := range shared {
		if owners[key] != 1 {
			t.Fatalf("%s does not own what nobody owns: the end of %s (setup, operations, persistence)", name, key)
		}
	}
	t.Logf("%d stretches, %d of them shared", len(owners), len(shared))
}
