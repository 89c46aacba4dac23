package main

import (
	"errors"
	"strconv"

	"github.com/spf13/pflag"

	"holdfast/crash"
)

// modelFlags say what a crash, and the disk after it, may do.
type modelFlags struct {
	noBad, atomic, prefix bool
	decay                 int
}

// depthFlag is a pflag.Value: a depth of crashes inside recovery, or "fix".
type depthFlag int

func (d *depthFlag) String() string {
	if *d == crash.Fixpoint {
		return "fix"
	}
	return strconv.Itoa(int(*d))
}

func (d *depthFlag) Type() string { return "N|fix" }

func (d *depthFlag) Set(s string) error {
	if s == "fix" {
		*d = crash.Fixpoint
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n == crash.Fixpoint {
		return errors.New("want fix or a number that is not negative")
	}
	*d = depthFlag(n)
	return nil
}

func (m *modelFlags) bind(f *pflag.FlagSet) {
	f.BoolVar(&m.noBad, "no-bad", false, "interrupted sectors are old or new, never unreadable")
	f.BoolVar(&m.atomic, "atomic", false, "writes are present or absent as wholes: no tears, no bad sectors")
	f.BoolVar(&m.prefix, "prefix", false, "writes arrive whole and in order, as a replayed log of writes has them: for comparison, it misses much")
	f.IntVar(&m.decay, "decay", 0, "so many sectors of the image, wherever they are, may have gone bad at the crash as well (0 to 2)")
}

// apply sets what the flags say in the options of an exploration.
func (m *modelFlags) apply(o *crash.Options) error {
	o.Bad, o.Decay = !m.noBad, m.decay
	switch {
	case m.atomic && m.prefix:
		return usage("--atomic and --prefix are two models: give one")
	case m.atomic:
		o.Model, o.Bad = crash.Atomic, false
	case m.prefix:
		o.Model, o.Bad = crash.Prefix, false
	}
	return nil
}
