package volume

import "holdfast/layout"

// groupSet is a set of groups: one bit each, up to the last that was ever put into it.
type groupSet []byte

func (s *groupSet) set(group uint64, on bool) {
	for on && group>>3 >= uint64(len(*s)) {
		*s = append(*s, 0)
	}
	if group>>3 < uint64(len(*s)) {
		layout.SetBit(*s, group, on)
	}
}

// next is the first step from i on that leads to a group outside the set, where step i of a round
// through n groups is group (start+i) mod n, and start is below n; max(i, n) if there is none.
func (s groupSet) next(start, i, n uint64) uint64 {
	for i < n {
		from, end := start+i, n // to the last group, and then from the first
		if from >= n {
			from, end = from-n, start
		}
		known := min(end, 8*uint64(len(s)))
		if from >= known {
			return i
		}
		at, found := firstFree(s, nil, from, known)
		if !found {
			at = known
		}
		i += at - from
		if at < end {
			return i
		}
	}
	return i
}
