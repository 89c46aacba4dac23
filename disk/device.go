package disk

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/crc32"
)

// Device is a run of bytes with a barrier. Its unit is the sector: a write of several
// sectors may be torn between them, a sector itself is good or bad.
//
// ReadAt, WriteAt and ReadChecked never read or write beyond Size; an attempt is ErrRange.
// Writes reach stable storage in any order, or not at all, until a Flush has returned nil.
// A Device is safe for concurrent use.
type Device interface {
	io.ReaderAt
	io.WriterAt

	// Flush is the barrier: when it returns nil, every write that had returned
	// before it was called is on stable storage.
	Flush() error

	// Size is the length in bytes.
	Size() int64

	// ReadChecked fills p from the first of the places (byte offsets) whose content
	// passes c and returns the index of that place. Each place holds the same
	// structure: a plain structure has one, a replicated one several. A place whose
	// read fails, or whose content does not pass, is passed over; when none is left
	// the error is ErrChecksum (content was read and did not pass) or ErrBadSector
	// (no place could be read), and p is unspecified.
	//
	// It is one call, not a read and a comparison, because it is where replicas choose
	// a verifying twin, where soft errors are retried, and where the explorer of
	// crash states branches on "passes" and "fails" rather than on every mix of sectors.
	ReadChecked(p []byte, c Check, places ...int64) (int, error)
}

// Check is what content must satisfy: Accept first (it is the cheap test), then the CRC.
type Check struct {
	Seed uint32 // CRC-32C state the computation starts from
	Want uint32 // the CRC-32C that the whole of the content must have
	// Accept, if not nil, refuses content for what it says (another epoch, an older
	// version). It must be a pure function of its argument and must not keep it.
	Accept func(p []byte) bool
	// Version, if not nil, tells older content that passes from newer: of two replicas that both
	// pass and differ, the larger version is served and the other replica rewritten. It is for
	// structures whose checksum passes for every version of them; where Want says exactly what is
	// wanted there is nothing to tell. It must be a pure function of its argument and must not
	// keep it. A device without replicas does not ask.
	Version func(p []byte) uint64
	// Whole wants content that one replica holds all of: none is put together from sound sectors
	// of both. It is for content that a crash may have torn on each, where there is much to try
	// and nothing to find.
	Whole bool
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Pass reports whether p satisfies c.
func (c *Check) Pass(p []byte) bool {
	if c.Accept != nil && !c.Accept(p) {
		return false
	}
	return crc32.Update(c.Seed, castagnoli, p) == c.Want
}

// Errors of any device.
var (
	ErrBadSector = errors.New("bad sector")                // the medium cannot give the data
	ErrSoft      = errors.New("soft read error")           // goes away on retry
	ErrChecksum  = errors.New("checksum mismatch")         // no place passed a Check
	ErrRange     = errors.New("beyond the device")         // offset or length outside Size
	ErrReadOnly  = errors.New("device is read-only")       // write to a read-only device
	ErrInUse     = errors.New("in use by another process") // the lock is held elsewhere
)

// readRetries bounds how often a soft read error is tried again.
const readRetries = 4

// ReadFull reads len(p) bytes at off, trying soft errors again a bounded number of times.
func ReadFull(d io.ReaderAt, p []byte, off int64) error {
	var err error
	for range readRetries {
		var n int
		n, err = d.ReadAt(p, off)
		if n == len(p) {
			return nil
		}
		if err == nil || errors.Is(err, io.EOF) {
			return fmt.Errorf("offset %d, length %d: %w", off, len(p), ErrRange)
		}
		if !errors.Is(err, ErrSoft) {
			return err
		}
	}
	return err
}

// CheckedRead is ReadChecked for a device that has only ReadAt: each place in turn.
func CheckedRead(d io.ReaderAt, p []byte, c Check, places ...int64) (int, error) {
	result := ErrBadSector
	for i, off := range places {
		err := ReadFull(d, p, off)
		switch {
		case err == nil && c.Pass(p):
			return i, nil
		case err == nil:
			result = ErrChecksum
		case errors.Is(err, ErrRange):
			return 0, err
		case !errors.Is(err, ErrBadSector) && !errors.Is(err, ErrSoft):
			return 0, err
		}
	}
	return 0, result
}
