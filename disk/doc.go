// Package disk gives blocks and barriers: a [Device] is bytes, a Flush and a checked read, and
// everything else here is a device or a wrapper around one.
//
// # What is here
//
//   - [File]: a sparse host file or a block device, locked against a second opener.
//   - [Memory]: a byte slice; the fastest device, used by tests and by the explorer.
//   - [Overlay]: copy-on-write over a device that is never written.
//   - [Recorder] and [Trace]: what a device was asked to do, in order, and its file format.
//   - [Counter]: how much a device was asked to do.
//   - [Faulty]: the fault model of Lampson and Sturgis, by seed and by script.
//   - [Stable]: two replicas as one device; [Stripe]: a window of a device.
//
// # Promises
//
// Offsets, lengths and sizes are bytes; sectors are counted only in fault scripts and by
// [Faulty]. Every device is safe for concurrent use. A read or write outside Size fails with
// an error that matches [ErrRange] and has no effect. What was written is read back, flushed
// or not, until a crash. Wrappers hand a checked read on as one checked read wherever the
// content is not theirs, because below them may lie a device for which it is one choice.
//
// # What is not promised
//
// Nothing about writes in the time between two flushes: they reach stable storage in any
// order, or not at all, or torn at sector boundaries. A failed write may have left any mix of
// old, new and bad sectors where it went. No device orders two overlapping writes that run at
// the same time.
//
// # The fault model and its script
//
// A [Faulty] device follows Lampson and Sturgis ("Crash Recovery in a Distributed Data Storage
// System", 1979): a sector is (good | bad, data). Reading a bad sector fails with
// [ErrBadSector]; writing one makes it good; revival makes it good with the data that it held
// before. Faults come from rates and a seed, and from a script, one rule a line ([ParseFaults]);
// '#' starts a comment, words are separated by blanks:
//
//	rule    = [ "after" ] event ":" action { "and" action }
//	        | state
//	event   = ( "write" | "read" ) [ which ] [ "at" sectors ]
//	        | "flush" [ which ]
//	which   = N | N "-" M | N "+" | "*"
//	sectors = S | S "-" T
//
// The number says which of the events that match the rest (from 1): "write 3 at 10-20" is the
// third write that touches one of the sectors 10 to 20, "write 3-5" the third to the fifth
// write, "write 3+" all from the third on; no number, or "*", is all of them. Every rule counts
// for itself, attempts that fail included.
//
// Actions on a write. Where sectors are named, null and bad harm only those of the write's
// sectors that are in the range, and the others are written:
//
//	null              the old content stays; the caller is not told (a read finds it)
//	bad               the sectors become bad; the caller is not told
//	tear F,F,...      the fate of each sector of the write: new, old or bad; the last one holds
//	                  for the rest
//	error             the caller gets ErrInjected; nothing is written, unless tear is given too
//	misdirect +N|-N   disaster: it lands N sectors further, or is lost if that is no place
//	phantom           disaster: it reads back until the next flush, and then never happened
//	crash [MODE]      the power fails while the write is in flight
//
// Actions on a read:
//
//	soft [N]          this read and the N-1 matching ones after it fail with ErrSoft (1 if no N)
//	bad               the sectors go bad (those in the range, where one is given)
//	error             this read fails with ErrInjected
//	crash [MODE]
//
// Actions on a flush:
//
//	lie               disaster: acknowledged, and nothing became durable
//	error             the caller gets ErrInjected, and nothing became durable
//	crash [MODE]      the power fails before the flush did anything
//
// Changes of state. They stand alone (then they happen before the first event) or follow any
// event with "after", which is the only kind of action that "after" takes:
//
//	decay S [in A-B]  sector S goes bad, unless another sector of the decay set A to B did since
//	                  the last scrub
//	revive S          sector S is good again, with the data it held
//	scrub             every decay set may lose one sector again
//	crash [MODE]      the power fails after the event has returned to its caller
//
// MODE says what the crash does to the writes since the last flush: "keep" all of them, "lose"
// all of them, or, without a mode, by the seed: each is independently present, absent, or torn
// into new, old and bad sectors. After a crash every call fails with [ErrCrashed] until Reopen.
//
// Examples:
//
//	write 3 at 10-20: bad
//	read 1 at 5: soft 2
//	flush 2: lie
//	write 4: misdirect +8
//	write 2: tear new,old,bad and error
//	after write 7: crash
//	decay 40 in 32-63
//
// # Imports and reading order
//
// The package imports nothing of ours. Start with device.go, then memory.go (the smallest
// device), overlay.go (the one that the explorer and fsck stand on) and faulty.go.
package disk
