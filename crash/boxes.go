package crash

import (
	"math/big"
	"math/bits"
	"slices"
)

// A box is, for each variable of a list, the set of the classes that it may be in (a bit each):
// all assignments that take one of them for each variable. A set of assignments is a list of
// disjoint boxes, kept flat: row after row of one word per variable. Everything below keeps the
// rows disjoint, so that the size of a set is the plain sum over its rows.

// maxBoxes bounds the rows of one set.
const maxBoxes = 1 << 16

// group is what is known about variables that cannot be described one by one. Immutable.
type group struct {
	vars  []int32  // ascending
	boxes []uint64 // rows of len(vars) words
}

// intersect appends to dst what rows and box have in common.
func intersect(dst, rows, box []uint64) []uint64 {
	n := len(box)
next:
	for i := 0; i < len(rows); i += n {
		row := rows[i : i+n]
		for j, m := range box {
			if row[j]&m == 0 {
				continue next
			}
		}
		for j, m := range box {
			dst = append(dst, row[j]&m)
		}
	}
	return dst
}

// subtract appends to dst what of rows is not in box. A row that meets the box leaves one row
// for each variable in which it sticks out: equal to the box before that variable, outside of
// it there, free after it.
func subtract(dst, rows, box []uint64) []uint64 {
	n := len(box)
next:
	for i := 0; i < len(rows); i += n {
		row := rows[i : i+n]
		for j, m := range box {
			if row[j]&m == 0 {
				dst = append(dst, row...)
				continue next
			}
		}
		for j, m := range box {
			if row[j]&^m == 0 {
				continue
			}
			for k := range j {
				dst = append(dst, row[k]&box[k])
			}
			dst = append(dst, row[j]&^m)
			dst = append(dst, row[j+1:]...)
		}
	}
	return dst
}

// product appends to dst every row of a (of n words, zero where b has its variables) joined
// with every row of b, whose i-th variable has the place pos[i] in a.
func product(dst, a []uint64, n int, b []uint64, pos []int) []uint64 {
	for i := 0; i < len(a); i += n {
		for j := 0; j < len(b); j += len(pos) {
			at := len(dst)
			dst = append(dst, a[i:i+n]...)
			for k, p := range pos {
				dst[at+p] = b[j+k]
			}
		}
	}
	return dst
}

// weight is a number of assignments: small, unless big is there.
type weight struct {
	small uint64
	big   *big.Int
}

// int is the weight as a big integer, for which it may use tmp.
func (w weight) int(tmp *big.Int) *big.Int {
	if w.big != nil {
		return w.big
	}
	return tmp.SetUint64(w.small)
}

// weigh is the number of assignments in rows, each variable's classes counted with their
// multiplicities.
func (s *space) weigh(vars []int32, rows []uint64) weight {
	n := len(vars)
	var sum uint64
	for i := 0; i < len(rows); i += n {
		w, hi := uint64(1), uint64(0)
		for j := range n {
			if hi, w = bits.Mul64(w, s.vars[vars[j]].count(rows[i+j])); hi != 0 {
				return weight{big: s.weighBig(vars, rows)}
			}
		}
		if sum, hi = bits.Add64(sum, w, 0); hi != 0 {
			return weight{big: s.weighBig(vars, rows)}
		}
	}
	return weight{small: sum}
}

// weighBig is weigh without a bound.
func (s *space) weighBig(vars []int32, rows []uint64) *big.Int {
	n := len(vars)
	var sum, term, factor big.Int
	for i := 0; i < len(rows); i += n {
		term.SetInt64(1)
		for j := range n {
			term.Mul(&term, factor.SetUint64(s.vars[vars[j]].count(rows[i+j])))
		}
		sum.Add(&sum, &term)
	}
	return &sum
}

// effect is what an outcome says about one variable from then on.
type effect struct {
	v    int32
	mask uint64 // the classes left
	g    *group // what ties it to others, nil if nothing does
}

// reduce says what rows, a set over vars (ascending), means for each variable. Variables that
// are alike in all rows stand alone, so groups stay small.
func reduce(dst []effect, vars []int32, rows []uint64) []effect {
	n := len(vars)
	if n == 1 {
		m := uint64(0)
		for _, row := range rows {
			m |= row
		}
		return append(dst, effect{v: vars[0], mask: m})
	}
	tied := make([]bool, n)
	count := 0
	for j := range n {
		for i := n; i < len(rows); i += n {
			if rows[i+j] != rows[j] {
				tied[j] = true
				count++
				break
			}
		}
	}
	var g *group
	if count > 1 {
		g = &group{vars: make([]int32, 0, count), boxes: make([]uint64, 0, len(rows)/n*count)}
		for j, v := range vars {
			if tied[j] {
				g.vars = append(g.vars, v)
			}
		}
		for i := 0; i < len(rows); i += n {
			for j := range n {
				if tied[j] {
					g.boxes = append(g.boxes, rows[i+j])
				}
			}
		}
	}
	for j, v := range vars {
		e := effect{v: v}
		for i := 0; i < len(rows); i += n {
			e.mask |= rows[i+j]
		}
		if tied[j] {
			e.g = g
		}
		dst = append(dst, e)
	}
	return dst
}

// least is the assignment in g that comes first, variable by variable in ascending order.
func (g *group) least() []int {
	n := len(g.vars)
	var best []int
	for i := 0; i < len(g.boxes); i += n {
		a := make([]int, n)
		for j := range n {
			a[j] = bits.TrailingZeros64(g.boxes[i+j])
		}
		if best == nil || slices.Compare(a, best) < 0 {
			best = a
		}
	}
	return best
}
