package crash

import (
	"errors"
	"fmt"
	"math/big"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"holdfast/disk"
)

// Explore runs check on every legal crash state of a trace, at each crash point, as far as the
// check can tell them apart.
//
// The error matches [ErrTrace], [ErrOptions] or [ErrNotDeterministic]; violations, spent
// budgets and reads with too many possibilities are in the report.
func Explore(t *disk.Trace, opt Options, check Check) (*Report, error) {
	if err := opt.validate(); err != nil {
		return nil, err
	}
	states, err := Count(t, opt)
	if err != nil {
		return nil, err
	}
	list := epochs(t, opt.Label)
	x := &exploration{
		t: t, opt: &opt, check: check, hash: t.Hash(),
		list: list, states: states, reports: make([]*PointReport, len(list)),
	}
	x.stop.Store(int64(len(list)))
	var wg sync.WaitGroup
	for range max(1, min(opt.Workers, len(list))) {
		wg.Go(func() {
			if err := x.work(); err != nil {
				x.mu.Lock()
				x.err = errors.Join(x.err, err)
				x.mu.Unlock()
			}
		})
	}
	wg.Wait()
	if x.err != nil {
		return nil, x.err
	}
	return x.report(), nil
}

// exploration is what the workers share.
type exploration struct {
	t       *disk.Trace
	opt     *Options
	check   Check
	hash    uint64
	list    []epoch
	states  []*big.Int
	reports []*PointReport // by point, nil if it was not explored

	next atomic.Int64 // the next point to take
	stop atomic.Int64 // points beyond it are not wanted

	mu  sync.Mutex
	err error
}

// work explores points until none is left.
func (x *exploration) work() error {
	w := workers.Get().(*worker)
	w.x = x
	w.image = append(w.image[:0], x.t.Base...)
	defer w.done()
	image := w.image
	for at := 0; ; {
		i := int(x.next.Add(1) - 1)
		if i >= len(x.list) {
			return nil
		}
		for ; at < i; at++ {
			x.list[at].roll(image)
		}
		e := &x.list[i]
		if int64(i) > x.stop.Load() || x.opt.Points != nil && !x.opt.Points(e.point) {
			continue
		}
		r := x.known(e.point)
		if r == nil {
			var err error
			if r, err = w.point(e, image, x.states[i]); err != nil {
				x.lower(-1)
				return err
			}
		}
		if r.States.Cmp(x.states[i]) != 0 {
			x.lower(-1)
			return fmt.Errorf("%w: the known report of point %d is of %v states, it has %v", ErrOptions, i, r.States, x.states[i])
		}
		x.reports[i] = r
		if x.opt.StopFirst && r.Violating > 0 {
			x.lower(int64(i))
		}
		if x.opt.Progress != nil {
			x.mu.Lock()
			x.opt.Progress(r)
			x.mu.Unlock()
		}
	}
}

// known is a report from before, nil if there is none.
func (x *exploration) known(p *Point) *PointReport {
	if x.opt.Known == nil {
		return nil
	}
	return x.opt.Known(p)
}

// lower says that points beyond i are not wanted.
func (x *exploration) lower(i int64) {
	for {
		if now := x.stop.Load(); now <= i || x.stop.CompareAndSwap(now, i) {
			return
		}
	}
}

// report sums up.
func (x *exploration) report() *Report {
	r := &Report{Hash: x.hash, Options: *x.opt, States: new(big.Int), Covered: new(big.Int)}
	var labels histogram
	for i, p := range x.reports {
		if p == nil || int64(i) > x.stop.Load() {
			r.Skipped++
			continue
		}
		r.Points = append(r.Points, p)
		r.Leaves += p.Leaves
		r.States.Add(r.States, p.States)
		r.Covered.Add(r.Covered, p.Covered)
		r.Violations += p.Violating
		r.Nested.add(&p.Nested)
		for _, l := range p.Labels {
			labels.add(l.Label, l.Leaves, l.States)
		}
	}
	r.Labels = labels.list
	return r
}

// histogram counts labels in the order in which they appear.
type histogram struct {
	list  []LabelCount
	index map[string]int
}

func (h *histogram) add(label string, leaves int, states *big.Int) {
	i, ok := h.index[label]
	if !ok {
		if h.index == nil {
			h.index = map[string]int{}
		}
		i = len(h.list)
		h.index[label] = i
		h.list = append(h.list, LabelCount{Label: label, States: new(big.Int)})
	}
	h.list[i].Leaves += leaves
	h.list[i].States.Add(h.list[i].States, states)
}

// worker explores one point at a time.
type worker struct {
	x       *exploration
	image   []byte  // what was there before the epoch of the point
	devices []*lazy // by depth
	hash    digester

	e      *epoch
	r      *PointReport
	labels histogram
	runs   int            // at this point, of all depths
	seen   map[digest]int // nested states: the least depth at which they were explored
}

// workers keep their memory from one exploration to the next: there may be one for each of
// thousands of small workloads.
var workers = sync.Pool{New: func() any { return new(worker) }}

// done gives the worker back.
func (w *worker) done() {
	for _, d := range w.devices {
		d.unload()
	}
	*w = worker{image: w.image, devices: w.devices, hash: w.hash}
	workers.Put(w)
}

// point explores one crash point.
func (w *worker) point(e *epoch, image []byte, states *big.Int) (*PointReport, error) {
	w.e, w.labels, w.runs = e, histogram{}, 0
	w.r = &PointReport{Point: e.point, States: states, Covered: new(big.Int)}
	w.seen = map[digest]int{}
	sp, err := e.space(image, w.x.t.SectorSize, w.x.opt)
	switch {
	case errors.Is(err, ErrLimit):
		w.r.Limit = err.Error()
	case err != nil:
		return nil, err
	default:
		if n := w.x.opt.Decay; n > 0 {
			sp.decay = newDecay(int64(len(image)/w.x.t.SectorSize), n)
			sp.total.Mul(sp.total, new(big.Int).SetUint64(sp.decay.weight()))
		}
		if _, err := w.explore(0, sp, w.r.Covered, nil, nil); err != nil {
			return nil, fmt.Errorf("crash point %d: %w", e.point.Index, err)
		}
		w.devices[0].unload() // the image moves on
	}
	w.r.Labels = w.labels.list
	return w.r, nil
}

// limit notes why something is not covered; the first reason stays.
func (w *worker) limit(why string) {
	if w.r.Limit == "" {
		w.r.Limit = why
	}
}

// spent reports whether no further run may be started.
func (w *worker) spent() bool {
	opt := w.x.opt
	if opt.MaxLeaves > 0 && w.runs >= opt.MaxLeaves {
		w.limit(fmt.Sprintf("budget of %d leaves spent", opt.MaxLeaves))
		return true
	}
	if opt.StopFirst && w.r.Violating > 0 {
		w.limit("stopped at the first violation")
		return true
	}
	if int64(w.e.point.Index) > w.x.stop.Load() {
		w.limit("an earlier point stopped the exploration")
		return true
	}
	if opt.Done != nil {
		select {
		case <-opt.Done:
			w.limit("interrupted")
			return true
		default:
		}
	}
	return false
}

// explore runs the check on all states of sp, adds those of each leaf to covered, and goes into
// the crashes inside it. more is false when the budget is spent.
func (w *worker) explore(depth int, sp *space, covered *big.Int, path []int, before []string) (more bool, err error) {
	if depth == len(w.devices) {
		w.devices = append(w.devices, &lazy{})
	}
	d := w.devices[depth]
	d.keep = depth < w.x.opt.Nested
	d.load(sp)
	for {
		if w.spent() {
			return false, nil
		}
		d.reset()
		s := newState(w.e.point, d, depth, before)
		verdict := run(w.x.check, s)
		if errors.Is(d.abort, ErrNotDeterministic) {
			return false, d.abort
		}
		if d.abort == nil && d.at < d.prefix {
			return false, fmt.Errorf("%w: the run ends after step %d, %d steps were there before", ErrNotDeterministic, d.at, d.prefix)
		}
		w.runs++
		if d.abort != nil {
			w.limit(d.abort.Error())
		} else {
			states := d.states()
			covered.Add(covered, states)
			if depth == 0 {
				w.r.Leaves++
				w.labels.add(s.label, 1, states)
			} else {
				w.r.Nested.Leaves++
				w.r.Nested.Deepest = max(w.r.Nested.Deepest, depth)
			}
			if verdict != nil {
				w.violation(d, s, verdict, path)
			}
			if d.keep && !w.spent() {
				if err := w.nested(depth, d, path, before); err != nil {
					return false, err
				}
			}
		}
		if !d.next() {
			return true, nil
		}
	}
}

// run calls the check; a panic in it is its verdict.
func run(check Check, s *State) (verdict error) {
	defer func() {
		if p := recover(); p != nil {
			verdict = fmt.Errorf("panic: %v (%s)", p, panicPlace())
		}
	}()
	return check(s)
}

// panicPlace says where the panic that is being recovered began. It says the same in each run,
// which a stack with its addresses does not.
func panicPlace() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s, %s:%d", path.Base(f.Function), path.Base(f.File), f.Line)
		}
		if !more {
			return "nobody knows where"
		}
	}
}

// violation takes a leaf whose check failed into the report.
func (w *worker) violation(d *lazy, s *State, verdict error, path []int) {
	w.r.Violating++
	keep := w.x.opt.Keep
	if keep == 0 {
		keep = DefaultKeep
	}
	if len(w.r.Kept) >= keep {
		return
	}
	id := stateID{hash: w.x.hash, point: w.e.point.Index, model: w.x.opt.Model, levels: d.levels(path)}
	if d.sp.decay != nil {
		if id.decayed = d.decay.least(); id.decayed != nil {
			id.decay = w.x.opt.Decay
		}
	}
	missing, bad := id.levels[0].damage(w.e, w.x.t.SectorSize, w.x.opt.Model)
	w.r.Kept = append(w.r.Kept, &Violation{
		ID: id.String(), Err: verdict, Label: s.label, States: new(big.Int).Set(d.states()), Depth: s.Depth,
		Missing: missing, Bad: bad, Decayed: extents(set(id.decayed), w.x.t.SectorSize),
	})
}

// nested explores the crash points inside the run that the device has just made.
func (w *worker) nested(depth int, d *lazy, path []int, before []string) error {
	events, cuts := d.events, d.cuts.all(d)
	if !slices.ContainsFunc(cuts, func(c *cut) bool { return c != nil }) {
		return nil
	}
	opt := w.x.opt
	flushed := 0     // events before it are on stable storage
	var done []patch // what those wrote
	sector := d.sector
	for i := 0; i <= len(events); i++ {
		if i < len(events) && events[i].Kind != disk.EventFlush {
			continue
		}
		_, inFlight := unmark(events[flushed:i])
		below := done
		for _, e := range inFlight {
			for at := int64(0); at < int64(len(e.Data)); at += sector {
				done = append(done, patch{(e.Off + at) / sector, contentOf(e.Data[at:][:sector:sector])})
			}
		}
		flushed = i + 1
		c := cuts[0]
		if cuts = cuts[1:]; c == nil {
			continue
		}
		marks, _ := unmark(events[:i])
		if len(marks) == 0 && len(done) == 0 {
			continue // the run itself starts from what this leaves
		}
		marks = append(slices.Clip(before), marks...)
		sp, err := d.nest(c, below, inFlight, opt)
		w.r.Nested.Points++
		if errors.Is(err, ErrLimit) {
			w.limit(err.Error())
			w.r.Nested.Incomplete++
			continue
		}
		if err != nil {
			return err
		}
		w.hash.reset()
		sp.digest(&w.hash)
		for _, m := range marks {
			w.hash.put(len(m))
			w.hash.bytes([]byte(m))
		}
		sum := w.hash.sum()
		if at, ok := w.seen[sum]; ok && (at <= depth || opt.Nested == Fixpoint) {
			continue
		}
		if depth == maxDepth {
			w.limit(fmt.Sprintf("no fixpoint after %d crashes inside the check", maxDepth))
			w.r.Nested.Incomplete++
			continue
		}
		w.seen[sum] = depth
		w.r.Nested.Distinct++
		want := countStates(inFlight, w.x.t.SectorSize, opt.Model, opt.Bad)
		want.Mul(want, d.statesAt(c.at))
		covered := new(big.Int)
		more, err := w.explore(depth+1, sp, covered, append(slices.Clip(path), nestedIndex(events[:i])), marks)
		if err != nil {
			return fmt.Errorf("nested point %d: %w", nestedIndex(events[:i]), err)
		}
		if covered.Cmp(want) != 0 {
			w.r.Nested.Incomplete++
			w.limit("the certificate of a nested crash point does not hold")
		}
		if !more {
			return nil
		}
	}
	return nil
}

// maxDepth is where the search for a fixpoint gives up.
const maxDepth = 64

// unmark parts the marks of a run from its writes and flushes.
func unmark(events []disk.Event) (marks []string, rest []disk.Event) {
	rest = events
	for i, e := range events {
		if e.Kind == disk.EventMark {
			if marks == nil {
				rest = slices.Clone(events[:i])
			}
			marks = append(marks, e.Mark)
		} else if marks != nil {
			rest = append(rest, e)
		}
	}
	return marks, rest
}

// nestedIndex is the number of the crash point after these events.
func nestedIndex(events []disk.Event) int {
	n := 0
	for _, e := range events {
		if e.Kind == disk.EventFlush {
			n++
		}
	}
	return n
}
