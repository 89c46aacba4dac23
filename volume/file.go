package volume

import (
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

// page is a block's worth of file data that is not on the device yet. Its data is never changed
// once another operation may have seen it: a write replaces the page.
type page struct {
	data   []byte
	block  uint64 // where it will go; 0: not decided
	sum    uint32 // CRC-32C of data from seed 0, if summed
	summed bool
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

// newPage is a page with unspecified content.
func (v *Volume) newPage() *page {
	if p, ok := v.pagePool.Get().(*page); ok {
		p.block, p.summed = 0, false
		return p
	}
	return &page{data: make([]byte, v.g.BlockSize)}
}

// recycle takes back pages that are on the device, and that nobody reads any more; mu is held.
func (v *Volume) recycle(done pages) {
	if v.steps != nil {
		return
	}
	for _, f := range done {
		for _, p := range f {
			v.pagePool.Put(p)
		}
	}
}

// wait counts pages of a file that have no block yet; all of them lie from from on, below end.
type wait struct {
	n         int
	from, end uint64
}

// addWaiting takes note of n more pages of a file (or fewer) that have no block, from logical on.
func (v *Volume) addWaiting(ino Ino, n int, logical, end uint64) {
	v.unalloc += n
	w, ok := v.waiting[ino]
	if !ok {
		w.from, w.end = logical, end
	}
	w = wait{w.n + n, min(w.from, logical), max(w.end, end)}
	if w.n == 0 {
		delete(v.waiting, ino)
		return
	}
	v.waiting[ino] = w
}

// setPages puts neighbouring pages into the running transaction.
func (o *op) setPages(ino Ino, logical uint64, list []*page) {
	v := o.v
	f := v.files[ino]
	if f == nil {
		f = make(map[uint64]*page, len(list))
		v.files[ino] = f
	}
	old := make([]*page, len(list))
	waiting, waits := 0, false
	count := func(q *page, d int) {
		switch {
		case q == nil:
		case q.block == 0:
			waiting += d
		default:
			v.tx.pages += d
		}
	}
	for i, p := range list {
		l := logical + uint64(i)
		old[i] = f[l]
		count(old[i], -1)
		count(p, 1)
		waits = waits || p.block == 0
		f[l] = p
	}
	if waits || waiting != 0 {
		v.addWaiting(ino, waiting, logical, logical+uint64(len(list)))
	}
	o.onFail(func() {
		for i, p := range old {
			v.placePage(ino, logical+uint64(i), p)
		}
	})
}

func (v *Volume) placePage(ino Ino, logical uint64, p *page) {
	f := v.files[ino]
	count := func(q *page, d int) {
		switch {
		case q == nil:
		case q.block == 0:
			v.addWaiting(ino, d, logical, logical+1)
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
	_, err := o.readBlocks(ino, in, logical, p)
	return err
}

// readBlocks fills p with whole blocks of a file from logical on, as far as they are found in one
// place, which is at least one block, and returns how many bytes that is.
func (o *op) readBlocks(ino Ino, in *layout.Inode, logical uint64, p []byte) (int, error) {
	v := o.v
	bs := uint64(v.g.BlockSize)
	if pg := v.dirtyPage(ino, logical); pg != nil {
		return copy(p, pg.data), nil
	}
	e, found, err := extents.Lookup(o, &v.g, uint64(ino), in, logical)
	if err != nil {
		return 0, err
	}
	block := e.Block + logical - e.Logical
	committing := v.committingPages[ino]
	// The committing transaction's page is what the map means, unless this one has
	// unmapped or replaced it since: then the map says so.
	if pg := committing[logical]; pg != nil && found && pg.block == block {
		return copy(p, pg.data), nil
	}
	n := min(e.End()-logical, uint64(len(p))/bs)
	if dirty := v.files[ino]; len(dirty)+len(committing) > 0 {
		for i := uint64(1); i < n; i++ {
			if dirty[logical+i] != nil || committing[logical+i] != nil {
				n = i
			}
		}
	}
	if !found || e.Unwritten {
		clear(p[:n*bs])
		return int(n * bs), nil
	}
	_, i := v.g.SumPlace(block)
	n = min(n, uint64(v.g.SumsPerBlock()-i))
	return o.readData(ino, in, block, logical, p[:n*bs])
}

// readData reads and verifies data blocks that are neighbours on the device and in the file, and
// whose checksums are in one table; it returns how many bytes are good before an error.
func (o *op) readData(ino Ino, in *layout.Inode, block, logical uint64, p []byte) (int, error) {
	v := o.v
	bs := v.g.BlockSize
	table, first := v.g.SumPlace(block)
	t, err := o.Read(table, layout.KindSums)
	if err != nil {
		return 0, err
	}
	n, err := disk.ReadChecks(v.dev, p, bs, func(i int) disk.Check {
		k := uint64(i)
		return disk.Check{Seed: v.seeds.Data(block+k, uint64(ino), in.Generation, logical+k), Want: layout.DataSum(t, first+i)}
	}, int64(block)*int64(bs))
	block, logical = block+uint64(n), logical+uint64(n)
	if errors.Is(err, disk.ErrChecksum) {
		return n * bs, layout.Corrupt(fmt.Sprintf("data of inode %d, logical block %d", ino, logical), block, 0, "checksum does not match", nil)
	}
	if err != nil {
		return n * bs, fmt.Errorf("data of inode %d, logical block %d (block %d): %w", ino, logical, block, ioError(err))
	}
	return n * bs, nil
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
		if whole := (len(p) - n) / int(bs) * int(bs); at == 0 && whole > 0 {
			m, err := o.readBlocks(ino, in, logical, p[n:n+whole])
			n += m
			if err != nil {
				return n, err
			}
			continue
		}
		if buf == nil {
			buf = slices.Grow(o.page[:0], int(bs))[:bs]
			o.page = buf
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
	return o.writePages(ino, in, data, 0, nil)
}

// writePages puts data into pages at off: those of ready, one for each whole block from the first on, and others
// for the rest. What they need is reserved, so that nothing can fail
// for space later; and those whose block cannot be found without reading the file's map get it
// now, so that damage is the writer's error and not that of a commit for everybody. The size is
// the caller's, and so is putting the inode.
func (o *op) writePages(ino Ino, in *layout.Inode, data []byte, off uint64, ready []*page) error {
	v := o.v
	bs := uint64(v.g.BlockSize)
	end := off + uint64(len(data))
	first, last := off/bs, (end+bs-1)/bs
	fresh := last - first - uint64(len(v.pagesOf(ino, first, last)))
	now := false
	if fresh > 0 {
		full, some, unwritten, err := o.mapped(ino, in, first, last)
		if err != nil {
			return err
		}
		if now = some || in.Depth > 0 || v.steps != nil; now {
			if err := o.placeFile(ino, in); err != nil {
				return err
			}
		}
		cost := v.delayOf(ino, in, int(fresh))
		need := int64(fresh-unwritten) + int64(cost.space)
		// What replaces blocks gives back as many, later: it may use those kept back.
		o.deep = o.deep || full && o.available() < need
		if o.available() < need {
			return ErrNoSpace
		}
		if !now && v.unalloc == 0 {
			if err := o.canTake(v.near(ino)); err != nil {
				return err
			}
		}
		if !now {
			v.delay.index += cost.index
			v.delay.space += cost.space
		}
	}
	list, f := make([]*page, 0, last-first), v.files[ino]
	for pos := off; pos < end; {
		l, at := pos/bs, pos%bs
		n := min(bs-at, end-pos)
		var pg *page
		if n == bs && len(ready) > 0 {
			pg, ready = ready[0], ready[1:]
			pg.block = 0 // of an attempt that was taken back
		} else {
			pg = v.newPage()
			if n < bs {
				if err := o.readBlock(ino, in, l, pg.data); err != nil {
					return err
				}
			}
			copy(pg.data[at:], data[pos-off:pos-off+n])
		}
		if old := f[l]; old != nil {
			pg.block = old.block
		}
		if now && pg.block == 0 {
			var err error
			if pg.block, err = o.unwritten(ino, in, l); err != nil {
				return err
			}
		}
		list = append(list, pg)
		pos += n
	}
	o.setPages(ino, first, list)
	if now {
		return o.placeRange(ino, in, first, last)
	}
	return nil
}

// mapped reports whether all of the logical blocks from on, below end, have a block or wait for
// one, whether some that no page holds have one, and how many of these are not written.
func (o *op) mapped(ino Ino, in *layout.Inode, from, end uint64) (all, some bool, unwritten uint64, err error) {
	all = true
	for l := from; l < end; {
		if o.v.dirtyPage(ino, l) != nil {
			l++
			continue
		}
		e, found, err := extents.Lookup(o, &o.v.g, uint64(ino), in, l)
		if err != nil {
			return false, false, 0, err
		}
		stop := min(e.End(), end)
		all, some = all && found, some || found
		if found && e.Unwritten {
			unwritten += stop - l - uint64(len(o.v.pagesOf(ino, l, stop)))
		}
		l = stop
	}
	return all, some, unwritten, nil
}

// unwritten takes the block of a logical block that is allocated but not written, for data:
// the map says from now on that it is written. Nothing durable reads what is in it, so it is
// the one kind of block that data goes to without being fresh. 0: it is none.
func (o *op) unwritten(ino Ino, in *layout.Inode, l uint64) (uint64, error) {
	v := o.v
	e, found, err := extents.Lookup(o, &v.g, uint64(ino), in, l)
	if err != nil || !found || !e.Unwritten {
		return 0, err
	}
	block := e.Block + l - e.Logical
	if _, err := extents.Remove(o, &v.g, uint64(ino), in, l, 1); err != nil {
		return 0, err
	}
	if _, _, err := o.sumPlace(block); err != nil {
		return 0, err
	}
	return block, extents.Insert(o, &v.g, uint64(ino), in, layout.Extent{Logical: l, Block: block, Len: 1})
}

// delayOf bounds what giving n more pages of a file, next to each other, their blocks costs in
// index blocks: in each level those that map them now, which hold a quarter of what they can
// or more, two paths, and those that the new extents need.
func (v *Volume) delayOf(ino Ino, in *layout.Inode, n int) delay {
	per := layout.NodeEntries(v.g.BlockSize)
	fresh := (4*n + per - 1) / per
	if in.Depth == 0 {
		if int(in.Extents)+2*(n+len(v.files[ino])) <= in.MaxInlineExtents() {
			return delay{}
		}
		return delay{1 + fresh, 1 + fresh}
	}
	d := int(in.Depth) + 1
	return delay{3*d + 2*fresh, 2*d + fresh}
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
		if err := o.trimmed(ino); err != nil && size > in.Size {
			return err
		}
		in.Size = size
		return o.putInode(ino, in)
	}
	o.deep = true
	keep := (size + bs - 1) / bs
	for _, l := range v.pagesOf(ino, keep, layout.MaxLogical) {
		o.setPage(ino, l, nil) // the block that it had is freed with the map
	}
	in.Size = size
	if _, err := o.freeFrom(ino, in, keep); err != nil {
		return err
	}
	if at := size % bs; at != 0 {
		if err := o.zeroPart(ino, in, keep-1, at, bs); err != nil {
			return err
		}
	}
	return o.putInode(ino, in)
}

// zeroPart clears bytes from on, below end, of a file's block, in a page that replaces it.
func (o *op) zeroPart(ino Ino, in *layout.Inode, logical, from, end uint64) error {
	v := o.v
	pg := &page{data: make([]byte, v.g.BlockSize)}
	old := v.dirtyPage(ino, logical)
	if old == nil {
		e, found, err := extents.Lookup(o, &v.g, uint64(ino), in, logical)
		if err != nil || !found || e.Unwritten {
			return err
		}
	}
	if err := o.readBlock(ino, in, logical, pg.data); err != nil {
		return err
	}
	if !slices.ContainsFunc(pg.data[from:end], func(b byte) bool { return b != 0 }) {
		return nil
	}
	clear(pg.data[from:end])
	if old != nil {
		pg.block = old.block
		o.setPage(ino, logical, pg)
		return nil
	}
	if err := o.placeFile(ino, in); err != nil {
		return err
	}
	if o.available() < 1+int64(v.delayOf(ino, in, 1).space) {
		return ErrNoSpace
	}
	o.setPage(ino, logical, pg)
	return o.placeRange(ino, in, logical, logical+1) // it replaces a block
}

// freeFrom unmaps what lies at or behind logical block keep: a bounded number of extents, and
// the rest later, while the inode is on the orphan list; more says that there is a rest. Front
// to back in steps is as good as back to front: the size says what counts.
func (o *op) freeFrom(ino Ino, in *layout.Inode, keep uint64) (more bool, err error) {
	v := o.v
	n, upto := 0, uint64(layout.MaxLogical)
	err = extents.Walk(o, &v.g, uint64(ino), in, keep, func(e layout.Extent) bool {
		if n++; n > freeStep && v.steps == nil {
			more = true
			return false
		}
		if n == freeStep {
			upto = e.End()
		}
		return true
	})
	if err != nil {
		return false, err
	}
	if n > 0 {
		if !more {
			upto = layout.MaxLogical
		}
		if err := o.unmap(ino, in, keep, upto-keep); err != nil {
			return false, err
		}
	}
	o.trimming(ino, more)
	orphan := in.Flags&layout.FlagOrphan != 0
	switch {
	case more:
		v.todo = append(v.todo, ino)
		if !orphan {
			return true, o.orphanAdd(ino, in)
		}
		return true, o.putInode(ino, in)
	case orphan && in.Links > 0:
		return false, o.orphanRemove(ino, in)
	}
	return false, nil
}

// unmap takes n logical blocks out of a file's map and frees what they were mapped to.
func (o *op) unmap(ino Ino, in *layout.Inode, logical, n uint64) error {
	removed, err := extents.Remove(o, &o.v.g, uint64(ino), in, logical, n)
	if err != nil {
		return err
	}
	for _, e := range removed {
		if in.Blocks < uint64(e.Len) {
			block, off := o.v.g.InodePlace(uint64(ino))
			return layout.Corrupt(fmt.Sprintf("inode %d", ino), block, off+24, fmt.Sprintf("%d blocks owned", in.Blocks), "as many as it maps (I9)")
		}
		if err := o.free(e.Block, int(e.Len)); err != nil {
			return err
		}
		in.Blocks -= uint64(e.Len)
	}
	return nil
}

// place gives every page that has none a block, in the running transaction. What it needs was
// reserved, and what it reads is in memory but for bitmaps and checksum tables, of which damaged
// ones are passed over: it fails only where too many are, and then the volume stops.
func (v *Volume) place() error {
	if v.unalloc == 0 {
		return nil
	}
	o := v.newOp(true)
	err := o.placePages()
	if err == nil {
		err = o.finish()
	}
	if err != nil {
		o.rollback()
		v.fail(err)
		return v.err
	}
	return nil
}

func (o *op) placePages() error {
	v := o.v
	v.delay = delay{} // what was reserved for index blocks is for what follows
	for _, ino := range slices.Sorted(maps.Keys(v.files)) {
		if !v.waits(ino) {
			continue
		}
		in, err := o.inode(ino)
		if err != nil {
			return err
		}
		if err := o.placeFile(ino, &in); err != nil {
			return err
		}
		if err := o.putInode(ino, &in); err != nil {
			return err
		}
	}
	return nil
}

// waits reports whether a page of the file has no block yet.
func (v *Volume) waits(ino Ino) bool { return v.waiting[ino].n > 0 }

// waitingPages are the pages of a file from a logical block on, below end, that have no block yet,
// in order.
func (v *Volume) waitingPages(ino Ino, from, end uint64) (list []uint64) {
	w, f := v.waiting[ino], v.files[ino]
	if w.n == 0 {
		return nil
	}
	from, end = max(from, w.from), min(end, w.end)
	list = make([]uint64, 0, w.n)
	if from < end && end-from < uint64(len(f)) {
		for l := from; l < end; l++ {
			if p := f[l]; p != nil && p.block == 0 {
				list = append(list, l)
			}
		}
		return list
	}
	for l, p := range f {
		if p.block == 0 && l >= from && l < end {
			list = append(list, l)
		}
	}
	slices.Sort(list)
	return list
}

// placeFile gives all pages of a file that wait their blocks. It comes before any other change
// of the file's map or of the room that the map has: what the pages cost was reserved for the map as
// it was.
func (o *op) placeFile(ino Ino, in *layout.Inode) error {
	if !o.v.waits(ino) {
		return nil
	}
	return o.placeRange(ino, in, 0, layout.MaxLogical)
}

// placeRange gives the pages of a file from a logical block on, below end, that have none a
// block; the caller puts the inode.
func (o *op) placeRange(ino Ino, in *layout.Inode, from, end uint64) error {
	wait := o.v.waitingPages(ino, from, end)
	for len(wait) > 0 {
		n := 1
		for n < len(wait) && wait[n] == wait[0]+uint64(n) {
			n++
		}
		if err := o.placeRun(ino, in, wait[0], n); err != nil {
			return err
		}
		wait = wait[n:]
	}
	return nil
}

// placeRun maps n pages from logical on to fresh blocks, in place of what they were mapped to.
func (o *op) placeRun(ino Ino, in *layout.Inode, logical uint64, n int) error {
	v := o.v
	if err := o.unmap(ino, in, logical, uint64(n)); err != nil {
		return err
	}
	near, err := o.behind(ino, in, logical)
	if err != nil {
		return err
	}
	for n > 0 {
		first, got, err := o.take(near, n)
		if err != nil {
			return err
		}
		o.giveBlocks(ino, logical, first, got)
		for i := 0; i < got; { // one for each table
			_, at, err := o.sumPlace(first + uint64(i))
			if err != nil {
				return err
			}
			i += v.g.SumsPerBlock() - at
		}
		// The pages have their blocks: what is reserved and left is for the index.
		if err := extents.Insert(o, &v.g, uint64(ino), in, layout.Extent{Logical: logical, Block: first, Len: uint32(got)}); err != nil {
			return err
		}
		in.Blocks += uint64(got)
		logical, n, near = logical+uint64(got), n-got, first+uint64(got)
	}
	return nil
}

// giveBlocks says that n pages of a file from logical on, which have none, go to blocks from first on.
func (o *op) giveBlocks(ino Ino, logical, first uint64, n int) {
	v := o.v
	list := make([]*page, n)
	f := v.files[ino]
	for i := range list {
		list[i] = f[logical+uint64(i)]
		list[i].block = first + uint64(i)
	}
	v.addWaiting(ino, -n, logical, logical+uint64(n))
	v.tx.pages += n
	o.onFail(func() {
		for _, p := range list {
			p.block = 0
		}
		v.addWaiting(ino, n, logical, logical+uint64(n))
		v.tx.pages -= n
	})
}

// near is where a file's first block is looked for.
func (v *Volume) near(ino Ino) uint64 {
	group, _ := v.g.InodeGroup(uint64(ino))
	return v.g.GroupStart(group) + v.g.GroupTables(group)
}

// needWrite bounds the metadata blocks of writing n bytes to a file: its inode, and what the
// pages that get their blocks later cost then.
func (o *op) needWrite(ino Ino, n int) int {
	v := o.v
	in, err := o.inode(ino)
	if err != nil {
		return 1 // the operation itself will say so
	}
	pages := n/v.g.BlockSize + 2
	return 1 + v.placeNeed(pages) + v.delayOf(ino, &in, pages).index
}

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
		var ready []*page
		if off >= 0 {
			ready = v.prepare(part, uint64(off)+uint64(n))
		}
		err := v.updateNeed(func(o *op) int { return o.needWrite(ino, len(part)) }, func(o *op) error {
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
			if uint64(end) > in.Size {
				if err := o.trimmed(ino); err != nil {
					return err
				}
			}
			if err := o.writePages(ino, &in, part, at, ready); err != nil {
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
