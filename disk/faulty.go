package disk

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
)

// Errors of a [Faulty] device.
var (
	ErrCrashed  = errors.New("device has crashed") // until Reopen
	ErrInjected = errors.New("injected I/O error") // a write, read or flush that was made to fail
)

// CrashMode says what a crash does to the writes since the last flush.
type CrashMode uint8

// The modes of a crash.
const (
	CrashRandom CrashMode = iota // each is, by the seed, present, absent, or torn into new, old and bad sectors
	CrashKeep                    // all are present
	CrashLose                    // all are absent
)

var crashNames = [...]string{CrashRandom: "", CrashKeep: "keep", CrashLose: "lose"}

// FaultRates are probabilities per event, from 0 (never) to 1; what lies outside counts as the
// nearer of these. An event that a rule applies to is left to the rule.
type FaultRates struct {
	SoftRead   float64 // a read fails with ErrSoft; the next one at the same place does not
	NullWrite  float64 // a write that leaves the old content
	BadWrite   float64 // a write that leaves its sectors bad
	TornWrite  float64 // a write whose sectors are new, old or bad
	WriteError float64 // a write that fails and leaves the old content
	FlushError float64 // a flush that fails
	Decay      float64 // at any event one sector, anywhere, goes bad
	Revive     float64 // at any event one bad sector is good again
	Crash      float64 // a write or flush in the midst of which the power fails

	// Disasters.
	Misdirect  float64 // a write that lands elsewhere
	Phantom    float64 // a write that reads back, is flushed, and never happened
	LyingFlush float64 // a flush that did nothing
}

// FaultOptions says which faults a [Faulty] device has; the zero value has none but those of
// its methods.
type FaultOptions struct {
	Seed  uint64      // the same seed, rules, rates and calls give the same faults
	Rules []FaultRule // from ParseFaults
	Rates FaultRates

	// Group gives the group of a sector: sectors of equal number are replicas of each other,
	// and chance damages at most one of a group until Scrubbed. A negative number exempts the
	// sector from chance. nil: no sector has a replica. It must be a pure function.
	Group func(sector int64) int64
}

// PairHalves is a Group for two replicas in the two halves of a device of so many sectors.
func PairHalves(sectors int64) func(sector int64) int64 {
	half := sectors / 2
	return func(s int64) int64 {
		if half == 0 || s >= 2*half {
			return -1
		}
		return s % half
	}
}

// Faulty is a device with the faults of Lampson and Sturgis; the package documentation has the
// model and the script. Sectors are counted from 0, in units of its sector size.
//
// It is meant for use by one goroutine at a time, where it is deterministic; more than one is
// safe, but then their order decides.
type Faulty struct {
	under  Device
	size   int64
	sector int64
	opt    FaultOptions

	mu      sync.Mutex
	rng     *rand.Rand
	hits    []int64        // how often each rule matched
	bad     map[int64]bool // sectors; what they held is still on under, for revival
	decayed map[int64]bool // sectors that a decay, a crash or chance harmed since the last scrub
	soft    map[int64]bool // offsets whose next read is spared
	pending []pendingWrite // applied to under, not flushed
	crashed bool
	log     []string
}

// pendingWrite is a write since the last flush, with what it takes to undo it.
type pendingWrite struct {
	off     int64
	data    []byte
	old     []byte  // what was there
	wasBad  []int64 // the sectors of it that were bad
	fates   []sectorFate
	phantom bool // it vanishes at the next flush or crash
}

// NewFaulty makes a device with faults of under, whose sectors are all good. The rules that
// stand alone apply at once, in order. It panics unless sectorSize is positive.
func NewFaulty(under Device, sectorSize int, opt FaultOptions) *Faulty {
	f := &Faulty{
		under: under, size: under.Size(), sector: mustSector(sectorSize), opt: opt,
		rng:  rand.New(rand.NewPCG(opt.Seed, 0x686f6c6466617374)),
		hits: make([]int64, len(opt.Rules)),
		bad:  map[int64]bool{}, decayed: map[int64]bool{}, soft: map[int64]bool{},
	}
	for _, r := range opt.Rules {
		if r.event == eventNone {
			for _, a := range r.actions {
				f.change(a) // a crash has nothing to write back yet, so nothing can fail
			}
		}
	}
	return f
}

func (f *Faulty) note(format string, args ...any) {
	f.log = append(f.log, fmt.Sprintf(format, args...))
}

// Log says what happened so far, one line for each fault, in order.
func (f *Faulty) Log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

// Bad is the numbers of the bad sectors, ascending.
func (f *Faulty) Bad() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.badSectors()
}

func (f *Faulty) badSectors() []int64 { return slices.Sorted(maps.Keys(f.bad)) }

// Decay makes a sector bad, whatever its group.
func (f *Faulty) Decay(sector int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change(faultAction{verb: "decay", n: sector, lo: -1})
}

// Revive makes a sector good again, with the data it held before it went bad.
func (f *Faulty) Revive(sector int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change(faultAction{verb: "revive", n: sector})
}

// Scrubbed tells the device that a scrub has ended: each group, and each decay set of the
// script, may lose a sector again.
func (f *Faulty) Scrubbed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change(faultAction{verb: "scrub"})
}

// Crash lets the power fail now. The error is that of the device below, while it was given
// the content that the crash left.
func (f *Faulty) Crash(mode CrashMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crash(mode)
}

// Crashed reports whether the device waits for Reopen.
func (f *Faulty) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// Reopen brings the device back after a crash, with what the crash left. Without a crash it
// does nothing.
func (f *Faulty) Reopen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = false
}

// change applies a change of state.
func (f *Faulty) change(a faultAction) error {
	switch a.verb {
	case "decay":
		if a.lo >= 0 {
			for s := range f.decayed {
				if s != a.n && s >= a.lo && s <= a.hi {
					f.note("decay %d: refused, its decay set has lost one already", a.n)
					return nil
				}
			}
		}
		if a.n < (f.size+f.sector-1)/f.sector {
			f.decay(a.n)
		}
	case "revive":
		f.revive(a.n)
	case "scrub":
		clear(f.decayed)
	case "crash":
		return f.crash(a.crashBy)
	}
	return nil
}

func (f *Faulty) decay(sector int64) {
	f.note("decay %d", sector)
	f.bad[sector] = true
	f.decayed[sector] = true
}

func (f *Faulty) revive(sector int64) {
	if f.bad[sector] {
		f.note("revive %d", sector)
		delete(f.bad, sector)
	}
}

// mayHarm reports whether chance may damage a sector: none of its group is harmed.
func (f *Faulty) mayHarm(sector int64) bool {
	if f.opt.Group == nil {
		return true
	}
	group := f.opt.Group(sector)
	if group < 0 {
		return false
	}
	for _, set := range []map[int64]bool{f.bad, f.decayed} {
		for s := range set {
			if s != sector && f.opt.Group(s) == group {
				return false
			}
		}
	}
	return true
}

// chance draws only for a rate that is not 0, so that a rate that is not used does not shift
// the draws of the others.
func (f *Faulty) chance(rate float64) bool { return rate > 0 && f.rng.Float64() < rate }

// ambient is what happens to a medium by itself.
func (f *Faulty) ambient() {
	if f.chance(f.opt.Rates.Decay) && f.size >= f.sector {
		if s := f.rng.Int64N(f.size / f.sector); !f.bad[s] && f.mayHarm(s) {
			f.decay(s)
		}
	}
	if f.chance(f.opt.Rates.Revive) && len(f.bad) > 0 {
		f.revive(f.badSectors()[f.rng.IntN(len(f.bad))])
	}
}

// match counts an event at the sectors from lo to hi (not included) for the rules, and gives
// those that apply, in order.
func (f *Faulty) match(event faultEvent, after bool, lo, hi int64) []dueRule {
	var due []dueRule
	for i := range f.opt.Rules {
		r := &f.opt.Rules[i]
		if r.event != event || r.after != after || r.lo >= 0 && (hi <= r.lo || lo > r.hi) {
			continue
		}
		f.hits[i]++
		to := r.to
		for _, a := range r.actions {
			if a.verb == "soft" && r.from == r.to {
				to = max(to, r.from+a.n-1)
			}
		}
		if n := f.hits[i]; n >= r.from && n <= to {
			due = append(due, dueRule{r, n > r.to})
		}
	}
	return due
}

// dueRule is a rule that applies to an event.
type dueRule struct {
	*FaultRule
	tail bool // only its "soft N" does: the other actions were due with the first read
}

// then applies the rules that come after an event.
func (f *Faulty) then(event faultEvent, lo, hi int64) error {
	var errs error
	for _, r := range f.match(event, true, lo, hi) {
		for _, a := range r.actions {
			errs = errors.Join(errs, f.change(a))
		}
	}
	return errs
}

// sectors is the range of sectors, the last not included, that n bytes at off touch.
func (f *Faulty) sectors(n int, off int64) (lo, hi int64) {
	return off / f.sector, (off + int64(n) + f.sector - 1) / f.sector
}

// Size implements [Device].
func (f *Faulty) Size() int64 { return f.size }

// ReadChecked implements [Device]; soft errors are tried again.
func (f *Faulty) ReadChecked(p []byte, c Check, places ...int64) (int, error) {
	return CheckedRead(f, p, c, places...)
}

// ReadAt implements [Device].
func (f *Faulty) ReadAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, f.size); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return 0, ErrCrashed
	}
	lo, hi := f.sectors(len(p), off)
	f.ambient()
	rules := f.match(eventRead, false, lo, hi)
	var fail error
	for _, r := range rules {
		for i := range r.actions {
			a := &r.actions[i]
			if r.tail && a.verb != "soft" {
				continue
			}
			switch a.verb {
			case "soft":
				fail = ErrSoft
			case "error":
				fail = ErrInjected
			case "bad":
				for s := max(lo, r.lo); s < hi && (r.lo < 0 || s <= r.hi); s++ {
					f.decay(s)
				}
			case "crash":
				return 0, errors.Join(ErrCrashed, f.crash(a.crashBy))
			}
		}
	}
	if len(rules) == 0 {
		if f.soft[off] {
			delete(f.soft, off)
		} else if f.chance(f.opt.Rates.SoftRead) {
			f.soft[off] = true
			fail = ErrSoft
		}
	}
	n, err := f.read(p, off, lo, hi, fail)
	if after := f.then(eventRead, lo, hi); after != nil {
		return n, errors.Join(err, after)
	}
	return n, err
}

// read is a read that fails with fail, if that is not nil, or at the first bad sector.
func (f *Faulty) read(p []byte, off, lo, hi int64, fail error) (int, error) {
	if fail != nil {
		fail = fmt.Errorf("read of sectors %s: %w", rangeText(lo, max(lo, hi-1)), fail)
		f.note("%v", fail)
		return 0, fail
	}
	if s, found := f.firstBad(lo, hi); found {
		return 0, fmt.Errorf("sector %d: %w", s, ErrBadSector)
	}
	return f.under.ReadAt(p, off)
}

func (f *Faulty) firstBad(lo, hi int64) (int64, bool) {
	if len(f.bad) == 0 {
		return 0, false
	}
	for s := lo; s < hi; s++ {
		if f.bad[s] {
			return s, true
		}
	}
	return 0, false
}

// WriteAt implements [Device]. It refuses what is not whole sectors with [ErrUnaligned].
func (f *Faulty) WriteAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, f.size); err != nil {
		return 0, err
	}
	if err := wholeSectors(len(p), off, f.sector); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return 0, ErrCrashed
	}
	if len(p) == 0 {
		return 0, nil
	}
	lo, hi := f.sectors(len(p), off)
	f.ambient()
	w := pendingWrite{off: off}
	var fail, power error
	var down bool
	var mode CrashMode
	rules := f.match(eventWrite, false, lo, hi)
	for _, r := range rules {
		f.note("write of sectors %s: %v", rangeText(lo, hi-1), r)
		for _, a := range r.actions {
			switch a.verb {
			case "null":
				w.spoil(lo, hi, r.FaultRule, fateOld)
			case "bad":
				w.spoil(lo, hi, r.FaultRule, fateBad)
			case "tear":
				w.fates = make([]sectorFate, hi-lo)
				for i := range w.fates {
					w.fates[i] = a.fates[min(i, len(a.fates)-1)]
				}
			case "misdirect":
				w.off += a.n * f.sector
			case "phantom":
				w.phantom = true
			case "error":
				fail = ErrInjected
			case "crash":
				down, mode = true, a.crashBy
			}
		}
	}
	if len(rules) == 0 {
		fail, down = f.chanceWrite(&w, lo, hi)
	}
	if fail != nil && w.fates == nil {
		w.fates = slices.Repeat([]sectorFate{fateOld}, int(hi-lo))
	}
	// A misdirected write that finds no place is lost.
	if inRange(len(p), w.off, f.size) == nil {
		if err := f.apply(w, p); err != nil {
			return 0, err
		}
	}
	if down {
		power = f.crash(mode)
		return 0, errors.Join(ErrCrashed, power)
	}
	after := f.then(eventWrite, lo, hi)
	if fail != nil {
		return 0, errors.Join(fmt.Errorf("write of sectors %s: %w", rangeText(lo, hi-1), fail), after)
	}
	return len(p), after
}

// spoil gives the sectors of w that r names, or all, a fate.
func (w *pendingWrite) spoil(lo, hi int64, r *FaultRule, fate sectorFate) {
	if w.fates == nil {
		w.fates = make([]sectorFate, hi-lo)
	}
	for s := max(lo, r.lo); s < hi && (r.lo < 0 || s <= r.hi); s++ {
		w.fates[s-lo] = fate
	}
}

// chanceWrite draws what becomes of a write that no rule speaks of.
func (f *Faulty) chanceWrite(w *pendingWrite, lo, hi int64) (fail error, down bool) {
	rates := &f.opt.Rates
	said := ""
	switch {
	case f.chance(rates.WriteError):
		said, fail = "error", ErrInjected
	case f.chance(rates.NullWrite):
		said = "null"
		w.fates = make([]sectorFate, hi-lo)
		for i := range w.fates {
			w.fates[i] = f.harm(fateOld, lo+int64(i))
		}
	case f.chance(rates.BadWrite):
		said = "bad"
		w.fates = make([]sectorFate, hi-lo)
		for i := range w.fates {
			w.fates[i] = f.harm(fateBad, lo+int64(i))
		}
	case f.chance(rates.TornWrite):
		said = "tear"
		w.fates = make([]sectorFate, hi-lo)
		for i := range w.fates {
			w.fates[i] = f.harm(sectorFate(f.rng.IntN(3)), lo+int64(i))
		}
	case f.chance(rates.Misdirect):
		said = "misdirect"
		w.off = f.rng.Int64N(f.size/f.sector-(hi-lo)+1) * f.sector
	case f.chance(rates.Phantom):
		said = "phantom"
		w.phantom = true
	case f.chance(rates.Crash):
		said, down = "crash", true
	}
	if said != "" {
		f.note("write of sectors %s: %s", rangeText(lo, hi-1), said)
	}
	return fail, down
}

// harm lets fate stand unless the sector's replica is harmed. A sector that stays old is harmed
// like one that goes bad: its replica alone has what was written.
func (f *Faulty) harm(fate sectorFate, sector int64) sectorFate {
	if fate == fateNew {
		return fate
	}
	if !f.mayHarm(sector) {
		return fateNew
	}
	f.decayed[sector] = true
	return fate
}

// apply does the write w of p, remembering how to undo it.
func (f *Faulty) apply(w pendingWrite, p []byte) error {
	w.data = bytes.Clone(p)
	w.old = make([]byte, len(p))
	if err := ReadFull(f.under, w.old, w.off); err != nil {
		return err
	}
	lo, hi := f.sectors(len(p), w.off)
	if len(f.bad) > 0 {
		for s := lo; s < hi; s++ {
			if f.bad[s] {
				w.wasBad = append(w.wasBad, s)
			}
		}
	}
	f.pending = append(f.pending, w)
	return f.put(&w, w.fates)
}

// put gives the sectors of w their fates on the medium; nil: all new.
func (f *Faulty) put(w *pendingWrite, fates []sectorFate) error {
	lo, hi := f.sectors(len(w.data), w.off)
	for s := lo; s < hi; {
		fate := fateNew
		next := hi
		if fates != nil {
			fate = fates[s-lo]
			for next = s + 1; next < hi && fates[next-lo] == fate; next++ {
			}
		}
		switch fate {
		case fateNew:
			if _, err := f.under.WriteAt(w.data[(s-lo)*f.sector:(next-lo)*f.sector], s*f.sector); err != nil {
				return err
			}
			if len(f.bad) > 0 {
				for i := s; i < next; i++ {
					delete(f.bad, i)
				}
			}
		case fateBad:
			for i := s; i < next; i++ {
				f.bad[i] = true
			}
		}
		s = next
	}
	return nil
}

// undo takes the pending writes back, the last first.
func (f *Faulty) undo() error {
	for i := len(f.pending) - 1; i >= 0; i-- {
		w := &f.pending[i]
		if _, err := f.under.WriteAt(w.old, w.off); err != nil {
			return err
		}
		lo, hi := f.sectors(len(w.data), w.off)
		for s := lo; s < hi; s++ {
			delete(f.bad, s)
		}
		for _, s := range w.wasBad {
			f.bad[s] = true
		}
	}
	return nil
}

// redo undoes the pending writes and does them again, each with the fates that fates gives it.
// Sectors that are bad now stay bad: they may have decayed since they were written.
func (f *Faulty) redo(fates func(w *pendingWrite) []sectorFate) error {
	bad := maps.Clone(f.bad)
	if err := f.undo(); err != nil {
		return err
	}
	for i := range f.pending {
		w := &f.pending[i]
		if err := f.put(w, fates(w)); err != nil {
			return err
		}
	}
	maps.Copy(f.bad, bad)
	f.pending = f.pending[:0]
	return nil
}

// lost is the fates of a write that never happened.
func (w *pendingWrite) lost(sector int64) []sectorFate {
	return slices.Repeat([]sectorFate{fateOld}, len(w.data)/int(sector))
}

// crash decides what is left of the pending writes; then the device is down.
func (f *Faulty) crash(mode CrashMode) error {
	f.note("%v, %d writes pending", faultAction{verb: "crash", crashBy: mode}, len(f.pending))
	f.crashed = true
	clear(f.soft)
	return f.redo(func(w *pendingWrite) []sectorFate {
		if w.phantom || mode == CrashLose {
			return w.lost(f.sector)
		}
		if mode == CrashKeep {
			return w.fates
		}
		switch f.rng.IntN(3) {
		case 0:
			return w.lost(f.sector)
		case 1:
			return w.fates
		}
		lo, _ := f.sectors(len(w.data), w.off)
		fates := w.lost(f.sector)
		for i := range fates {
			fate := sectorFate(f.rng.IntN(3))
			if fate == fateNew && w.fates != nil {
				fate = w.fates[i]
			}
			fates[i] = f.harm(fate, lo+int64(i))
		}
		return fates
	})
}

// Flush implements [Device].
func (f *Faulty) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return ErrCrashed
	}
	f.ambient()
	rules := f.match(eventFlush, false, 0, 0)
	lie := false
	var fail error
	for _, r := range rules {
		f.note("flush: %v", r)
		for _, a := range r.actions {
			switch a.verb {
			case "lie":
				lie = true
			case "error":
				fail = fmt.Errorf("flush: %w", ErrInjected)
			case "crash":
				return errors.Join(ErrCrashed, f.crash(a.crashBy))
			}
		}
	}
	if len(rules) == 0 {
		rates := &f.opt.Rates
		switch {
		case f.chance(rates.FlushError):
			f.note("flush: error")
			fail = fmt.Errorf("flush: %w", ErrInjected)
		case f.chance(rates.LyingFlush):
			f.note("flush: lie")
			lie = true
		case f.chance(rates.Crash):
			f.note("flush: crash")
			return errors.Join(ErrCrashed, f.crash(CrashRandom))
		}
	}
	if !lie && fail == nil {
		if slices.ContainsFunc(f.pending, func(w pendingWrite) bool { return w.phantom }) {
			err := f.redo(func(w *pendingWrite) []sectorFate {
				if w.phantom {
					return w.lost(f.sector)
				}
				return w.fates
			})
			if err != nil {
				return err
			}
		}
		if err := f.under.Flush(); err != nil {
			return err
		}
		f.pending = f.pending[:0]
	}
	after := f.then(eventFlush, 0, 0)
	return errors.Join(fail, after)
}
