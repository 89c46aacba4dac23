package crash

import (
	"math/big"

	"holdfast/disk"
)

// prefixBlock is how many writes one variable of a Prefix space counts: its classes are the
// numbers from 0 to prefixBlock, a bit each.
const prefixBlock = maxClasses - 1

// prefixVersion is the variable that counts the i-th write, from 0, and the number from which
// on that write is there.
func prefixVersion(i int) (variable, version int) { return i / prefixBlock, i%prefixBlock + 1 }

// prefixSpace is the space in which the first writes are there and the others are not.
func prefixSpace(image []byte, sector int, writes []disk.Event) *space {
	s := &space{base: image, sector: sector}
	s.stackPrefix(writes, map[int64]int{}, func(at int64) content {
		return contentOf(image[at*int64(sector):][:sector:sector])
	})
	return s
}

// stackPrefix is stackWrites for writes that arrive in order. Its variables count the writes of
// a block each: all blocks before the one in which the prefix ends are full, all after it empty.
func (s *space) stackPrefix(writes []disk.Event, index map[int64]int, bottom func(at int64) content) {
	if s.total == nil {
		s.total = big.NewInt(1)
	}
	s.total.Mul(s.total, big.NewInt(int64(len(writes))+1))
	first := len(s.vars)
	for from := 0; from < len(writes); from += prefixBlock {
		block := writes[from:min(len(writes), from+prefixBlock)]
		v := int32(len(s.vars))
		counts := variable{sector: -1}
		for n := range len(block) + 1 {
			counts.versions = append(counts.versions, n)
		}
		s.vars = append(s.vars, counts)
		s.mask = append(s.mask, counts.full())
		for i, w := range block {
			for done := 0; done < len(w.Data); done += s.sector {
				at := (w.Off + int64(done)) / int64(s.sector)
				k, ok := index[at]
				if !ok {
					k = len(s.chains)
					index[at] = k
					s.chains = append(s.chains, chain{sector: at, bottom: bottom(at)})
				}
				c := &s.chains[k]
				if len(c.layers) == 0 || c.layers[0].v != v {
					c.layers = append([]layer{{
						v: v, fall: 1<<uint(i+1) - 1, repeats: true,
						data: make([]content, len(block)+1),
					}}, c.layers...)
				}
				data := contentOf(w.Data[done:][:s.sector:s.sector])
				for n := i + 1; n <= len(block); n++ {
					c.layers[0].data[n] = data
				}
			}
		}
	}
	blocks := len(s.vars) - first
	var g *group
	if blocks > 1 {
		g = &group{}
		for j := range blocks {
			g.vars = append(g.vars, int32(first+j))
			for k := range blocks {
				full := s.vars[first+k].full()
				switch {
				case k < j:
					g.boxes = append(g.boxes, full&^(full>>1))
				case k > j:
					g.boxes = append(g.boxes, 1)
				case j == 0:
					g.boxes = append(g.boxes, full)
				default: // none at all is the end of the block before
					g.boxes = append(g.boxes, full&^1)
				}
			}
		}
	}
	for range blocks {
		s.grp = append(s.grp, g)
	}
}

// prefix is the number of writes that the versions of a Prefix level say are there; ok is false
// if they are no prefix.
func (l *level) prefix() (n int, ok bool) {
	for v, version := range l.versions {
		if version < 0 || version > prefixBlock || v > 0 && version > 0 && l.versions[v-1] < prefixBlock {
			return 0, false
		}
		n += version
	}
	return n, true
}
