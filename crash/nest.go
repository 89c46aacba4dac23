package crash

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"maps"
	"math/big"
	"slices"

	"holdfast/disk"
)

// nest is the space of a crash inside the run that the device has just made: what the run
// found, with the writes of flushed over it, and on top those of inFlight, of which each is
// what the model makes of it. What the outer crash left undecided stays so.
func (d *lazy) nest(flushed, inFlight []disk.Event, opt *Options) (*space, error) {
	outer := d.sp
	s := &space{
		base: outer.base, sector: outer.sector,
		vars: append(make([]variable, 0, len(outer.vars)+sectorCount(inFlight, int64(outer.sector))), outer.vars...), mask: slices.Clone(d.mask), grp: slices.Clone(d.grp),
		total: new(big.Int).Set(d.states()), levels: append(slices.Clip(outer.levels), len(outer.vars)),
	}
	sector := int64(s.sector)
	if outer.decay != nil {
		s.decay = &decay{}
		s.decay.set(&d.decay)
		s.healed = maps.Clone(outer.healed)
		if s.healed == nil {
			s.healed = map[int64]struct{}{}
		}
	}
	// By sector: content that no variable has a part in.
	certain := make(map[int64][]byte, len(outer.patches)+len(outer.chains)+sectorCount(flushed, sector))
	for _, p := range outer.patches {
		certain[p.sector] = p.data
	}
	for _, e := range flushed {
		for done := int64(0); done < int64(len(e.Data)); done += sector {
			certain[(e.Off+done)/sector] = e.Data[done : done+sector : done+sector]
			if s.decay != nil {
				s.healed[(e.Off+done)/sector] = struct{}{}
			}
		}
	}
	// What lies below the writes in flight: chains of the outer space, unless overwritten.
	added := sectorCount(inFlight, sector)
	index := make(map[int64]int, len(outer.chains)+added)
	s.chains = make([]chain, 0, len(outer.chains)+added)
	for _, c := range outer.chains {
		if certain[c.sector] != nil {
			continue
		}
		if data, ok := c.settled(d.mask); ok && data != nil {
			if _, _, ok := c.above(d.mask, c.top); ok && s.decay != nil {
				s.healed[c.sector] = struct{}{}
			}
			certain[c.sector] = data
			continue
		}
		index[c.sector] = len(s.chains)
		c.layers = append(make([]layer, 0, len(c.layers)+1), c.layers...)
		s.chains = append(s.chains, c)
	}
	below := func(at int64) []byte {
		if data, ok := certain[at]; ok {
			return data
		}
		return s.base[at*sector:][:sector:sector]
	}
	from := len(s.vars)
	switch opt.Model {
	case Atomic:
		s.stackWrites(inFlight, index, below)
		s.close(from)
	case Prefix:
		s.stackPrefix(inFlight, index, below)
	default:
		top := map[int64]struct{}{}
		for _, e := range inFlight {
			for done := int64(0); done < int64(len(e.Data)); done += sector {
				top[(e.Off+done)/sector] = struct{}{}
			}
		}
		for _, at := range sortedKeys(top) {
			i, ok := index[at]
			if !ok {
				i = len(s.chains)
				index[at] = i
				b := below(at)
				s.chains = append(s.chains, chain{sector: at, bottom: b, sum: raw(b)})
			}
			s.chains[i].layers = slices.Insert(s.chains[i].layers, 0, layer{ // there is room for what is not written, one version, and bad
				v: int32(len(s.vars)), fall: 1, data: make([][]byte, 1, 3), sums: make([]uint32, 1, 3),
			})
			s.vars = append(s.vars, variable{sector: at, versions: make([]int, 1, 3)})
		}
		if err := s.addVersions(inFlight, index); err != nil {
			return nil, err
		}
		s.finish(opt.Bad, from)
	}
	if s.decay != nil {
		for i := range s.chains {
			c := &s.chains[i]
			added := 0
			for added < len(c.layers) && int(c.layers[added].v) >= from {
				added++
			}
			c.top += added
		}
	}
	s.patches = make([]patch, 0, len(certain))
	for _, at := range sortedKeys(certain) {
		if _, ok := index[at]; !ok && !bytes.Equal(certain[at], s.base[at*sector:][:sector]) {
			s.patches = append(s.patches, patch{at, certain[at]})
		}
	}
	return s, nil
}

// sectorCount is how many sectors are written, some perhaps more than once.
func sectorCount(writes []disk.Event, sector int64) int {
	n := int64(0)
	for _, e := range writes {
		n += int64(len(e.Data)) / sector
	}
	return int(n)
}

// A digest tells images apart within this process. Two 64-bit hashes of independent seeds are
// as good as one of 128 bits: that of ten million digests two are equal by chance has a
// probability below 1e-24.
type digest [2]uint64

var digestSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// digester collects what a digest is of.
type digester struct{ buf []byte }

func (h *digester) reset()         { h.buf = h.buf[:0] }
func (h *digester) bytes(b []byte) { h.buf = append(h.buf, b...) }

func (h *digester) put(numbers ...int) {
	for _, n := range numbers {
		h.buf = binary.LittleEndian.AppendUint64(h.buf, uint64(n))
	}
}

func (h *digester) sum() digest {
	return digest{maphash.Bytes(digestSeeds[0], h.buf), maphash.Bytes(digestSeeds[1], h.buf)}
}

// digest writes to h what is the same for two spaces over one base only if they hold the same
// images; how often they hold them does not matter. Sectors that depend on nothing else are told by what they can
// hold, so that the history of the versions does not keep a fixpoint from being seen; what is
// tied together is told by its variables.
func (s *space) digest(h *digester) {
	uses := make([]int, len(s.vars)) // chains in which the variable is
	for _, c := range s.chains {
		for _, l := range c.layers {
			uses[l.v]++
		}
	}
	alone := func(l layer) bool { return uses[l.v] == 1 && s.grp[l.v] == nil }
	number := map[int32]int{} // variables by appearance
	var order []int32
	chains := slices.Clone(s.chains)
	slices.SortFunc(chains, func(a, b chain) int { return cmp.Compare(a.sector, b.sector) })
	for _, c := range chains {
		layers := slices.DeleteFunc(slices.Clone(c.layers), func(l layer) bool { return s.mask[l.v]&^l.fall == 0 && alone(l) })
		if !slices.ContainsFunc(layers, func(l layer) bool { return !alone(l) }) {
			layers, bottom, bad := c.layers, c.bottom, false
			if s.decay != nil && c.top > 0 {
				_, healed := s.healed[c.sector]
				switch known := s.decay.known[c.sector]; {
				case healed || known == sound || known == unknown && s.decay.left == 0:
				case s.decay.dead(c.sector):
					layers, bottom, bad = layers[:c.top], nil, s.falls(layers[:c.top])
				default: // what lies above the decay, and what below
					contents, bad, falls := contents(layers[:c.top], s.mask, nil)
					h.put(4, int(c.sector), len(contents), flag(bad), flag(falls))
					for _, b := range contents {
						h.bytes(b)
					}
					if !falls {
						continue
					}
					layers = layers[c.top:]
				}
			}
			contents, bad2, _ := contents(layers, s.mask, bottom)
			bad = bad || bad2
			if same := s.base[c.sector*int64(s.sector):][:s.sector]; len(contents) == 1 && !bad && bytes.Equal(contents[0], same) {
				continue
			}
			h.put(0, int(c.sector), len(contents), flag(bad))
			for _, b := range contents {
				h.bytes(b)
			}
			continue
		}
		h.put(1, int(c.sector), len(layers), c.top, len(c.bottom))
		h.bytes(c.bottom)
		for _, l := range layers {
			if _, ok := number[l.v]; !ok {
				number[l.v] = len(order)
				order = append(order, l.v)
			}
			h.put(number[l.v], int(l.fall), int(l.bad), int(s.mask[l.v]), len(l.data))
			for _, b := range l.data {
				h.put(len(b))
				h.bytes(b)
			}
		}
	}
	groups := map[*group]struct{}{}
	for i := 0; i < len(order); i++ { // grows by what is tied to those in it
		g := s.grp[order[i]]
		if g == nil {
			continue
		}
		if _, ok := groups[g]; ok {
			continue
		}
		groups[g] = struct{}{}
		h.put(len(g.vars))
		for _, v := range g.vars {
			if _, ok := number[v]; !ok {
				number[v] = len(order)
				order = append(order, v)
			}
			h.put(number[v])
		}
		h.put(len(g.boxes))
		for _, b := range g.boxes {
			h.put(int(b))
		}
	}
	if s.decay != nil {
		s.decay.digest(h, s.healed)
	}
	for _, p := range s.patches { // ascending; none is what the base holds
		h.put(2, int(p.sector), len(p.data))
		h.bytes(p.data)
	}
}

// falls reports whether all layers can be fallen through.
func (s *space) falls(layers []layer) bool {
	_, _, falls := contents(layers, s.mask, nil)
	return falls
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// contents is all that layers of a sector over a bottom (nil: none) can hold, in the order of
// bytes, where their variables are not tied to others, whether it can be bad, and whether all
// layers can be fallen through.
func contents(layers []layer, mask []uint64, bottom []byte) (list [][]byte, bad, falls bool) {
	add := func(b []byte) {
		if i, ok := slices.BinarySearchFunc(list, b, bytes.Compare); !ok {
			list = slices.Insert(list, i, b)
		}
	}
	for _, l := range layers {
		m := mask[l.v]
		bad = bad || m&l.bad != 0
		for class, b := range l.data {
			if b != nil && m>>uint(class)&1 != 0 {
				add(b)
			}
		}
		if m&l.fall == 0 {
			return list, bad, false
		}
	}
	if bottom != nil {
		add(bottom)
	}
	return list, bad, true
}
