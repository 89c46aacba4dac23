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
	v.mu.Lock()
	if err := v.committable(); err != nil {
		v.mu.Unlock()
		return err
	}
	if v.durable >= want || !v.tx.changed {
		v.mu.Unlock()
		return nil
	}
	jtx, err := v.freeze()
	if err != nil {
		v.fail(err)
		v.mu.Unlock()
		return v.err
	}
	covers := v.changes
	v.mu.Unlock()

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

// commitSoon begins a commit in the background if much data waits and none is under way there; its
// failure stops the volume, and so is the answer to the next change. mu is held.
func (v *Volume) commitSoon() {
	if !v.opt.Background || v.dirtyBytes() < max(1, v.opt.dirtyBytes()/8) || !v.background.CompareAndSwap(false, true) {
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
	gen := map[Ino]uint32{}
	for _, ino := range slices.Sorted(maps.Keys(v.files)) {
		in, err := o.inode(ino)
		if err != nil {
			return nil, err
		}
		gen[ino] = in.Generation
		f := v.files[ino]
		var b []byte // the checksum table of the page before
		last := uint64(0)
		for _, l := range slices.Sorted(maps.Keys(f)) {
			p := f[l]
			sum := v.dataSum(p, ino, gen[ino], l)
			table, i := v.g.SumPlace(p.block)
			if b == nil || table != last {
				if b, err = o.Edit(table, layout.KindSums); err != nil {
					return nil, err
				}
				last = table
			}
			layout.SetDataSum(b, i, sum)
			if n := len(jtx.Data); n > 0 {
				d := &jtx.Data[n-1]
				k := uint64(len(d.Sums))
				if d.Ino == uint64(ino) && d.Block+k == p.block && d.Logical+k == l && k < 4096 {
					d.Sums = append(d.Sums, sum)
					d.Pages = append(d.Pages, p.data)
					continue
				}
			}
			jtx.Data = append(jtx.Data, journal.Data{Block: p.block, Ino: uint64(ino), Logical: l, Gen: gen[ino],
				Pages: [][]byte{p.data}, Sums: []uint32{sum}})
		}
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
