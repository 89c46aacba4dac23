package crash

import (
	"fmt"
	"math/big"
	"math/bits"
	"slices"
	"sync"

	"holdfast/disk"
)

// A sector's entry in lazy.where: 0 is the base image, anything else an index shifted left by
// two, with one of these kinds below.
const (
	inChain = 1 + iota // undecided, or decided by its variables
	inArena            // written by the program under test in this run
	inPatch            // certain, but not as in the base
)

// arenaSectors is how many sectors the arena grows by.
const arenaSectors = 64

// errFailed is a checked read that failed in more than one way at once: in some of the states
// that the outcome stands for content was read and did not pass, in others the sectors are bad.
var errFailed = fmt.Errorf("no content passes in any of these crash states: %w, or %w", disk.ErrChecksum, disk.ErrBadSector)

// lazy is the device that the program under test runs on. Undecided sectors have no value until
// they are read; each such read is a step, which has outcomes. Reading follows the outcomes
// chosen in steps, and takes the first outcome of each step beyond them.
type lazy struct {
	mu     sync.Mutex
	size   int64
	sector int64
	log2   uint
	where  []uint32 // by sector
	sp     *space

	mask []uint64 // by variable: the classes that it may be in, in this run
	grp  []*group // by variable: what ties it to others

	decay decay  // if the space has any
	parts []part // scratch of ask

	arena [][]byte // chunks of arenaSectors sectors
	used  int      // sectors of the arena in use
	saved []saved  // entries of where that this run changed

	steps  []step // the path
	at     int    // steps passed in this run
	prefix int    // steps whose outcome is given
	calls  uint64 // digest of the reads of this run
	abort  error  // why the run means nothing; all calls fail with it

	keep   bool         // record what the program writes
	mends  int          // pairs that the program has asked to be mended
	events []disk.Event // its writes, flushes and marks in this run
	cuts   cuts

	search search // scratch of the computation of outcomes
}

type saved struct {
	sector int64
	was    uint32
}

// step is one read of undecided sectors.
type step struct {
	op     byte // 'r' plain, 'c' checked, 'd' which places have bad sectors
	places []int64
	n      int // bytes
	check  [2]uint32
	calls  uint64 // digest of the reads before it
	out    []outcome
	chosen int
	tied   bool    // it concerns variables
	old    weight  // assignments of these, before it
	states big.Int // states that take the path up to and with the chosen outcome

	buf     []byte   // backs the contents
	effects []effect // backs the effects
	parts   []part   // 'd': the sectors in question
}

// outcome is one of the things that the program can learn from a step. Together they cover all
// states that reach the step, and no two of them share one.
type outcome struct {
	content []byte // what is read; nil if the read fails
	place   int    // the index to return
	err     error
	effects []effect
	hits    []uint8 // 'd': the bad sectors of each part
	states  weight  // assignments of the variables that the step concerns, after it
}

// load makes the device one over sp, whose image must have the size of the device.
func (d *lazy) load(sp *space) {
	d.unload()
	d.sector = int64(sp.sector)
	d.log2 = uint(bits.TrailingZeros(uint(sp.sector)))
	d.size = int64(len(sp.base))
	if n := int(d.size >> d.log2); len(d.where) != n {
		d.where = make([]uint32, n)
	}
	d.sp = sp
	for i := range sp.patches {
		d.where[sp.patches[i].sector] = uint32(i)<<2 | inPatch
	}
	for i := range sp.chains {
		d.where[sp.chains[i].sector] = uint32(i)<<2 | inChain
	}
	d.mask = slices.Grow(d.mask[:0], len(sp.vars))[:len(sp.vars)]
	d.grp = slices.Grow(d.grp[:0], len(sp.vars))[:len(sp.vars)]
	d.steps, d.prefix = d.steps[:0], 0
	d.search.load(sp)
	d.reset()
}

// unload undoes load.
func (d *lazy) unload() {
	if d.sp == nil {
		return
	}
	d.undoWrites()
	for i := range d.sp.patches {
		d.where[d.sp.patches[i].sector] = 0
	}
	for i := range d.sp.chains {
		d.where[d.sp.chains[i].sector] = 0
	}
	d.sp = nil
}

func (d *lazy) undoWrites() {
	for _, s := range slices.Backward(d.saved) {
		d.where[s.sector] = s.was
	}
	d.saved, d.used = d.saved[:0], 0
}

// reset prepares the next run.
func (d *lazy) reset() {
	d.undoWrites()
	copy(d.mask, d.sp.mask)
	copy(d.grp, d.sp.grp)
	if d.sp.decay != nil {
		d.decay.set(d.sp.decay)
	}
	d.at, d.calls, d.abort, d.mends = 0, 0, nil, 0
	d.events = d.events[:0]
	d.cuts.reset(d.prefix)
}

// Size implements [disk.Device].
func (d *lazy) Size() int64 { return d.size }

// Flush implements [disk.Device].
func (d *lazy) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.abort == nil && d.keep {
		d.cuts.flush(d)
		d.events = append(d.events, disk.Event{Kind: disk.EventFlush})
	}
	return d.abort
}

// mark records a mark in the run.
func (d *lazy) mark(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.abort == nil && d.keep {
		d.events = append(d.events, disk.Event{Kind: disk.EventMark, Mark: text})
	}
}

func (d *lazy) inRange(n int, off int64) error {
	if off < 0 || off > d.size || int64(n) > d.size-off {
		return fmt.Errorf("offset %d, length %d, device of %d bytes: %w", off, n, d.size, disk.ErrRange)
	}
	return nil
}

// note takes a read into the digest of the run's reads.
func (d *lazy) note(op byte, off int64, n int) {
	const prime = 0x100000001b3
	d.calls = ((d.calls^uint64(op))*prime ^ uint64(off)) * prime
	d.calls = (bits.RotateLeft64(d.calls, 29) ^ uint64(n)) * prime
}

// decided is the content of a sector, if all states of this run agree on it. data is nil if it
// is bad in all of them.
func (d *lazy) decided(sector int64) (data []byte, ok bool) {
	w := d.where[sector]
	i := int(w >> 2)
	if w&3 != inArena && d.dead(sector) {
		if w&3 == inChain {
			c := &d.sp.chains[i]
			is, falls, ok := c.above(d.mask, c.top)
			if falls || !ok {
				return nil, falls
			}
			return is.data, true
		}
		return nil, true
	}
	switch w & 3 {
	case 0:
		return d.sp.base[sector<<d.log2:][:d.sector:d.sector], true
	case inArena:
		return d.arena[i/arenaSectors][int64(i%arenaSectors)<<d.log2:][:d.sector:d.sector], true
	case inPatch:
		return d.sp.patches[i].data, true
	}
	is, ok := d.sp.chains[i].settled(d.mask)
	if !ok {
		return nil, false
	}
	return is.data, true
}

// plain is the length of the run of bytes from off, at most n, that lie in the base.
func (d *lazy) plain(off int64, n int) int {
	end := off + int64(n)
	for s := off >> d.log2; s<<d.log2 < end; s++ {
		if d.where[s] != 0 || d.dead(s) {
			return int(max(s<<d.log2-off, 0))
		}
	}
	return n
}

// ReadAt implements [disk.Device]. Sector by sector, what is undecided is a step. A read that
// fails gives nothing: its count is 0.
func (d *lazy) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.abort != nil {
		return 0, d.abort
	}
	if err := d.inRange(len(p), off); err != nil {
		return 0, err
	}
	d.note('r', off, len(p))
	if _, err := d.readAt(p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (d *lazy) readAt(p []byte, off int64) (int, error) {
	if hit, err := d.ask(len(p), []int64{off}); err != nil {
		return 0, err
	} else if hit != 0 {
		return 0, badSector(off >> d.log2)
	}
	for done := 0; done < len(p); {
		pos := off + int64(done)
		if n := d.plain(pos, len(p)-done); n > 0 {
			copy(p[done:], d.sp.base[pos:pos+int64(n)])
			done += n
			continue
		}
		s := pos >> d.log2
		n := min(len(p)-done, int((s+1)<<d.log2-pos))
		data, ok := d.decided(s)
		switch {
		case ok && data == nil:
			return done, badSector(s)
		case ok:
			copy(p[done:done+n], data[pos-s<<d.log2:])
		default:
			st, err := d.step('r', n, disk.Check{}, []int64{pos})
			if err != nil {
				return done, err
			}
			o := &st.out[st.chosen]
			if o.err != nil {
				return done, o.err
			}
			copy(p[done:done+n], o.content)
		}
		done += n
	}
	return len(p), nil
}

func badSector(s int64) error { return fmt.Errorf("sector %d: %w", s, disk.ErrBadSector) }

// gather fills p with what is at off if that is decided, ok, and good.
func (d *lazy) gather(p []byte, off int64) (good, ok bool) {
	good = true
	for done := 0; done < len(p); {
		pos := off + int64(done)
		s := pos >> d.log2
		n := min(len(p)-done, int((s+1)<<d.log2-pos))
		data, ok := d.decided(s)
		if !ok {
			return false, false
		}
		if data == nil {
			good = false
		} else if good {
			copy(p[done:done+n], data[pos-s<<d.log2:])
		}
		done += n
	}
	return good, true
}

// ReadRun implements [disk.RunReader]: what all states of this run agree on decides nothing. Where
// decay has a say each structure is read by itself.
func (d *lazy) ReadRun(p []byte, off int64, _ bool) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.abort != nil || d.sp.decay != nil || d.inRange(len(p), off) != nil {
		return 0
	}
	d.note('p', off, len(p))
	for done := 0; done < len(p); {
		pos := off + int64(done)
		if n := d.plain(pos, len(p)-done); n > 0 {
			done += copy(p[done:], d.sp.base[pos:pos+int64(n)])
			continue
		}
		s := pos >> d.log2
		data, ok := d.decided(s)
		if !ok || data == nil {
			return done
		}
		done += copy(p[done:], data[pos-s<<d.log2:])
	}
	return len(p)
}

// ReadChecked implements [disk.Device]. It is at most one step, whose outcomes are each content
// that passes, wherever it lies, and "none passes". The index returned is the first place at
// which that content can pass, whichever place it is in a state that the outcome stands for.
// The error of "none passes" matches both [disk.ErrChecksum] and [disk.ErrBadSector] where
// undecided sectors can be bad: a program that tells these apart is not explored exactly.
func (d *lazy) ReadChecked(p []byte, c disk.Check, places ...int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.abort != nil {
		return 0, d.abort
	}
	if d.sp.decay != nil {
		return d.readDecayed(p, c, places)
	}
	return d.readPlaces(p, c, places)
}

// readPlaces is ReadChecked where decay has no say.
func (d *lazy) readPlaces(p []byte, c disk.Check, places []int64) (int, error) {
	failed := disk.ErrBadSector
	for i, off := range places {
		if err := d.inRange(len(p), off); err != nil {
			return 0, err
		}
		d.note('c', off, len(p))
		if d.plain(off, len(p)) == len(p) {
			b := d.sp.base[off:][:len(p):len(p)]
			if c.Pass(b) {
				copy(p, b)
				return i, nil
			}
			failed = disk.ErrChecksum
			continue
		}
		good, ok := d.gather(p, off)
		if !ok {
			return d.readChecked(p, c, places, i, failed)
		}
		if good {
			if c.Pass(p) {
				return i, nil
			}
			failed = disk.ErrChecksum
		}
	}
	return 0, failed
}

// readChecked is ReadChecked where the places before the i-th are decided and do not pass, and
// the i-th is undecided.
func (d *lazy) readChecked(p []byte, c disk.Check, places []int64, i int, failed error) (int, error) {
	rest := places[i:]
	var beyond error
	for j, off := range rest {
		if j > 0 {
			d.note('c', off, len(p))
		}
		if beyond = d.inRange(len(p), off); beyond != nil {
			rest = rest[:j]
			break
		}
	}
	st, err := d.step('c', len(p), c, rest)
	if err != nil {
		return 0, err
	}
	o := &st.out[st.chosen]
	switch {
	case o.err == nil:
		copy(p, o.content)
		return i + o.place, nil
	case beyond != nil:
		return 0, beyond
	case o.err == disk.ErrBadSector:
		return 0, failed
	}
	return 0, o.err
}

// seenMends is how many pairs a run mends by what the program finds, replica by replica. Those
// that follow are mended by what mending is to do.
const seenMends = 2

// MendPair implements [disk.PairMender], where no crash inside the run has to know what it wrote.
func (d *lazy) MendPair(p []byte, c disk.Check, places [2]int64) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mends++; d.keep || d.abort != nil || d.mends <= seenMends {
		return false, nil
	}
	for _, off := range places {
		if (off|int64(len(p)))&(d.sector-1) != 0 || d.inRange(len(p), off) != nil {
			return false, nil
		}
	}
	read := d.readPlaces
	if d.sp.decay != nil {
		read = d.readDecayed
	}
	if _, err := read(p, c, places[:]); err != nil {
		return true, err
	}
	for _, off := range places {
		d.write(p, off)
	}
	return true, nil
}

// WriteAt implements [disk.Device]. Whole sectors become decided; of a part of a sector the rest
// is read first, and the write fails as that read does, with nothing written.
func (d *lazy) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.abort != nil {
		return 0, d.abort
	}
	if err := d.inRange(len(p), off); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	end := off + int64(len(p))
	if first, last := off>>d.log2, (end-1)>>d.log2; off&(d.sector-1) != 0 || end&(d.sector-1) != 0 {
		whole := make([]byte, (last-first+1)<<d.log2)
		if off&(d.sector-1) != 0 {
			if _, err := d.readAt(whole[:d.sector], first<<d.log2); err != nil {
				return 0, err
			}
		}
		if end&(d.sector-1) != 0 && (first != last || off&(d.sector-1) == 0) {
			if _, err := d.readAt(whole[int64(len(whole))-d.sector:], last<<d.log2); err != nil {
				return 0, err
			}
		}
		copy(whole[off-first<<d.log2:], p)
		d.write(whole, first<<d.log2)
	} else {
		d.write(p, off)
	}
	return len(p), nil
}

// write writes whole sectors.
func (d *lazy) write(p []byte, off int64) {
	if d.keep {
		d.events = append(d.events, disk.Event{Kind: disk.EventWrite, Off: off, Data: slices.Clone(p)})
	}
	for done := int64(0); done < int64(len(p)); done += d.sector {
		s := (off + done) >> d.log2
		w := d.where[s]
		if w&3 != inArena {
			if d.used/arenaSectors == len(d.arena) || len(d.arena[d.used/arenaSectors]) != arenaSectors<<d.log2 {
				d.arena = append(d.arena[:d.used/arenaSectors], make([]byte, arenaSectors<<d.log2))
			}
			d.saved = append(d.saved, saved{s, w})
			w = uint32(d.used)<<2 | inArena
			d.where[s] = w
			d.used++
		}
		i := int(w >> 2)
		copy(d.arena[i/arenaSectors][int64(i%arenaSectors)<<d.log2:][:d.sector], p[done:])
	}
}

// step is the read of undecided sectors that comes next in the run: on the prefix the one that
// was there before, beyond it a new one with its first outcome.
func (d *lazy) step(op byte, n int, c disk.Check, places []int64) (*step, error) {
	if d.at < d.prefix {
		st := &d.steps[d.at]
		if st.op != op || st.n != n || st.calls != d.calls || st.check != [2]uint32{c.Seed, c.Want} || !slices.Equal(st.places, places) {
			return nil, d.stop(fmt.Errorf("%w: step %d was %s, is now %s", ErrNotDeterministic, d.at,
				describe(st.op, st.n, st.places, st.calls), describe(op, n, places, d.calls)))
		}
		if c.Accept != nil {
			for i := range st.out {
				if o := &st.out[i]; o.err == nil && !c.Accept(o.content) {
					return nil, d.stop(fmt.Errorf("%w: step %d, %s, no longer accepts what it accepted", ErrNotDeterministic, d.at,
						describe(op, n, places, d.calls)))
				}
			}
		}
		d.take(st)
		return st, nil
	}
	if len(d.steps) < cap(d.steps) {
		d.steps = d.steps[:len(d.steps)+1]
	} else {
		d.steps = append(d.steps, step{})
	}
	st := &d.steps[len(d.steps)-1]
	st.op, st.n, st.calls, st.check, st.chosen = op, n, d.calls, [2]uint32{c.Seed, c.Want}, 0
	st.places = append(st.places[:0], places...)
	if op == 'd' {
		d.decays(st)
	} else if err := d.outcomes(st, &c); err != nil {
		d.steps = d.steps[:len(d.steps)-1]
		return nil, d.stop(fmt.Errorf("%s: %w", describe(op, n, places, d.calls), err))
	}
	d.weigh(len(d.steps) - 1)
	d.prefix++
	d.take(st)
	return st, nil
}

// describe words a step; calls tells apart reads of the same place after different reads.
func describe(op byte, n int, places []int64, calls uint64) string {
	what := "a read"
	switch op {
	case 'c':
		what = "a checked read"
	case 'd':
		what = "the decay behind a read"
	}
	return fmt.Sprintf("%s of %d bytes at %v (after reads %08x)", what, n, places, uint32(calls>>32^calls))
}

// take applies the chosen outcome.
func (d *lazy) take(st *step) {
	if st.op == 'd' {
		d.decay.settle(st.parts, st.out[st.chosen].hits)
		d.at++
		return
	}
	for _, e := range st.out[st.chosen].effects {
		d.mask[e.v], d.grp[e.v] = e.mask, e.g
	}
	d.at++
}

func (d *lazy) stop(err error) error {
	d.abort = err
	return err
}

// states is how many states the run stands for.
func (d *lazy) states() *big.Int { return d.statesAt(d.at) }

// statesAt is how many states take the first n steps of the path.
func (d *lazy) statesAt(n int) *big.Int {
	if n == 0 {
		return d.sp.total
	}
	return &d.steps[n-1].states
}

// weigh computes how many states take the path up to and with the n-th step.
func (d *lazy) weigh(n int) {
	st := &d.steps[n]
	before := d.sp.total
	if n > 0 {
		before = &d.steps[n-1].states
	}
	if !st.tied {
		st.states.Set(before)
		return
	}
	s := &d.search
	s.rest.Quo(before, st.old.int(&s.factor)) // exact: the rest of the variables
	st.states.Mul(&s.rest, st.out[st.chosen].states.int(&s.factor))
}

// next goes on to the next path in the order of depth first; false when there is none.
func (d *lazy) next() bool {
	for n := len(d.steps); n > 0; n-- {
		st := &d.steps[n-1]
		if st.chosen+1 < len(st.out) {
			st.chosen++
			d.steps, d.prefix = d.steps[:n], n
			d.weigh(n - 1)
			return true
		}
	}
	d.steps, d.prefix = d.steps[:0], 0
	return false
}
