package volume

import (
	"maps"
	"slices"

	"holdfast/journal"
	"holdfast/layout"
)

// lastChange is the number of the last operation that changed something.
func (v *Volume) lastChange() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.changes
}

// commit makes every operation up to number want durable. Callers that come while a commit is
// under way share the next one: an fsync that finds itself covered does nothing.
func (v *Volume) commit(want uint64) error {
	v.commitMu.Lock()
	defer v.commitMu.Unlock()
	jtx, covers, err := v.cut(want)
	if jtx == nil {
		return err
	}

	err = v.log.Commit(jtx) // the commit point: when it returns nil, everything before is durable

	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil { // what was to be committed stays visible, and nothing more is accepted
		v.fail(err)
		return v.err
	}
	t := v.committing
	v.recycle(v.committingPages)
	v.committing, v.committingPages = nil, nil
	v.durable = covers
	for no, b := range t.blocks {
		v.cache.changed(no, b.data)
	}
	for no := range t.revoked {
		v.cache.changed(no, nil)
	}
	if len(t.freed) > 0 {
		v.freed = append(v.freed, waiting{v.sealing, t.freed})
	}
	v.release()
	return nil
}

// cut ends the running transaction for a commit that has to cover operation want, and says which
// operations it covers; nil if there is nothing to do.
func (v *Volume) cut(want uint64) (jtx *journal.Tx, covers uint64, err error) {
	v.aheadMu.Lock()
	defer v.aheadMu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.committable(); err != nil {
		return nil, 0, err
	}
	if v.durable >= want || !v.tx.changed {
		return nil, 0, nil
	}
	if jtx, err = v.freeze(); err != nil {
		v.fail(err)
		return nil, 0, v.err
	}
	return jtx, v.changes, nil
}

// commitSoon begins a commit in the background if the running transaction fills half of what one
// may have and none is under way there; its failure stops the volume, and so is the answer to the
// next change. mu is held.
func (v *Volume) commitSoon() {
	if !v.opt.Background || v.logHas(0) < v.log.MaxTx()/2 || !v.background.CompareAndSwap(false, true) {
		return
	}
	want := v.changes
	go func() {
		_ = v.commit(want)
		v.background.Store(false)
	}()
}

// freeze ends the running transaction: it places the delayed pages, stamps and seals every
// block, and makes the next transaction the running one. Nothing in it changes any more.
func (v *Volume) freeze() (*journal.Tx, error) {
	if err := v.place(); err != nil {
		return nil, err
	}
	t := v.tx
	seq := v.log.NextSeq()
	v.sealing = seq
	jtx := &journal.Tx{}
	o := v.newOp(true)
	var err error
	if jtx.Data, err = o.data(); err != nil {
		return nil, err
	}
	for _, no := range slices.Sorted(maps.Keys(t.blocks)) {
		b := t.blocks[no]
		if b.kind == layout.KindInodes {
			v.stampInodes(no, b, seq)
		} else {
			layout.SealBlock(b.data, no, seq, v.seeds)
		}
		jtx.Blocks = append(jtx.Blocks, journal.Block{No: no, Data: b.data, Old: b.old})
	}
	jtx.Revoked = slices.Sorted(maps.Keys(t.revoked))
	v.committing, v.committingPages = t, v.files
	v.tx, v.files = newTx(), pages{}
	return jtx, nil
}

// stampInodes gives the inodes that this transaction changed its sequence.
func (v *Volume) stampInodes(no uint64, b *txBlock, seq uint64) {
	group, _ := v.g.GroupOf(no)
	per := v.g.InodesPerBlock()
	first := v.g.InodeNumber(group, uint32(no-v.g.InodeTable(group))*uint32(per))
	for i := range per {
		p := b.data[i*layout.InodeSize : (i+1)*layout.InodeSize]
		if b.old == nil || string(p) != string(b.old[i*layout.InodeSize:(i+1)*layout.InodeSize]) {
			layout.StampInode(p, first+uint64(i), seq, v.seeds)
		}
	}
}

// settle commits everything and lets the log attest it, so that freed blocks can be used.
func (v *Volume) settle() error {
	if err := v.commit(v.lastChange()); err != nil {
		return err
	}
	return v.bring(v.log.Attest)
}

// bring has the log write what is committed, and takes note of what is free then.
func (v *Volume) bring(write func() error) error {
	v.commitMu.Lock()
	defer v.commitMu.Unlock()
	err := write()
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.fail(err)
		return v.err
	}
	v.release()
	return nil
}

// Fsync makes durable what has been done to an inode, and with it everything done before.
func (v *Volume) Fsync(ino Ino) error {
	if err := v.view(func(o *op) error { _, err := o.inode(ino); return err }); err != nil {
		return err
	}
	return v.Sync()
}

// Sync makes every completed operation durable.
func (v *Volume) Sync() error {
	if v.readOnly {
		return nil
	}
	return v.commit(v.lastChange())
}
