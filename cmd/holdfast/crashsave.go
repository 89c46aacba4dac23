package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"slices"
	"time"

	"holdfast/crash"
)

// saved is what of an exploration is done: its good points, whole ones only, so that going on
// from a file gives the report that one run would have given.
type saved struct {
	Holdfast string       `json:"holdfast"` // savedKind
	Program  string       `json:"program"`  // programID of the one that explored: recovery and checks are its own
	Trace    string       `json:"trace"`
	Asked    string       `json:"asked"` // the options that change what is explored
	Points   []savedPoint `json:"points"`
}

type savedPoint struct {
	Index  int                `json:"index"`
	States *big.Int           `json:"states"`
	Leaves int                `json:"leaves"`
	Labels []crash.LabelCount `json:"labels"`
	Nested crash.NestedReport `json:"nested"`
}

const savedKind = "exploration 2"

// asked tells explorations apart whose points are not each other's.
func (x *session) asked(o *crash.Options) string {
	s := fmt.Sprintf("%v bad=%v decay=%d nested=%d soft=%v", o.Model, o.Bad, o.Decay, o.Nested, x.soft)
	if x.then != nil {
		for _, op := range x.then.Script().Ops {
			s += "; " + op.String()
		}
	}
	return s
}

// saver keeps a file with the points that are done. It writes it at most once a second.
type saver struct {
	name string
	all  saved
	have map[int]bool // points that were resumed: they are in all from the start
	last time.Time
	err  error
}

// note takes a point in; calls come one at a time.
func (s *saver) note(p *crash.PointReport) {
	if !p.Complete() || p.Violating > 0 || s.have[p.Point.Index] {
		return
	}
	s.all.Points = append(s.all.Points, savedPoint{p.Point.Index, p.States, p.Leaves, p.Labels, p.Nested})
	if time.Since(s.last) > time.Second {
		s.write()
	}
}

func (s *saver) write() {
	s.last = time.Now()
	err := writeWhole(s.name, func(w io.Writer) error { return json.NewEncoder(w).Encode(&s.all) })
	if s.err == nil {
		s.err = err
	}
}

// resume reads the points of a saved exploration.
func (x *session) resume(name string, o *crash.Options, program string) (map[int]savedPoint, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var s saved
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil || s.Holdfast != savedKind {
		return nil, fmt.Errorf("%s: not a saved exploration of this version", name)
	}
	if want := fmt.Sprintf("%016x", x.trace.Hash()); s.Trace != want {
		return nil, fmt.Errorf("%s: it is of trace %s, this is %s", name, s.Trace, want)
	}
	if s.Program != program {
		return nil, fmt.Errorf("%s: it is of another build of the program, whose recovery and checks may be others", name)
	}
	if want := x.asked(o); s.Asked != want {
		return nil, fmt.Errorf("%s: it was saved with other options: %s, now %s", name, s.Asked, want)
	}
	points := map[int]savedPoint{}
	for _, p := range s.Points {
		sum := new(big.Int)
		for _, l := range p.Labels {
			if l.States == nil {
				return nil, fmt.Errorf("%s: point %d: a label without a count", name, p.Index)
			}
			sum.Add(sum, l.States)
		}
		if _, twice := points[p.Index]; twice || p.States == nil || sum.Cmp(p.States) != 0 {
			return nil, fmt.Errorf("%s: point %d: its counts do not add up", name, p.Index)
		}
		points[p.Index] = p
	}
	return points, nil
}

// known gives the reports of saved points, for crash.Options.Known.
func known(points map[int]savedPoint) func(*crash.Point) *crash.PointReport {
	return func(at *crash.Point) *crash.PointReport {
		p, ok := points[at.Index]
		if !ok {
			return nil
		}
		return &crash.PointReport{Point: at, States: p.States, Covered: p.States, Leaves: p.Leaves, Labels: p.Labels, Nested: p.Nested}
	}
}

// keep makes an exploration save its points to one file and take those of another ("" for none).
// The function that it returns is called behind it.
func (x *session) keep(o *crash.Options, save, from string) (done func() error, err error) {
	if save == "" && from == "" {
		return func() error { return nil }, nil
	}
	program, err := programID()
	if err != nil {
		return nil, err
	}
	var points map[int]savedPoint
	if from != "" {
		if points, err = x.resume(from, o, program); err != nil {
			return nil, err
		}
		o.Known = known(points)
	}
	if save == "" {
		return func() error { return nil }, nil
	}
	s := &saver{name: save, have: map[int]bool{}, all: saved{
		Holdfast: savedKind, Program: program, Trace: fmt.Sprintf("%016x", x.trace.Hash()), Asked: x.asked(o),
	}}
	for _, i := range slices.Sorted(maps.Keys(points)) { // it may be the same file, and this run may not get far
		s.have[i], s.all.Points = true, append(s.all.Points, points[i])
	}
	if s.write(); s.err != nil { // better now than after hours
		return nil, s.err
	}
	show := o.Progress
	o.Progress = func(p *crash.PointReport) {
		if s.note(p); show != nil {
			show(p)
		}
	}
	return func() error {
		s.write()
		return s.err
	}, nil
}
