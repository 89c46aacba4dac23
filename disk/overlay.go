package disk

import (
	"fmt"
	"math/bits"
	"slices"
	"sync"
)

// overlayPageBytes is about how much an overlay allocates at once: big enough that a read
// looks up few pages, small enough that scattered sectors cost little.
const overlayPageBytes = 16 << 10

// Overlay is copy-on-write over a base that it only reads: writes stay in memory, reads give
// what was written and the base elsewhere. Flush is a barrier with nothing to do.
//
// A checked read of places that were never written is handed to the base as one checked read;
// places that were written are checked here; a place that is partly written is put together
// from both.
type Overlay struct {
	base   Device
	size   int64
	sector int64
	per    int64 // sectors in a page, at most 64
	page   int64 // bytes in a page

	mu    sync.RWMutex
	pages map[int64]*overlayPage // by offset / page
	free  []*overlayPage         // what Reset gave back
}

type overlayPage struct {
	mask uint64 // bit i: sector i of the page was written
	data []byte // valid where mask says so
}

// NewOverlay makes an overlay with nothing written. Its grain is sectorSize bytes: a write of
// a part of a sector first reads the rest of it from base. It panics unless sectorSize is
// positive.
func NewOverlay(base Device, sectorSize int) *Overlay {
	sector := mustSector(sectorSize)
	per := min(64, max(1, overlayPageBytes/sector))
	return &Overlay{
		base: base, size: base.Size(), sector: sector, per: per, page: per * sector,
		pages: make(map[int64]*overlayPage),
	}
}

// Size implements [Device].
func (o *Overlay) Size() int64 { return o.size }

// Flush implements [Device]; the base is not flushed, for nothing was written to it.
func (o *Overlay) Flush() error { return nil }

// Reset forgets everything that was written. Its memory is kept for the writes to come.
func (o *Overlay) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, pg := range o.pages {
		pg.mask = 0
		o.free = append(o.free, pg)
	}
	clear(o.pages)
}

// Over is Reset, after which the overlay lies over another base.
func (o *Overlay) Over(base Device) {
	o.Reset()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.base, o.size = base, base.Size()
}

// run is how far from pos, and at most to end, the bytes are alike: all in the page that is
// returned, or, with nil, all in the base.
func (o *Overlay) run(pos, end int64) (*overlayPage, int64) {
	start := pos
	for pos < end {
		no := pos / o.page
		pageEnd := min((no+1)*o.page, end)
		pg := o.pages[no]
		if pg == nil {
			pos = pageEnd
			continue
		}
		rest := pg.mask >> uint((pos-no*o.page)/o.sector)
		if rest&1 != 0 {
			if pos > start {
				return nil, pos - start
			}
			n := int64(bits.TrailingZeros64(^rest))
			return pg, min((pos/o.sector+n)*o.sector, pageEnd) - pos
		}
		if rest == 0 {
			pos = pageEnd
			continue
		}
		pos = min((pos/o.sector+int64(bits.TrailingZeros64(rest)))*o.sector, pageEnd)
	}
	return nil, end - start
}

// overlayView is an Overlay whose lock the caller holds.
type overlayView Overlay

// ReadAt merges what was written over the base; the range is checked already.
func (v *overlayView) ReadAt(p []byte, off int64) (int, error) {
	o := (*Overlay)(v)
	for done := 0; done < len(p); {
		pos := off + int64(done)
		pg, n := o.run(pos, off+int64(len(p)))
		part := p[done : done+int(n)]
		if pg != nil {
			copy(part, pg.data[pos%o.page:])
		} else if m, err := o.base.ReadAt(part, pos); err != nil {
			return done + m, err
		}
		done += int(n)
	}
	return len(p), nil
}

// ReadAt implements [Device].
func (o *Overlay) ReadAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, o.size); err != nil {
		return 0, err
	}
	o.mu.RLock()
	defer o.mu.RUnlock() // the base may unwind through us
	return (*overlayView)(o).ReadAt(p, off)
}

// untouched reports whether the base alone holds the n bytes at off. What is out of range is
// the base's to refuse.
func (o *Overlay) untouched(n int, off int64) bool {
	if len(o.pages) == 0 || inRange(n, off, o.size) != nil {
		return true
	}
	pg, m := o.run(off, off+int64(n))
	return pg == nil && m == int64(n)
}

// ReadChecked implements [Device].
func (o *Overlay) ReadChecked(p []byte, c Check, places ...int64) (int, error) {
	o.mu.RLock()
	defer o.mu.RUnlock() // the base may unwind through us
	if len(o.pages) == 0 {
		return o.base.ReadChecked(p, c, places...)
	}
	result := ErrBadSector
	for i := 0; i < len(places); {
		// The places from i to j are the base's: one call.
		j := i
		for j < len(places) && o.untouched(len(p), places[j]) {
			j++
		}
		var n int
		var err error
		if j > i {
			if n, err = o.base.ReadChecked(p, c, places[i:j]...); i == 0 && j == len(places) {
				return n, err
			}
		} else {
			j = i + 1
			err = o.checkHere(p, &c, places[i])
		}
		if err == nil {
			return i + n, nil
		}
		if !passedOver(err) {
			return 0, err
		}
		if result == ErrBadSector && !isBad(err) {
			result = ErrChecksum
		}
		i = j
	}
	return 0, result
}

// checkHere is a checked read of one place that was written, all of it or a part.
func (o *Overlay) checkHere(p []byte, c *Check, off int64) error {
	if pg, n := o.run(off, off+int64(len(p))); pg != nil && n == int64(len(p)) {
		b := pg.data[off%o.page:][:n:n]
		if !c.Pass(b) {
			return ErrChecksum
		}
		copy(p, b)
		return nil
	}
	_, err := CheckedRead((*overlayView)(o), p, *c, off)
	return err
}

// WriteAt implements [Device]. Where it writes a part of a sector that was not written before,
// it reads the base, and fails as that read does, with nothing written.
func (o *Overlay) WriteAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, o.size); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock() // the base may unwind through us
	end := off + int64(len(p))
	first, last := off/o.sector, (end-1)/o.sector
	if off%o.sector != 0 {
		if err := o.own(first); err != nil {
			return 0, err
		}
	}
	if end%o.sector != 0 && end != o.size {
		if err := o.own(last); err != nil {
			return 0, err
		}
	}
	for done := 0; done < len(p); {
		pos := off + int64(done)
		pg := o.pageAt(pos / o.page)
		n := copy(pg.data[pos%o.page:], p[done:])
		lo := pos % o.page / o.sector
		hi := (pos%o.page + int64(n) - 1) / o.sector
		pg.mask |= (1<<uint(hi-lo) | (1<<uint(hi-lo) - 1)) << uint(lo)
		done += n
	}
	return len(p), nil
}

// own copies a sector from the base into the overlay, unless it is there.
func (o *Overlay) own(sector int64) error {
	off := sector * o.sector
	n := min(o.sector, o.size-off)
	if pg, _ := o.run(off, off+n); pg != nil {
		return nil
	}
	pg := o.pageAt(off / o.page)
	if err := ReadFull(o.base, pg.data[off%o.page:][:n], off); err != nil {
		return err
	}
	pg.mask |= 1 << uint(off%o.page/o.sector)
	return nil
}

// pageAt is page no, made if there is none.
func (o *Overlay) pageAt(no int64) *overlayPage {
	pg := o.pages[no]
	if pg == nil {
		if n := len(o.free); n > 0 {
			pg, o.free = o.free[n-1], o.free[:n-1]
		} else {
			pg = &overlayPage{data: make([]byte, o.page)}
		}
		o.pages[no] = pg
	}
	return pg
}

// Dirty is what was written, in whole sectors, ascending, neighbours joined.
func (o *Overlay) Dirty() []Extent {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.dirty()
}

func (o *Overlay) dirty() []Extent {
	numbers := make([]int64, 0, len(o.pages))
	for no := range o.pages {
		numbers = append(numbers, no)
	}
	slices.Sort(numbers)
	var list []Extent
	for _, no := range numbers {
		for mask, i := o.pages[no].mask, int64(0); mask != 0; {
			skip := int64(bits.TrailingZeros64(mask))
			mask >>= uint(skip)
			i += skip
			n := int64(bits.TrailingZeros64(^mask))
			mask >>= uint(n) // a shift by 64 gives 0
			e := Extent{Off: no*o.page + i*o.sector, Len: n * o.sector}
			e.Len = min(e.Len, o.size-e.Off)
			i += n
			if k := len(list) - 1; k >= 0 && list[k].End() == e.Off {
				list[k].Len += e.Len
			} else {
				list = append(list, e)
			}
		}
	}
	return list
}

// CommitTo writes what was written here to d, in ascending order, and flushes d. It is not
// atomic: a crash in the middle leaves a part of it. The overlay keeps its content.
func (o *Overlay) CommitTo(d Device) error {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, e := range o.dirty() {
		for pos := e.Off; pos < e.End(); {
			pg, n := o.run(pos, e.End())
			if _, err := d.WriteAt(pg.data[pos%o.page:][:n], pos); err != nil {
				return fmt.Errorf("commit of %d bytes at %d: %w", n, pos, err)
			}
			pos += n
		}
	}
	// Puts what the overlay held before everything that the caller does next.
	return d.Flush()
}
