// Package fsck is the independent judge of an image: it reads a recovered volume (one whose
// journal has been replayed, by the caller, into an overlay if need be) and says which of the
// invariants I1 to I10 (docs/DESIGN.md section 3) it breaks, where, and what that would cost.
//
// It promises that every structure is read by its checksum before it is believed, that no
// content of an image makes it panic, loop or take memory beyond what the initialised part of
// the volume justifies, and that it shares no code with journal or volume, so that a bug there
// cannot approve itself. It does not repair.
//
// It imports disk and layout. Start with check.go.
package fsck
