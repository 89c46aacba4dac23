package workload

import (
	"fmt"
	"slices"
	"sort"
	"sync"
)

// Bounded workloads are all short sequences of operations over a few names, with every placement
// of persistence points: the bounded exhaustive testing of CrashMonkey and ACE ("Finding
// Crash-Consistency Bugs with Bounded Black-Box Crash Testing", OSDI 2018).
//
// A workload is a sequence of n core operations (the table boundedKinds) over the files foo and
// bar and the directories A and B, in the root and in each other; each core operation is followed by one
// of: nothing, fsync, fdatasync, sync. What the first operation on a name depends on is made by
// the setup, and nothing else is: the setup is the smallest under which all succeed.
//
// Not in the enumeration: sequences of which an operation cannot succeed under any setup, and
// all but one of those that are mirror images of each other (foo for bar and bar for foo, A for B
// and B for A, or both): the one whose sequence of operation numbers is the least.
//
// # Numbers
//
// Workloads are numbered from 0: by the sequence of core operations, in the order of their
// numbers in the table, the first one slowest; and for one sequence by the persistence after
// each, in the order above, the first one slowest. The numbers are those of this table: another
// version of it has others, and another Digest.
//
// # What longer workloads share
//
// The beginning of a sequence, with the same persistence points, is in the enumeration itself
// (what cannot be extended to something new by a mirror image of its beginning is not the least),
// and the run of a sequence is, up to the start of its last core operation, the run of that
// beginning, write for write, if both have the same setup: nothing in a run depends on what comes
// later. So the crash points before the last core operation need no exploring again. Only where the last
// operation needs more of the setup than the beginning did is there something new in these,
// and it is the same for all sequences with that beginning and that setup: the first of
// them, the one with no persistence point after what it has beyond that beginning, owns them.
// [BoundedWorkload.From] says from where on a workload owns its crash points. Exploring what each
// owns, in the enumerations of 1 to n operations, explores everything once.
type Bounded struct {
	n        int
	groups   []boundedGroup
	workload uint64
	sequence uint64
}

// MaxBounded is the largest number of core operations in a bounded workload.
const MaxBounded = 3

// boundedGroup is the sequences that differ in their last core operation alone.
type boundedGroup struct {
	ops   [MaxBounded - 1]int16 // all but the last
	start uint64                // number of its first workload
	// owns[j] lists the setups for which the first sequence of the group owns the crash points from
	// core operation j+1 on.
	owns [MaxBounded - 1][]uint16
}

var boundedCache [MaxBounded + 1]struct {
	once sync.Once
	b    *Bounded
}

// NewBounded is the enumeration of workloads of n core operations, 1 to MaxBounded. It takes
// about a second for n = 3; it is made once, and safe for concurrent use.
func NewBounded(n int) (*Bounded, error) {
	if n < 1 || n > MaxBounded {
		return nil, fmt.Errorf("bounded workloads have 1 to %d core operations, not %d", MaxBounded, n)
	}
	c := &boundedCache[n]
	c.once.Do(func() { c.b = enumerate(n) })
	return c.b, nil
}

// Len is how many workloads there are.
func (b *Bounded) Len() uint64 { return b.workload }

// Sequences is how many sequences of core operations there are, without persistence points.
func (b *Bounded) Sequences() uint64 { return b.sequence }

// Operations is how many core operations there are to choose from.
func (b *Bounded) Operations() int { return len(boundedOps) }

// Digest is of the table of operations: two programs with the same one number workloads alike.
func (b *Bounded) Digest() uint64 {
	sum := uint64(hashSeed0)
	for i := range boundedOps {
		o := &boundedOps[i]
		text := fmt.Sprintf("%d %s %v %v", i, o.kind.what, o.kind.op(o.a, o.b, 1), o.kind.persist)
		for j := range len(text) {
			sum = (sum ^ uint64(text[j])) * 0x100000001b3 // FNV-1a
		}
	}
	return sum
}

// enumerate counts.
func enumerate(n int) *Bounded {
	b := &Bounded{n: n}
	var seen [MaxBounded - 1]map[uint16]bool // setups by length of the beginning
	var group func(g boundedGroup, t tree, mask, depth int, weight uint64)
	group = func(g boundedGroup, t tree, mask, depth int, weight uint64) {
		if depth == n-1 {
			g.start = b.workload
			extend(&t, mask, func(op int16, after *tree) bool {
				b.sequence++
				b.workload += weight * uint64(len(boundedOps[op].kind.persist))
				for j := range n - 1 {
					if after.setup != t.setup && !seen[j][after.setup] {
						seen[j][after.setup] = true
						g.owns[j] = append(g.owns[j], after.setup)
					}
				}
				return true
			})
			if b.workload > g.start {
				b.groups = append(b.groups, g)
			}
			return
		}
		extend(&t, mask, func(op int16, after *tree) bool {
			g.ops[depth] = op
			seen[depth] = map[uint16]bool{}
			if depth+2 < n { // shorter sequences with this beginning come first
				extend(after, symmetries(mask, op), func(_ int16, next *tree) bool {
					seen[depth][next.setup] = true
					return true
				})
			}
			group(g, *after, symmetries(mask, op), depth+1, weight*uint64(len(boundedOps[op].kind.persist)))
			return true
		})
	}
	group(boundedGroup{}, newTree(), 1<<mirrorImages-1, 0, 1)
	return b
}

// symmetries is which of the mirror images in mask leave op as it is.
func symmetries(mask int, op int16) int {
	for g := range mirrorImages {
		if boundedOps[op].mirrors[g] != op {
			mask &^= 1 << g
		}
	}
	return mask
}

// extend calls f for each operation that can follow, with the tree after it, until f says no.
// mask has the mirror images that leave all operations before as they are: only the least
// operation of those that are alike under one of them follows.
func extend(t *tree, mask int, f func(op int16, after *tree) bool) {
next:
	for i := range boundedOps {
		for g := range mirrorImages {
			if mask&(1<<g) != 0 && int(boundedOps[i].mirrors[g]) < i {
				continue next
			}
		}
		after := *t
		if boundedOps[i].can(&after) && !f(int16(i), &after) {
			return
		}
	}
}

// BoundedWorkload is one workload of the enumeration.
type BoundedWorkload struct {
	Script *Script
	// From is the recorded operation (from 1) from whose start on crash points are this
	// workload's own: those before belong to a shorter workload, or to another of this length.
	From int

	core    []int16
	persist []persistence
	setup   uint16
}

// At is workload i, less than Len.
func (b *Bounded) At(i uint64) *BoundedWorkload {
	if i >= b.workload {
		panic(fmt.Sprintf("workload %d of %d", i, b.workload))
	}
	g := &b.groups[sort.Search(len(b.groups), func(k int) bool { return b.groups[k].start > i })-1]
	t, mask, weight := newTree(), 1<<mirrorImages-1, uint64(1)
	for _, op := range g.ops[:b.n-1] {
		boundedOps[op].can(&t)
		mask = symmetries(mask, op)
		weight *= uint64(len(boundedOps[op].kind.persist))
	}
	w := &BoundedWorkload{core: slices.Clone(g.ops[:b.n-1])}
	rest := i - g.start
	fresh := map[uint16]bool{} // setups of earlier sequences of the group
	extend(&t, mask, func(op int16, after *tree) bool {
		here := weight * uint64(len(boundedOps[op].kind.persist))
		if rest >= here {
			rest -= here
			fresh[after.setup] = true
			return true
		}
		w.core, w.setup = append(w.core, op), after.setup
		return false
	})
	w.persist = make([]persistence, b.n)
	for k := b.n - 1; k >= 0; k-- {
		list := boundedOps[w.core[k]].kind.persist
		w.persist[k] = list[rest%uint64(len(list))]
		rest /= uint64(len(list))
	}
	from := b.n // the first core operation whose crash points it owns
	if w.setup != t.setup && !fresh[w.setup] {
		for j := b.n - 2; j >= 0 && w.persist[j+1] == persistNone && slices.Contains(g.owns[j], w.setup); j-- {
			from = j + 1
		}
	}
	w.Script = w.script(from)
	w.Script.Name = fmt.Sprintf("seq-%d/%d", b.n, i)
	return w
}

// boundedImage is that of bounded workloads: the least of 1 KiB blocks in which there is room for the
// log.
var boundedImage = Image{Size: 640 << 10, Block: 1024, Sector: 512}

// script writes the workload down, and sets From to where core operation from is.
func (w *BoundedWorkload) script(from int) *Script {
	s := &Script{Image: boundedImage, Setup: dependencies(w.setup)}
	t := newTree()
	for k, n := range w.core {
		if k+1 == from {
			w.From = len(s.Ops) + 1
		}
		o := &boundedOps[n]
		o.can(&t)
		s.Ops = append(s.Ops, o.kind.op(o.a, o.b, uint64(k+1)))
		s.Ops = append(s.Ops, o.persist(&t, w.persist[k])...)
	}
	return s
}

// Plain is the workload with fsync for every persistence point that is fdatasync or sync, or nil if
// it is that already (or sync is all that there is). Where both leave the same writes,
// exploring one is exploring the other.
func (w *BoundedWorkload) Plain() *BoundedWorkload {
	p := &BoundedWorkload{From: w.From, core: w.core, persist: slices.Clone(w.persist), setup: w.setup}
	for k, x := range p.persist {
		list := boundedOps[w.core[k]].kind.persist
		if len(list) > 2 && x != persistNone {
			p.persist[k] = list[1]
		}
	}
	if slices.Equal(p.persist, w.persist) {
		return nil
	}
	p.Script = p.script(0)
	p.Script.Name = w.Script.Name
	return p
}
