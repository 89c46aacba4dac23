package crash

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
)

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

func (h *digester) content(c *content) { h.put(int(c.id[0]), int(c.id[1])) }

func (h *digester) sum() digest { return digestOf(h.buf) }

func digestOf(p []byte) digest {
	return digest{maphash.Bytes(digestSeeds[0], p), maphash.Bytes(digestSeeds[1], p)}
}

// digest writes to h what is the same for two spaces over one base only if they hold the same
// images; how often they hold them does not matter. Sectors that depend on nothing else are told
// by what they can hold, so that the history of the versions does not keep a fixpoint from being
// seen; what is tied together is told by its variables.
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
			layers, bottom, bad := c.layers, &c.bottom, false
			if s.decay != nil && c.top > 0 {
				_, healed := s.healed[c.sector]
				switch known := s.decay.known[c.sector]; {
				case healed || known == sound || known == unknown && s.decay.left == 0:
				case s.decay.dead(c.sector):
					layers, bottom, bad = layers[:c.top], nil, s.falls(layers[:c.top])
				default: // what lies above the decay, and what below
					contents, bad, falls := contents(layers[:c.top], s.mask, nil)
					h.put(4, int(c.sector), len(contents), flag(bad), flag(falls))
					for _, is := range contents {
						h.content(is)
					}
					if !falls {
						continue
					}
					layers = layers[c.top:]
				}
			}
			contents, bad2, _ := contents(layers, s.mask, bottom)
			bad = bad || bad2
			if same := s.base[c.sector*int64(s.sector):][:s.sector]; len(contents) == 1 && !bad && bytes.Equal(contents[0].data, same) {
				continue
			}
			h.put(0, int(c.sector), len(contents), flag(bad))
			for _, is := range contents {
				h.content(is)
			}
			continue
		}
		h.put(1, int(c.sector), len(layers), c.top)
		h.content(&c.bottom)
		for _, l := range layers {
			if _, ok := number[l.v]; !ok {
				number[l.v] = len(order)
				order = append(order, l.v)
			}
			h.put(number[l.v], int(l.fall), int(l.bad), int(s.mask[l.v]), len(l.data))
			for i := range l.data {
				h.content(&l.data[i])
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
		h.put(2, int(p.sector))
		h.content(&p.content)
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

// contents is all that layers of a sector over a bottom (nil or empty: none) can hold, in the
// order of their digests, where their variables are not tied to others, whether it can be bad,
// and whether all layers can be fallen through.
func contents(layers []layer, mask []uint64, bottom *content) (list []*content, bad, falls bool) {
	add := func(is *content) {
		if i, ok := slices.BinarySearchFunc(list, is, func(a, b *content) int { return slices.Compare(a.id[:], b.id[:]) }); !ok {
			list = slices.Insert(list, i, is)
		}
	}
	for _, l := range layers {
		m := mask[l.v]
		bad = bad || m&l.bad != 0
		for class := range l.data {
			if is := &l.data[class]; is.data != nil && m>>uint(class)&1 != 0 {
				add(is)
			}
		}
		if m&l.fall == 0 {
			return list, bad, false
		}
	}
	if bottom != nil && bottom.data != nil {
		add(bottom)
	}
	return list, bad, true
}
