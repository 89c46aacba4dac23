package volume

import (
	"maps"
	"slices"

	"holdfast/journal"
	"holdfast/layout"
)

// aheadMost is how much data waits at most before it is written ahead, in bytes: more than what a commit lists. With
// 8 MiB a stream is a tenth slower.
const aheadMost = 2 << 20

// aheadDue reports whether so much data waits that it is written ahead of its commit; mu is held.
// Without a journal every operation writes its own. Where it has failed it is not tried again with
// each operation: all that waits would be written each time.
func (v *Volume) aheadDue() bool {
	return v.dirtyBytes() >= min(max(1, v.opt.dirtyBytes()/8), aheadMost) && v.steps == nil && !v.tx.kept
}

// writeAheadSoon is writeAhead, with Background in the background, once at a time; what is due may have
// been done, or failed, since it was seen to be.
func (v *Volume) writeAheadSoon() {
	write := func() {
		v.mu.RLock()
		due := v.aheadDue()
		v.mu.RUnlock()
		if due {
			_ = v.writeAhead()
		}
	}
	switch {
	case !v.opt.Background:
		write()
	case v.writing.CompareAndSwap(false, true):
		go func() {
			defer v.writing.Store(false)
			write()
		}()
	}
}

// writeAhead writes what data waits to the blocks where it belongs, and then forgets it: who reads
// it finds it there, as if it had been committed. Nothing durable names these blocks, so a crash
// loses what the commit would have made of them, and no more. An error is left for the commit to
// meet again: until then the data is in memory.
func (v *Volume) writeAhead() error {
	v.aheadMu.Lock()
	defer v.aheadMu.Unlock()
	list, err := v.ready()
	if err != nil || len(list) == 0 {
		return err
	}
	err = v.log.WriteAhead(list, &v.aheadRoom)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.tx.kept = true
		return err
	}
	for i := range list {
		d := &list[i]
		f := v.files[Ino(d.Ino)]
		for k, data := range d.Pages {
			l := d.Logical + uint64(k)
			// Not what has been replaced, cut off or moved to other blocks since.
			if p := f[l]; p != nil && p.block == d.Block+uint64(k) && &p.data[0] == &data[0] {
				delete(f, l)
				v.tx.pages--
				v.pagePool.Put(p)
			}
		}
		if f != nil && len(f) == 0 {
			delete(v.files, Ino(d.Ino))
		}
	}
	return nil
}

// ready gives all data that waits its blocks, and says where it goes.
func (v *Volume) ready() ([]journal.Data, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.usable(); err != nil {
		return nil, err
	}
	if err := v.place(); err != nil {
		return nil, err
	}
	o := v.newOp(true)
	list, err := o.data()
	if err != nil {
		o.rollback()
	}
	return list, err
}

// data is the data of the running transaction, in order, with its checksums, which the tables get
// now. All of it has its blocks.
func (o *op) data() (list []journal.Data, err error) {
	v := o.v
	for _, ino := range slices.Sorted(maps.Keys(v.files)) {
		in, err := o.inode(ino)
		if err != nil {
			return nil, err
		}
		f := v.files[ino]
		var b []byte // the checksum table of the page before
		last := uint64(0)
		for _, l := range slices.Sorted(maps.Keys(f)) {
			p := f[l]
			sum := v.dataSum(p, ino, in.Generation, l)
			table, i := v.g.SumPlace(p.block)
			if b == nil || table != last {
				if b, err = o.Edit(table, layout.KindSums); err != nil {
					return nil, err
				}
				last = table
			}
			layout.SetDataSum(b, i, sum)
			if n := len(list); n > 0 {
				d := &list[n-1]
				k := uint64(len(d.Sums))
				if d.Ino == uint64(ino) && d.Block+k == p.block && d.Logical+k == l && k < 4096 {
					d.Sums = append(d.Sums, sum)
					d.Pages = append(d.Pages, p.data)
					continue
				}
			}
			list = append(list, journal.Data{Block: p.block, Ino: uint64(ino), Logical: l, Gen: in.Generation,
				Pages: [][]byte{p.data}, Sums: []uint32{sum}})
		}
	}
	return list, nil
}
