package crash

import (
	"bytes"
	"fmt"
	"maps"
	"math/big"
	"math/bits"
	"slices"

	"holdfast/disk"
)

// maxClasses bounds the distinct contents of one sector, one class being one bit of a word.
const maxClasses = 64

// space is all legal states at one crash point: an image that is certain, and on it sectors
// whose content depends on variables. It does not change while a point is explored.
type space struct {
	base    []byte // what every state holds elsewhere
	sector  int
	patches []patch
	chains  []chain
	vars    []variable
	mask    []uint64 // the classes that each variable may be in
	grp     []*group // what ties variables together, nil at the first level
	total   *big.Int // how many states
	levels  []int    // variables of each crash around this one, summed up

	decay  *decay             // what is known of sectors that went bad, nil if none do
	healed map[int64]struct{} // sectors that were written and flushed since
}

// patch is a sector with a certain content other than the base's.
type patch struct {
	sector int64
	content
}

// content is what a sector holds, with what its bytes are told by.
type content struct {
	data []byte // nil: nothing, or nothing that can be read
	sum  uint32 // raw CRC
	id   digest
}

func contentOf(data []byte) content {
	return content{data: data, sum: raw(data), id: digestOf(data)}
}

func (c *content) equal(o *content) bool {
	return c.sum == o.sum && c.id == o.id && bytes.Equal(c.data, o.data)
}

// variable is one unknown: which version a sector holds, or whether a write is there. A
// version is 0 for what was there before, and k for the k-th content written.
type variable struct {
	sector   int64    // the sector whose version it is, -1 for a write
	versions []int    // by class: its first version; version of the bad class is -1
	mult     []uint64 // by class: how many versions are these bytes; nil if one each
}

// count is the number of versions in the classes of mask.
func (v *variable) count(mask uint64) uint64 {
	if v.mult == nil {
		return uint64(bits.OnesCount64(mask))
	}
	var n uint64
	for ; mask != 0; mask &= mask - 1 {
		n += v.mult[bits.TrailingZeros64(mask)]
	}
	return n
}

// full is the mask of all classes.
func (v *variable) full() uint64 { return ^uint64(0) >> uint(maxClasses-len(v.versions)) }

// bad is the bad class as a mask, 0 if there is none.
func (v *variable) bad() uint64 {
	if n := len(v.versions) - 1; v.versions[n] < 0 {
		return 1 << uint(n)
	}
	return 0
}

// chain gives the content of one undecided sector: the first of the layers whose variable is in
// a class with content says it; if none is, the bottom.
type chain struct {
	sector int64
	layers []layer
	bottom content // empty if the last layer never falls through
	top    int     // so many layers are writes made after sectors decayed
}

// layer is one variable's part in the content of a sector.
type layer struct {
	v    int32
	fall uint64    // classes with which the next layer decides
	bad  uint64    // classes with which the sector is bad
	data []content // by class: the whole sector, empty in fall and bad

	repeats bool // several classes may have the same data, then the same slice
}

// settled is the content of the sector, if it is the same in all states of mask; empty if it is
// bad in all of them.
func (c *chain) settled(mask []uint64) (is *content, ok bool) {
	is, falls, ok := c.above(mask, len(c.layers))
	if falls {
		return &c.bottom, true
	}
	return is, ok
}

// unreadable is the content of a bad sector.
var unreadable content

// above is settled for the first n layers: falls says that all states fall through them.
func (c *chain) above(mask []uint64, n int) (is *content, falls, ok bool) {
	for k := range n {
		l := &c.layers[k]
		m := mask[l.v]
		switch {
		case m&^l.fall == 0:
			continue
		case m&^l.bad == 0:
			return &unreadable, false, true
		case m&(m-1) != 0 && !(l.repeats && l.same(m)):
			return nil, false, false
		}
		return &l.data[bits.TrailingZeros64(m)], false, true
	}
	return nil, true, false
}

// same reports whether the data is the same slice in all classes of m, which is not empty.
func (l *layer) same(m uint64) bool {
	first := l.data[bits.TrailingZeros64(m)].data
	for ; m != 0; m &= m - 1 {
		if d := l.data[bits.TrailingZeros64(m)].data; d == nil || &d[0] != &first[0] {
			return false
		}
	}
	return true
}

// sectorSpace is the space in which each sector written has, independently, any of its
// versions or is bad. writes are in order; image is what was there before them.
func sectorSpace(image []byte, sector int, writes []disk.Event, withBad bool) (*space, error) {
	s := &space{base: image, sector: sector}
	index := map[int64]int{}
	for _, w := range writes {
		for done := 0; done < len(w.Data); done += sector {
			at := (w.Off + int64(done)) / int64(sector)
			if _, ok := index[at]; !ok {
				index[at] = -1
			}
		}
	}
	for _, at := range sortedKeys(index) {
		index[at] = len(s.vars)
		old := image[at*int64(sector):][:sector:sector]
		s.vars = append(s.vars, variable{sector: at, versions: []int{0}})
		s.chains = append(s.chains, chain{sector: at, layers: []layer{{
			v: int32(len(s.vars) - 1), data: []content{contentOf(old)},
		}}})
	}
	if err := s.addVersions(writes, index); err != nil {
		return nil, err
	}
	s.finish(withBad, 0)
	return s, nil
}

// addVersions makes each sector of each write a version of the variable of the top layer of its
// chain, which index gives.
func (s *space) addVersions(writes []disk.Event, index map[int64]int) error {
	seen := make([]int, len(s.chains)) // versions so far
	for _, w := range writes {
	sectors:
		for done := 0; done < len(w.Data); done += s.sector {
			at := (w.Off + int64(done)) / int64(s.sector)
			i := index[at]
			l := &s.chains[i].layers[0]
			v := &s.vars[l.v]
			seen[i]++
			data := contentOf(w.Data[done:][:s.sector:s.sector])
			for c := range l.data {
				if l.data[c].equal(&data) {
					if v.mult == nil {
						v.mult = ones(len(v.versions))
					}
					v.mult[c]++
					continue sectors
				}
			}
			if len(l.data) == maxClasses-1 {
				return fmt.Errorf("sector %d has more than %d distinct contents in flight: %w", at, maxClasses-1, ErrLimit)
			}
			l.data = append(l.data, data)
			v.versions = append(v.versions, seen[i])
			if v.mult != nil {
				v.mult = append(v.mult, 1)
			}
		}
	}
	return nil
}

// finish adds the bad class to the variables from the first one on, and sums up.
func (s *space) finish(withBad bool, from int) {
	for i := range s.chains {
		l := &s.chains[i].layers[0]
		if v := &s.vars[l.v]; withBad && int(l.v) >= from && v.bad() == 0 {
			v.versions = append(v.versions, -1)
			if v.mult != nil {
				v.mult = append(v.mult, 1)
			}
			l.data, l.bad = append(l.data, content{}), v.bad()
		}
	}
	s.close(from)
}

// close gives the variables from the first one on their full domains and counts the states.
func (s *space) close(from int) {
	if s.total == nil {
		s.total = big.NewInt(1)
	}
	var n big.Int
	for i := from; i < len(s.vars); i++ {
		m := s.vars[i].full()
		s.mask = append(s.mask, m)
		s.grp = append(s.grp, nil)
		s.total.Mul(s.total, n.SetUint64(s.vars[i].count(m)))
	}
}

// writeSpace is the space in which each write is there or not, whole.
func writeSpace(image []byte, sector int, writes []disk.Event) *space {
	s := &space{base: image, sector: sector}
	s.stackWrites(writes, map[int64]int{}, func(at int64) content {
		return contentOf(image[at*int64(sector):][:sector:sector])
	})
	s.close(0)
	return s
}

// stackWrites puts a layer for each write on the chains of its sectors; index says where the
// chains are, and grows by those whose bottom is taken from bottom.
func (s *space) stackWrites(writes []disk.Event, index map[int64]int, bottom func(at int64) content) {
	for _, w := range writes {
		v := int32(len(s.vars))
		s.vars = append(s.vars, variable{sector: -1, versions: []int{0, 1}})
		for done := 0; done < len(w.Data); done += s.sector {
			at := (w.Off + int64(done)) / int64(s.sector)
			i, ok := index[at]
			if !ok {
				i = len(s.chains)
				index[at] = i
				s.chains = append(s.chains, chain{sector: at, bottom: bottom(at)})
			}
			data := contentOf(w.Data[done:][:s.sector:s.sector])
			c := &s.chains[i]
			c.layers = append([]layer{{v: v, fall: 1, data: []content{{}, data}}}, c.layers...)
		}
	}
}

func ones(n int) []uint64 {
	p := make([]uint64, n)
	for i := range p {
		p[i] = 1
	}
	return p
}

func sortedKeys[V any](m map[int64]V) []int64 {
	keys := slices.AppendSeq(make([]int64, 0, len(m)), maps.Keys(m))
	slices.Sort(keys)
	return keys
}
