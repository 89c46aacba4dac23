package volume

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"holdfast/journal"
	"holdfast/layout"
)

// The ordered mode: a volume without a journal. An operation runs in memory as it does with
// one, and is cut into steps by op.order; when it has succeeded its steps are written to their
// places, each behind a flush, so that one that fails has changed nothing. Blocks are taken to
// be written whole or not at all. Within a step
//
//   - what nothing durable names goes first: data, new blocks, the bits that mark them used, the
//     checksums of the data (I2, I3 before reachability);
//   - then what says that a part of a table is initialised: the high-water marks of inodes and
//     of groups;
//   - then the blocks that point: inodes, and directory leaves that were there before.
//
// What has to change at once lies in one block: an extent index is copied, not changed, so that
// the inode goes from one to the other; data goes to fresh blocks as always. Blocks are marked
// free when all steps are done, together with the counters; no flush waits for that, for it
// costs a leak or a wrong count only (I4, I9).

// unordered is the error of an operation that no order of steps makes safe.
func unordered(what string) error {
	return fmt.Errorf("%s is not possible without a journal: %w", what, ErrNotSupported)
}

// needsJournal is nil where there is a journal, else the refusal of what.
func (v *Volume) needsJournal(what string) error {
	if v.steps == nil {
		return nil
	}
	return unordered(what)
}

// steps are those of the operation that runs on a volume without a journal.
type steps struct {
	disk    *inPlace
	touched map[uint64]struct{} // blocks changed in this step
	lazy    map[uint64]struct{} // blocks with counters to write at the end
	sent    map[*page]struct{}  // pages that a step has
	freed   []layout.Extent     // by Block and Len: to be marked free at the end
	groups  uint64              // initialised, as the last step that wrote the totals says
	ready   []journal.Tx        // what is to be written, with a flush behind each

	named   map[Ino]struct{}    // directories whose count of names is known to be right
	counted map[uint64]struct{} // groups whose inodes have been counted
}

// begin forgets the operation before.
func (s *steps) begin(groups uint64) {
	s.touched, s.lazy, s.sent = map[uint64]struct{}{}, map[uint64]struct{}{}, map[*page]struct{}{}
	s.freed, s.ready, s.groups = nil, nil, groups
}

// order stands between two steps of an operation that a volume without a journal must bring
// to the disk one after the other: what comes before it, and a flush, before what comes after.
//
// The argument is the classical one, in the rules of Ganger and Patt ("Metadata Update
// Performance in File Systems", OSDI 1994): never point to a structure before it is
// initialised; never reuse a resource before all pointers to it are gone; never reset the
// last pointer to a live resource before a new one is set. A crash between two steps then
// leaves a count too high or something unreachable (I4, I6 high, I8), which is a leak, and
// never a dangling entry or a count too low (I5, I6 low), which is a loss.
//
// With a journal the steps of an operation reach the disk together or not at all, so there
// is nothing to order and order does nothing.
func (o *op) order() error {
	v := o.v
	if v.steps == nil {
		return nil
	}
	s := v.steps
	data, err := o.stepData()
	if err != nil {
		return err
	}
	if v.totals.Groups != s.groups {
		if err := o.putTotals(); err != nil {
			return err
		}
	}
	var first, marks, last []uint64
	for _, no := range slices.Sorted(maps.Keys(s.touched)) {
		t := v.tx.blocks[no]
		switch {
		case t == nil: // freed
		case t.old == nil:
			first = append(first, no)
		case t.kind == layout.KindSums:
			first = append(first, no)
		case t.kind == layout.KindBitmap && layout.Stats(t.data).InodesInit != layout.Stats(t.old).InodesInit:
			marks = append(marks, no)
		case t.kind == layout.KindBitmap && !bytes.Equal(layout.BlockBody(t.data), layout.BlockBody(t.old)):
			first = append(first, no)
		case t.kind == layout.KindTotals && v.totals.Groups != s.groups:
			marks = append(marks, no)
		case t.kind == layout.KindBitmap, t.kind == layout.KindTotals:
			s.lazy[no] = struct{}{}
		default:
			last = append(last, no)
		}
	}
	s.groups = v.totals.Groups
	clear(s.touched)
	clear(v.tx.fresh) // from here on something durable may name them
	for i, list := range [][]uint64{first, marks, last} {
		tx := journal.Tx{Blocks: o.sealed(list)}
		if i == 0 {
			tx.Data = data
		}
		if len(tx.Blocks)+len(tx.Data) > 0 {
			s.ready = append(s.ready, tx)
		}
	}
	return nil
}

// stepData is the data that the step brings, its checksums put into their tables.
func (o *op) stepData() (list []journal.Data, err error) {
	v := o.v
	for _, ino := range slices.Sorted(maps.Keys(v.files)) {
		in, err := o.inode(ino)
		if err != nil {
			return nil, err
		}
		f := v.files[ino]
		for _, l := range slices.Sorted(maps.Keys(f)) {
			p := f[l]
			if _, sent := v.steps.sent[p]; sent {
				continue
			}
			v.steps.sent[p] = struct{}{}
			sum := v.dataSum(p, ino, in.Generation, l)
			b, i, err := o.sumPlace(p.block)
			if err != nil {
				return nil, err
			}
			layout.SetDataSum(b, i, sum)
			list = append(list, journal.Data{Block: p.block, Pages: [][]byte{p.data}})
		}
	}
	return list, nil
}

// sealed is the blocks as they are now, frozen. Each gets a sequence above that of its last
// version.
func (o *op) sealed(list []uint64) (blocks []journal.Block) {
	v := o.v
	seq := v.steps.disk.NextSeq()
	for _, no := range list {
		if t := v.tx.blocks[no]; t.old != nil {
			seq = max(seq, v.lastSeq(t)+1)
		}
		delete(v.steps.lazy, no)
	}
	for _, no := range list {
		t := v.tx.blocks[no]
		if t.kind == layout.KindInodes {
			v.stampInodes(no, t, seq)
		} else {
			layout.SealBlock(t.data, no, seq, v.seeds)
		}
		t.old = bytes.Clone(t.data)
		blocks = append(blocks, journal.Block{No: no, Data: t.old})
		v.steps.disk.seq = seq
	}
	return blocks
}

// lastSeq is the sequence of the last version of a block, or the largest of the inodes in it.
func (v *Volume) lastSeq(t *txBlock) (seq uint64) {
	if t.kind != layout.KindInodes {
		return layout.DecodeHeader(t.old).Seq
	}
	for at := 0; at < len(t.old); at += layout.InodeSize {
		seq = max(seq, layout.InodeSeq(t.old[at:]))
	}
	return seq
}

// conclude ends the last step of an operation, and marks free what it has freed.
func (o *op) conclude() error {
	s := o.v.steps
	if s == nil {
		return nil
	}
	if err := o.order(); err != nil {
		return err
	}
	freed := s.freed
	s.freed = nil
	for _, e := range freed {
		if err := o.clearBits(e.Block, int(e.Len)); err != nil {
			return err
		}
	}
	if err := o.finish(); err != nil {
		return err
	}
	for no := range s.touched {
		s.lazy[no] = struct{}{}
	}
	return nil
}

// writeSteps brings the operation to the disk, and makes the next one begin with nothing in
// memory; mu is held.
func (o *op) writeSteps() error {
	v, s := o.v, o.v.steps
	if s == nil {
		return nil
	}
	lazy := journal.Tx{Blocks: o.sealed(slices.Sorted(maps.Keys(s.lazy)))}
	for i := range s.ready {
		if err := s.disk.Commit(&s.ready[i]); err != nil { // before the next step
			v.fail(err)
			return v.err
		}
	}
	if err := s.disk.write(&lazy); err != nil {
		v.fail(err)
		return v.err
	}
	for no, t := range v.tx.blocks {
		v.cache.changed(no, t.data)
	}
	for no := range v.tx.revoked {
		v.cache.changed(no, nil)
	}
	v.tx, v.files = newTx(), pages{}
	v.durable = v.changes
	return nil
}

// Move is a block to change in place of another: a fresh one with the same content, for what
// points to the old one is on the disk. With a journal, and for what is fresh itself, it is the
// same block.
func (o *op) Move(no uint64, k layout.Kind) (uint64, []byte, error) {
	if _, fresh := o.v.tx.fresh[no]; fresh || o.v.steps == nil {
		p, err := o.Edit(no, k)
		return no, p, err
	}
	old, err := o.Read(no, k)
	if err != nil {
		return 0, nil, err
	}
	to, p, err := o.NewBlock(no)
	if err != nil {
		return 0, nil, err
	}
	copy(p, old)
	return to, p, o.FreeBlock(no)
}

// recountTotals makes the totals agree with the bitmaps: a crash may have left them behind.
// Where a bitmap is damaged they stay as they are.
func (v *Volume) recountTotals() error {
	g, t := &v.g, v.totals
	t.FreeBlocks, t.FreeInodes, t.Dirs = freeBlocks(g), g.Inodes(), 0
	for group := range t.Groups {
		b, err := v.committed(g.BitmapBlock(group), layout.KindBitmap)
		if isMedia(err) {
			return nil
		}
		if err != nil {
			return err
		}
		st := layout.Stats(b)
		t.FreeBlocks -= g.GroupLen(group) - g.GroupTables(group) - uint64(st.FreeBlocks)
		t.FreeInodes -= uint64(st.InodesInit - st.InodesFree)
		t.Dirs += uint64(st.Directories)
	}
	v.totals = t
	return nil
}

// countInodes makes the counters of a group agree with its inode table, at its first change of
// either, and remembers the free slots: the table is what is true (I9).
func (o *op) countInodes(group uint64) error {
	v := o.v
	if v.steps == nil {
		return nil
	}
	if _, done := v.steps.counted[group]; done {
		return nil
	}
	b, err := o.Edit(v.g.BitmapBlock(group), layout.KindBitmap)
	if err != nil {
		return err
	}
	was := layout.Stats(b)
	now := was
	now.InodesFree, now.Directories = 0, 0
	free := []uint32{}
	for i := was.InodesInit; i > 0; i-- {
		var in layout.Inode
		err := o.slot(v.g.InodeNumber(group, i-1), &in)
		switch {
		case err != nil && !isMedia(err):
			return err
		case err != nil: // damaged: it is not given out
		case in.Mode == 0:
			now.InodesFree++
			free = append(free, i-1)
		case in.IsDir():
			now.Directories++
		}
	}
	layout.SetStats(b, now)
	v.totals.FreeInodes += uint64(now.InodesFree) - uint64(was.InodesFree)
	v.totals.Dirs += uint64(now.Directories) - uint64(was.Directories)
	v.freeInodes[group] = free
	v.steps.counted[group] = struct{}{}
	o.onFail(func() { delete(v.steps.counted, group) })
	return nil
}

// countNames makes the count of names in a directory agree with its leaves before an operation
// relies on it: the two lie in different blocks.
func (o *op) countNames(ino Ino, in layout.Inode) (layout.Inode, error) {
	if o.v.steps == nil || !o.write || !in.IsDir() {
		return in, nil
	}
	if _, done := o.v.steps.named[ino]; done {
		return in, nil
	}
	n, err := o.leavesNames(ino, in)
	if isMedia(err) { // who reads the names is told
		return in, nil
	}
	if err != nil {
		return in, err
	}
	if n == in.Names {
		o.v.steps.named[ino] = struct{}{}
	}
	in.Names = n
	return in, nil
}

// leavesNames is how many names the leaves of a directory hold.
func (o *op) leavesNames(ino Ino, in layout.Inode) (n uint32, err error) {
	err = o.dir(ino, &in).Walk(0, func(layout.Dirent, uint64, uint64) (bool, error) { n++; return true, nil })
	return n, err
}

// twoNames reports whether a directory may have two names: a crash inside a rename left it so,
// or left its count too high. Then it keeps its blocks when it loses one of them.
func (o *op) twoNames(in *layout.Inode) bool { return o.v.steps != nil && in.Links > 2 }

// freeHeld destroys what has no name and is still held when the volume is closed: there is no
// orphan list on which it could wait; mu is held.
func (v *Volume) freeHeld() error {
	if v.steps == nil {
		return nil
	}
	for _, ino := range v.holds.all() {
		o := v.newOp(true)
		in, err := o.inode(ino)
		if errors.Is(err, ErrStale) || err == nil && in.Links > 0 {
			continue
		}
		if err == nil {
			err = o.run(func(o *op) error { return o.destroy(ino, &in) }, false)
		}
		if err == nil {
			err = o.writeSteps()
		}
		if err != nil {
			o.rollback()
			return err
		}
	}
	return nil
}
