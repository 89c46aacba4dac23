package layout

import (
	"errors"
	"fmt"
)

// ErrCorrupt is what every CorruptError matches through errors.Is.
var ErrCorrupt = errors.New("corrupt")

// Errors of a superblock that is intact but not for this program.
var (
	ErrNotHoldfast = errors.New("not a holdfast image")
	ErrVersion     = errors.New("format version not supported")
	ErrFeature     = errors.New("unknown incompatible feature")
)

// CorruptError says which structure is damaged, where, and what was found in place of what.
type CorruptError struct {
	What   string // structure, as "inode 12" or "bitmap of group 3"
	Block  uint64 // block number
	Offset int    // byte offset in the block
	Found  string
	Want   string
}

func (e *CorruptError) Error() string {
	s := fmt.Sprintf("%s (block %d, offset %d): ", e.What, e.Block, e.Offset)
	if e.Want == "" {
		return s + e.Found
	}
	return s + e.Found + ", want " + e.Want
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Corrupt builds a CorruptError; found and want are formatted with %v, want may be nil.
func Corrupt(what string, block uint64, off int, found, want any) error {
	e := &CorruptError{What: what, Block: block, Offset: off, Found: fmt.Sprint(found)}
	if want != nil {
		e.Want = fmt.Sprint(want)
	}
	return e
}
