package volume

import (
	"slices"

	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// Modes of Fallocate.
const (
	FallocKeepSize  = 1 << 0 // the size stays, also where blocks are allocated behind it
	FallocPunchHole = 1 << 1 // the range becomes a hole; the size stays
	FallocZeroRange = 1 << 4 // the range becomes allocated and zero
)

// Fallocate changes what a range of a file is kept in, fallocate(2): without a mode it
// allocates blocks for what are holes, so that a later write does not lack space. Of every MiB
// or less it is one operation.
//
// Errors: ErrStale, ErrIsDir, ErrInvalid (no file, or an empty or negative range),
// ErrNotSupported (another mode), ErrFileTooBig, ErrNoSpace, ErrReadOnly, and layout.ErrCorrupt
// for damage. Where an error comes in the middle, what lies before it is done.
func (v *Volume) Fallocate(ino Ino, mode uint32, off, length int64) error {
	keep := mode&FallocKeepSize != 0 || mode&FallocPunchHole != 0
	switch {
	case mode&^(FallocKeepSize|FallocPunchHole|FallocZeroRange) != 0, mode&FallocPunchHole != 0 && mode&FallocZeroRange != 0:
		return ErrNotSupported
	case off < 0 || length <= 0:
		return ErrInvalid
	case off > MaxFileSize-length:
		return ErrFileTooBig
	}
	if err := v.needsJournal("allocating or punching"); err != nil {
		return err
	}
	pos, end := uint64(off), uint64(off)+uint64(length)
	for first := true; pos < end; first = false {
		if mode&FallocPunchHole != 0 { // what is a hole already costs nothing
			next, err := v.nextMapped(ino, pos)
			switch {
			case err != nil:
				return err
			case next < end:
				pos = max(pos, next)
			case first:
				end = pos + 1 // the times change nevertheless
			default:
				return nil
			}
		}
		step := min(end, pos+maxWrite)
		err := v.updateNeed(func(o *op) int { return o.needWrite(ino, int(step-pos)) + v.needFree() }, func(o *op) error {
			in, err := o.regular(ino)
			if err != nil {
				return err
			}
			if mode&FallocPunchHole == 0 && step > in.Size {
				if err := o.trimmed(ino); err != nil {
					return err
				}
			}
			switch {
			case mode&FallocPunchHole != 0:
				err = o.punch(ino, &in, pos, step)
			case mode&FallocZeroRange != 0:
				err = o.zeroRange(ino, &in, pos, step)
			default:
				err = o.allocate(ino, &in, pos, step)
			}
			if err != nil {
				return err
			}
			now := o.now()
			if !keep {
				in.Size = max(in.Size, step)
			}
			in.Mtime, in.Ctime = now, now
			return o.putInode(ino, &in)
		})
		if err != nil {
			return err
		}
		pos = step
	}
	return nil
}

// nextMapped is the first byte at or behind pos that a file has a block or a page for.
func (v *Volume) nextMapped(ino Ino, pos uint64) (next uint64, err error) {
	err = v.view(func(o *op) error {
		in, err := o.regular(ino)
		if err != nil {
			return err
		}
		bs := uint64(v.g.BlockSize)
		l := uint64(layout.MaxLogical)
		if err := extents.Walk(o, &v.g, uint64(ino), &in, pos/bs, func(e layout.Extent) bool {
			l = max(e.Logical, pos/bs)
			return false
		}); err != nil {
			return err
		}
		if list := v.pagesOf(ino, pos/bs, l); len(list) > 0 {
			l = list[0]
		}
		next = max(pos, l*bs)
		return nil
	})
	return next, err
}

// allocate maps the holes from byte pos on, below end, to blocks that are not written yet.
func (o *op) allocate(ino Ino, in *layout.Inode, pos, end uint64) error {
	v := o.v
	bs := uint64(v.g.BlockSize)
	first, last := pos/bs, (end+bs-1)/bs
	// Pages that wait for a block get theirs, so that the map shows what is a hole.
	if err := o.placeFile(ino, in); err != nil {
		return err
	}
	for l := first; l < last; {
		e, found, err := extents.Lookup(o, &v.g, uint64(ino), in, l)
		if err != nil {
			return err
		}
		stop := min(e.End(), last)
		if found {
			l = stop
			continue
		}
		near, err := o.behind(ino, in, l)
		if err != nil {
			return err
		}
		for l < stop {
			if o.available() < int64(stop-l)+int64(v.delayOf(ino, in, 1).space) {
				return ErrNoSpace
			}
			block, n, err := o.take(near, int(stop-l))
			if err != nil {
				return err
			}
			x := layout.Extent{Logical: l, Block: block, Len: uint32(n), Unwritten: true}
			if err := extents.Insert(o, &v.g, uint64(ino), in, x); err != nil {
				return err
			}
			in.Blocks += uint64(n)
			l, near = l+uint64(n), block+uint64(n)
		}
	}
	return nil
}

// zeroRange makes the bytes from pos on, below end, zero, in blocks that are not written yet:
// others than those before, which the durable map still means.
func (o *op) zeroRange(ino Ino, in *layout.Inode, pos, end uint64) error {
	bs := uint64(o.v.g.BlockSize)
	full, _, _, err := o.mapped(ino, in, pos/bs, (end+bs-1)/bs)
	if err != nil {
		return err
	}
	if err := o.punch(ino, in, pos, end); err != nil {
		return err
	}
	o.deep = full // what only replaces blocks gives back as many, later
	return o.allocate(ino, in, pos, end)
}

// behind is the block behind that of a file's logical block before l, or where its first one
// is looked for.
func (o *op) behind(ino Ino, in *layout.Inode, l uint64) (uint64, error) {
	if l == 0 {
		return o.v.near(ino), nil
	}
	e, found, err := extents.Lookup(o, &o.v.g, uint64(ino), in, l-1)
	if err != nil || !found {
		return o.v.near(ino), err
	}
	return e.Block + l - e.Logical, nil
}

// punch makes the bytes from pos on, below end, a hole: whole blocks are unmapped, the rest of
// the blocks at both ends becomes zero.
func (o *op) punch(ino Ino, in *layout.Inode, pos, end uint64) error {
	v := o.v
	bs := uint64(v.g.BlockSize)
	o.deep = true // what it takes for the ends it gives back, later
	first, last := (pos+bs-1)/bs, end/bs
	if end >= in.Size && pos < in.Size { // the last block has nothing behind the end
		last = max(last, (in.Size+bs-1)/bs)
	}
	if pos%bs != 0 && pos < in.Size {
		to := bs
		if first > last {
			to = end - pos/bs*bs
		}
		if err := o.zeroPart(ino, in, pos/bs, pos%bs, to); err != nil {
			return err
		}
	}
	if at := end % bs; at != 0 && first <= last && end/bs >= last && end/bs*bs < in.Size {
		if err := o.zeroPart(ino, in, end/bs, 0, at); err != nil {
			return err
		}
	}
	if first >= last {
		return nil
	}
	for _, l := range o.v.pagesOf(ino, first, last) {
		o.setPage(ino, l, nil) // the block that it had is freed with the map
	}
	if err := o.placeFile(ino, in); err != nil { // an extent may become two
		return err
	}
	return o.unmap(ino, in, first, last-first)
}

// pagesOf is the logical blocks from on, below end, of which a file has pages in the running
// transaction, in order.
func (v *Volume) pagesOf(ino Ino, from, end uint64) (list []uint64) {
	f := v.files[ino]
	if end-from < uint64(len(f)) {
		for l := from; l < end; l++ {
			if f[l] != nil {
				list = append(list, l)
			}
		}
		return list
	}
	for l := range f {
		if l >= from && l < end {
			list = append(list, l)
		}
	}
	slices.Sort(list)
	return list
}

// SeekData is where data begins at or behind off: what is written, as opposed to holes and to
// blocks that are only allocated. SeekHole is where a hole begins, the end of the file at the
// latest. lseek(2).
//
// Errors: ErrStale, ErrIsDir, ErrInvalid, ErrNoDevice (off is at or behind the end, or there
// is no data behind it), and layout.ErrCorrupt for damage.
func (v *Volume) SeekData(ino Ino, off int64) (int64, error) { return v.seek(ino, off, true) }

// SeekHole: see SeekData.
func (v *Volume) SeekHole(ino Ino, off int64) (int64, error) { return v.seek(ino, off, false) }

func (v *Volume) seek(ino Ino, off int64, data bool) (at int64, err error) {
	err = v.view(func(o *op) error {
		in, err := o.regular(ino)
		if err != nil {
			return err
		}
		if off < 0 || uint64(off) >= in.Size {
			return ErrNoDevice
		}
		bs := uint64(v.g.BlockSize)
		pos := uint64(off)
		for pos < in.Size {
			l := pos / bs
			is, until, err := o.holds(ino, &in, l)
			if err != nil {
				return err
			}
			if is == data {
				at = int64(pos)
				return nil
			}
			pos = until * bs
		}
		if data {
			return ErrNoDevice
		}
		at = int64(in.Size)
		return nil
	})
	return at, err
}

// holds answers whether logical block l of a file holds data, and up to which block the answer
// is the same, at least.
func (o *op) holds(ino Ino, in *layout.Inode, l uint64) (data bool, until uint64, err error) {
	v := o.v
	if v.dirtyPage(ino, l) != nil {
		return true, l + 1, nil
	}
	e, found, err := extents.Lookup(o, &v.g, uint64(ino), in, l)
	if err != nil {
		return false, 0, err
	}
	until = e.End()
	data = found && !e.Unwritten
	if !data { // a page that waits in the middle ends it
		if list := v.pagesOf(ino, l, until); len(list) > 0 {
			until = list[0]
		}
	}
	return data, until, nil
}
