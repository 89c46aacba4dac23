package crash

import (
	"math/big"

	"holdfast/disk"
)

// Count is the other half of the certificate: the number of legal states at each crash point,
// from the events alone. It shares no code with the explorer (but for the check that the trace
// is one), and it should stay that way.
//
// A sector written k times in an epoch has k+1 versions, one more if it can be bad; with atomic
// writes, each write doubles the states; with prefixes, each adds one. With Options.Decay = d
// all this is multiplied by the number of sets of at most d of the sectors of the image. The error matches [ErrTrace] or [ErrOptions].
func Count(t *disk.Trace, opt Options) ([]*big.Int, error) {
	if err := opt.validate(); err != nil {
		return nil, err
	}
	if err := validate(t); err != nil {
		return nil, err
	}
	var list []*big.Int
	sectors := int64(len(t.Base) / t.SectorSize)
	decayed := new(big.Int)
	for k := range int64(opt.Decay) + 1 {
		decayed.Add(decayed, new(big.Int).Binomial(sectors, k))
	}
	start := 0
	for i := 0; i <= len(t.Events); i++ {
		if i < len(t.Events) && t.Events[i].Kind != disk.EventFlush {
			continue
		}
		n := countStates(t.Events[start:i], t.SectorSize, opt.Model, opt.Bad)
		list = append(list, n.Mul(n, decayed))
		start = i + 1
	}
	return list, nil
}

// countStates is the number of states that the writes of one epoch leave.
func countStates(events []disk.Event, sector int, model Model, bad bool) *big.Int {
	times := map[int64]int64{} // by sector: how often written
	states := big.NewInt(1)
	for _, e := range events {
		if e.Kind != disk.EventWrite {
			continue
		}
		switch model {
		case Atomic:
			states.Lsh(states, 1)
			continue
		case Prefix:
			states.Add(states, big.NewInt(1))
			continue
		}
		first := e.Off / int64(sector)
		last := (e.Off + int64(len(e.Data)) - 1) / int64(sector)
		for s := first; s <= last; s++ {
			times[s]++
		}
	}
	for _, k := range times {
		versions := k + 1
		if bad {
			versions++
		}
		states.Mul(states, big.NewInt(versions))
	}
	return states
}
