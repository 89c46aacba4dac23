package volume

import (
	"errors"
	"fmt"

	"holdfast/disk"
	"holdfast/layout"
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
}

func newTx() *tx {
	return &tx{blocks: map[uint64]*txBlock{}, revoked: map[uint64]struct{}{}, fresh: map[uint64]struct{}{}}
}

// op is one operation: a view of the volume and, when it changes something, of the running
// transaction. What it did is undone when it fails.
type op struct {
	v       *Volume
	write   bool
	deep    bool                // may use the blocks kept back: it frees more than it takes
	touched map[uint64]struct{} // blocks whose version before this operation is in undo
	undo    []func()
	totals0 layout.Totals
}

func (o *op) geometry() *layout.Geometry { return &o.v.g }

// now is the time of the operation.
func (o *op) now() layout.Time { return toTime(o.v.clock()) }

// onFail registers how to take back a change in memory.
func (o *op) onFail(f func()) { o.undo = append(o.undo, f) }

func (o *op) rollback() {
	for i := len(o.undo) - 1; i >= 0; i-- {
		o.undo[i]()
	}
	o.v.totals = o.totals0
	o.v.todo = nil
}

// view runs a read-only operation, beside others.
func (v *Volume) view(fn func(o *op) error) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed {
		return ErrClosed
	}
	return fn(&op{v: v})
}

// update runs one operation in the running transaction. need bounds the metadata blocks it
// may touch. An operation that fails has changed nothing.
func (v *Volume) update(need int, fn func(o *op) error) error {
	return v.updateDeep(need, false, fn)
}

func (v *Volume) updateDeep(need int, deep bool, fn func(o *op) error) error {
	if v.readOnly {
		return ErrReadOnly
	}
	retried := false
	for {
		v.mu.Lock()
		if err := v.usable(); err != nil {
			v.mu.Unlock()
			return err
		}
		if v.logNeed(need) > v.log.MaxTx() {
			if !v.tx.changed {
				v.mu.Unlock()
				return fmt.Errorf("operation of %d blocks does not fit into the log: %w", need, ErrNoSpace)
			}
			v.mu.Unlock()
			if err := v.commit(v.lastChange()); err != nil {
				return err
			}
			continue
		}
		v.release()
		o := &op{v: v, write: true, deep: deep, touched: map[uint64]struct{}{}, totals0: v.totals}
		err := fn(o)
		if err == nil {
			err = o.finish()
		}
		if err != nil {
			o.rollback()
			gain := v.busyCount > 0 || v.unalloc > 0
			v.mu.Unlock()
			if !errors.Is(err, ErrNoSpace) || retried || !gain {
				return err
			}
			// Before ENOSPC: what is freed but not settled, and what is reserved but not
			// needed, becomes available.
			retried = true
			if err := v.settle(); err != nil {
				return err
			}
			continue
		}
		if len(o.touched) > 0 || len(o.undo) > 0 {
			v.tx.changed = true
			v.change++
		}
		tooMany := v.unalloc > maxUnallocated
		if tooMany {
			err = v.place()
		}
		full := v.dirtyBytes() > v.opt.dirtyBytes()
		todo := v.todo
		v.todo = nil
		v.mu.Unlock()
		if err != nil {
			return err
		}
		for _, ino := range todo {
			if err := v.continueFree(ino); err != nil {
				return err
			}
		}
		if full {
			return v.commit(v.lastChange())
		}
		return nil
	}
}

// finish writes the totals into their block if the operation changed them.
func (o *op) finish() error {
	if o.v.totals == o.totals0 {
		return nil
	}
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

// committed is lookup without the running transaction; the slice is frozen.
func (v *Volume) committed(no uint64, k layout.Kind) ([]byte, error) {
	if v.committing != nil {
		if t := v.committing.blocks[no]; t != nil {
			return t.data, nil
		}
	}
	if v.log != nil {
		if p := v.log.Pending(no); p != nil {
			return p, nil
		}
	}
	if no >= v.g.Blocks {
		return nil, layout.Corrupt(k.String(), no, 0, "a block number beyond the volume", nil)
	}
	if p := v.cache.get(no); p != nil {
		return p, nil
	}
	gen := v.cache.generation()
	p := make([]byte, v.g.BlockSize)
	off := int64(no) * int64(v.g.BlockSize)
	if k == layout.KindInodes { // each inode is checked when it is decoded
		if err := disk.ReadFull(v.dev, p, off); err != nil {
			return nil, fmt.Errorf("%v (block %d): %w", k, no, ioError(err))
		}
	} else {
		_, err := v.dev.ReadChecked(p, disk.Check{Seed: v.seeds.Block(no), Want: layout.Residue}, off)
		if errors.Is(err, disk.ErrChecksum) {
			return nil, layout.Corrupt(k.String(), no, v.g.BlockSize-4, "checksum does not match", nil)
		}
		if err != nil {
			return nil, fmt.Errorf("%v (block %d): %w", k, no, ioError(err))
		}
		if h := layout.DecodeHeader(p); h.Kind != k {
			return nil, layout.Corrupt(k.String(), no, 0, h.Kind.String(), k.String())
		}
	}
	v.cache.put(no, p, gen)
	return p, nil
}

// Read is the newest version of a metadata block, verified; it must not be changed.
func (o *op) Read(no uint64, k layout.Kind) ([]byte, error) { return o.v.lookup(no, k) }

// save keeps the version of a block of the transaction before this operation.
func (o *op) save(no uint64, t *txBlock) {
	if _, ok := o.touched[no]; ok {
		return
	}
	o.touched[no] = struct{}{}
	if t == nil {
		o.onFail(func() { delete(o.v.tx.blocks, no) })
		return
	}
	before := append([]byte(nil), t.data...)
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

// logNeed bounds the payload of the running transaction after an operation of need blocks.
func (v *Volume) logNeed(need int) int {
	block := v.g.BlockSize + 16
	waiting := v.unalloc
	if waiting > 0 {
		n := uint64(waiting)
		need += int(min(n, v.totals.Groups*v.g.SumBlocks(0))+min(n, v.totals.Groups)) +
			2*len(v.files) + 2*waiting/max(1, layout.NodeEntries(v.g.BlockSize)/2)
	}
	pages := min(v.tx.pages+waiting, 1<<20/v.g.BlockSize)
	return (len(v.tx.blocks)+need)*block + len(v.tx.revoked)*12 + pages*36 + layout.CommitSize
}
