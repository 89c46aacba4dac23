package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"

	"holdfast/crash"
)

// saved is what of an exploration is done: its good points, whole ones only, so that going on
// from a file gives the report that one run would have given.
type saved struct {
	Holdfast string       `json:"holdfast"` // savedKind
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

const savedKind = "exploration 1"

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
	last time.Time
	err  error
}

// note takes a point in; calls come one at a time.
func (s *saver) note(p *crash.PointReport) {
	if !p.Complete() || p.Violating > 0 {
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

// resume reads a saved exploration, for crash.Options.Known.
func (x *session) resume(name string, o *crash.Options) (func(*crash.Point) *crash.PointReport, error) {
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
	return func(at *crash.Point) *crash.PointReport {
		p, ok := points[at.Index]
		if !ok {
			return nil
		}
		return &crash.PointReport{Point: at, States: p.States, Covered: p.States, Leaves: p.Leaves, Labels: p.Labels, Nested: p.Nested}
	}, nil
}

// keep makes an exploration save its points to one file and take those of another ("" for none).
// The function that it returns is called behind it.
func (x *session) keep(o *crash.Options, save, from string) (done func() error, err error) {
	if from != "" {
		if o.Known, err = x.resume(from, o); err != nil {
			return nil, err
		}
	}
	if save == "" {
		return func() error { return nil }, nil
	}
	s := &saver{name: save, all: saved{Holdfast: savedKind, Trace: fmt.Sprintf("%016x", x.trace.Hash()), Asked: x.asked(o)}}
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
