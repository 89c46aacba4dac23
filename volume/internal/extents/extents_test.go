package extents

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"holdfast/layout"
)

// fataler is a test of package testing or rapid.
type fataler interface{ Fatalf(string, ...any) }

// memory is a store of index blocks. New blocks come from the end of the volume, so that
// they never meet the blocks that a test maps.
type memory struct {
	g      *layout.Geometry
	blocks map[uint64][]byte
	next   uint64
}

func (m *memory) Read(no uint64, k layout.Kind) ([]byte, error) {
	p, ok := m.blocks[no]
	if !ok {
		return nil, layout.Corrupt(k.String(), no, 0, "no such block", nil)
	}
	if h := layout.DecodeHeader(p); h.Kind != k {
		return nil, layout.Corrupt(k.String(), no, 0, h.Kind.String(), k.String())
	}
	return p, nil
}

func (m *memory) Edit(no uint64, k layout.Kind) ([]byte, error) { return m.Read(no, k) }

func (m *memory) NewBlock(uint64) (uint64, []byte, error) {
	for m.next--; !m.g.Allocatable(m.next) || m.blocks[m.next] != nil; m.next-- {
	}
	p := make([]byte, m.g.BlockSize)
	m.blocks[m.next] = p
	return m.next, p, nil
}

func (m *memory) FreeBlock(no uint64) error {
	if _, ok := m.blocks[no]; !ok {
		return fmt.Errorf("block %d freed twice", no)
	}
	delete(m.blocks, no)
	return nil
}

func newMemory(tb fataler, blockSize uint32) *memory {
	s := &layout.Superblock{BlockSize: blockSize, SectorSize: 512, Blocks: 200000, InodesPerGroup: 64}
	g, err := layout.NewGeometry(s)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return &memory{g: &g, blocks: map[uint64][]byte{}, next: g.Blocks}
}

const (
	span = 4000 // logical blocks that the model uses
	ino  = 7
)

// place is a block that a run of n can begin at without leaving its group.
func place(g *layout.Geometry, r uint64, n uint32) uint64 {
	group := r % 5
	first := g.GroupStart(group) + g.GroupTables(group)
	return first + (r>>8)%(g.GroupLen(group)-g.GroupTables(group)-uint64(n))
}

// check compares the map with the model, by Walk and by Lookup, and the shape of the tree.
func check(t fataler, m *memory, in *layout.Inode, model map[uint64]layout.Extent) {
	got := map[uint64]layout.Extent{}
	var last layout.Extent
	n := 0
	err := Walk(m, m.g, ino, in, 0, func(e layout.Extent) bool {
		if n > 0 && e.Logical < last.End() {
			t.Fatalf("walk: %v behind %v", e, last)
		}
		for i := range uint64(e.Len) {
			got[e.Logical+i] = layout.Extent{Block: e.Block + i, Unwritten: e.Unwritten}
		}
		last = e
		n++
		return true
	})
	if err != nil {
		t.Fatalf("walk: %v", err)
	}
	if len(got) != len(model) {
		t.Fatalf("%d blocks mapped, want %d", len(got), len(model))
	}
	for l, e := range model {
		if got[l] != e {
			t.Fatalf("logical %d: %v, want %v", l, got[l], e)
		}
	}
	for l := uint64(0); l < span; {
		e, found, err := Lookup(m, m.g, ino, in, l)
		if err != nil || e.Len == 0 || e.End() <= l {
			t.Fatalf("lookup %d: %v, %v", l, e, err)
		}
		for ; l < min(e.End(), span); l++ {
			w, mapped := model[l]
			if mapped != found || found && (w.Block != e.Block+l-e.Logical || w.Unwritten != e.Unwritten) {
				t.Fatalf("lookup of %d says %v (%v), want %v (%v)", l, e, found, w, mapped)
			}
		}
	}
	if uint64(len(m.blocks)) != in.Blocks {
		t.Fatalf("%d index blocks, %d accounted", len(m.blocks), in.Blocks)
	}
	if len(model) == 0 && (in.Depth != 0 || in.Extents != 0 || len(m.blocks) != 0) {
		t.Fatalf("empty map: depth %d, %d entries, %d index blocks", in.Depth, in.Extents, len(m.blocks))
	}
}

// The map is a map, whatever is inserted and removed.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory(t, 1024)
		in := &layout.Inode{Mode: layout.ModeFile, Generation: 3, XattrLen: rapid.SampledFrom([]uint8{0, 40}).Draw(t, "attributes")}
		model := map[uint64]layout.Extent{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			l := rapid.Uint64Range(0, span-1).Draw(t, "logical")
			n := min(rapid.Uint32Range(1, 300).Draw(t, "length"), uint32(span-l))
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0: // one extent
				e := layout.Extent{Logical: l, Block: place(m.g, rapid.Uint64().Draw(t, "block"), n), Len: n, Unwritten: rapid.Bool().Draw(t, "unwritten")}
				insert(t, m, in, model, e)
			case 1: // many, apart from each other, in one direction or the other
				down := rapid.Bool().Draw(t, "down")
				for i := range uint64(n) {
					at := l + i
					if down {
						at = l + uint64(n) - 1 - i
					}
					insert(t, m, in, model, layout.Extent{Logical: at, Block: place(m.g, at*0x9e3779b97f4a7c15, 1), Len: 1})
				}
			default:
				remove(t, m, in, model, l, uint64(n))
			}
			check(t, m, in, model)
		}
		remove(t, m, in, model, 0, layout.MaxLogical)
		check(t, m, in, model)
	})
}

func insert(t fataler, m *memory, in *layout.Inode, model map[uint64]layout.Extent, e layout.Extent) {
	clash := false
	for i := range uint64(e.Len) {
		if _, ok := model[e.Logical+i]; ok {
			clash = true
		}
	}
	if clash {
		remove(t, m, in, model, e.Logical, uint64(e.Len))
	}
	if err := Insert(m, m.g, ino, in, e); err != nil {
		t.Fatalf("insert %v: %v", e, err)
	}
	for i := range uint64(e.Len) {
		model[e.Logical+i] = layout.Extent{Block: e.Block + i, Unwritten: e.Unwritten}
	}
}

func remove(t fataler, m *memory, in *layout.Inode, model map[uint64]layout.Extent, l, n uint64) {
	gone, err := Remove(m, m.g, ino, in, l, n)
	if err != nil {
		t.Fatalf("remove %d+%d: %v", l, n, err)
	}
	for _, e := range gone {
		for i := range uint64(e.Len) {
			w, ok := model[e.Logical+i]
			if !ok || w.Block != e.Block+i || e.Logical+i < l || e.Logical+i >= l+n {
				t.Fatalf("remove %d+%d gave %v", l, n, e)
			}
			delete(model, e.Logical+i)
		}
	}
	for i := l; i < min(l+n, span); i++ {
		if _, ok := model[i]; ok {
			t.Fatalf("remove %d+%d left %d", l, n, i)
		}
	}
}

// A file of many pieces has an index of at least two levels, whose nodes are half full or
// better when it was written from front to back, and none of which is left in the end.
func TestDeep(t *testing.T) {
	m := newMemory(t, 1024)
	in := &layout.Inode{Mode: layout.ModeFile, Generation: 1}
	model := map[uint64]layout.Extent{}
	for l := range uint64(span) {
		insert(t, m, in, model, layout.Extent{Logical: l, Block: place(m.g, l*0x9e3779b97f4a7c15, 1), Len: 1})
	}
	check(t, m, in, model)
	if in.Depth < 2 {
		t.Fatalf("depth %d, want 2 or more", in.Depth)
	}
	if most := span/layout.NodeEntries(1024) + 10; len(m.blocks) > most {
		t.Fatalf("%d index blocks for a file written in order, want at most %d", len(m.blocks), most)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i, l := range r.Perm(span) {
		remove(t, m, in, model, uint64(l), 1)
		if i == span-2 && (in.Depth != 0 || len(m.blocks) != 0) {
			t.Fatalf("one extent is left, depth %d and %d index blocks", in.Depth, len(m.blocks))
		}
		if least := len(model) / layout.NodeEntries(1024); len(m.blocks) > 12*(least+1) {
			t.Fatalf("%d index blocks for %d extents", len(m.blocks), len(model))
		}
	}
	check(t, m, in, model)
}

// Neighbours that continue each other become one extent, but never across groups.
func TestMerge(t *testing.T) {
	m := newMemory(t, 1024)
	in := &layout.Inode{Mode: layout.ModeFile}
	first := m.g.GroupStart(1) + m.g.GroupTables(1)
	for _, l := range []uint64{0, 2, 1, 4, 3} {
		if err := Insert(m, m.g, ino, in, layout.Extent{Logical: l, Block: first + l, Len: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if in.Extents != 1 {
		t.Fatalf("%d extents, want 1", in.Extents)
	}
	if err := Insert(m, m.g, ino, in, layout.Extent{Logical: 5, Block: first + 5, Len: 1, Unwritten: true}); err != nil {
		t.Fatal(err)
	}
	if in.Extents != 2 {
		t.Fatalf("written and unwritten: %d extents, want 2", in.Extents)
	}
	if err := Insert(m, m.g, ino, in, layout.Extent{Logical: 3, Block: first, Len: 1}); !errors.Is(err, ErrMapped) {
		t.Fatalf("insert over an extent: %v", err)
	}
	if err := Insert(m, m.g, ino, in, layout.Extent{Logical: layout.MaxLogical - 1, Block: first, Len: 2}); !errors.Is(err, ErrRange) {
		t.Fatalf("insert behind the end: %v", err)
	}
}

// Hostile index blocks and inodes are errors, never a panic and never an endless walk.
func TestHostile(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := newMemory(t, 1024)
		in := &layout.Inode{Mode: layout.ModeFile, Generation: 1}
		for l := range uint64(500) {
			if err := Insert(m, m.g, ino, in, layout.Extent{Logical: 2 * l, Block: place(m.g, l*0x9e3779b97f4a7c15, 1), Len: 1}); err != nil {
				t.Fatal(err)
			}
			if l > r.Uint64N(500) {
				break
			}
		}
		for range 1 + r.IntN(4) {
			switch r.IntN(5) {
			case 0:
				in.Inline[r.IntN(len(in.Inline))] ^= 1 << r.IntN(8)
			case 1:
				in.Depth = uint8(r.IntN(256))
			case 2:
				in.Extents = uint16(r.IntN(10))
			default:
				for _, p := range m.blocks {
					p[r.IntN(len(p))] ^= 1 << r.IntN(8)
					break
				}
			}
		}
		l := r.Uint64N(1100)
		report := func(what string, err error) {
			if err != nil && !errors.Is(err, layout.ErrCorrupt) && !errors.Is(err, ErrMapped) && !errors.Is(err, ErrDepth) {
				t.Fatalf("seed %d: %s: %v", seed, what, err)
			}
		}
		_, _, err := Lookup(m, m.g, ino, in, l)
		report("lookup", err)
		n := 0
		report("walk", Walk(m, m.g, ino, in, 0, func(layout.Extent) bool { n++; return true }))
		if n > 1<<20 {
			t.Fatalf("seed %d: a walk of %d extents", seed, n)
		}
		report("insert", Insert(m, m.g, ino, in, layout.Extent{Logical: l, Block: place(m.g, l, 1), Len: 1}))
		_, err = Remove(m, m.g, ino, in, l, 40)
		report("remove", err)
	}
}
