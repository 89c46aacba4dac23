package volume

import (
	"sync"

	"holdfast/layout"
)

// maxViewBlocks is how many blocks a view keeps: a path through an index, and what lies at its
// end, is no longer.
const maxViewBlocks = 16

// viewBlocks are the metadata blocks that a read-only operation has read from the device, for
// as long as it runs: where there is no cache it reads each of them once, and into memory that
// the next operation uses again.
type viewBlocks struct {
	list []viewBlock
	n    int // in use
}

type viewBlock struct {
	no   uint64
	kind layout.Kind
	p    []byte
}

// get is a block that has been read as this kind, or nil.
func (b *viewBlocks) get(no uint64, k layout.Kind) []byte {
	for i := range b.list[:b.n] {
		if x := &b.list[i]; x.no == no && x.kind == k {
			return x.p
		}
	}
	return nil
}

// room is memory for one more block of this size, nil if no more are kept. put says what was
// read into it.
func (b *viewBlocks) room(size int) []byte {
	if b.n == maxViewBlocks {
		return nil
	}
	if b.n == len(b.list) {
		b.list = append(b.list, viewBlock{})
	}
	x := &b.list[b.n]
	if len(x.p) != size {
		x.p = make([]byte, size)
	}
	return x.p
}

func (b *viewBlocks) put(no uint64, k layout.Kind) {
	x := &b.list[b.n]
	x.no, x.kind = no, k
	b.n++
}

var views = sync.Pool{New: func() any { return new(op) }}

// view runs a read-only operation, beside others. What it reads is valid until it ends.
func (v *Volume) view(fn func(o *op) error) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed {
		return ErrClosed
	}
	o := views.Get().(*op)
	o.v = v
	defer func() {
		o.v, o.read.n, o.dirs = nil, 0, 0
		views.Put(o)
	}()
	return public(fn(o))
}

// Read is the newest version of a metadata block, verified; it must not be changed, and is
// valid until the operation ends.
func (o *op) Read(no uint64, k layout.Kind) ([]byte, error) {
	if o.write || o.v.cache != nil {
		return o.v.lookup(no, k)
	}
	if p := o.v.held(no); p != nil {
		return p, nil
	}
	if p := o.read.get(no, k); p != nil {
		return p, nil
	}
	p := o.read.room(o.v.g.BlockSize)
	if p == nil {
		return o.v.lookup(no, k)
	}
	if err := o.v.fetch(no, k, p, &o.spot); err != nil {
		return nil, err
	}
	o.read.put(no, k)
	return p, nil
}
