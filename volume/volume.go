package volume

import (
	"cmp"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/disk"
	"holdfast/journal"
	"holdfast/layout"
	"holdfast/volume/internal/dirs"
)

// Volume is an open volume. Its methods may be called from many goroutines at once;
// operations that change something take effect one after another.
type Volume struct {
	dev      disk.Device
	super    layout.Superblock
	g        layout.Geometry
	seeds    layout.Seeds
	opt      Options
	readOnly bool
	log      store
	steps    *steps // without a journal: those of the running operation
	recovery *journal.Report

	commitMu sync.Mutex // one commit at a time; taken before mu

	mu      sync.RWMutex
	err     error // sticky: after it nothing is changed any more
	closing bool  // nothing is accepted any more; what was is being made durable
	closed  bool
	cache   *blockCache
	totals  layout.Totals // as the running transaction has them

	tx      *tx
	files   pages        // of the running transaction
	unalloc int          // pages that have no block yet
	waiting map[Ino]wait // of them, those of a file
	delay   delay        // what they may cost
	changes uint64
	durable uint64 // the last change that a commit covers
	sealing uint64 // sequence of the transaction being committed
	spare   [][]byte

	background atomic.Bool        // a commit that commitSoon began is under way
	aheadMu    sync.Mutex         // one writeAhead at a time, and none while a transaction is frozen; taken before mu
	writing    atomic.Bool        // a writeAhead in the background is under way
	aheadRoom  journal.DataWriter // of a writeAhead
	reseed     *layout.Reseed     // of a block
	pagePool   sync.Pool          // of *page: what commits are done with
	todo       []Ino              // whose blocks the operation leaves to be freed

	committing      *tx
	committingPages pages

	busy       map[uint64]groupBits
	busyIn     map[uint64]uint32
	busyCount  uint64
	freed      []waiting
	freeInodes map[uint64][]uint32 // free slots remembered, by group; nil: not looked yet
	fullInodes groupSet            // groups in use that have no free inode, as far as has been seen
	hints      dirHints
	lastDir    uint64        // group of the last directory made
	orphans    map[Ino]Ino   // members of the orphan list, each with the one before it
	trims      map[Ino]error // inodes whose blocks behind the end are still to be freed; why they are not

	holds holdTable
}

// Open opens the volume on a device. The journal is replayed and orphans are freed first; with
// ReadOnly this happens in memory and the device is not written. A device that holds two copies
// is assembled, unless [Assemble] has done it.
//
// Errors: those of ReadSuperblock, ErrTruncated, and layout.ErrCorrupt for damage that was
// found on the way.
func Open(dev disk.Device, opt Options) (*Volume, error) {
	dev, s, err := Assemble(dev, Assembly{ReadOnly: opt.ReadOnly})
	if err != nil {
		return nil, err
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		return nil, err
	}
	readOnly := opt.ReadOnly
	if s.ROCompat&^layout.ROCompatKnown != 0 && !readOnly {
		return nil, fmt.Errorf("unknown features %#x: the image can only be read: %w", s.ROCompat, ErrReadOnly)
	}
	if readOnly {
		dev = disk.NewOverlay(dev, g.SectorSize)
	}
	v := &Volume{dev: dev, super: *s, g: g, seeds: layout.NewSeeds(s.UUID), reseed: layout.ReseedOf(g.BlockSize), opt: opt, tx: newTx(), files: pages{}, waiting: map[Ino]wait{},
		busy: map[uint64]groupBits{}, busyIn: map[uint64]uint32{}, freeInodes: map[uint64][]uint32{}, trims: map[Ino]error{}, orphans: map[Ino]Ino{}}
	if err := v.openStore(); err != nil {
		return nil, err
	}
	if v.cache, err = newCache(opt.CacheBytes, g.BlockSize); err != nil {
		return nil, err
	}
	if err := v.start(); err != nil {
		v.cache.close()
		return nil, err
	}
	v.readOnly = readOnly
	return v, nil
}

// openStore replays the journal and goes on with it, if there is one.
func (v *Volume) openStore() error {
	var err error
	if v.recovery, err = journal.Recover(v.dev, &v.g, v.seeds); err != nil {
		return err
	}
	if v.g.RunBlocks == 0 {
		disk := &inPlace{dev: v.dev, blockSize: int64(v.g.BlockSize)}
		v.log, v.steps = disk, &steps{disk: disk, named: map[Ino]struct{}{}, counted: map[uint64]struct{}{}}
		return nil
	}
	l, err := journal.Open(v.dev, &v.g, v.seeds, v.recovery, journal.Options{})
	v.log = l
	return err
}

// start reads the totals and frees the orphans that a crash left.
func (v *Volume) start() error {
	b, err := v.committed(v.g.TotalsBlock(), layout.KindTotals)
	if err != nil {
		return err
	}
	t, err := layout.DecodeTotals(b, &v.g)
	if err != nil {
		return err
	}
	v.totals = *t
	if v.steps != nil {
		return v.recountTotals()
	}
	orphans, err := v.loadOrphans()
	if err != nil {
		return err
	}
	for _, ino := range orphans {
		v.trims[ino] = nil
		if err := v.trim(ino); err != nil && !isMedia(err) {
			return fmt.Errorf("orphan inode %d: %w", ino, err)
		}
	}
	return nil
}

// Recovery is what replaying the journal found when the volume was opened.
func (v *Volume) Recovery() journal.Report { return *v.recovery }

func (v *Volume) clock() time.Time {
	if v.opt.Clock != nil {
		return v.opt.Clock()
	}
	return time.Now()
}

// usable answers whether changes are still possible; mu is held.
func (v *Volume) usable() error {
	if v.closing {
		return ErrClosed
	}
	return v.committable()
}

// committable answers whether what has been changed can still be committed: as long as usable,
// and by Close itself; mu is held.
func (v *Volume) committable() error {
	if v.closed {
		return ErrClosed
	}
	return v.err
}

// fail stops all changes: what is in memory may not be what is on the device.
func (v *Volume) fail(err error) {
	if v.err == nil {
		v.err = &stopped{err}
	}
}

// Close refuses further changes, makes everything done before durable, writes it home and gives
// the device back (it is not closed). Inodes without a name that are still held stay on the
// orphan list for the next Open. A second Close is ErrClosed.
func (v *Volume) Close() error {
	v.mu.Lock()
	if v.closing {
		v.mu.Unlock()
		return ErrClosed
	}
	v.closing = true
	v.mu.Unlock()

	var err error
	if !v.readOnly {
		v.mu.Lock()
		err = v.freeHeld()
		v.mu.Unlock()
		err = cmp.Or(err, v.Sync())
		v.commitMu.Lock()
		if err == nil {
			err = v.log.Close()
		}
		v.commitMu.Unlock()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.cache.close()
	return err
}

// dir is the directory of an inode, within an operation.
func (o *op) dir(ino Ino, in *layout.Inode) *dirs.Dir {
	if o.write { // a change looks a name up and then changes the same directory: it knows what it has seen
		if o.dir0 == nil || o.din0 != in || o.dir0.Ino() != uint64(ino) {
			o.dir0, o.din0 = dirs.New(o, &o.v.g, o.v.super.HashKey, uint64(ino), in).WithHint(o.hint(ino)), in
		}
		return o.dir0
	}
	if o.dirs == len(o.dirRoom) {
		return dirs.New(o, &o.v.g, o.v.super.HashKey, uint64(ino), in)
	}
	d := &o.dirRoom[o.dirs]
	o.dirs++
	d.Init(o, &o.v.g, o.v.super.HashKey, uint64(ino), in)
	return d
}
