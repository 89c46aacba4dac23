package dirs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast/layout"
)

// list enumerates by Next, with a new Dir for every batch entries.
func (f *fixture) list(batch int) map[string]entry {
	got := map[string]entry{}
	d := f.dir()
	for n, pos := 1, uint64(0); ; n++ {
		if n%batch == 0 {
			d = f.dir()
		}
		e, at, next, ok, err := d.Next(pos)
		if err != nil {
			f.t.Fatal(err)
		}
		if !ok {
			return got
		}
		if at < pos || next <= at {
			f.t.Fatalf("position %#x, next %#x, after %#x", at, next, pos)
		}
		if _, twice := got[string(e.Name)]; twice {
			f.t.Fatalf("%q is listed twice", e.Name)
		}
		got[string(e.Name)] = entry{e.Ino, at, e.Type}
		pos = next
	}
}

// A directory is a map from names to inodes, each at a position that stays, whatever happens
// to the others; a listing that runs meanwhile sees what is there throughout exactly once.
func TestModel(t *testing.T) {
	for _, run := range []uint64{64, 0} {
		for _, collide := range []uint64{0, 1, 5} {
			t.Run(fmt.Sprintf("run %d, %d hashes", run, collide), func(t *testing.T) {
				rapid.Check(t, func(rt *rapid.T) { checkModel(t, rt, run, collide) })
			})
		}
	}
}

// listing is an enumeration under way.
type listing struct {
	pos    uint64
	stable map[string]bool // there since it began
	seen   map[string]int
}

func checkModel(t *testing.T, rt *rapid.T, run, collide uint64) {
	f := newFixture(t, 1024, 20000, run)
	if collide > 0 {
		f.hash = func(name []byte) uint64 { return Hash(testKey, string(name)) % collide << 40 }
	}
	if rapid.Bool().Draw(rt, "no hint") {
		f.hint = nil
	}
	f.keep = rapid.Bool().Draw(rt, "one Dir")
	model := map[string]entry{}
	name := func(n int) string { // of all lengths from 1 to 255
		s := fmt.Sprint(n)
		return s + strings.Repeat("x", (n*37)%(layout.MaxName+1-len(s)))
	}
	var lists []*listing
	steps := rapid.IntRange(20, 400).Draw(rt, "steps")
	seed := rapid.Uint64().Draw(rt, "seed")
	span := rapid.IntRange(1, 300).Draw(rt, "names")
	r := rand.New(rand.NewPCG(seed, 1))
	for step := range steps {
		n := name(r.IntN(span))
		e, there := model[n]
		if r.IntN(2) == 0 {
			if got, pos, found, err := f.dir().Lookup(n); err != nil || found != there || found && (got.Ino != e.ino || got.Type != e.kind || pos != e.pos) {
				rt.Fatalf("lookup: %v at %#x, %v, %v; want %v, %v", got, pos, found, err, e, there)
			}
		}
		grow := 60
		if step/100%2 == 1 { // times of growth, times of shrinking
			grow = 25
		}
		switch x := r.IntN(100); {
		case x < grow && !there:
			e = entry{ino: uint64(step + 1), kind: uint8(r.IntN(15) + 1)}
			if err := f.op(func(d *Dir) (err error) { e.pos, err = d.Insert(n, e.ino, e.kind); return err }); err != nil {
				rt.Fatal(err)
			}
			model[n] = e
		case x < grow:
			if _, err := f.dir().Insert(n, 1, 8); !errors.Is(err, ErrExist) {
				rt.Fatalf("insert again: %v", err)
			}
		case x < 85 && there:
			if g := f.remove(n); g.Ino != e.ino || g.Type != e.kind || string(g.Name) != n {
				rt.Fatalf("removed %v, want %v", g, e)
			}
			delete(model, n)
			for _, l := range lists {
				delete(l.stable, n)
			}
		case x < 85:
			if _, err := f.dir().Remove(n); !errors.Is(err, ErrNotFound) {
				rt.Fatalf("remove what is not there: %v", err)
			}
			if err := f.dir().Replace(n, 1, 8); !errors.Is(err, ErrNotFound) {
				rt.Fatalf("replace what is not there: %v", err)
			}
		case x < 92 && there:
			e.ino, e.kind = uint64(step+1), 10
			if err := f.op(func(d *Dir) error { return d.Replace(n, e.ino, e.kind) }); err != nil {
				rt.Fatal(err)
			}
			model[n] = e
		default:
			if len(lists) < 3 {
				l := &listing{stable: map[string]bool{}, seen: map[string]int{}}
				for n := range model {
					l.stable[n] = true
				}
				lists = append(lists, l)
			}
		}
		g, pos, found, err := f.dir().Lookup(n)
		e, there = model[n]
		if err != nil || found != there || found && (g.Ino != e.ino || g.Type != e.kind || pos != e.pos || string(g.Name) != n) {
			rt.Fatalf("lookup %q: %v at %#x, %v, %v; want %v, %v", n, g, pos, found, err, e, there)
		}
		for _, l := range lists {
			for range r.IntN(4) {
				e, _, next, ok, err := f.dir().Next(l.pos)
				if err != nil {
					rt.Fatal(err)
				}
				if ok {
					l.seen[string(e.Name)]++
					l.pos = next
				}
			}
		}
		if step%20 == 0 {
			if got, err := f.judge(); err != nil || !maps.Equal(got, model) {
				rt.Fatalf("%v; the blocks say %v, want %v", err, got, model)
			}
		}
	}
	for _, l := range lists {
		d := f.dir()
		for {
			e, _, next, ok, err := d.Next(l.pos)
			if err != nil {
				rt.Fatal(err)
			}
			if !ok {
				break
			}
			l.seen[string(e.Name)]++
			l.pos = next
		}
		for n := range l.stable {
			if l.seen[n] != 1 {
				rt.Fatalf("%.10q was there throughout and seen %d times", n, l.seen[n])
			}
		}
	}
	if got, err := f.judge(); err != nil || !maps.Equal(got, model) {
		rt.Fatalf("%v; the blocks say %v, want %v", err, got, model)
	}
	if got := f.list(r.IntN(9) + 1); !maps.Equal(got, model) {
		rt.Fatalf("listed %v, want %v", got, model)
	}
	for n := range model {
		f.remove(n)
	}
	if len(f.s.blocks) != 0 || f.in.Blocks != 0 || f.in.Size != 0 {
		rt.Fatalf("an empty directory keeps %d blocks, size %d", len(f.s.blocks), f.in.Size)
	}
}

// The index grows to three levels and more, and a directory whose names all go gives every
// block back, in whatever order they go.
func TestDeepAndBack(t *testing.T) {
	const names = 12000
	for _, order := range []string{"same", "reverse", "random"} {
		t.Run(order, func(t *testing.T) {
			f := newFixture(t, 1024, 200000, 64)
			list := make([]string, names)
			want := map[string]entry{}
			for i := range list {
				list[i] = fmt.Sprintf("name-%d", i)
				pos := f.insert(list[i], uint64(i+1))
				want[list[i]] = entry{uint64(i + 1), pos, 8}
			}
			if h := f.height(); h < 2 {
				t.Fatalf("the index has height %d", h)
			}
			if got := f.walk(); !maps.Equal(got, want) {
				t.Fatal("the blocks say something else")
			}
			if got := f.list(64); !maps.Equal(got, want) {
				t.Fatal("the listing is not complete")
			}
			if fill := float64(names*layout.RecordLen(9)) / float64(f.in.Size); fill < 0.85 {
				t.Errorf("leaves are %.0f%% full", fill*100)
			}
			switch order {
			case "reverse":
				for i := range names / 2 {
					list[i], list[names-1-i] = list[names-1-i], list[i]
				}
			case "random":
				rand.New(rand.NewPCG(1, 2)).Shuffle(names, func(i, j int) { list[i], list[j] = list[j], list[i] })
			}
			for i, n := range list {
				if f.remove(n); i%1500 == 0 || names-i < 130 {
					f.walk()
				}
			}
			if len(f.s.blocks) != 0 || f.in != (layout.Inode{Mode: f.in.Mode, Links: 2, Generation: testGen}) {
				t.Fatalf("%d blocks are left, inode %+v", len(f.s.blocks), f.in)
			}
			t.Logf("at most %d blocks touched, bound %d", f.max, MaxTouched(&f.g))
		})
	}
}

// A hole as long as its record takes a record of that length again: replacing names by others
// of the same length does not make the directory larger.
func TestHolesAreReused(t *testing.T) {
	f := newFixture(t, 1024, 20000, 64)
	for i := range 2000 {
		f.insert(fmt.Sprintf("%08d", i), 1)
	}
	size := f.in.Size
	r := rand.New(rand.NewPCG(3, 4))
	live := r.Perm(2000)
	for i := range 4000 {
		k := r.IntN(len(live))
		f.remove(fmt.Sprintf("%08d", live[k]))
		live[k] = 2000 + i
		f.insert(fmt.Sprintf("%08d", live[k]), 1)
	}
	f.walk()
	if f.in.Size > size {
		t.Errorf("%d bytes have become %d", size, f.in.Size)
	}
}

// A number that lost its leaf is used again before the directory is made longer.
func TestLeafNumbersAreReused(t *testing.T) {
	f := newFixture(t, 1024, 20000, 64)
	where := map[uint64][]string{}
	for i := 0; f.in.Size < 20*1024 || len(where[19]) < len(where[0]); i++ {
		n := fmt.Sprintf("%020d", i)
		l, _ := layout.SplitPosition(f.insert(n, 1))
		where[l] = append(where[l], n)
	}
	size := f.in.Size
	for _, l := range []uint64{3, 0} {
		for _, n := range where[l] {
			f.remove(n)
		}
		f.walk()
	}
	for _, l := range []uint64{0, 3} {
		for i := range where[l] {
			n := fmt.Sprintf("again-%014d", uint64(i)+l*1000)
			if got, _ := layout.SplitPosition(f.insert(n, 1)); got != l {
				t.Fatalf("a new name went to leaf %d, want %d", got, l)
			}
		}
	}
	if f.walk(); f.in.Size != size {
		t.Errorf("size %d, was %d", f.in.Size, size)
	}
}

// A block of the space map comes with its first leaf and goes with its last one, also in the
// middle, and its leaves' numbers are used again.
func TestSpaceMapBlocks(t *testing.T) {
	f := newFixture(t, 1024, 60000, 64)
	long := strings.Repeat("n", 247)
	where := map[uint64][]string{}
	per := uint64(layout.SpacePerBlock(1024))
	last := 2*per + 8
	for i := 0; f.in.Size <= last*1024 || len(where[last]) < len(where[0]); i++ {
		n := fmt.Sprintf("%s%08d", long, i)
		l, _ := layout.SplitPosition(f.insert(n, 1))
		where[l] = append(where[l], n)
	}
	f.walk()
	full := len(f.s.blocks)
	for l := per; l < 2*per; l++ {
		for _, n := range where[l] {
			f.remove(n)
		}
	}
	f.walk()
	if _, found, err := f.dir().mapped(layout.SpaceBase + 1); found || err != nil {
		t.Fatalf("the map block of no leaf is there (%v)", err)
	}
	for i := range per {
		n := fmt.Sprintf("%s-%07d", long, i)
		if l, _ := layout.SplitPosition(f.insert(n, 1)); i == 0 && l != per {
			t.Fatalf("leaf %d taken, want %d", l, per)
		}
	}
	f.walk()
	// The tail goes over the gap at once.
	for l := 2*per + 20; l > per; l-- {
		for _, n := range where[l] {
			if _, _, found, _ := f.dir().Lookup(n); found {
				f.remove(n)
			}
		}
	}
	f.walk()
	if len(f.s.blocks) >= full {
		t.Errorf("%d blocks, there were %d", len(f.s.blocks), full)
	}
}

// With one hash for all names nothing but speed is lost.
func TestCollisions(t *testing.T) {
	f := newFixture(t, 1024, 20000, 64)
	f.hash = func([]byte) uint64 { return 42 }
	const n = 300
	for i := range n {
		f.insert(fmt.Sprint("a", i), uint64(i+1))
	}
	if f.height() < 1 {
		t.Fatal("the index is one node")
	}
	f.walk()
	for i := range n {
		e, _, found, err := f.dir().Lookup(fmt.Sprint("a", i))
		if err != nil || !found || e.Ino != uint64(i+1) {
			t.Fatalf("a%d: %v, %v, %v", i, e, found, err)
		}
	}
	if _, _, found, err := f.dir().Lookup("b"); found || err != nil {
		t.Fatal(found, err)
	}
	for i := 0; i < n; i += 2 {
		f.remove(fmt.Sprint("a", i))
	}
	if got := f.walk(); len(got) != n/2 {
		t.Fatalf("%d names are left", len(got))
	}
	for i := 1; i < n; i += 2 {
		if e := f.remove(fmt.Sprint("a", i)); e.Ino != uint64(i+1) {
			t.Fatalf("a%d meant %d", i, e.Ino)
		}
	}
	f.walk()
}

// A hint makes searches shorter and changes no byte.
func TestHintChangesNothing(t *testing.T) {
	with, without := newFixture(t, 1024, 60000, 64), newFixture(t, 1024, 60000, 64)
	without.hint = nil
	r := rand.New(rand.NewPCG(5, 6))
	live := map[string]bool{}
	for step := range 12000 {
		n := fmt.Sprintf("%0*d", 200+r.IntN(50), r.IntN(9000))
		for _, f := range []*fixture{with, without} {
			if live[n] {
				f.remove(n)
			} else {
				f.insert(n, uint64(step+1))
			}
		}
		if live[n] = !live[n]; !live[n] {
			delete(live, n)
		}
	}
	if with.in != without.in || !reflect.DeepEqual(with.s.blocks, without.s.blocks) {
		t.Fatal("the directories differ")
	}
	with.walk()
	if with.s.reads >= without.s.reads {
		t.Errorf("%d reads with a hint, %d without", with.s.reads, without.s.reads)
	}
}

// A failing store makes an operation fail with its error; rolled back, the directory is whole.
func TestStoreFails(t *testing.T) {
	f := newFixture(t, 1024, 20000, 64)
	failed := 0
	for i := range 3000 {
		n := fmt.Sprintf("%030d", i)
		in, blocks := f.in, map[uint64][]byte{}
		for no, p := range f.s.blocks {
			blocks[no] = p
		}
		full := i%3 == 0
		if full {
			for no, p := range blocks { // what the operation spoils is its own copy
				blocks[no] = bytes.Clone(p)
			}
			f.s.limit = max(1, len(f.s.blocks)+i/3%2)
		}
		err := f.op(func(d *Dir) error { _, err := d.Insert(n, 1, 8); return err })
		f.s.limit = 0
		if err == nil {
			continue
		}
		if !full || !errors.Is(err, errNoSpace) {
			t.Fatal(err)
		}
		failed++
		f.in, f.s.blocks, *f.hint = in, blocks, Hint{}
		if failed%10 == 0 {
			f.walk()
		}
	}
	if f.walk(); failed < 10 {
		t.Errorf("only %d operations failed", failed)
	}
}

// Next takes any position, also one inside a record: the first entry at or behind it comes.
func TestAnyPosition(t *testing.T) {
	f := newFixture(t, 1024, 20000, 64)
	var starts []uint64
	for i := range 200 {
		starts = append(starts, f.insert(strings.Repeat("n", i%40+1)+fmt.Sprint(i), 1))
	}
	for i := 0; i < 200; i += 3 {
		f.remove(strings.Repeat("n", i%40+1) + fmt.Sprint(i))
	}
	live := map[uint64]bool{}
	for i, p := range starts {
		if i%3 != 0 {
			live[p] = true
		}
	}
	d := f.dir()
	for l := range f.in.Size / 1024 {
		want, wantOK := uint64(0), false
		for off := layout.Body(1024) + 3; off >= 0; off-- {
			pos := layout.Position(l, off)
			if live[pos] {
				want, wantOK = pos, true
			}
			_, at, _, ok, err := d.Next(pos)
			if first, _ := layout.SplitPosition(at); err != nil || wantOK && at != want || !wantOK && ok && first == l {
				t.Fatalf("behind %d:%d comes %#x, %v, %v; want %#x, %v", l, off, at, ok, err, want, wantOK)
			}
		}
	}
}

// What cannot be a name is refused, and found nowhere.
func TestNames(t *testing.T) {
	f := newFixture(t, 1024, 20000, 64)
	for _, n := range []string{"", ".", "..", "a/b", "a\x00", strings.Repeat("x", 256)} {
		if _, err := f.dir().Insert(n, 1, 8); !errors.Is(err, ErrName) {
			t.Errorf("insert %.9q: %v", n, err)
		}
		if _, _, found, err := f.dir().Lookup(n); found || err != nil {
			t.Errorf("lookup %.9q: %v, %v", n, found, err)
		}
	}
	if _, err := f.dir().Insert("a", 0, 8); !errors.Is(err, ErrName) {
		t.Errorf("inode 0: %v", err)
	}
	f.insert(strings.Repeat("x", 255), 1)
	f.insert("\xff\xfe", 2)
	f.in.Names = 1<<32 - 1
	if _, err := f.dir().Insert("a", 1, 8); !errors.Is(err, ErrFull) {
		t.Errorf("one name too many: %v", err)
	}
	if err := f.dir().Free(); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("free: %v", err)
	}
}

// Free gives everything back, also what a wrong count of names has left.
func TestFree(t *testing.T) {
	f := newFixture(t, 1024, 20000, 64)
	if err := f.dir().Free(); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		f.insert(fmt.Sprint(i), 1)
	}
	f.in.Names = 0
	if err := f.dir().Free(); err != nil {
		t.Fatal(err)
	}
	if len(f.s.blocks) != 0 || f.in.Blocks != 0 || f.in.Size != 0 || f.in.Flags != 0 || f.in.IndexRoot != 0 {
		t.Fatalf("%d blocks are left, inode %+v", len(f.s.blocks), f.in)
	}
}

// damage is one way to spoil a directory of several leaves; each must be noticed, by an error
// that says corrupt, by the operation that meets it.
var damages = []struct {
	name string
	do   func(f *fixture)
	meet func(f *fixture) error
}{
	{"leaf of another inode", header(layout.KindDirLeaf, func(h *layout.Header) { h.Owner++ }), lookups},
	{"leaf of another place", header(layout.KindDirLeaf, func(h *layout.Header) { h.Index++ }), lookups},
	{"leaf of an earlier generation", header(layout.KindDirLeaf, func(h *layout.Header) { h.Aux2-- }), lookups},
	{"leaf with a wrong count", header(layout.KindDirLeaf, func(h *layout.Header) { h.Count++ }), removals},
	{"leaf with a wrong hole", header(layout.KindDirLeaf, func(h *layout.Header) { h.Aux = 0 }), insertions},
	{"leaf with records of length 0", bodies(layout.KindDirLeaf, func(b []byte) { clear(b[8:10]) }), lookups},
	{"leaf with a record beyond its end", bodies(layout.KindDirLeaf, func(b []byte) { b[9] = 0xff }), listings},
	{"leaf with a name that has a slash", bodies(layout.KindDirLeaf, func(b []byte) { b[13] = '/' }), listings},
	{"leaf with another name", bodies(layout.KindDirLeaf, func(b []byte) { b[12]++ }), lookups},
	{"leaf that is all holes", bodies(layout.KindDirLeaf, func(b []byte) { layout.PutHole(b, 0, len(b)) }), lookups},
	{"index of another inode", header(layout.KindDirIndex, func(h *layout.Header) { h.Owner++ }), lookups},
	{"index of an earlier generation", header(layout.KindDirIndex, func(h *layout.Header) { h.Aux2-- }), lookups},
	{"index too high", header(layout.KindDirIndex, func(h *layout.Header) { h.Aux = 99 }), lookups},
	{"index higher than it is", header(layout.KindDirIndex, func(h *layout.Header) { h.Aux++ }), lookups},
	{"index without entries", header(layout.KindDirIndex, func(h *layout.Header) { h.Count = 0 }), removals},
	{"index with too many entries", header(layout.KindDirIndex, func(h *layout.Header) { h.Count = 1 << 31 }), lookups},
	{"index out of order", bodies(layout.KindDirIndex, func(b []byte) { copy(b[16:32], b[:16]) }), lookups},
	{"index with a position far away", bodies(layout.KindDirIndex, func(b []byte) { b[14] = 1 }), lookups},
	{"index with children nowhere", bodies(layout.KindDirIndex, func(b []byte) {
		for i := 16; i < len(b); i += 24 {
			b[i+5] = 0xff
		}
	}), lookups},
	{"space map of another inode", header(layout.KindDirSpace, func(h *layout.Header) { h.Owner++ }), insertions},
	{"space map of another place", header(layout.KindDirSpace, func(h *layout.Header) { h.Index++ }), insertions},
	{"space map with holes larger than a leaf", bodies(layout.KindDirSpace, func(b []byte) { b[0] = 254 }), insertions},
	{"space map with holes that are not", bodies(layout.KindDirSpace, func(b []byte) { b[1] = 50 }), insertions},
	{"space map with a leaf that is not", bodies(layout.KindDirSpace, func(b []byte) {
		for i := range b {
			b[i] = 20
		}
	}), insertions},
	{"root in no place", func(f *fixture) { f.in.IndexRoot = 1 << 40 }, lookups},
	{"root in the superblock", func(f *fixture) { f.in.IndexRoot = 1 }, lookups},
	{"root that is a leaf", func(f *fixture) { f.in.IndexRoot = f.of(layout.KindDirLeaf)[0] }, lookups},
	{"size of no whole blocks", func(f *fixture) { f.in.Size++ }, listings},
	{"size beyond all bounds", func(f *fixture) { f.in.Size = 1 << 62 }, listings},
	{"size too small", func(f *fixture) { f.in.Size = 1024 }, listings},
	{"no names counted", func(f *fixture) { f.in.Names = 0 }, removals},
	{"no blocks counted", func(f *fixture) { f.in.Blocks = 1 }, removals},
}

// of is the blocks of a kind, in order.
func (f *fixture) of(k layout.Kind) (list []uint64) {
	for no := range f.g.Blocks {
		if p, ok := f.s.blocks[no]; ok && layout.DecodeHeader(p).Kind == k {
			list = append(list, no)
		}
	}
	return list
}

func header(k layout.Kind, change func(*layout.Header)) func(*fixture) {
	return func(f *fixture) {
		for _, no := range f.of(k) {
			h := layout.DecodeHeader(f.s.blocks[no])
			change(&h)
			layout.EncodeHeader(f.s.blocks[no], h)
		}
	}
}

func bodies(k layout.Kind, change func([]byte)) func(*fixture) {
	return func(f *fixture) {
		for _, no := range f.of(k) {
			change(layout.BlockBody(f.s.blocks[no]))
		}
	}
}

const damagedNames = 3000

// fill is a directory with holes of all kinds and an index of three levels.
func (f *fixture) fill() {
	for i := range damagedNames {
		f.insert(fmt.Sprintf("n%d", i), uint64(i+1))
	}
	for i := 0; i < damagedNames; i += 97 {
		f.remove(fmt.Sprintf("n%d", i))
	}
}

func lookups(f *fixture) (err error) {
	for i := 0; i < damagedNames && err == nil; i++ {
		_, _, _, err = f.dir().Lookup(fmt.Sprintf("n%d", i))
	}
	return err
}

func listings(f *fixture) error {
	d := f.dir()
	for pos, n := uint64(0), 0; n <= damagedNames; n++ {
		_, _, next, ok, err := d.Next(pos)
		if !ok || err != nil {
			return err
		}
		pos = next
	}
	return errors.New("the listing does not end")
}

func insertions(f *fixture) (err error) {
	for i := 0; i < 300 && err == nil; i++ {
		_, err = f.dir().Insert(fmt.Sprintf("new-%d", i), 1, 8)
	}
	return err
}

func removals(f *fixture) (err error) {
	for i := 1; i < damagedNames && err == nil; i++ {
		if i%97 != 0 {
			_, err = f.dir().Remove(fmt.Sprintf("n%d", i))
		}
	}
	return err
}

func TestDamage(t *testing.T) {
	for _, c := range damages {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, 1024, 200000, 64)
			f.fill()
			c.do(f)
			if err := c.meet(f); !errors.Is(err, layout.ErrCorrupt) {
				t.Errorf("err = %v", err)
			}
			// Whatever else is done to it ends, and does not panic.
			*f.hint = Hint{}
			for _, fn := range []func(*fixture) error{lookups, listings, insertions, removals} {
				_ = fn(f)
			}
			_ = f.dir().Free()
		})
	}
}

// No change of a few bytes makes an operation panic or go on for ever.
func TestRandomDamage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newFixture(t, 1024, 200000, 64)
		for i := range 200 {
			f.insert(fmt.Sprintf("n%d", i), uint64(i+1))
		}
		kinds := []layout.Kind{layout.KindDirLeaf, layout.KindDirIndex, layout.KindDirSpace}
		for range rapid.IntRange(1, 5).Draw(rt, "changes") {
			list := f.of(rapid.SampledFrom(kinds).Draw(rt, "kind"))
			p := f.s.blocks[list[rapid.IntRange(0, len(list)-1).Draw(rt, "block")]]
			at := rapid.OneOf(rapid.IntRange(4, 120), rapid.IntRange(4, len(p)-1)).Draw(rt, "at")
			p[at] = rapid.Byte().Draw(rt, "byte")
		}
		for _, fn := range []func(*fixture) error{lookups, listings, insertions, removals} {
			if err := fn(f); err != nil && !errors.Is(err, layout.ErrCorrupt) && !errors.Is(err, ErrNotFound) &&
				!errors.Is(err, ErrExist) && !strings.Contains(err.Error(), "free already") {
				rt.Fatal(err)
			}
		}
		_ = f.dir().Free()
	})
}

// Bounds grow with the volume and stay below what a log of a few hundred blocks holds.
func TestMaxTouched(t *testing.T) {
	for _, bs := range []int{1024, 2048, 4096} {
		last := 0
		for _, blocks := range []uint64{4096, 1 << 20, 1 << 32, layout.MaxBlocks} {
			g := geometry(t, bs, blocks, 64)
			n := MaxTouched(&g)
			if n < last || n < 6 || n > 64 {
				t.Errorf("%d blocks of %d: %d", blocks, bs, n)
			}
			last = n
		}
	}
}

// BenchmarkDir: a directory of 200,000 names; one Lookup, and one Remove and Insert, in it.
func BenchmarkDir(b *testing.B) {
	const names = 200_000
	f := newFixture(b, 4096, 1<<20, 64)
	for i := range names {
		f.insert(fmt.Sprintf("file-%d", i), 1)
	}
	name := func(i int) string { return fmt.Sprintf("file-%d", i*7919%names) }
	b.Run("lookup", func(b *testing.B) {
		for i := range b.N {
			if _, _, found, err := f.dir().Lookup(name(i)); !found || err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("change", func(b *testing.B) {
		for i := range b.N {
			f.remove(name(i))
			f.insert(name(i), 1)
		}
	})
	b.Run("list", func(b *testing.B) {
		d := f.dir()
		for i, pos := 0, uint64(0); i < b.N; i++ {
			_, _, next, ok, err := d.Next(pos)
			if err != nil {
				b.Fatal(err)
			}
			if pos = next; !ok {
				pos = 0
			}
		}
	})
}
