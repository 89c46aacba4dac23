package volume

import (
	"errors"
	"fmt"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume/internal/dirs"
)

// txBlock is a metadata block as the running transaction has it.
type txBlock struct {
	data []byte
	old  []byte // the last committed version, frozen; nil: fresh, its base is zero
	kind layout.Kind
}

// tx is what has changed since the last commit: whole operations only.
type tx struct {
	blocks  map[uint64]*txBlock
	revoked map[uint64]struct{} // metadata blocks freed, as the log must know
	fresh   map[uint64]struct{} // blocks allocated here: nothing durable names them
	freed   []uint64            // blocks freed that were in use before: not to be reused until this is settled
	pages   int                 // pages with a block
	changed bool
	kept    bool // its data could not be written ahead, and waits for its commit
}

func newTx() *tx {
	return &tx{blocks: map[uint64]*txBlock{}, revoked: map[uint64]struct{}{}, fresh: map[uint64]struct{}{}}
}

// op is one operation: a view of the volume and, when it changes something, of the running
// transaction. What it did is undone when it fails.
type op struct {
	v       *Volume
	write   bool
	deep    bool                // may use the blocks kept back: it frees or replaces more than it takes
	touched map[uint64]struct{} // blocks whose version before this operation is in undo
	undo    []func()
	copies  [][]byte // of blocks, that undo would put back
	totals0 layout.Totals
	delay0  delay
	time    layout.Time
	timed   bool
	read    viewBlocks             // of a read-only operation
	buf     [layout.InodeSize]byte // the inode that is being read
	spot    spot                   // where
	page    []byte                 // a block of which a part is read
	din     layout.Inode           // scratch of a view: the directory that it is about
	dirRoom [2]dirs.Dir            // for its directories
	dirs    int                    // so many of them are in use
	hinted  []Ino                  // directories whose hint it has used
	din0    *layout.Inode          // of the directory that a change was last about
	dir0    *dirs.Dir              // that directory
}

// newOp begins an operation that may change something; mu is held.
func (v *Volume) newOp(deep bool) *op {
	if v.steps != nil {
		v.steps.begin(v.totals.Groups)
	}
	return &op{v: v, write: true, deep: deep, touched: map[uint64]struct{}{}, totals0: v.totals, delay0: v.delay}
}

func (o *op) geometry() *layout.Geometry { return &o.v.g }

// now is the time of the operation.
func (o *op) now() layout.Time {
	if !o.timed {
		o.time, o.timed = toTime(o.v.clock()), true
	}
	return o.time
}

// onFail registers how to take back a change in memory.
func (o *op) onFail(f func()) { o.undo = append(o.undo, f) }

func (o *op) rollback() {
	for i := len(o.undo) - 1; i >= 0; i-- {
		o.undo[i]()
	}
	o.undo = nil
	o.v.hints.forget(o.hinted)
	o.v.totals, o.v.delay = o.totals0, o.delay0
	o.v.todo = nil
}

// changed reports whether the operation has changed anything.
func (o *op) changed() bool { return len(o.undo) > 0 || o.v.totals != o.totals0 }

// trimFirst is the error of an operation that must wait until the blocks behind the end of an
// inode, cut off by an earlier operation, have been freed. It never leaves the package.
type trimFirst struct{ ino Ino }

func (e *trimFirst) Error() string { return fmt.Sprintf("inode %d is being truncated", e.ino) }

// update runs one operation in the running transaction. need bounds the metadata blocks it
// may touch. An operation that fails has changed nothing.
func (v *Volume) update(need int, fn func(o *op) error) error {
	return v.updateNeed(func(*op) int { return need }, fn)
}

// updateNeed is update where the bound depends on the state that the operation finds.
func (v *Volume) updateNeed(need func(o *op) int, fn func(o *op) error) error {
	if v.readOnly {
		return ErrReadOnly
	}
	for {
		todo, err := v.change(need, false, fn)
		var first *trimFirst
		if errors.As(err, &first) {
			if err := v.trim(first.ino); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return public(err)
		}
		for _, ino := range todo {
			// The operation is done. What cannot be freed now stays on the orphan list.
			_ = v.trim(ino)
		}
		return nil
	}
}

// change runs one operation, and returns the inodes whose blocks it has left to be freed. The
// running transaction is committed before where the log could overflow, and, for their freed
// blocks, everything before ENOSPC.
func (v *Volume) change(need func(o *op) int, deep bool, fn func(o *op) error) ([]Ino, error) {
	for settled := false; ; {
		v.mu.Lock()
		todo, err := v.try(need, deep, fn)
		due := err == nil && v.aheadDue()
		v.mu.Unlock()
		if due {
			v.writeAheadSoon()
		}
		if err == errFull && v.writeAhead() != nil { //nolint:errorlint // it is never wrapped
			err = errCommit
		}
		switch {
		case err == errFull: //nolint:errorlint // it is never wrapped
		case err == errCommit: //nolint:errorlint // it is never wrapped
			if err := v.commit(v.lastChange()); err != nil {
				return nil, err
			}
		case errors.Is(err, ErrNoSpace) && !settled && v.wasted():
			settled = true
			if err := v.settle(); err != nil {
				return nil, err
			}
		default:
			return todo, err
		}
	}
}

// errCommit asks for a commit and another try, errFull for the data that waits to be written first.
var (
	errCommit = errors.New("commit first")
	errFull   = errors.New("write data first")
)

// wasted reports whether a commit would make blocks available: what is freed but not settled,
// what is reserved but not needed.
func (v *Volume) wasted() bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.busyCount > 0 || v.unalloc > 0
}

// try is one attempt of change; mu is held.
func (v *Volume) try(need func(o *op) int, deep bool, fn func(o *op) error) ([]Ino, error) {
	if err := v.usable(); err != nil {
		return nil, err
	}
	v.release()
	if v.unalloc == 0 {
		v.delay = delay{}
	}
	if v.dirtyBytes() > v.opt.dirtyBytes() {
		return nil, errFull
	}
	o := v.newOp(deep)
	n, limit := need(o), v.log.MaxTx()
	if v.unalloc > 0 && (v.unalloc > maxUnallocated || v.logNeed(n) > limit) {
		// What waits is given its blocks now: the bound on what that costs becomes the cost.
		if err := v.place(); err != nil {
			return nil, err
		}
		o = v.newOp(deep)
	}
	tight := v.logNeed(n) > limit
	if tight && v.tx.changed {
		return nil, errCommit
	}
	err := o.run(fn, tight)
	if err == errTight && !v.tx.changed { //nolint:errorlint // it is never wrapped
		o.rollback()
		o = v.newOp(deep)
		err = o.run(fn, true)
	}
	if err == errTight { //nolint:errorlint // it is never wrapped
		err = errCommit
		if !v.tx.changed {
			err = fmt.Errorf("the operation is larger than the log allows: %w", ErrNoSpace)
		}
	}
	if err != nil {
		o.rollback()
		return nil, err
	}
	if o.changed() {
		v.tx.changed = true
		v.changes++
		v.commitSoon()
		if err := o.writeSteps(); err != nil {
			return nil, err
		}
	}
	v.spare = append(v.spare, o.copies[:min(len(o.copies), maxSpare-len(v.spare))]...) // nothing undoes it any more
	todo := v.todo
	v.todo = nil
	return todo, nil
}

// maxSpare is how many blocks are kept for the next operations to copy into.
const maxSpare = 32

// spareBlock is an empty slice with room for a block, maybe one that an earlier operation is done with.
func (v *Volume) spareBlock() []byte {
	last := len(v.spare) - 1
	if last < 0 {
		return make([]byte, 0, v.g.BlockSize)
	}
	p := v.spare[last]
	v.spare = v.spare[:last]
	return p[:0]
}

// errTight says that the log may not hold the running transaction.
var errTight = errors.New("larger than the log allows")

// run is the operation itself. tight: no bound says that its pages will fit into the log, so
// they get their blocks now, and what that costs is seen.
func (o *op) run(fn func(o *op) error, tight bool) error {
	if err := fn(o); err != nil {
		return err
	}
	if tight && o.v.unalloc > 0 {
		if err := o.placePages(); err != nil {
			return err
		}
	}
	if err := o.conclude(); err != nil {
		return err
	}
	if err := o.finish(); err != nil {
		return err
	}
	if o.changed() && o.v.logNeed(0) > o.v.log.MaxTx() {
		return errTight
	}
	return nil
}

// finish writes the totals into their block if the operation changed them.
func (o *op) finish() error {
	if o.v.totals == o.totals0 {
		return nil
	}
	return o.putTotals()
}

func (o *op) putTotals() error {
	b, err := o.Edit(o.v.g.TotalsBlock(), layout.KindTotals)
	if err != nil {
		return err
	}
	layout.EncodeTotals(b, &o.v.totals)
	return nil
}

// lookup finds the newest version of a metadata block; the slice is not to be changed.
func (v *Volume) lookup(no uint64, k layout.Kind) ([]byte, error) {
	if t := v.tx.blocks[no]; t != nil {
		return t.data, nil
	}
	return v.committed(no, k)
}

// held is the newest version of a metadata block if it is not on the device yet, else nil.
func (v *Volume) held(no uint64) []byte {
	if t := v.tx.blocks[no]; t != nil {
		return t.data
	}
	return v.sent(no)
}

// sent is held without the running transaction.
func (v *Volume) sent(no uint64) []byte {
	if v.committing != nil {
		if t := v.committing.blocks[no]; t != nil {
			return t.data
		}
	}
	if v.log != nil {
		return v.log.Pending(no)
	}
	return nil
}

// committed is lookup without the running transaction; the slice is frozen.
func (v *Volume) committed(no uint64, k layout.Kind) ([]byte, error) {
	if p := v.sent(no); p != nil {
		return p, nil
	}
	if p := v.cache.get(no); p != nil {
		return p, nil
	}
	gen := v.cache.generation(no)
	p := make([]byte, v.g.BlockSize)
	if err := v.fetch(no, k, p, new(spot)); err != nil {
		return nil, err
	}
	v.cache.put(no, p, gen)
	return p, nil
}

// spot is the place of a checked read. Where reads are many it is kept from one to the next: as
// an argument to a device it would be on the heap each time.
type spot [1]int64

func (s *spot) at(off int64) []int64 { s[0] = off; return s[:] }

// fetch fills p with a metadata block from the device, verified.
func (v *Volume) fetch(no uint64, k layout.Kind, p []byte, s *spot) error {
	if no >= v.g.Blocks {
		return layout.Corrupt(k.String(), no, 0, "a block number beyond the volume", nil)
	}
	if k == layout.KindInodes {
		return v.readInodes(no, p)
	}
	_, err := v.dev.ReadChecked(p, disk.Check{Seed: v.seeds.Block(no), Want: layout.Residue, Version: layout.BlockVersion}, s.at(int64(no)*int64(v.g.BlockSize))...)
	if errors.Is(err, disk.ErrChecksum) {
		return layout.Corrupt(k.String(), no, v.g.BlockSize-4, "checksum does not match", nil)
	}
	if err != nil {
		return fmt.Errorf("%v (block %d): %w", k, no, ioError(err))
	}
	if h := layout.DecodeHeader(p); h.Kind != k {
		return layout.Corrupt(k.String(), no, 0, h.Kind.String(), k.String())
	}
	return nil
}

// save keeps the version of a block of the transaction before this operation.
func (o *op) save(no uint64, t *txBlock) {
	if o.v.steps != nil {
		o.v.steps.touched[no] = struct{}{}
	}
	if _, ok := o.touched[no]; ok {
		return
	}
	o.touched[no] = struct{}{}
	if t == nil {
		o.onFail(func() { delete(o.v.tx.blocks, no) })
		return
	}
	before := append(o.v.spareBlock(), t.data...)
	o.copies = append(o.copies, before)
	o.onFail(func() { t.data = before; o.v.tx.blocks[no] = t })
}

// Edit is a copy of a metadata block that belongs to the running transaction.
func (o *op) Edit(no uint64, k layout.Kind) ([]byte, error) {
	t := o.v.tx.blocks[no]
	if t != nil {
		o.save(no, t)
		return t.data, nil
	}
	old, err := o.v.committed(no, k)
	if err != nil {
		return nil, err
	}
	o.save(no, nil)
	t = &txBlock{data: append([]byte(nil), old...), old: old, kind: k}
	o.v.tx.blocks[no] = t
	return t.data, nil
}

// adopt makes a fresh zeroed block part of the transaction.
func (o *op) adopt(no uint64, k layout.Kind) []byte {
	o.save(no, o.v.tx.blocks[no])
	t := &txBlock{data: make([]byte, o.v.g.BlockSize), kind: k}
	o.v.tx.blocks[no] = t
	return t.data
}

// NewBlock allocates a metadata block, zeroed.
func (o *op) NewBlock(near uint64) (uint64, []byte, error) {
	no, _, err := o.alloc(near, 1)
	if err != nil {
		return 0, nil, err
	}
	return no, o.adopt(no, ^layout.Kind(0)), nil
}

// FreeBlock frees a metadata block. The log is told, so that an older version of it never
// overwrites what the block is used for next.
func (o *op) FreeBlock(no uint64) error {
	t := o.v.tx.blocks[no]
	if t != nil {
		o.save(no, t)
		delete(o.v.tx.blocks, no)
	}
	if _, fresh := o.v.tx.fresh[no]; !fresh {
		if _, ok := o.v.tx.revoked[no]; !ok {
			o.v.tx.revoked[no] = struct{}{}
			o.onFail(func() { delete(o.v.tx.revoked, no) })
		}
	}
	return o.free(no, 1)
}

// delay is what the pages that wait for a block may cost beside that block.
type delay struct {
	index int // index blocks that are touched, for the log
	space int // index blocks that are new, for the space
}

// logNeed bounds the payload of the running transaction after an operation of need more blocks,
// once the pages that wait have theirs.
func (v *Volume) logNeed(need int) int {
	if v.unalloc > 0 {
		need += v.placeNeed(v.unalloc) + v.delay.index
	}
	return v.logHas(need)
}

// logHas is logNeed without what the pages that wait may cost. That bound is many times what they
// do cost in the end, so it is no reason to commit.
func (v *Volume) logHas(need int) int {
	block := v.g.BlockSize + 16
	pages := min(v.tx.pages+v.unalloc, 1<<20/v.g.BlockSize)
	return (len(v.tx.blocks)+need)*block + len(v.tx.revoked)*12 + pages*36 + layout.CommitSize
}

// placeNeed bounds the blocks that giving n pages their blocks touches, beside extent indexes:
// checksum tables, bitmaps of what is taken and of what is replaced, the tables of a new
// group, the totals.
func (v *Volume) placeNeed(n int) int {
	g := &v.g
	groups := min(v.totals.Groups+1, g.Groups)
	return int(min(uint64(n), groups*g.SumBlocks(0))+min(2*uint64(n), groups)) + 1
}
