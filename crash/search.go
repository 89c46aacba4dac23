package crash

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"

	"holdfast/disk"
)

// Bounds of the search for what a read can give. They are far beyond a block of eight sectors
// with a few versions each; what exceeds them fails with ErrLimit rather than taking forever.
const (
	maxMixes      = 1 << 20 // mixes of sector versions tried, in each half where there are two
	directMixes   = 1 << 12 // up to here every pair of halves is compared
	maxCandidates = 1 << 12 // mixes that pass
)

// search finds the outcomes of one step. Its slices are scratch, kept between steps.
type search struct {
	sp  *space
	pos []int32 // by variable: its place in vars plus 1, 0 if it is not in there

	// One place of the read.
	pieces  []piece
	layers  []pieceLayer
	options []option
	picked  []int    // by piece: the option taken, -1 for the bottom, or pickedBad
	left    []uint32 // sums of the mixes of the first pieces
	right   []uint32 // and of the others
	target  uint32
	checked bool
	mixes   int

	// What passes, at all places.
	found []candidate
	boxes []effect
	buf   []byte

	// Sets over vars.
	vars       []int32
	x, y, box  []uint64
	rows       [][]uint64
	groups     []*group
	groupPlace []int

	total, factor, rest big.Int // scratch
}

// piece is the part of a read that lies in one sector.
type piece struct {
	n      int
	lo, hi int    // its layers
	bottom []byte // what is there if all layers fall through, nil if they cannot
	sum    uint32 // contribution of bottom to the CRC
	dead   bool   // the bottom is bad
}

type pieceLayer struct {
	v      int32
	fall   uint64
	bad    uint64
	lo, hi int // its options
}

// option is a content of a piece, and the classes of its layer's variable that give it.
type option struct {
	mask uint64
	data []byte
	sum  uint32 // contribution to the CRC
}

// candidate is a content that the read can give at a place, and a box of the states in which it
// does.
type candidate struct {
	place    int
	from, to int // in buf; equal if the sector is bad
	bad      bool
	lo, hi   int // in boxes
}

func (s *search) load(sp *space) {
	s.sp = sp
	s.pos = slices.Grow(s.pos[:0], len(sp.vars))[:len(sp.vars)]
	clear(s.pos)
}

// outcomes computes the outcomes of a new step.
func (d *lazy) outcomes(st *step, c *disk.Check) error {
	s := &d.search
	s.found, s.boxes, s.buf = s.found[:0], s.boxes[:0], s.buf[:0]
	failed := disk.ErrBadSector // of the outcome "none passes"
	for k, off := range st.places {
		readable, certain, err := s.place(d, k, off, st.n, c, st.op == 'c')
		if err != nil {
			return err
		}
		switch {
		case readable && certain:
			failed = disk.ErrChecksum
		case readable && failed == disk.ErrBadSector:
			failed = errFailed
		}
	}
	st.out, st.tied = st.out[:0], false
	st.buf, st.effects = st.buf[:0], st.effects[:0]
	if len(s.found) == 0 {
		st.out = append(st.out, outcome{err: failed})
		return nil
	}
	if len(s.boxes) == 0 { // only a decided place passes: no state has a say
		s.outcome(st, &s.found[0])
		return nil
	}
	if err := s.start(d); err != nil {
		return err
	}
	defer s.end()
	st.tied, st.old = true, s.sp.weigh(s.vars, s.x)

	for i := range s.found {
		f := &s.found[i]
		for j := range s.box {
			s.box[j] = ^uint64(0)
		}
		for _, e := range s.boxes[f.lo:f.hi] {
			s.box[s.pos[e.v]-1] &= e.mask
		}
		hit := intersect(s.y[:0], s.x, s.box)
		if s.y = hit; len(hit) == 0 {
			continue
		}
		o := s.outcome(st, f)
		s.rows[o] = append(s.rows[o], hit...)
		rest := subtract(s.y[:0], s.x, s.box)
		s.x, s.y = rest, s.x
		if len(rest) > maxBoxes*len(s.vars) || len(s.rows[o]) > maxBoxes*len(s.vars) {
			return fmt.Errorf("the states fall into more than %d boxes: %w", maxBoxes, ErrLimit)
		}
	}
	if len(s.x) > 0 {
		o := len(st.out)
		st.out = append(st.out, outcome{err: failed})
		s.row(o)
		s.rows[o] = append(s.rows[o], s.x...)
	}
	s.total.SetInt64(0)
	for i := range st.out {
		o := &st.out[i]
		o.states = s.sp.weigh(s.vars, s.rows[i])
		s.total.Add(&s.total, o.states.int(&s.factor))
		if len(st.out) > 1 {
			from := len(st.effects)
			st.effects = reduce(st.effects, s.vars, s.rows[i])
			o.effects = st.effects[from:len(st.effects):len(st.effects)]
		}
	}
	if old := st.old.int(&s.factor); s.total.Cmp(old) != 0 {
		return fmt.Errorf("the explorer is wrong: outcomes of %v of %v states", &s.total, old)
	}
	return nil
}

// outcome is the index of the outcome of a step in which f is read, made if there is none.
func (s *search) outcome(st *step, f *candidate) int {
	content := s.buf[f.from:f.to]
	for i := range st.out {
		o := &st.out[i]
		if f.bad == (o.err != nil) && bytes.Equal(o.content, content) {
			return i
		}
	}
	o := outcome{place: f.place}
	if f.bad {
		o.err = badSector(st.places[f.place] / int64(s.sp.sector))
	} else {
		from := len(st.buf)
		st.buf = append(st.buf, content...)
		o.content = st.buf[from:len(st.buf):len(st.buf)]
	}
	st.out = append(st.out, o)
	s.row(len(st.out) - 1)
	return len(st.out) - 1
}

// row makes the rows of outcome i empty.
func (s *search) row(i int) {
	if i == len(s.rows) {
		s.rows = append(s.rows, nil)
	}
	s.rows[i] = s.rows[i][:0]
}

// start collects the variables that the candidates concern, with all that are tied to them, and
// makes x the set of what they may be.
func (s *search) start(d *lazy) error {
	s.vars, s.groups = s.vars[:0], s.groups[:0]
	add := func(v int32) {
		if s.pos[v] == 0 {
			s.pos[v] = 1
			s.vars = append(s.vars, v)
		}
	}
	for _, e := range s.boxes {
		if g := d.grp[e.v]; g == nil {
			add(e.v)
		} else if !slices.Contains(s.groups, g) {
			s.groups = append(s.groups, g)
			for _, v := range g.vars {
				add(v)
			}
		}
	}
	slices.Sort(s.vars)
	for i, v := range s.vars {
		s.pos[v] = int32(i + 1)
	}
	s.box = slices.Grow(s.box[:0], len(s.vars))[:len(s.vars)]
	s.x = s.x[:0]
	for _, v := range s.vars {
		s.x = append(s.x, d.mask[v])
	}
	for _, g := range s.groups {
		s.groupPlace = s.groupPlace[:0]
		for _, v := range g.vars {
			s.groupPlace = append(s.groupPlace, int(s.pos[v]-1))
		}
		if len(s.x)/len(s.vars)*(len(g.boxes)/len(g.vars)) > maxBoxes {
			s.end()
			return fmt.Errorf("the read ties together more than %d boxes: %w", maxBoxes, ErrLimit)
		}
		s.y = product(s.y[:0], s.x, len(s.vars), g.boxes, s.groupPlace)
		s.x, s.y = s.y, s.x
	}
	return nil
}

func (s *search) end() {
	for _, v := range s.vars {
		s.pos[v] = 0
	}
}

// place finds the candidates at place k of a read. readable says whether content can be read
// there in any state, certain whether it is in all of them.
func (s *search) place(d *lazy, k int, off int64, n int, c *disk.Check, checked bool) (readable, certain bool, err error) {
	s.checked, s.mixes = checked, 0
	readable, certain = s.cut(d, off, n)
	if checked && !readable {
		return false, false, nil
	}
	s.target = ^c.Want ^ times(^c.Seed, shift(n))
	emit := func(sum uint32) error { return s.emit(d, k, sum, c) }
	if checked && len(s.pieces) > 1 && s.independent() {
		return readable, certain, s.meet(d, emit)
	}
	return readable, certain, s.walk(d, 0, len(s.pieces), 0, emit)
}

// independent reports whether each piece depends on at most one variable, and no two on the
// same.
func (s *search) independent() bool {
	for i := range s.pieces {
		pc := &s.pieces[i]
		if pc.hi-pc.lo > 1 {
			return false
		}
		for j := range i {
			if qc := &s.pieces[j]; pc.lo < pc.hi && qc.lo < qc.hi && s.layers[pc.lo].v == s.layers[qc.lo].v {
				return false
			}
		}
	}
	return true
}

// count is the number of contents of the i-th piece.
func (s *search) count(i int) int {
	pc := &s.pieces[i]
	n := 0
	for _, l := range s.layers[pc.lo:pc.hi] {
		n += l.hi - l.lo
	}
	if pc.bottom != nil {
		n++
	}
	return n
}

// cut divides a place into pieces and lists what each can hold, with what that contributes to
// the CRC.
func (s *search) cut(d *lazy, off int64, n int) (readable, certain bool) {
	s.pieces, s.layers, s.options = s.pieces[:0], s.layers[:0], s.options[:0]
	readable, certain = true, true
	for done := 0; done < n; {
		pos := off + int64(done)
		sector := pos >> d.log2
		a := int(pos - sector<<d.log2)
		m := min(n-done, int(d.sector)-a)
		pc := piece{n: m, lo: len(s.layers)}
		if data, ok := d.decided(sector); !ok {
			c := &d.sp.chains[d.where[sector]>>2]
			layers := c.layers
			if pc.dead = d.dead(sector); pc.dead {
				layers = layers[:c.top]
			}
			certain = s.cutChain(d, &pc, c, layers, a, a+m) && certain
		} else if data != nil {
			pc.bottom = data[a : a+m]
			if s.checked {
				pc.sum = raw(pc.bottom)
			}
		} else {
			readable, certain = false, false
		}
		pc.hi = len(s.layers)
		s.pieces = append(s.pieces, pc)
		if s.count(len(s.pieces)-1) == 0 { // whichever way it is bad
			readable, certain = false, false
		}
		done += m
	}
	s.picked = slices.Grow(s.picked[:0], len(s.pieces))[:len(s.pieces)]
	if !s.checked {
		return readable, certain
	}
	// Each contribution moves over the bytes after its piece.
	after := uint32(1) << 31
	for i := len(s.pieces) - 1; i >= 0; i-- {
		pc := &s.pieces[i]
		pc.sum = times(pc.sum, after)
		for _, l := range s.layers[pc.lo:pc.hi] {
			for j := l.lo; j < l.hi; j++ {
				s.options[j].sum = times(s.options[j].sum, after)
			}
		}
		after = times(after, shift(pc.n))
	}
	return readable, certain
}

// cutChain lists what the bytes from a to b of an undecided sector with these layers can be. It reports whether
// they cannot be bad.
func (s *search) cutChain(d *lazy, pc *piece, c *chain, layers []layer, a, b int) (certain bool) {
	whole := b-a == int(d.sector)
	certain = true
	for k := range layers {
		l := &layers[k]
		m := d.mask[l.v]
		pl := pieceLayer{v: l.v, fall: l.fall, bad: l.bad, lo: len(s.options)}
		if m&l.bad != 0 {
			certain = false
		}
	classes:
		for class := range l.data {
			content := &l.data[class]
			if content.data == nil || m>>uint(class)&1 == 0 {
				continue
			}
			data := content.data[a:b]
			if !whole || l.repeats { // else whole contents are distinct
				for i := pl.lo; i < len(s.options); i++ {
					if bytes.Equal(s.options[i].data, data) {
						s.options[i].mask |= 1 << uint(class)
						continue classes
					}
				}
			}
			o := option{mask: 1 << uint(class), data: data}
			if s.checked {
				if o.sum = content.sum; !whole {
					o.sum = raw(data)
				}
			}
			s.options = append(s.options, o)
		}
		pl.hi = len(s.options)
		s.layers = append(s.layers, pl)
		if m&l.fall == 0 {
			return certain
		}
	}
	if pc.dead {
		return false
	}
	pc.bottom = c.bottom.data[a:b]
	if s.checked {
		if pc.sum = c.bottom.sum; !whole {
			pc.sum = raw(pc.bottom)
		}
	}
	return certain
}

// walk goes through all mixes of the pieces from i to end, in the states that d.mask leaves,
// and calls done for each, with d.mask narrowed to the box of states that have it.
func (s *search) walk(d *lazy, i, end int, sum uint32, done func(sum uint32) error) error {
	if i == end {
		if s.mixes++; s.mixes > maxMixes {
			return fmt.Errorf("more than %d mixes of sector versions: %w", maxMixes, ErrLimit)
		}
		return done(sum)
	}
	return s.walkLayer(d, i, s.pieces[i].lo, end, sum, done)
}

// walkLayer is walk where the layers of piece i before li fall through.
func (s *search) walkLayer(d *lazy, i, li, end int, sum uint32, done func(sum uint32) error) error {
	pc := &s.pieces[i]
	if li == pc.hi {
		if pc.dead && !s.checked {
			s.picked[i] = pickedBad
			return s.walk(d, i+1, end, sum, done)
		}
		if pc.bottom == nil {
			return nil
		}
		s.picked[i] = -1
		return s.walk(d, i+1, end, sum^pc.sum, done)
	}
	l := &s.layers[li]
	m := d.mask[l.v]
	defer func() { d.mask[l.v] = m }()
	for oi := l.lo; oi < l.hi; oi++ {
		if o := &s.options[oi]; m&o.mask != 0 {
			d.mask[l.v] = m & o.mask
			s.picked[i] = oi
			if err := s.walk(d, i+1, end, sum^o.sum, done); err != nil {
				return err
			}
		}
	}
	if !s.checked && m&l.bad != 0 {
		d.mask[l.v] = m & l.bad
		s.picked[i] = pickedBad
		if err := s.walk(d, i+1, end, sum, done); err != nil {
			return err
		}
	}
	if d.mask[l.v] = m & l.fall; m&l.fall == 0 {
		return nil
	}
	return s.walkLayer(d, i, li+1, end, sum, done)
}

// pickedBad in search.picked says that the sector is bad.
const pickedBad = -2

// meet is walk for independent pieces: it finds the mixes that have the wanted CRC from the sums
// of two halves (meet in the middle).
func (s *search) meet(d *lazy, emit func(sum uint32) error) error {
	half, left, right := 0, 1, 1
	for j := len(s.pieces) - 1; half <= j; {
		if left <= right {
			left = min(left*s.count(half), maxMixes+1)
			half++
		} else {
			right = min(right*s.count(j), maxMixes+1)
			j--
		}
	}
	if left > maxMixes || right > maxMixes {
		return fmt.Errorf("more than %d times %d mixes of sector versions: %w", maxMixes, maxMixes, ErrLimit)
	}
	s.left = s.sums(s.left[:0], 0, half)
	s.right = s.sums(s.right[:0], half, len(s.pieces))
	if len(s.left)*len(s.right) <= directMixes {
		for l, x := range s.left {
			x ^= s.target
			for r, y := range s.right {
				if x != y {
					continue
				}
				s.pick(0, half, l)
				s.pick(half, len(s.pieces), r)
				if err := s.replay(d, 0, emit); err != nil {
					return err
				}
			}
		}
		return nil
	}
	numbers := make(map[uint32][]int32, len(s.left))
	for l, x := range s.left {
		numbers[x] = append(numbers[x], int32(l))
	}
	for r, y := range s.right {
		for _, l := range numbers[s.target^y] {
			s.pick(0, half, int(l))
			s.pick(half, len(s.pieces), r)
			if err := s.replay(d, 0, emit); err != nil {
				return err
			}
		}
	}
	return nil
}

// sums appends to dst the contributions of all mixes of the pieces from lo to hi, in the order
// of their numbers, of which the first piece is the lowest digit.
func (s *search) sums(dst []uint32, lo, hi int) []uint32 {
	dst = append(dst, 0)
	for i := lo; i < hi; i++ {
		n := len(dst)
		for k := 1; k < s.count(i); k++ {
			sum := s.sum(i, k)
			for _, x := range dst[:n] {
				dst = append(dst, x^sum)
			}
		}
		sum := s.sum(i, 0)
		for j := range dst[:n] {
			dst[j] ^= sum
		}
	}
	return dst
}

// sum is what the k-th content of the i-th piece, of one layer at most, contributes: the options
// come first, then the bottom.
func (s *search) sum(i, k int) uint32 {
	pc := &s.pieces[i]
	if pc.lo < pc.hi {
		if l := &s.layers[pc.lo]; l.lo+k < l.hi {
			return s.options[l.lo+k].sum
		}
	}
	return pc.sum
}

// pick picks the mix of the pieces from lo to hi with that number.
func (s *search) pick(lo, hi, number int) {
	for i := lo; i < hi; i++ {
		pc := &s.pieces[i]
		s.picked[i] = -1
		if pc.lo == pc.hi {
			continue
		}
		n := s.count(i)
		l := &s.layers[pc.lo]
		if k := l.lo + number%n; k < l.hi {
			s.picked[i] = k
		}
		number /= n
	}
}

// replay narrows d.mask to the box of what is picked for the pieces from i on, and emits it.
func (s *search) replay(d *lazy, i int, emit func(sum uint32) error) error {
	if i == len(s.pieces) {
		return emit(s.target)
	}
	pc := &s.pieces[i]
	if pc.lo == pc.hi {
		return s.replay(d, i+1, emit)
	}
	l := &s.layers[pc.lo]
	m := d.mask[l.v]
	defer func() { d.mask[l.v] = m }()
	if oi := s.picked[i]; oi >= 0 {
		d.mask[l.v] = m & s.options[oi].mask
	} else {
		d.mask[l.v] = m & l.fall
	}
	return s.replay(d, i+1, emit)
}

// emit takes the mix that is picked as a candidate, if it passes.
func (s *search) emit(d *lazy, k int, sum uint32, c *disk.Check) error {
	if s.checked && sum != s.target {
		return nil
	}
	f := candidate{place: k, from: len(s.buf), lo: len(s.boxes)}
	for i, oi := range s.picked {
		switch oi {
		case pickedBad:
			f.bad = true
		case -1:
			s.buf = append(s.buf, s.pieces[i].bottom...)
		default:
			s.buf = append(s.buf, s.options[oi].data...)
		}
	}
	f.to = len(s.buf)
	if s.checked && c.Accept != nil && !c.Accept(s.buf[f.from:f.to:f.to]) {
		s.buf = s.buf[:f.from]
		return nil
	}
	for i := range s.pieces {
		for _, l := range s.layers[s.pieces[i].lo:s.pieces[i].hi] {
			s.boxes = append(s.boxes, effect{v: l.v, mask: d.mask[l.v]})
		}
	}
	f.hi = len(s.boxes)
	if s.found = append(s.found, f); len(s.found) > maxCandidates {
		return fmt.Errorf("more than %d contents pass: %w", maxCandidates, ErrLimit)
	}
	return nil
}
