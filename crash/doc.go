// Package crash explores every legal crash state of a recorded [disk.Trace], and proves that it
// did.
//
// # Model
//
// A trace is an image and the writes, flushes and marks that followed. At a crash point (just
// before a flush, or at the end) everything before the last flush is on the disk; with
// [Sectors] each sector written since then holds, independently, any of its versions, or, with
// Options.Bad, is bad; with [Atomic] each write since then is there or not, whole; with [Prefix]
// they are there up to some one, which is for comparison. Between two
// flushes the legal states only grow, so those at the crash points contain all others. With
// Options.Decay some sectors of the whole image may have gone bad at the crash as well.
//
// # How every state is covered
//
// The check runs on a device on which undecided sectors have no value yet. A plain read of one
// is a choice between its distinct contents; a checked read is one choice between the contents
// that pass, and "none passes". What is learned is kept as constraints on the versions, exactly:
// sets of assignments as unions of disjoint boxes. A run of the check, a leaf, stands for all
// states that give the same answers; the check is run again, from the start, until no choice is
// left (as in Jaaru, ASPLOS 2021, for persistent memory). A sector that is never read costs
// nothing.
//
// The certificate: the states of the leaves must sum up to the legal states, which [Count] takes
// from the trace alone.
//
// # Promises
//
// Every legal state belongs to exactly one leaf, and the check does on it what it did in the
// leaf's run, if the check is deterministic and does not tell a checksum mismatch from a bad
// sector, or which of several places passed; determinism is checked as far as reads go. Each
// violation has an ID, from which [Rebuild] makes the same bytes in any process, and which it
// refuses for another trace.
//
// # What is not promised
//
// That the model is right, or that the check notices what is wrong. An exploration may take
// forever: bound it with Options.MaxLeaves or Options.Done, and the report says what was not
// covered. With Options.Nested, crash points inside the check are skipped if the same space of
// states was explored before at the same outer crash point.
//
// # Imports and reading order
//
// The package imports package disk only. Start with crash.go (the types), then space.go (what
// the states are), lazy.go (the device), search.go (the outcomes of a read), boxes.go (sets of
// states), explore.go. decay.go has the sectors that went bad, cuts.go, nest.go and
// digest.go the crashes inside the check. count.go stands apart on purpose.
package crash
