package volume

import (
	"errors"
	"sync"

	"holdfast/layout"
)

// entryOf is an entry as callers see it.
func entryOf(e *layout.Dirent, next uint64) DirEntry {
	return DirEntry{Name: string(e.Name), Ino: Ino(e.Ino), Type: uint16(e.Type) << 12, Next: next}
}

// readBatch is how many entries of a directory are taken at a time.
const readBatch = 64

// batch is what one view of a directory has seen.
type batch struct {
	list []listed
	more bool // there may be others behind them
}

// listed is an entry and, where they are asked for, the attributes of what it names.
type listed struct {
	DirEntry
	attr Attr
	err  error // why there are none
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// done gives the batch back.
func (b *batch) done() {
	clear(b.list)
	b.list = b.list[:0]
	batches.Put(b)
}

// ReadDir calls fn for the entries of dir from position pos on (0: from the first) until fn
// returns false. "." and ".." are not among them. A position stays good while names come and
// go: an entry that is there from the first call to the last is seen exactly once, one that
// comes or goes meanwhile at most once. The order is that of places in the directory.
//
// fn is called without any lock held and may use the volume. A directory that is removed
// meanwhile has no more entries.
//
// Errors: ErrNotDir, ErrStale.
func (v *Volume) ReadDir(dir Ino, pos uint64, fn func(DirEntry) bool) error {
	return v.readDir(dir, pos, false, func(e *listed) bool { return fn(e.DirEntry) })
}

// ReadDirPlus is ReadDir with the attributes of what each entry names, as they are at the same
// moment as the entry: what Lookup of the name would say, without looking for it. An inode
// that cannot be read, or is not what the entry says, is no end: its error, as Lookup has it,
// comes in place of its attributes.
func (v *Volume) ReadDirPlus(dir Ino, pos uint64, fn func(e DirEntry, a Attr, err error) bool) error {
	return v.readDir(dir, pos, true, func(e *listed) bool { return fn(e.DirEntry, e.attr, e.err) })
}

func (v *Volume) readDir(dir Ino, pos uint64, plus bool, fn func(*listed) bool) error {
	b := batches.Get().(*batch)
	defer b.done()
	var generation uint32
	for first := true; ; first = false {
		b.list, b.more = b.list[:0], false
		err := v.view(func(o *op) error {
			in, err := o.directory(dir)
			if !first && (errors.Is(err, ErrStale) || errors.Is(err, ErrNotDir) || err == nil && in.Generation != generation) {
				return nil // gone since the last batch
			}
			if err != nil {
				return err
			}
			generation = in.Generation
			return o.batch(dir, &in, pos, plus, b)
		})
		for i := range b.list { // what was read before an error is good
			if !fn(&b.list[i]) {
				return nil
			}
		}
		if err != nil || !b.more {
			return err
		}
		pos = b.list[len(b.list)-1].Next
	}
}

// batch fills b with the entries of a directory, whose inode is in, from pos on.
func (o *op) batch(dir Ino, in *layout.Inode, pos uint64, plus bool, b *batch) error {
	o.din = *in
	return o.dir(dir, &o.din).Walk(pos, func(e layout.Dirent, _, next uint64) (bool, error) {
		x := listed{DirEntry: entryOf(&e, next)}
		if plus {
			child, err := o.child(dir, &e)
			if x.err = public(err); err == nil {
				x.attr = o.attr(x.Ino, &child)
			}
		}
		b.list = append(b.list, x)
		b.more = len(b.list) == readBatch
		return !b.more, nil
	})
}
