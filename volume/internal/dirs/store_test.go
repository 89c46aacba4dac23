package dirs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// memStore is a Store in memory. It is stricter than a volume: an Edit spoils what earlier
// calls have returned for the block, and it counts what one operation touches.
type memStore struct {
	g       *layout.Geometry
	blocks  map[uint64][]byte
	next    uint64
	limit   int // blocks that there may be, 0: no limit
	touched map[uint64]bool
	reads   int
}

var errNoSpace = errors.New("no space")

func (s *memStore) Read(no uint64, k layout.Kind) ([]byte, error) {
	p, ok := s.blocks[no]
	if !ok || layout.DecodeHeader(p).Kind != k {
		return nil, layout.Corrupt(k.String(), no, 0, "another kind", nil)
	}
	s.reads++
	return p, nil
}

func (s *memStore) Edit(no uint64, k layout.Kind) ([]byte, error) {
	p, err := s.Read(no, k)
	if err != nil {
		return nil, err
	}
	q := bytes.Clone(p)
	for i := range p {
		p[i] = 0xee
	}
	s.blocks[no] = q
	s.touched[no] = true
	return q, nil
}

func (s *memStore) NewBlock(uint64) (uint64, []byte, error) {
	if s.limit > 0 && len(s.blocks) >= s.limit {
		return 0, nil, errNoSpace
	}
	for { // never two neighbours, so that the extents are many
		s.next = (s.next + 7) % s.g.Blocks
		if _, used := s.blocks[s.next]; !used && s.g.Allocatable(s.next) {
			break
		}
	}
	p := make([]byte, s.g.BlockSize)
	s.blocks[s.next] = p
	s.touched[s.next] = true
	return s.next, p, nil
}

func (s *memStore) FreeBlock(no uint64) error {
	if _, ok := s.blocks[no]; !ok {
		return fmt.Errorf("block %d is free already", no)
	}
	delete(s.blocks, no)
	s.touched[no] = true
	return nil
}

// fixture is a directory in a memStore, opened anew for each operation as a volume does.
type fixture struct {
	t    testing.TB
	s    *memStore
	g    layout.Geometry
	in   layout.Inode
	hint *Hint
	hash func([]byte) uint64 // nil: the real one
	keep bool                // one Dir for all operations, of which none fails
	kept *Dir
	max  int // most blocks that one operation has touched
}

const (
	testIno = 5
	testGen = 3
)

var testKey = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// geometry is that of a volume with (run > 0) or without a journal.
func geometry(t testing.TB, blockSize int, blocks, run uint64) layout.Geometry {
	g, err := layout.NewGeometry(&layout.Superblock{BlockSize: uint32(blockSize), SectorSize: 512, Blocks: blocks,
		InodesPerGroup: 64, RunBlocks: run})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func newFixture(t testing.TB, blockSize int, blocks, run uint64) *fixture {
	f := &fixture{t: t, g: geometry(t, blockSize, blocks, run), hint: new(Hint)}
	f.s = &memStore{g: &f.g, blocks: map[uint64][]byte{}, touched: map[uint64]bool{}}
	f.in = layout.Inode{Mode: layout.ModeDir | 0o755, Links: 2, Generation: testGen}
	return f
}

func (f *fixture) dir() *Dir {
	if f.kept != nil {
		return f.kept
	}
	d := New(f.s, &f.g, testKey, testIno, &f.in)
	if f.hint != nil {
		d.WithHint(f.hint)
	}
	if f.hash != nil {
		d.hash = f.hash
	}
	if f.keep {
		f.kept = d
	}
	return d
}

// op runs one operation and holds it to its bound.
func (f *fixture) op(fn func(d *Dir) error) error {
	clear(f.s.touched)
	err := fn(f.dir())
	f.max = max(f.max, len(f.s.touched))
	if bound := MaxTouched(&f.g); len(f.s.touched) > bound {
		f.t.Fatalf("%d blocks touched, MaxTouched is %d", len(f.s.touched), bound)
	}
	return err
}

func (f *fixture) insert(name string, ino uint64) (pos uint64) {
	f.t.Helper()
	if err := f.op(func(d *Dir) (err error) { pos, err = d.Insert(name, ino, 8); return err }); err != nil {
		f.t.Fatalf("insert %q: %v", name, err)
	}
	return pos
}

func (f *fixture) remove(name string) (e layout.Dirent) {
	f.t.Helper()
	if err := f.op(func(d *Dir) (err error) { e, err = d.Remove(name); return err }); err != nil {
		f.t.Fatalf("remove %q: %v", name, err)
	}
	return e
}

// entry is what the walker has found of one name.
type entry struct {
	ino, pos uint64
	kind     uint8
}

// walk reads the directory's blocks with nothing of this package, checks every rule of the
// format (I1, I9 and I10 as far as they are the directory's) and returns the names.
func (f *fixture) walk() map[string]entry {
	names, err := f.judge()
	if err != nil {
		f.t.Fatal(err)
	}
	return names
}

func (f *fixture) judge() (map[string]entry, error) {
	bs := f.g.BlockSize
	names := map[string]entry{}
	used := map[uint64]string{}
	claim := func(no uint64, what string) error {
		if was, twice := used[no]; twice {
			return fmt.Errorf("block %d: %s and %s (I1)", no, was, what)
		}
		used[no] = what
		return nil
	}
	block := func(no uint64, k layout.Kind, index uint64) ([]byte, layout.Header, error) {
		if err := claim(no, k.String()); err != nil {
			return nil, layout.Header{}, err
		}
		p, ok := f.s.blocks[no]
		if !ok {
			return nil, layout.Header{}, fmt.Errorf("block %d of the %v is free", no, k)
		}
		h := layout.DecodeHeader(p)
		if err := layout.CheckHeader(p, no, k, testIno, index); err != nil {
			return nil, h, err
		}
		if h.Aux2 != testGen {
			return nil, h, fmt.Errorf("block %d: generation %d", no, h.Aux2)
		}
		return layout.BlockBody(p), h, nil
	}
	// The extents, in a decoder of the test's own.
	mapped := map[uint64]uint64{}
	var expand func(area []byte, n, depth int) error
	expand = func(area []byte, n, depth int) error {
		for i := range n {
			e := layout.GetExtent(area, i)
			if depth > 0 {
				body, h, err := block(e.Block, layout.KindExtents, e.Logical)
				if err != nil {
					return err
				}
				if err := expand(body, int(h.Count), depth-1); err != nil {
					return err
				}
				continue
			}
			for j := range uint64(e.Len) {
				mapped[e.Logical+j] = e.Block + j
			}
		}
		return nil
	}
	if err := expand(f.in.Inline[:], int(f.in.Extents), int(f.in.Depth)); err != nil {
		return nil, err
	}
	end := uint64(0)
	space := map[uint64]uint8{} // leaf -> what the map must say
	keys := map[layout.IndexEntry]bool{}
	hash := f.hash
	if hash == nil {
		hash = func(name []byte) uint64 { return Hash(testKey, string(name)) }
	}
	for _, l := range slices.Sorted(maps.Keys(mapped)) {
		if l >= layout.SpaceBase {
			continue
		}
		end = l + 1
		body, h, err := block(mapped[l], layout.KindDirLeaf, l)
		if err != nil {
			return nil, err
		}
		count, largest, hole := 0, 0, false
		for off := 0; off < len(body); {
			r, err := layout.GetRecord(body, off)
			if err != nil {
				return nil, fmt.Errorf("leaf %d at %d: %w", l, off, err)
			}
			if r.Hole() {
				if hole {
					return nil, fmt.Errorf("leaf %d: two holes meet at %d", l, off)
				}
				largest = max(largest, r.Len)
				for _, x := range body[off+12 : off+r.Len] {
					if x != 0 {
						return nil, fmt.Errorf("leaf %d: the hole at %d is not zero", l, off)
					}
				}
			} else {
				if _, twice := names[string(r.Name)]; twice {
					return nil, fmt.Errorf("%q is there twice (I10)", r.Name)
				}
				pos := layout.Position(l, off)
				names[string(r.Name)] = entry{r.Ino, pos, r.Type}
				keys[layout.IndexEntry{Hash: hash(r.Name), Pos: pos}] = true
				count++
			}
			hole = r.Hole()
			off += r.Len
		}
		if h.Count != uint32(count) || h.Aux != uint64(largest) {
			return nil, fmt.Errorf("leaf %d: %d names, largest hole %d; the header says %d, %d", l, count, largest, h.Count, h.Aux)
		}
		if count == 0 {
			return nil, fmt.Errorf("leaf %d is empty", l)
		}
		space[l] = layout.SpaceByte(largest)
	}
	if f.in.Size != end*uint64(bs) {
		return nil, fmt.Errorf("size %d, last leaf %d", f.in.Size, end)
	}
	if int(f.in.Names) != len(names) {
		return nil, fmt.Errorf("%d names, the inode says %d (I9)", len(names), f.in.Names)
	}
	if want := end > 1 && f.g.RunBlocks > 0; want != (f.in.Flags&layout.FlagIndexed != 0) || want != (f.in.IndexRoot != 0) {
		return nil, fmt.Errorf("%d leaves, flags %#x, index root %d", end, f.in.Flags, f.in.IndexRoot)
	}
	per := uint64(layout.SpacePerBlock(bs))
	maps := map[uint64]bool{}
	for l, no := range mapped {
		if l < layout.SpaceBase {
			continue
		}
		k := l - layout.SpaceBase
		maps[k] = true
		body, _, err := block(no, layout.KindDirSpace, k)
		if err != nil {
			return nil, err
		}
		any := false
		for i, v := range body {
			want, ok := space[k*per+uint64(i)]
			if !ok {
				want = layout.SpaceNone
			}
			any = any || ok
			if v != want {
				return nil, fmt.Errorf("space map: leaf %d has %d, want %d (I10)", k*per+uint64(i), v, want)
			}
		}
		if !any {
			return nil, fmt.Errorf("block %d of the space map is empty", k)
		}
	}
	if f.in.Flags&layout.FlagIndexed == 0 {
		if len(maps) > 0 {
			return nil, fmt.Errorf("a space map without an index")
		}
	} else {
		for l := range space {
			if !maps[l/per] {
				return nil, fmt.Errorf("leaf %d is not in the space map", l)
			}
		}
		top := layout.IndexEntry{Hash: 1<<64 - 1, Pos: 1<<64 - 1}
		var down func(no uint64, height int, low, high layout.IndexEntry) error
		down = func(no uint64, height int, low, high layout.IndexEntry) error {
			body, h, err := block(no, layout.KindDirIndex, 0)
			if err != nil {
				return err
			}
			if height < 0 {
				height = int(h.Aux)
			} else if n := layout.IndexEntries(bs, height == 0) / 3; int(h.Count) < n {
				return fmt.Errorf("index block %d has %d entries, less than %d", no, h.Count, n)
			}
			if err := layout.CheckIndexNode(f.s.blocks[no], no, testIno, testGen, height); err != nil {
				return err
			}
			if height > 0 && h.Count < 2 {
				return fmt.Errorf("inner index block %d has %d children", no, h.Count)
			}
			for i := range int(h.Count) {
				e := layout.GetIndex(body, i, height == 0)
				key := layout.IndexEntry{Hash: e.Hash, Pos: e.Pos}
				if key.Less(low) || !key.Less(high) {
					return fmt.Errorf("index block %d: key %v outside %v to %v", no, key, low, high)
				}
				if height == 0 {
					if !keys[key] {
						return fmt.Errorf("index: %v is in no leaf (I10)", key)
					}
					delete(keys, key)
					continue
				}
				next := high
				if i+1 < int(h.Count) {
					next = layout.GetIndex(body, i+1, false)
				}
				if err := down(e.Child, height-1, key, next); err != nil {
					return err
				}
			}
			return nil
		}
		if err := down(f.in.IndexRoot, -1, layout.IndexEntry{}, top); err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			return nil, fmt.Errorf("%d names are not in the index (I10)", len(keys))
		}
	}
	if int(f.in.Blocks) != len(used) || len(used) != len(f.s.blocks) {
		return nil, fmt.Errorf("%d blocks reached, %d allocated, the inode says %d (I9)", len(used), len(f.s.blocks), f.in.Blocks)
	}
	return names, nil
}

// height is that of the index, -1 without one.
func (f *fixture) height() int {
	if f.in.IndexRoot == 0 {
		return -1
	}
	return int(layout.DecodeHeader(f.s.blocks[f.in.IndexRoot]).Aux)
}

var _ extents.Store = (*memStore)(nil)
