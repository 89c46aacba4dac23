package workload

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"holdfast/volume"
)

// Second is a script that runs on what a crash left of a run, after recovery. It is safe for
// concurrent use.
type Second struct {
	first  *Run
	script *Script

	mu     sync.Mutex
	states map[int][]*State // by the operations of the first run that the crash left
}

// NewSecond makes s, which has no setup, the second script of a run that has ended. Whether an
// operation succeeds depends on the crash, so any result that the model has is right.
func NewSecond(first *Run, s *Script) (*Second, error) {
	if len(s.Setup) > 0 {
		return nil, fmt.Errorf("%s: a second script has no setup", s.Name)
	}
	again := *s
	again.Image = first.Script.Image
	again.Ops = slices.Clone(s.Ops)
	for i := range again.Ops {
		again.Ops[i].Any = true
	}
	return &Second{first: first, script: &again, states: map[int][]*State{}}, nil
}

// Script is the script as it runs.
func (s *Second) Script() *Script { return s.script }

// States are the trees after k operations of the first run and none, one, two ... of this one.
func (s *Second) States(k int) []*State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if list, ok := s.states[k]; ok {
		return list
	}
	st := *s.first.States[k] // what was held open is not any more
	st.handles = pmap[string, uint64]{}
	list := []*State{&st}
	for i, op := range s.script.Ops {
		next, _ := list[i].Apply(op, playTime(len(s.first.Script.Ops)+i+1))
		list = append(list, next)
	}
	s.states[k] = list
	return list
}

// Run is one run of the script, for Options and Play.
func (s *Second) Run() *Run {
	r := NewRun(s.script)
	r.before = len(s.first.Script.Ops)
	return r
}

// Play runs the script on a volume that holds the tree after k operations of the first run, and
// was opened with the options of r, and closes it.
func (s *Second) Play(r *Run, v *volume.Volume, k int, mark func(Mark)) error {
	r.States = s.States(k)[:1:1]
	if err := r.Play(v, mark); err != nil {
		return err
	}
	if r.Full > 0 {
		return errors.New("the second script fills the image: what its operations leave is not known")
	}
	if err := v.Close(); err != nil {
		return err
	}
	r.Closed(mark)
	return nil
}
