package workload

import (
	"fmt"
	"slices"
	"strings"
)

// Class says which part of the promise a crash state breaks. It is an error, for errors.Is on a
// [Verdict] and on what Judge returns.
type Class uint8

// The classes, in the order in which a state is checked. Judge finds those from ErrUnreadable
// to ErrResurrection; the others are for who opens the volume, runs fsck on it and uses it.
const (
	ErrOpen         Class = iota + 1 // recovery or open refused the image
	ErrUnreadable                    // the tree could not be walked to its end
	ErrData                          // the names are right, and a file has bytes that it never had
	ErrAtomicity                     // the tree is no prefix of the operations
	ErrDurability                    // it is a prefix, but shorter than what was synced
	ErrResurrection                  // it is no prefix, for what a synced operation removed is back
	ErrInvariant                     // fsck found a breach
	ErrIdempotence                   // opening the image again gives something else
	ErrUnusable                      // new operations fail, or do not last
	ErrLost                          // without a journal: what the operation in flight leaves alone is gone
	ErrUnnoticed                     // something is lost, and it is not said, or not where
	ErrPanic                         // the program under test fell over
	classes
)

var classNames = [classes]struct{ name, meaning string }{
	ErrOpen:         {"cannot open", "recovery refused the image"},
	ErrUnreadable:   {"unreadable", "the tree could not be read to its end"},
	ErrData:         {"wrong data served", "a file has bytes that it never had"},
	ErrAtomicity:    {"atomicity", "the tree is no prefix of the operations"},
	ErrDurability:   {"durability", "the tree is a prefix of the operations, but shorter than what was synced"},
	ErrResurrection: {"resurrection", "what a synced operation had removed is back"},
	ErrInvariant:    {"invariant broken", "fsck found a breach"},
	ErrIdempotence:  {"recovery not idempotent", "opening the image a second time gives something else"},
	ErrUnusable:     {"not usable afterwards", "new operations fail or do not last"},
	ErrLost:         {"lost", "what the operation in flight should have left alone is gone"},
	ErrUnnoticed:    {"damage not noticed", "something is lost, and it is not said what"},
	ErrPanic:        {"panic", "the program fell over"},
}

// Classes lists all classes.
func Classes() []Class {
	list := make([]Class, 0, classes)
	for c := ErrOpen; c < classes; c++ {
		list = append(list, c)
	}
	return list
}

// String is the name of the class in a few words.
func (c Class) String() string {
	if c == 0 || c >= classes {
		return fmt.Sprintf("Class(%d)", uint8(c))
	}
	return classNames[c].name
}

// Meaning says in a sentence what is wrong.
func (c Class) Meaning() string {
	if c == 0 || c >= classes {
		return c.String()
	}
	return classNames[c].meaning
}

func (c Class) Error() string { return c.String() + ": " + c.Meaning() }

// Verdict is a breach of the promise: what the tree is, and what it should have been.
type Verdict struct {
	Class    Class
	Progress Progress // allowed are the trees after Synced to Started operations
	During   string   // the operation that was running and where it stands, "" between two
	Is       int      // ErrDurability: the tree is that after so many operations; else -1
	Nearest  int      // the allowed tree nearest to it is that after so many operations; -1: unknown
	Diff     []Difference
	Findings []string // ErrInvariant: which, where, and what it costs
	Cause    error    // what the volume said
}

// maxDiff is how many lines of differences or findings Error shows.
const maxDiff = 20

// Allowed says which trees would have been right.
func (e *Verdict) Allowed() string {
	p := e.Progress
	if p.Synced == p.Started {
		return fmt.Sprintf("the tree after operation %d", p.Synced)
	}
	return fmt.Sprintf("the trees after operations %d to %d (%d synced, %d finished, %d started)", p.Synced, p.Started, p.Synced, p.Finished, p.Started)
}

// Lines says what was found: findings, or the difference to the nearest allowed tree, of which
// a line with "-" is missing and one with "+" is too much. If they are more than most, and
// that is not 0, the last tells how many more.
func (e *Verdict) Lines(most int) []string {
	lines := slices.Clip(e.Findings)
	var times []string // the least telling, last
	for _, d := range e.Diff {
		if d.Field == "mtime" {
			times = append(times, d.Lines()...)
		} else {
			lines = append(lines, d.Lines()...)
		}
	}
	lines = append(lines, times...)
	if n := len(lines) - most; n > 0 && most > 0 {
		lines = append(lines[:most-1:most-1], fmt.Sprintf("and %d lines more", n+1))
	}
	return lines
}

// Error is one line for the class and its cause, then one each for the operation, for what was
// allowed, and for what was found.
func (e *Verdict) Error() string {
	var b strings.Builder
	b.WriteString(e.Class.Error())
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	if e.Is >= 0 {
		fmt.Fprintf(&b, ": it is the tree after operation %d", e.Is)
	}
	if e.During != "" {
		fmt.Fprintf(&b, "\nduring %s", e.During)
	}
	fmt.Fprintf(&b, "\nallowed: %s", e.Allowed())
	if len(e.Diff) > 0 {
		fmt.Fprintf(&b, "\nnearest: the tree after operation %d; the image has + and lacks -", e.Nearest)
	}
	for _, line := range e.Lines(maxDiff) {
		fmt.Fprintf(&b, "\n  %s", line)
	}
	return b.String()
}

// Unwrap gives the class and the cause.
func (e *Verdict) Unwrap() []error {
	if e.Cause != nil {
		return []error{e.Class, e.Cause}
	}
	return []error{e.Class}
}
