package volume

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"holdfast/disk"
	"holdfast/layout"
)

// A mirror is the two copies of a volume as two files. Each may be lost, and opened alone: so each
// says, in its superblocks, which replica it is, and whether it has been changed without the other.
//
// The event counter n of a replica says that. The remainder of n by 4 is 1 while both are written
// together (mkfs begins with 1); 2 when replica 0 has been changed alone since, 3 when replica 1
// has; a resync goes on to the next number with remainder 1, on both. So two replicas that were
// both changed alone never look alike. 0 is a replica that a resync has begun to overwrite.

const eventsBegun = 0 // of a replica that holds parts of two histories

func eventsTogether(n uint64) bool { return n%4 == 1 }

func eventsAlone(n uint64) bool { return n%4 == 2 || n%4 == 3 }

// aloneEvents is the counter of a replica that is changed alone.
func aloneEvents(n uint64, replica uint32) uint64 {
	return (n-1)/4*4 + 2 + uint64(replica)
}

// MirrorError says why the files of a mirror cannot be used as they are.
type MirrorError struct {
	File  int    // which of the files that were given; -1: both
	Why   string // what is wrong with it
	Stale bool   // the other one was changed without it: a resync mends that
	Split bool   // both were changed without each other: one has to be chosen
}

func (e *MirrorError) Error() string { return e.Why }

// ErrHalfMirror: a file of a mirror was opened as if it were a whole image.
var ErrHalfMirror = errors.New("it is one of the two files of a mirror")

// superSlots are the offsets of the superblocks: the live ones, and the backup.
func superSlots(g *layout.Geometry) [3]int64 {
	return [3]int64{layout.SuperOffset(0), layout.SuperOffset(1), g.BackupOffset()}
}

// replicaSuper is the superblock of a file of a mirror: the current one at the front, or the backup.
func replicaSuper(dev disk.Device, file int) (*layout.Superblock, error) {
	s, err := ReadSuperblock(dev)
	if err != nil {
		if s = lastSlot(dev, isMirror); s == nil {
			return nil, err
		}
	}
	if s.Copies != 2 || !isMirror(s) {
		return nil, &MirrorError{File: file, Why: "it is not one of the two files of a mirror"}
	}
	if size := int64(s.Blocks) * int64(s.BlockSize); dev.Size() < size {
		return nil, fmt.Errorf("%w: it has %d bytes, its superblock says %d", ErrTruncated, dev.Size(), size)
	}
	return s, nil
}

// Half is what a file of a mirror says of itself.
type Half struct {
	Replica int  // 0 or 1
	Alone   bool // it was changed without its twin
}

// HalfOf looks at one file of a mirror.
//
// Errors: MirrorError if it is none, those of ReadSuperblock, and ErrTruncated.
func HalfOf(dev disk.Device) (Half, error) {
	s, err := replicaSuper(dev, 0)
	if err != nil {
		return Half{}, err
	}
	return Half{int(s.Replica), eventsAlone(s.MirrorEvents)}, nil
}

func isMirror(s *layout.Superblock) bool { return s.MirrorSet != [16]byte{} }

// twin is one replica as the mirror sees it. Its superblocks are those of replica 0, whichever it
// is, so that the same content is right on both: they are translated as they are read and written.
type twin struct {
	disk.Device // of one replica's size
	replica     uint32
	slots       [3]int64
	stamp       atomic.Pointer[layout.Superblock] // whose sequence and events every superblock written gets, if not nil
}

func newTwin(dev disk.Device, s *layout.Superblock, replica uint32) (*twin, error) {
	g, err := layout.NewGeometry(s)
	if err != nil {
		return nil, err
	}
	return &twin{Device: disk.NewStripe(dev, 0, int64(s.Blocks)*int64(s.BlockSize)), replica: replica, slots: superSlots(&g)}, nil
}

// slot is the superblock that n bytes at off have a part of, -1 if none.
func (t *twin) slot(off int64, n int) int64 {
	for _, at := range t.slots {
		if off < at+layout.SuperblockSize && off+int64(n) > at {
			return at
		}
	}
	return -1
}

// translate turns every superblock that is whole in p, which lies at off, into what the other side
// sees. What is no superblock stays as it is.
func (t *twin) translate(p []byte, off int64, stamp *layout.Superblock) {
	for _, at := range t.slots {
		if off > at || off+int64(len(p)) < at+layout.SuperblockSize {
			continue
		}
		q := p[at-off:][:layout.SuperblockSize]
		s, err := layout.DecodeSuperblock(q)
		if err != nil {
			continue
		}
		s.Replica ^= t.replica
		if stamp != nil {
			s.Sequence, s.MirrorEvents = stamp.Sequence, stamp.MirrorEvents
		}
		layout.EncodeSuperblock(q, s)
	}
}

// ReadAt implements [disk.Device].
func (t *twin) ReadAt(p []byte, off int64) (int, error) {
	n, err := t.Device.ReadAt(p, off)
	if err == nil && t.slot(off, len(p)) >= 0 {
		t.translate(p, off, nil)
	}
	return n, err
}

// ReadChecked implements [disk.Device].
func (t *twin) ReadChecked(p []byte, c disk.Check, places ...int64) (int, error) {
	for _, off := range places {
		if t.slot(off, len(p)) >= 0 {
			return disk.CheckedRead(t, p, c, places...)
		}
	}
	return t.Device.ReadChecked(p, c, places...)
}

// WriteAt implements [disk.Device].
func (t *twin) WriteAt(p []byte, off int64) (int, error) {
	if t.slot(off, len(p)) >= 0 {
		p = bytes.Clone(p)
		t.translate(p, off, t.stamp.Load())
	}
	return t.Device.WriteAt(p, off)
}

// Below implements [disk.Window]: what is no superblock lies there as it is.
func (t *twin) Below(off int64, n int) (under disk.Device, at int64) {
	if t.slot(off, n) >= 0 {
		return t, off
	}
	return disk.Below(t.Device, off, n)
}

// Mirror puts the two files of a mirror together, in whichever order they come. What it gives is
// assembled: [Assemble] and [Open] take it as it is.
//
// Errors: MirrorError, those of ReadSuperblock, and ErrTruncated; which file they speak of is in
// the MirrorError that wraps nothing else.
func Mirror(files [2]disk.Device, o Assembly) (disk.Device, error) {
	var supers [2]*layout.Superblock
	for i, f := range files {
		s, err := replicaSuper(f, i)
		var me *MirrorError
		switch {
		case errors.As(err, &me):
			return nil, err
		case err != nil:
			return nil, &MirrorError{File: i, Why: err.Error(), Stale: replaceable(f, err, files[1-i])}
		}
		supers[i] = s
	}
	if err := sameMirror(supers); err != nil {
		return nil, err
	}
	if err := agree(supers); err != nil {
		return nil, err
	}
	opt, err := stableOptions(supers[0])
	if err != nil {
		return nil, err
	}
	opt.Serial = o.Serial
	var twins [2]disk.Device
	for i, f := range files {
		if o.ReadOnly {
			f = disk.NewOverlay(f, int(supers[i].SectorSize))
		}
		r := supers[i].Replica
		if twins[r], err = newTwin(f, supers[i], r); err != nil {
			return nil, err
		}
	}
	return disk.NewStableWith(twins[0], twins[1], opt), nil
}

// replaceable answers whether a resync can make a file of a mirror, of which err says what is wrong,
// anew from the other one.
func replaceable(f disk.Device, err error, other disk.Device) bool {
	if errors.Is(err, ErrTruncated) || !isMedia(err) && !isBlank(f) {
		return false
	}
	s, err := replicaSuper(other, 0)
	return err == nil && f.Size() >= int64(s.Blocks)*int64(s.BlockSize)
}

// sameMirror answers whether two superblocks are of the two replicas of one mirror.
func sameMirror(s [2]*layout.Superblock) error {
	switch {
	case s[0].MirrorSet != s[1].MirrorSet || s[0].UUID != s[1].UUID || s[0].Blocks != s[1].Blocks || s[0].BlockSize != s[1].BlockSize || s[0].SectorSize != s[1].SectorSize || s[0].RunBlocks != s[1].RunBlocks:
		return &MirrorError{File: -1, Why: "they are not of one mirror"}
	case s[0].Replica == s[1].Replica:
		return &MirrorError{File: -1, Why: fmt.Sprintf("both are replica %d of the mirror: one is a copy of the other", s[0].Replica)}
	}
	return nil
}

// agree answers whether neither replica was changed without the other.
func agree(s [2]*layout.Superblock) error {
	a, b := s[0].MirrorEvents, s[1].MirrorEvents
	if a == b && eventsTogether(a) {
		return nil
	}
	stale := func(i int, why string) error { return &MirrorError{File: i, Why: why, Stale: true} }
	for i, n := range []uint64{a, b} {
		if n == eventsBegun {
			if s[1-i].MirrorEvents == eventsBegun {
				return &MirrorError{File: -1, Why: "neither is whole: a resync has begun to overwrite both"}
			}
			return stale(i, "it is stale: a resync of it was not finished")
		}
	}
	epochA, epochB := (a-1)/4, (b-1)/4
	switch {
	case epochA == epochB && eventsAlone(a) && eventsAlone(b) || a == b:
		return &MirrorError{File: -1, Why: "both were changed without each other", Split: true}
	case a > b:
		return stale(1, "it is stale: the other file was changed without it")
	}
	return stale(0, "it is stale: the other file was changed without it")
}

// Alone opens one file of a mirror without the other. What it gives is assembled. Before the first
// write the file is marked as changed alone, so that the other one is known to be stale from then on.
//
// Errors: those of ReadSuperblock, ErrTruncated and MirrorError.
func Alone(dev disk.Device, o Assembly) (disk.Device, error) {
	a, err := newAlone(dev)
	if err != nil {
		return nil, err
	}
	if a.super.MirrorEvents == eventsBegun {
		return nil, &MirrorError{Why: "a resync of it was not finished: it holds parts of two states"}
	}
	if live, _ := ReadSuperblock(a); live == nil { // the backup is good
		if o.ReadOnly {
			s := a.super
			s.Replica = 0
			return WithSuperblock(a, &s), nil
		}
		return a, a.mark()
	}
	return a, nil
}

// alone is a replica whose twin is missing. While both are there each keeps one run of the log;
// alone it keeps both. The run that is the twin's reads as zeros until then: what lies there is of
// another time.
type alone struct {
	*twin
	super   layout.Superblock // as it lies on the device
	foreign disk.Extent       // the run of the twin

	mu     sync.Mutex
	keeps  atomic.Bool // the run of the twin is kept here, too
	marked atomic.Bool // every superblock says that it was changed alone
}

func newAlone(dev disk.Device) (*alone, error) {
	s, err := replicaSuper(dev, 0)
	if err != nil {
		return nil, err
	}
	t, err := newTwin(dev, s, s.Replica)
	if err != nil {
		return nil, err
	}
	opt, err := stableOptions(s)
	if err != nil {
		return nil, err
	}
	a := &alone{twin: t, super: *s}
	if only := opt.Only[1-s.Replica]; len(only) > 0 {
		a.foreign = only[0]
	}
	if eventsAlone(s.MirrorEvents) {
		a.keeps.Store(true)
		a.marked.Store(!slices.ContainsFunc(a.slots[:], func(off int64) bool { return !holdsSuper(a.Device, off, s) }))
		if a.marked.Load() {
			a.stamp.Store(&a.super)
		}
	}
	return a, nil
}

// holdsSuper answers whether s is what lies at off.
func holdsSuper(dev disk.Device, off int64, s *layout.Superblock) bool {
	want, p := make([]byte, layout.SuperblockSize), make([]byte, layout.SuperblockSize)
	layout.EncodeSuperblock(want, s)
	return disk.ReadFull(dev, p, off) == nil && bytes.Equal(p, want)
}

// Replicas implements [disk.Replicated].
func (a *alone) Replicas() int { return 1 }

// hidden is the part of n bytes at off that lies in the run of the twin, as long as that is not
// kept here.
func (a *alone) hidden(off int64, n int) (from, to int64) {
	if a.keeps.Load() {
		return 0, 0
	}
	from, to = max(off, a.foreign.Off), min(off+int64(n), a.foreign.End())
	return from, max(from, to)
}

// ReadAt implements [disk.Device].
func (a *alone) ReadAt(p []byte, off int64) (int, error) {
	from, to := a.hidden(off, len(p))
	n, err := a.twin.ReadAt(p, off)
	if err == nil && from < to {
		clear(p[from-off : to-off])
	}
	return n, err
}

// ReadChecked implements [disk.Device].
func (a *alone) ReadChecked(p []byte, c disk.Check, places ...int64) (int, error) {
	for _, off := range places {
		if from, to := a.hidden(off, len(p)); from < to {
			return disk.CheckedRead(a, p, c, places...)
		}
	}
	return a.twin.ReadChecked(p, c, places...)
}

// WriteAt implements [disk.Device].
func (a *alone) WriteAt(p []byte, off int64) (int, error) {
	if !a.marked.Load() {
		if err := a.mark(); err != nil {
			return 0, fmt.Errorf("marking it as changed alone: %w", err)
		}
	}
	return a.twin.WriteAt(p, off)
}

// mark makes the superblocks say, for good, that this replica was changed without its twin, and
// clears the run of the log that is kept here from now on.
func (a *alone) mark() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.marked.Load() {
		return nil
	}
	if !a.keeps.Load() {
		if err := clearRange(a.Device, a.foreign.Off, a.foreign.End()); err != nil {
			return err
		}
		if err := a.Flush(); err != nil {
			return err
		}
		a.super.MirrorEvents = aloneEvents(a.super.MirrorEvents, a.super.Replica)
	}
	a.super.Sequence++
	if err := putSuperblocks(a.Device, a.slots, &a.super); err != nil {
		return err
	}
	stamp := a.super
	a.stamp.Store(&stamp)
	a.keeps.Store(true)
	a.marked.Store(true)
	return nil
}

// putSuperblocks is a stable put of a superblock: one slot after the other, each written, flushed
// and read back before the next is touched. Those that are damaged or old come first: at all times
// there is a good one.
func putSuperblocks(dev disk.Device, slots [3]int64, s *layout.Superblock) error {
	age := map[int64]uint64{} // the sequence that a slot has, 0 if it is lost
	p := make([]byte, layout.SuperblockSize)
	for _, off := range slots {
		if disk.ReadFull(dev, p, off) == nil {
			if old, err := layout.DecodeSuperblock(p); err == nil {
				age[off] = old.Sequence
			}
		}
	}
	order := slices.Clone(slots[:])
	slices.SortStableFunc(order, func(x, y int64) int { return cmp.Compare(age[x], age[y]) })
	slot := make([]byte, layout.SlotSize)
	layout.EncodeSuperblock(slot, s)
	for _, off := range order {
		err := fmt.Errorf("the superblock at byte %d does not read back: %w", off, disk.ErrBadSector)
		for range 3 {
			if _, werr := dev.WriteAt(slot, off); werr != nil {
				return werr
			}
			if werr := dev.Flush(); werr != nil {
				return werr
			}
			if holdsSuper(dev, off, s) {
				err = nil
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
