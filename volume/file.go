package volume

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// Bounds of file data.
const (
	// MaxFileSize is the largest size of a file in bytes.
	MaxFileSize = 1<<48*1024 - 1
	// maxWrite is how much one operation writes; longer writes are sequences of such.
	maxWrite = 1 << 20
	// maxUnallocated is how many pages may wait for a block: each may cost the log a block.
	maxUnallocated = 256
	// freeStep is how many extents one operation frees.
	freeStep = 64
)

// page is a block's worth of file data that is not on the device yet. It is never changed once
// another operation may have seen it: a write replaces it.
type page struct {
	data  []byte
	block uint64 // where it will go; 0: not decided
}

// pages are what the running (or the committing) transaction holds of files' data.
type pages map[Ino]map[uint64]*page

func (v *Volume) dirtyPage(ino Ino, logical uint64) *page {
	if p := v.files[ino][logical]; p != nil {
		return p
	}
	return nil
}

// dirtyBytes is how much data waits for a commit.
func (v *Volume) dirtyBytes() int64 { return int64(v.tx.pages+v.unalloc) * int64(v.g.BlockSize) }

// setPage puts a page into the running transaction, or takes one out (p == nil).
func (o *op) setPage(ino Ino, logical uint64, p *page) {
	v := o.v
	old := v.files[ino][logical]
	v.placePage(ino, logical, p)
	o.onFail(func() { v.placePage(ino, logical, old) })
}

func (v *Volume) placePage(ino Ino, logical uint64, p *page) {
	f := v.files[ino]
	count := func(q *page, d int) {
		switch {
		case q == nil:
		case q.block == 0:
			v.unalloc += d
		default:
			v.tx.pages += d
		}
	}
	count(f[logical], -1)
	count(p, 1)
	if p == nil {
		delete(f, logical)
		if len(f) == 0 {
			delete(v.files, ino)
		}
		return
	}
	if f == nil {
		f = map[uint64]*page{}
		v.files[ino] = f
	}
	f[logical] = p
}

// readBlock fills p with logical block logical of a file; a hole is zero.
func (o *op) readBlock(ino Ino, in *layout.Inode, logical uint64, p []byte) error {
	v := o.v
	if pg := v.dirtyPage(ino, logical); pg != nil {
		copy(p, pg.data)
		return nil
	}
	if pg := v.committingPages[ino][logical]; pg != nil {
		// The committing transaction's page is what the map means, unless this one has
		// unmapped or replaced it since: then the map says so.
		e, found, err := extents.Lookup(o, &v.g, uint64(ino), in, logical)
		if err != nil {
			return err
		}
		if found && e.Block+logical-e.Logical == pg.block {
			copy(p, pg.data)
			return nil
		}
	}
	e, found, err := extents.Lookup(o, &v.g, uint64(ino), in, logical)
	if err != nil {
		return err
	}
	if !found || e.Unwritten {
		clear(p)
		return nil
	}
	return o.readData(ino, in, e.Block+logical-e.Logical, logical, p)
}

// readData reads and verifies one data block.
func (o *op) readData(ino Ino, in *layout.Inode, block, logical uint64, p []byte) error {
	v := o.v
	table, i := v.g.SumPlace(block)
	t, err := o.Read(table, layout.KindSums)
	if err != nil {
		return err
	}
	check := disk.Check{Seed: v.seeds.Data(block, uint64(ino), in.Generation, logical), Want: layout.DataSum(t, i)}
	_, err = v.dev.ReadChecked(p, check, int64(block)*int64(v.g.BlockSize))
	if errors.Is(err, disk.ErrChecksum) {
		return layout.Corrupt(fmt.Sprintf("data of inode %d, logical block %d", ino, logical), block, 0, "checksum does not match", nil)
	}
	if err != nil {
		return fmt.Errorf("data of inode %d, logical block %d (block %d): %w", ino, logical, block, ioError(err))
	}
	return nil
}

// readAt fills p from offset off of a file, up to its end.
func (o *op) readAt(ino Ino, in *layout.Inode, p []byte, off uint64) (int, error) {
	if off >= in.Size {
		return 0, nil
	}
	p = p[:min(uint64(len(p)), in.Size-off)]
	bs := uint64(o.v.g.BlockSize)
	var buf []byte
	for n := 0; n < len(p); {
		logical, at := (off+uint64(n))/bs, (off+uint64(n))%bs
		if at == 0 && len(p)-n >= int(bs) {
			if err := o.readBlock(ino, in, logical, p[n:n+int(bs)]); err != nil {
				return n, err
			}
			n += int(bs)
			continue
		}
		if buf == nil {
			buf = make([]byte, bs)
		}
		if err := o.readBlock(ino, in, logical, buf); err != nil {
			return n, err
		}
		n += copy(p[n:], buf[at:])
	}
	return len(p), nil
}

// content fills p with the first bytes of a file.
func (o *op) content(ino Ino, in *layout.Inode, p []byte) error {
	_, err := o.readAt(ino, in, p, 0)
	return err
}

// setContent makes data the content of a new file; the caller puts the inode.
func (o *op) setContent(ino Ino, in *layout.Inode, data []byte) error {
	in.Size = uint64(len(data))
	return o.writePages(ino, in, data, 0)
}

// writePages puts data into pages at off. It reserves what they need, so that nothing can
// fail for space later. The size is the caller's.
func (o *op) writePages(ino Ino, in *layout.Inode, data []byte, off uint64) error {
	v := o.v
	bs := uint64(v.g.BlockSize)
	end := off + uint64(len(data))
	var fresh int64
	for l := off / bs; l*bs < end; l++ {
		if v.dirtyPage(ino, l) == nil {
			fresh++
		}
	}
	if fresh > 0 && o.available() < fresh+fresh/int64(max(1, layout.NodeEntries(v.g.BlockSize)/4))+2 {
		return ErrNoSpace
	}
	for pos := off; pos < end; {
		l, at := pos/bs, pos%bs
		n := min(bs-at, end-pos)
		pg := &page{data: make([]byte, bs)}
		if old := v.dirtyPage(ino, l); old != nil {
			pg.block = old.block
		}
		if n < bs {
			if err := o.readBlock(ino, in, l, pg.data); err != nil {
				return err
			}
		}
		copy(pg.data[at:], data[pos-off:pos-off+n])
		o.setPage(ino, l, pg)
		pos += n
	}
	return nil
}

// setSize truncates or extends a file: a shorter one loses its blocks behind the end, in later
// operations if they are many, and the rest of its last block becomes zero.
func (o *op) setSize(ino Ino, in *layout.Inode, size uint64) error {
	v := o.v
	if size > MaxFileSize {
		return ErrFileTooBig
	}
	bs := uint64(v.g.BlockSize)
	if size >= in.Size {
		in.Size = size
		return o.putInode(ino, in)
	}
	o.deep = true
	keep := (size + bs - 1) / bs
	for l := range maps.Clone(v.files[ino]) {
		if l >= keep {
			if err := o.dropPage(ino, l); err != nil {
				return err
			}
		}
	}
	in.Size = size
	if err := o.freeFrom(ino, in, keep); err != nil {
		return err
	}
	if at := size % bs; at != 0 {
		pg := &page{data: make([]byte, bs)}
		if old := v.dirtyPage(ino, keep-1); old != nil {
			pg.block = old.block
		} else if _, found, err := extents.Lookup(o, &v.g, uint64(ino), in, keep-1); err != nil {
			return err
		} else if !found {
			return o.putInode(ino, in)
		}
		if err := o.readBlock(ino, in, keep-1, pg.data); err != nil {
			return err
		}
		if slices.ContainsFunc(pg.data[at:], func(b byte) bool { return b != 0 }) {
			clear(pg.data[at:])
			o.setPage(ino, keep-1, pg)
		}
	}
	return o.putInode(ino, in)
}

// dropPage forgets a page; the block it had is freed with the map.
func (o *op) dropPage(ino Ino, logical uint64) error {
	o.setPage(ino, logical, nil)
	return nil
}

// freeFrom unmaps what lies at or behind logical block keep: a bounded number of extents, from
// the last on, and the rest later, while the inode is on the orphan list.
func (o *op) freeFrom(ino Ino, in *layout.Inode, keep uint64) error {
	v := o.v
	var list []layout.Extent
	err := extents.Walk(o, &v.g, uint64(ino), in, keep, func(e layout.Extent) bool {
		list = append(list, e)
		return len(list) <= 4*freeStep
	})
	if err != nil {
		return err
	}
	upto := uint64(layout.MaxLogical)
	more := len(list) > freeStep
	if more {
		// Front to back in steps is as good as back to front: the size says what counts.
		upto = list[freeStep-1].End()
	}
	if len(list) > 0 {
		removed, err := extents.Remove(o, &v.g, uint64(ino), in, keep, upto-keep)
		if err != nil {
			return err
		}
		for _, e := range removed {
			if err := o.free(e.Block, int(e.Len)); err != nil {
				return err
			}
			in.Blocks -= uint64(e.Len)
		}
	}
	if !more {
		if in.Flags&layout.FlagOrphan != 0 && in.Links > 0 {
			return o.orphanRemove(ino, in)
		}
		return nil
	}
	v.todo = append(v.todo, ino)
	if in.Flags&layout.FlagOrphan != 0 {
		return o.putInode(ino, in)
	}
	return o.orphanAdd(ino, in)
}

// place gives every page that has none a block, in the running transaction. What it needs was
// reserved, so it fails only for damage or a device error, and then the volume stops.
func (v *Volume) place() error {
	if v.unalloc == 0 {
		return nil
	}
	o := &op{v: v, write: true, deep: true, touched: map[uint64]struct{}{}, totals0: v.totals}
	err := o.placePages()
	if err == nil {
		err = o.finish()
	}
	if err != nil {
		v.fail(err)
		return v.err
	}
	return nil
}

func (o *op) placePages() error {
	v := o.v
	for _, ino := range slices.Sorted(maps.Keys(v.files)) {
		f := v.files[ino]
		var wait []uint64
		for l, p := range f {
			if p.block == 0 {
				wait = append(wait, l)
			}
		}
		if len(wait) == 0 {
			continue
		}
		slices.SortFunc(wait, cmp.Compare)
		in, err := o.inode(ino)
		if err != nil {
			return err
		}
		for len(wait) > 0 {
			n := 1
			for n < len(wait) && wait[n] == wait[0]+uint64(n) {
				n++
			}
			if err := o.placeRun(ino, &in, wait[0], n); err != nil {
				return err
			}
			wait = wait[n:]
		}
		if err := o.putInode(ino, &in); err != nil {
			return err
		}
	}
	return nil
}

// placeRun maps n pages from logical on to fresh blocks, in place of what they were mapped to.
func (o *op) placeRun(ino Ino, in *layout.Inode, logical uint64, n int) error {
	v := o.v
	removed, err := extents.Remove(o, &v.g, uint64(ino), in, logical, uint64(n))
	if err != nil {
		return err
	}
	for _, e := range removed {
		if err := o.free(e.Block, int(e.Len)); err != nil {
			return err
		}
		in.Blocks -= uint64(e.Len)
	}
	near := v.near(ino)
	if logical > 0 {
		if e, found, err := extents.Lookup(o, &v.g, uint64(ino), in, logical-1); err != nil {
			return err
		} else if found {
			near = e.Block + logical - e.Logical
		}
	}
	for n > 0 {
		first, got, err := o.take(near, n)
		if err != nil {
			return err
		}
		if err := extents.Insert(o, &v.g, uint64(ino), in, layout.Extent{Logical: logical, Block: first, Len: uint32(got)}); err != nil {
			return err
		}
		in.Blocks += uint64(got)
		for i := range uint64(got) {
			p := v.files[ino][logical+i]
			v.placePage(ino, logical+i, &page{data: p.data, block: first + i})
			if _, _, err := o.sumPlace(first + i); err != nil {
				return err
			}
		}
		logical, n, near = logical+uint64(got), n-got, first+uint64(got)
	}
	return nil
}

// near is where a file's first block is looked for.
func (v *Volume) near(ino Ino) uint64 {
	group, _ := v.g.InodeGroup(uint64(ino))
	return v.g.GroupStart(group) + v.g.GroupTables(group)
}

// needWrite bounds the metadata blocks of a write beside those of its pages: inode, totals and
// the tail of a new group's tables.
func (v *Volume) needWrite() int { return 4 + int(v.g.SumBlocks(0)) }

// Read fills p from offset off of a file, 0 bytes at or behind its end.
//
// Errors: ErrStale, ErrIsDir, ErrInvalid (not a file), and for a damaged block one that
// matches layout.ErrCorrupt and syscall.EIO: it is never served.
func (v *Volume) Read(ino Ino, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, ErrInvalid
	}
	err = v.view(func(o *op) error {
		in, err := o.regular(ino)
		if err != nil {
			return err
		}
		n, err = o.readAt(ino, &in, p, uint64(off))
		return err
	})
	return n, err
}

// regular is the inode of a file.
func (o *op) regular(ino Ino) (layout.Inode, error) {
	in, err := o.inode(ino)
	switch {
	case err != nil:
		return in, err
	case in.IsDir():
		return in, ErrIsDir
	case in.Type() != layout.ModeFile:
		return in, ErrInvalid
	}
	return in, nil
}

// Write writes p at offset off of a file. Up to 1 MiB is one operation; more is a sequence of such.
//
// Errors: ErrStale, ErrIsDir, ErrInvalid, ErrFileTooBig, ErrNoSpace, ErrReadOnly. n is how
// much was written before the error.
func (v *Volume) Write(ino Ino, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, ErrInvalid
	}
	n, _, err = v.writeAt(ino, p, off)
	return n, err
}

// appendTo writes p at the end of a file and returns where the end is then.
func (v *Volume) appendTo(ino Ino, p []byte) (n int, end int64, err error) {
	return v.writeAt(ino, p, -1)
}

// writeAt writes at off, or at the end if off is negative.
func (v *Volume) writeAt(ino Ino, p []byte, off int64) (n int, end int64, err error) {
	for first := true; first || n < len(p); first = false {
		part := p[n:min(len(p), n+maxWrite)]
		err := v.update(v.needWrite(), func(o *op) error {
			in, err := o.regular(ino)
			if err != nil {
				return err
			}
			at := uint64(off) + uint64(n)
			if off < 0 {
				at = in.Size
			}
			if at+uint64(len(part)) > MaxFileSize {
				return ErrFileTooBig
			}
			end = int64(at) + int64(len(part))
			if len(part) == 0 {
				return nil
			}
			if err := o.writePages(ino, &in, part, at); err != nil {
				return err
			}
			in.Size = max(in.Size, uint64(end))
			now := o.now()
			in.Mtime, in.Ctime = now, now
			return o.putInode(ino, &in)
		})
		if err != nil {
			return n, end, err
		}
		n += len(part)
		if len(p) == 0 {
			break
		}
	}
	return n, end, nil
}
