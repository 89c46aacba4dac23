package crash

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"holdfast/disk"
)

// Errors of an exploration and of an ID.
var (
	// ErrNotDeterministic says that the check did something else on the same state; what was
	// explored is void.
	ErrNotDeterministic = errors.New("not deterministic")
	// ErrLimit says that a read has more outcomes than the explorer is willing to tell apart.
	ErrLimit = errors.New("too many possibilities")
	// ErrTrace says that a trace breaks the rules of package disk.
	ErrTrace = disk.ErrTrace
	// ErrOptions says that an option is out of its bounds.
	ErrOptions = errors.New("invalid option")
	// ErrID says that a text is no ID of a state.
	ErrID = errors.New("not an ID of a crash state")
	// ErrOtherTrace says that an ID belongs to another trace.
	ErrOtherTrace = errors.New("the ID belongs to another trace")
)

// Model says what a crash does to the writes in flight.
type Model uint8

// The models.
const (
	// Sectors: each sector written in the epoch holds, independently, any of its versions.
	Sectors Model = iota
	// Atomic: each write of the epoch is present or absent as a whole; later ones are on top.
	Atomic
	// Prefix: the writes of the epoch up to some one are there, whole, and those after it are
	// not, as a replay of a log of writes makes it. No disk promises that order: it is here to
	// show what such a replay misses.
	Prefix
)

func (m Model) String() string {
	switch m {
	case Sectors:
		return "sectors"
	case Atomic:
		return "atomic writes"
	case Prefix:
		return "prefixes of the writes"
	}
	return fmt.Sprintf("model %d", uint8(m))
}

// DefaultKeep is how many violations a crash point keeps if [Options] does not say.
const DefaultKeep = 10

// Fixpoint as Options.Nested goes into crashes inside the check until these leave no image that
// was not explored before at the same crash point.
const Fixpoint = 1 << 10

// maxNested bounds any other Options.Nested.
const maxNested = 8

// Options of [Explore] and [Count]. The zero value explores every point with the Sectors model
// without bad sectors, on one worker, without bound.
type Options struct {
	Model Model
	Bad   bool // a sector in flight may also be bad; with Sectors only

	// Decay is how many sectors of the whole image, 0 to 2, may have gone bad at the crash as
	// well, whenever they were written. A legal state is then one that the crash leaves, with a
	// set of at most Decay sectors of the image, any of them, that are bad until they are
	// written again. Crashes inside the check add none.
	Decay int

	Points    func(*Point) bool // explore these points only; nil: all
	MaxLeaves int               // runs of the check per point, nested ones included; 0: no bound
	Keep      int               // violations kept per point, all are counted; 0: DefaultKeep
	StopFirst bool              // stop after the first point (by number) with a violation
	Workers   int               // points explored at the same time, at most 1024; 0: one
	Nested    int               // depth of crashes inside the check's own writes, 0 to 8, or Fixpoint

	// Label says in a few words what a write holds ("journal commit"); nil: no labels. It is
	// called once for each write in flight and must not keep data.
	Label func(off int64, data []byte) string
	// Known gives the report of a point that was explored before, with the same options; nil:
	// explore it. It may be called by several workers at once.
	Known func(*Point) *PointReport
	// Progress is called with each point that is done, one call at a time; nil: nobody.
	Progress func(*PointReport)
	// Done stops the exploration when it is closed; what was not covered is reported.
	Done <-chan struct{}
}

// validate refuses what is out of bounds with ErrOptions.
func (o *Options) validate() error {
	switch {
	case o.Model > Prefix:
		return fmt.Errorf("%w: %v", ErrOptions, o.Model)
	case o.Model != Sectors && o.Bad:
		return fmt.Errorf("%w: %v leave no bad sectors", ErrOptions, o.Model)
	case o.Decay < 0 || o.Decay > maxDecay:
		return fmt.Errorf("%w: %d decayed sectors, 0 to %d", ErrOptions, o.Decay, maxDecay)
	case o.MaxLeaves < 0:
		return fmt.Errorf("%w: %d leaves", ErrOptions, o.MaxLeaves)
	case o.Keep < 0:
		return fmt.Errorf("%w: %d violations to keep", ErrOptions, o.Keep)
	case o.Workers < 0 || o.Workers > 1024:
		return fmt.Errorf("%w: %d workers, 0 to 1024", ErrOptions, o.Workers)
	case o.Nested < 0 || o.Nested > maxNested && o.Nested != Fixpoint:
		return fmt.Errorf("%w: %d nested crashes, 0 to %d", ErrOptions, o.Nested, maxNested)
	}
	return nil
}

// Write is a write in flight at a crash point.
type Write struct {
	Event int    // index in the events of the trace
	Off   int64  // bytes
	Len   int    // bytes
	Label string // what Options.Label says, "" without
}

func (w Write) String() string {
	s := fmt.Sprintf("write of %d bytes at %d", w.Len, w.Off)
	if w.Label != "" {
		s += " (" + w.Label + ")"
	}
	return s
}

// Point is a crash point: just before a flush, or the end of the trace. It is shared by all
// runs at that point: nobody may change it.
type Point struct {
	Index int  // from 0
	Event int  // the event before which power fails: a flush, or the number of events
	End   bool // it is the end of the trace
	Epoch int  // flushes that returned before it

	// Marks are those before the point, in order. Started, Finished and Synced are what
	// follows that word and a blank in the last mark that begins so, "" if there is none.
	Marks                     []string
	Started, Finished, Synced string

	InFlight []Write // the writes since the last flush, in order
	Sectors  int     // the distinct sectors that they touch
}

// Operation is the operation in flight as the marks tell it: started, and not finished. "" if
// there is none.
func (p *Point) Operation() string {
	if p.Started != p.Finished {
		return p.Started
	}
	return ""
}

// State is what a check judges: one run of it stands for all the legal states in which the
// device gives it the same answers.
type State struct {
	*Point
	// Dev is the image as the crash left it. It may be written; the next run does not see it.
	Dev disk.Device
	// Depth is how many crashes inside the check's own writes came before this run; 0 is the
	// crash of the workload itself.
	Depth int

	// Before are the marks that the runs before this one made with Mark, in order, as far as
	// they were made before the crashes that cut these runs off. It is empty at depth 0, and
	// shared: nobody may change it.
	Before []string

	label string
	dev   *lazy
}

// Mark notes how far the check has come, for the runs that begin with a crash inside this one:
// they find in Before what was marked up to that crash. Two crashes inside the check that leave
// the same images are told apart if their marks differ.
func (s *State) Mark(text string) { s.dev.mark(text) }

func newState(p *Point, d *lazy, depth int, before []string) *State {
	return &State{Point: p, Dev: d, Depth: depth, Before: before, dev: d}
}

// Decayed is how many of the sectors that went bad by decay the check has met so far, also in
// the runs that crashes cut off: reads failed because of them, or found a replica. What no read has met is not known, and is not
// counted. A sector counts also where it would not have passed anyway, or was written since: if
// Decayed is 0, decay explains nothing, but not the other way round.
func (s *State) Decayed() int {
	if s.dev == nil || s.dev.sp.decay == nil {
		return 0
	}
	return s.dev.decay.met()
}

// MayDecay reports whether sectors may have gone bad at the crash, met or not.
func (s *State) MayDecay() bool { return s.dev != nil && s.dev.sp.decay != nil }

// DecayedAt lists the sectors (by byte offset, ascending) that Decayed may be about: so many of
// them are bad. They are just those, unless a read told the states that the run stands for only
// that one of several is.
func (s *State) DecayedAt() []int64 {
	if s.dev == nil || s.dev.sp.decay == nil {
		return nil
	}
	return s.dev.decay.suspects(s.dev.sector)
}

// Note labels the run, for the histogram of the report; the last label counts.
func (s *State) Note(label string) { s.label = label }

// Check opens the image, judges it, and returns nil if it is what it may be after a crash at
// that point. It must be deterministic: the same answers from the device give the same calls.
// It must not keep the device. A panic in it is a violation too.
type Check func(*State) error

// Report is what an exploration found.
type Report struct {
	Hash    uint64 // of the trace
	Options Options
	Points  []*PointReport // those explored, in order
	Skipped int            // points that Options.Points left out, or that were after a stop

	Leaves     int
	States     *big.Int // legal states of the points explored
	Covered    *big.Int // states that the leaves stand for
	Violations int      // leaves with a violation
	Labels     []LabelCount
	Nested     NestedReport
}

// Complete reports whether every legal state of the points explored was covered (and, with
// Options.Nested, of the crashes inside).
func (r *Report) Complete() bool {
	for _, p := range r.Points {
		if !p.Complete() {
			return false
		}
	}
	return true
}

// PointReport is what was found at one crash point.
type PointReport struct {
	Point *Point

	States  *big.Int // legal, counted from the trace
	Covered *big.Int // the sum over the leaves; the certificate is that it equals States
	Leaves  int
	Limit   string // why something is not covered, "" if nothing stopped the exploration

	Labels    []LabelCount // in order of first appearance
	Violating int          // leaves with a violation, nested ones included
	Kept      []*Violation // the first of them
	Nested    NestedReport
}

// Complete reports whether the certificate holds: every legal state belongs to exactly one leaf.
func (p *PointReport) Complete() bool {
	return p.Limit == "" && p.Covered.Cmp(p.States) == 0 && p.Nested.Incomplete == 0
}

// LabelCount is how many runs ended with a label, and the states for which they stand.
type LabelCount struct {
	Label  string
	Leaves int
	States *big.Int
}

// NestedReport is about crashes inside the check's own writes.
type NestedReport struct {
	Points     int // crash points inside runs, each once for all runs that are the same up to it
	Distinct   int // of these, explored; the others were seen before at the same outer point
	Leaves     int
	Incomplete int // points whose certificate does not hold
	Deepest    int // the greatest depth explored
}

func (n *NestedReport) add(o *NestedReport) {
	n.Points += o.Points
	n.Distinct += o.Distinct
	n.Leaves += o.Leaves
	n.Incomplete += o.Incomplete
	n.Deepest = max(n.Deepest, o.Deepest)
}

// Violation is a leaf whose check returned an error.
type Violation struct {
	ID     string   // for Rebuild and Replay
	Err    error    // of the check
	Label  string   // its last Note
	States *big.Int // states in this leaf
	Depth  int      // crashes inside the check before it

	// Missing and Bad describe the state that the ID names, one of the leaf's: the writes of
	// the workload that are not there in full, and the bad sectors.
	Missing []MissingWrite
	Bad     []disk.Extent
	Decayed []disk.Extent // sectors that went bad without having been in flight
}

// MissingWrite is a write in flight of which something is not there.
type MissingWrite struct {
	Write
	Sectors int // of the write
	Lost    int // hold something older than it
	Bad     int // are bad
	Depth   int // 0: a write of the workload, else of the check's run before that crash inside it
}

func (m MissingWrite) String() string {
	what := m.Write.String()
	if m.Depth > 0 {
		what = "recovery's " + what
	}
	switch {
	case m.Lost == m.Sectors:
		return what + ": absent"
	case m.Bad == m.Sectors:
		return what + ": bad"
	}
	var parts []string
	if m.Lost > 0 {
		parts = append(parts, fmt.Sprintf("%d absent", m.Lost))
	}
	if m.Bad > 0 {
		parts = append(parts, fmt.Sprintf("%d bad", m.Bad))
	}
	return fmt.Sprintf("%s: %s of %d sectors", what, strings.Join(parts, ", "), m.Sectors)
}
