package main

import (
	"github.com/spf13/pflag"

	"holdfast/crash"
)

// modelFlags say what a crash, and the disk after it, may do.
type modelFlags struct {
	noBad, atomic, prefix bool
	decay                 int
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
