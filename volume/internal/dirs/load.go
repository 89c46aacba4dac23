package dirs

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"holdfast/layout"
)

// Loader fills a new directory from the bottom up: leaves one after the other, each name
// behind the one before it, and then, from all hashes sorted, the index and the space map. No
// name is looked for before Finish, so that a name costs little more than its record; the
// price is 16 bytes of memory a name.
//
// Between two calls the directory is one without an index, however many leaves it has. After
// an error it is to be thrown away.
type Loader struct {
	d     *Dir
	leaf  uint64 // block of the last leaf, 0: there is none
	end   int    // where its names end
	space []byte // what the map is to say of the leaves before it
	list  []layout.IndexEntry
}

// Load is a Loader for d, which must be new: no names, no blocks.
func (d *Dir) Load() *Loader { return &Loader{d: d} }

// Names is how many names there are.
func (l *Loader) Names() int { return len(l.list) }

// Add gives a name, which must not be there, a place. kind is the mode type bits >> 12 of
// inode ino. That the name is there already is found by Finish.
//
// Errors: ErrName, before anything is changed; ErrFull, those of the store.
func (l *Loader) Add(name string, ino uint64, kind uint8) error {
	if err := checkName(name); err != nil {
		return err
	}
	if ino == 0 {
		return fmt.Errorf("%w: %q for inode 0", ErrName, name)
	}
	d := l.d
	if d.in.Names == math.MaxUint32 {
		return ErrFull
	}
	room := layout.Body(d.g.BlockSize)
	need := layout.RecordLen(len(name))
	if l.leaf == 0 || room-l.end < need {
		logical := uint64(0)
		if l.leaf != 0 {
			l.space = append(l.space, layout.SpaceByte(room-l.end))
			logical = uint64(len(l.space))
		}
		f, err := d.addLeaf(logical)
		if err != nil {
			return err
		}
		l.leaf, l.end = f.block, 0
	}
	p, err := d.s.Edit(l.leaf, layout.KindDirLeaf)
	if err != nil {
		return err
	}
	body := layout.BlockBody(p)
	rest := room - l.end - need
	if rest < layout.RecordLen(1) {
		need, rest = need+rest, 0
	} else {
		layout.PutHole(body, l.end+need, rest)
	}
	layout.PutRecord(body, l.end, need, layout.Dirent{Ino: ino, Type: kind, Name: []byte(name)})
	h := layout.DecodeHeader(p)
	h.Count++
	h.Aux = uint64(rest)
	layout.EncodeHeader(p, h)
	l.list = append(l.list, layout.IndexEntry{Hash: d.hash([]byte(name)), Pos: layout.Position(uint64(len(l.space)), l.end)})
	l.end += need
	d.in.Names++
	return nil
}

// Finish makes the directory an ordinary one.
//
// Errors: ErrExist if a name was added twice, ErrFull, layout.ErrCorrupt, those of the store.
func (l *Loader) Finish() error {
	d := l.d
	slices.SortFunc(l.list, func(a, b layout.IndexEntry) int {
		return cmp.Or(cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.Pos, b.Pos))
	})
	if err := l.unique(); err != nil {
		return err
	}
	if len(l.space) == 0 || d.g.RunBlocks == 0 { // at most leaf 0, or never an index
		return nil
	}
	l.space = append(l.space, layout.SpaceByte(layout.Body(d.g.BlockSize)-l.end))
	per := layout.SpacePerBlock(d.g.BlockSize)
	for k := 0; k*per < len(l.space); k++ {
		body, err := d.newSpace(uint64(k))
		if err != nil {
			return err
		}
		copy(body, l.space[k*per:])
	}
	*d.hints() = Hint{ino: d.ino, gen: d.in.Generation}
	return d.buildIndex(l.list)
}

// unique answers whether a name is in the sorted list twice: names that share a hash are
// compared.
func (l *Loader) unique() error {
	for i := 1; i < len(l.list); i++ {
		for k := i - 1; k >= 0 && l.list[k].Hash == l.list[i].Hash; k-- {
			a, err := l.d.at(l.list[k])
			if err != nil {
				return err
			}
			name := string(a.Name)
			b, err := l.d.at(l.list[i])
			if err != nil {
				return err
			}
			if name == string(b.Name) {
				return fmt.Errorf("%w: %q in directory %d", ErrExist, name, l.d.ino)
			}
		}
	}
	return nil
}

// buildIndex makes the index of the sorted entries. Nodes have an eighth of their room left,
// so that the first names that come later do not split them all.
func (d *Dir) buildIndex(list []layout.IndexEntry) error {
	for height := 0; height <= layout.MaxIndexDepth; height++ {
		most := layout.IndexEntries(d.g.BlockSize, height == 0)
		per := most - most/8
		k := 1
		if len(list) > most {
			k = (len(list) + per - 1) / per
		}
		up := make([]layout.IndexEntry, k)
		for i := range up {
			from, to := i*len(list)/k, (i+1)*len(list)/k
			x, err := d.newNode(height, 0)
			if err != nil {
				return err
			}
			x.fill(list[from:to])
			up[i].Child = x.no
			if i > 0 { // 0 is below all keys
				up[i].Hash, up[i].Pos = list[from].Hash, list[from].Pos
			}
		}
		if k == 1 {
			d.in.IndexRoot = up[0].Child
			d.in.Flags |= layout.FlagIndexed
			return nil
		}
		list = up
	}
	return ErrFull
}
