package disk

import (
	"errors"
	"fmt"
)

// ErrUnaligned refuses a write that is not whole sectors: our rule is to write nothing else, so
// that a torn write needs no special case.
var ErrUnaligned = errors.New("write is not whole sectors")

// Extent is a range of bytes of a device.
type Extent struct {
	Off int64 // first byte
	Len int64 // length in bytes, positive
}

// End is the offset of the first byte after e.
func (e Extent) End() int64 { return e.Off + e.Len }

// inRange refuses n bytes at off of a device of the given size with ErrRange. It cannot
// overflow.
func inRange(n int, off, size int64) error {
	if off < 0 || off > size || int64(n) > size-off {
		return rangeError(n, off, size)
	}
	return nil
}

func rangeError(n int, off, size int64) error {
	return fmt.Errorf("offset %d, length %d, device of %d bytes: %w", off, n, size, ErrRange)
}

// wholeSectors refuses n bytes at off with ErrUnaligned unless they are whole sectors.
func wholeSectors(n int, off, sector int64) error {
	if off%sector != 0 || int64(n)%sector != 0 {
		return fmt.Errorf("offset %d, length %d, sectors of %d bytes: %w", off, n, sector, ErrUnaligned)
	}
	return nil
}

// mustSector panics on a sector size that no caller of ours may pass.
func mustSector(size int) int64 {
	if size <= 0 {
		panic(fmt.Sprintf("disk: sector size %d", size))
	}
	return int64(size)
}

// passedOver reports whether err makes a checked read go on to the next place.
func passedOver(err error) bool {
	return errors.Is(err, ErrChecksum) || errors.Is(err, ErrBadSector) || errors.Is(err, ErrSoft)
}

// isBad reports whether err says that content could not be read at all.
func isBad(err error) bool { return errors.Is(err, ErrBadSector) || errors.Is(err, ErrSoft) }
