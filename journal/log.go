package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"holdfast/disk"
	"holdfast/layout"
)

// Block is a metadata block that a transaction changes.
type Block struct {
	No   uint64
	Data []byte // a whole block, sealed and frozen: never changed afterwards
	Old  []byte // the last committed version; nil: a fresh block, whose base is zero
}

// Data is a run of neighbouring data blocks that a transaction writes, to places that nothing
// durable names: blocks never used, or freed by a transaction not after Log.Settled.
type Data struct {
	Block   uint64 // block number of the first
	Ino     uint64
	Logical uint64 // of the first, in blocks of the inode
	Gen     uint32
	Pages   [][]byte // len(Sums) blocks, frozen
	Sums    []uint32 // CRC-32C of each, from layout.Seeds.Data; at most 65535
}

// Tx is what one commit makes durable. A block that is freed and used again within it is in both
// Revoked and Blocks.
type Tx struct {
	Blocks  []Block  // each block once
	Revoked []uint64 // metadata blocks freed: what earlier transactions say of them is void
	Data    []Data
}

// Options of an open log; there are none yet.
type Options struct{}

// Errors for the caller's mistakes: they leave the log as it was.
var (
	ErrTooLarge = errors.New("transaction larger than a quarter of the log") // the caller has to bound them
	ErrClosed   = errors.New("the log is closed")
	ErrTooSmall = errors.New("a log run is too small") // fewer sectors than minSectors
)

// minSectors is the least length of a run in sectors: a transaction, the empty one that attests
// it, and twice that again until the older header moves.
const minSectors = 8

// dataInLog is how much data a transaction may have and still need only one flush: recovery
// reads it all.
const dataInLog = 1 << 20

// Log is an open log. It is safe for concurrent use; one transaction is in flight at a time.
type Log struct {
	dev     disk.Device
	g       layout.Geometry
	seeds   layout.Seeds
	sectors uint64 // of a run
	payload int    // bytes of payload per sector

	commitMu sync.Mutex // one transaction in flight; taken before mu

	mu      sync.Mutex
	err     error
	epoch   uint64
	head    uint64      // position of the next sector
	tail    uint64      // of the newer header
	tailSeq uint64      // the transaction that begins there
	oldTail uint64      // of the older header: space before it may be reused
	headSeq uint64      // sequence of the newer header
	newer   int         // the copy that holds the newer header
	seq     uint64      // last transaction written
	flushed uint64      // last transaction whose flush has returned
	real    uint64      // last transaction that needs attesting
	settled uint64      // last transaction that a durable sector attests
	fresh   atomic.Bool // the epoch is not yet this Log's own
	ahead   atomic.Bool // data that WriteAhead wrote may not be durable yet

	// pinned is the newest committed version of the blocks that are not home. All that the log
	// holds behind the tail is in it, so it also says which blocks have their image there.
	pinned map[uint64][]byte

	buf    []byte         // sectors of the transaction in flight
	rec    []byte         // its payload
	ranges []layout.Range // what changed in a block
	data   DataWriter
}

// Open continues a log after Recover, whose report it needs (Scan's will not do, unless it
// replayed and dropped nothing). It writes nothing; the first Commit does, if Recover did not:
// it begins an epoch in which whatever lies behind the head is void.
//
// Errors: ErrTooSmall.
func Open(dev disk.Device, g *layout.Geometry, s layout.Seeds, r *Report, _ Options) (*Log, error) {
	n, err := runSectors(g)
	if err != nil {
		return nil, err
	}
	l := &Log{dev: dev, g: *g, seeds: s, sectors: n, payload: layout.LogPayload(g.SectorSize),
		epoch: r.Epoch, head: r.Head, tail: r.Head, tailSeq: r.LastSeq + 1, oldTail: r.Head, headSeq: r.headSeq, newer: r.newer,
		seq: r.LastSeq, flushed: r.LastSeq, real: r.LastSeq, settled: r.LastSeq,
		pinned: map[uint64][]byte{}}
	l.fresh.Store(!r.owned)
	return l, nil
}

// runSectors is the length of a run in sectors.
func runSectors(g *layout.Geometry) (uint64, error) {
	n := g.RunBlocks * uint64(g.BlockSize/g.SectorSize)
	if n < minSectors {
		return 0, fmt.Errorf("%w: %d sectors, at least %d", ErrTooSmall, n, minSectors)
	}
	return n, nil
}

// MaxTx is the payload in bytes that a transaction may have: a quarter of a run.
func (l *Log) MaxTx() int { return int(l.sectors/4) * l.payload }

// NextSeq is the sequence that the next Commit gets. Attest and Checkpoint use sequences too.
func (l *Log) NextSeq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq + 1
}

// Settled is the last transaction attested by a record that is itself durable: what it and
// those before it freed may be used again.
func (l *Log) Settled() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settled
}

// Err is the error that stopped the log, or nil: after the first failed write or flush nothing
// is accepted, for what the device holds is no longer known; and after Close.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Pending is the newest committed version of a block that is not home yet, frozen, or nil.
func (l *Log) Pending(no uint64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pinned[no]
}

// Commit makes a transaction durable: when it returns nil, the transaction and all before it
// survive any crash. Its sequence is the NextSeq of the moment before. When it fails the
// transaction may or may not survive.
//
// Errors: ErrTooLarge (payload beyond MaxTx; nothing was written), and what Err says.
func (l *Log) Commit(tx *Tx) error { return l.do(func() error { return l.commit(tx) }) }

// Attest makes everything committed so far settled, by a commit of nothing if need be.
func (l *Log) Attest() error { return l.do(l.attest) }

// Checkpoint writes home what is committed and moves the tail of the log.
func (l *Log) Checkpoint() error { return l.do(l.empty) }

// empty leaves nothing in the log.
func (l *Log) empty() error {
	if l.head == l.tail {
		return nil
	}
	return l.checkpoint()
}

// Close is a Checkpoint, after which the log is empty and refuses everything. The device stays
// open.
func (l *Log) Close() error {
	return l.do(func() error {
		if err := l.empty(); err != nil {
			return err
		}
		l.stop(ErrClosed)
		return nil
	})
}

// do is one call that changes the log; its failure is for good.
func (l *Log) do(fn func() error) error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if l.err != nil {
		return l.err
	}
	err := fn()
	if err == nil || errors.Is(err, ErrTooLarge) {
		return err
	}
	return l.stop(err)
}

// stop refuses everything from now on; commitMu is held.
func (l *Log) stop(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("journal: %w", err)
	}
	return l.err
}

// attest makes the last transaction that needs it settled: an empty one carries the message,
// and its own flush makes that durable.
func (l *Log) attest() error {
	if l.settled >= l.real {
		return nil
	}
	l.encode(&Tx{}, true)
	return l.put(&Tx{})
}

// commit writes data and log sectors and flushes; then, if the log has grown, a checkpoint
// makes room for the next transaction, so that Commit itself never has to wait for it and
// NextSeq stays true.
func (l *Log) commit(tx *Tx) error {
	size := 0
	for i := range tx.Data {
		size += len(tx.Data[i].Pages) * l.g.BlockSize
	}
	inLog := size <= dataInLog && !l.ahead.Load()
	l.encode(tx, inLog)
	if len(l.rec) > l.MaxTx() {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(l.rec), l.MaxTx())
	}
	if err := l.own(); err != nil {
		return err
	}
	if err := l.data.write(l.dev, l.g.BlockSize, tx.Data); err != nil {
		return err
	}
	if !inLog { // data before the record that makes it reachable
		l.ahead.Store(false) // what comes from now on is of a later transaction
		if err := l.dev.Flush(); err != nil {
			return err
		}
	}
	if err := l.put(tx); err != nil {
		return err
	}
	if l.head-l.tail > l.sectors/4 {
		if err := l.checkpoint(); err != nil {
			return err
		}
	}
	// Room for the largest transaction and two that attest, in what the older header gave up.
	for l.head+l.sectors/4+2-l.oldTail > l.sectors {
		if err := l.checkpoint(); err != nil {
			return err
		}
	}
	return nil
}

// put writes the payload in l.rec to both runs and flushes. What the sectors say of the flush
// before is durable with them; of their own flush only the next transaction can tell.
func (l *Log) put(tx *Tx) error {
	count := uint64((len(l.rec) + l.payload - 1) / l.payload)
	seq := l.seq + 1
	l.sectorsOf(seq, uint32(count))
	for run := range 2 {
		if err := l.writeRun(run, l.head, l.buf); err != nil {
			return err
		}
	}
	// THE COMMIT POINT: when this flush returns, the transaction survives any crash. It puts the
	// data and both runs before everything that the caller does next.
	if err := l.dev.Flush(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head += count
	l.settled = l.flushed // what these sectors attest is durable with them
	l.seq, l.flushed = seq, seq
	for _, no := range tx.Revoked {
		delete(l.pinned, no) // its home write is cancelled
	}
	for i := range tx.Blocks {
		l.pinned[tx.Blocks[i].No] = tx.Blocks[i].Data
	}
	if len(tx.Blocks)+len(tx.Revoked)+len(tx.Data) > 0 {
		l.real = seq
	}
	return nil
}

// encode builds the payload of tx in l.rec.
func (l *Log) encode(tx *Tx, inLog bool) {
	p := l.rec[:0]
	n := uint32(0)
	void := make(map[uint64]bool, len(tx.Revoked))
	for _, no := range tx.Revoked {
		p = layout.AppendRevoke(p, no)
		void[no] = true
		n++
	}
	for i := range tx.Blocks {
		b := &tx.Blocks[i]
		base := l.pinned[b.No]
		if b.Old == nil || void[b.No] {
			base = nil
		}
		p = l.appendBlock(p, b, base)
		n++
	}
	if inLog {
		for i := range tx.Data {
			d := &tx.Data[i]
			p = layout.AppendData(p, d.Block, d.Ino, d.Logical, d.Gen, d.Sums)
			n++
		}
	}
	l.rec = layout.AppendCommit(p, n)
}

// appendBlock logs a block: its difference from the version that the log behind the tail gives
// it, or, if there is none, the whole of it, as an image or as the difference from zero. So
// replay from the tail never needs what is at home, which a crash may have torn.
func (l *Log) appendBlock(p []byte, b *Block, base []byte) []byte {
	l.ranges = diff(l.ranges[:0], base, b.Data)
	ranges := l.ranges
	if layout.DeltaSize(ranges) >= len(b.Data)+imageHead {
		return layout.AppendImage(p, b.No, b.Data)
	}
	return layout.AppendDelta(p, b.No, base == nil, ranges)
}

// imageHead is the length of an image record without the block.
const imageHead = 12

// mergeGap is the longest run of equal bytes that is cheaper to log than a new range.
const mergeGap = 4

// Insertion into a sorted block, and removal from one, move what is behind by the size of an
// entry; the log says "moved" in a few bytes where it would else repeat half the block.
var shifts = []int{-layout.IndexLeafSize, layout.IndexLeafSize, -layout.IndexInnerSize, layout.IndexInnerSize}

// minCopy is the shortest run that is worth a copy range.
const minCopy = 24

// diff appends to list the ranges in which p differs from base (nil: zero).
func diff(list []layout.Range, base, p []byte) []layout.Range {
	if base == nil {
		return diffZero(list, p)
	}
	same := func(i int) bool { return p[i] == base[i] }
	for i := 0; i < len(p); {
		if i+8 <= len(p) && same8(base, p, i) {
			i += 8
			continue
		}
		if same(i) {
			i++
			continue
		}
		if from, n := moved(base, p, i); n >= minCopy {
			list = append(list, layout.Range{Off: i, From: from, Len: n})
			i += n
			continue
		}
		end := i + 1
		for j := end; j < len(p) && j-end <= mergeGap; j++ {
			if same(j) {
				continue
			}
			if _, n := moved(base, p, j); n >= minCopy {
				break
			}
			end = j + 1
		}
		list = append(list, layout.Range{Off: i, Bytes: p[i:end]})
		i = end
	}
	return list
}

// diffZero is diff from a block of zeros: what is not zero, and gaps that are not worth a range.
func diffZero(list []layout.Range, p []byte) []layout.Range {
	for i := 0; ; {
		i += zeros(p[i:])
		if i == len(p) {
			return list
		}
		end := i
		for {
			n := bytes.IndexByte(p[end:], 0)
			if n < 0 {
				end = len(p)
				break
			}
			end += n
			gap := zeros(p[end:])
			if gap > mergeGap || end+gap == len(p) {
				break
			}
			end += gap
		}
		list = append(list, layout.Range{Off: i, Bytes: p[i:end]})
		i = end
	}
}

// zeros is how many zeros p begins with.
func zeros(p []byte) int {
	n := 0
	for n+8 <= len(p) && binary.NativeEndian.Uint64(p[n:]) == 0 {
		n += 8
	}
	for n < len(p) && p[n] == 0 {
		n++
	}
	return n
}

// same8 is whether 8 bytes from i on are those of base.
func same8(base, p []byte, i int) bool {
	return binary.NativeEndian.Uint64(p[i:]) == binary.NativeEndian.Uint64(base[i:])
}

// moved is the longest run of p from i on that the base has at one of the shifts.
func moved(base, p []byte, i int) (from, n int) {
	// Zeros alone are no run: what matters is the first byte behind them.
	z := i + zeros(p[i:])
	if z == len(p) {
		return 0, 0
	}
	for _, d := range shifts {
		if i+d < 0 || z+d >= len(base) || p[z] != base[z+d] {
			continue
		}
		k := common(p[i:], base[i+d:])
		for k > 0 && p[i+k-1] == 0 { // trailing zeros are as well left to the base
			k--
		}
		if k > n {
			from, n = i+d, k
		}
	}
	return from, n
}

// common is the length of what a and b begin with alike.
func common(a, b []byte) int {
	n, most := 0, min(len(a), len(b))
	for n+8 <= most && binary.NativeEndian.Uint64(a[n:]) == binary.NativeEndian.Uint64(b[n:]) {
		n += 8
	}
	for n < most && a[n] == b[n] {
		n++
	}
	return n
}

// sectorsOf cuts the payload into sectors in l.buf.
func (l *Log) sectorsOf(seq uint64, count uint32) {
	size := l.g.SectorSize
	if need := int(count) * size; cap(l.buf) < need {
		l.buf = make([]byte, need)
	} else {
		l.buf = l.buf[:need]
	}
	for i := range count {
		h := layout.LogSector{Epoch: l.epoch, Pos: l.head + uint64(i), Seq: seq, Attested: l.flushed, Index: i, Count: count}
		part := l.rec[int(i)*l.payload : min(len(l.rec), int(i+1)*l.payload)]
		layout.EncodeLogSector(l.buf[int(i)*size:int(i+1)*size], &h, part, l.seeds)
	}
}

// writeRun writes sectors from position pos on into one run, around its end if need be.
func (l *Log) writeRun(run int, pos uint64, p []byte) error {
	size := uint64(l.g.SectorSize)
	for len(p) > 0 {
		at := pos % l.sectors
		n := min(uint64(len(p)), (l.sectors-at)*size)
		if _, err := l.dev.WriteAt(p[:n], runOffset(&l.g, run)+int64(at*size)); err != nil {
			return err
		}
		p = p[n:]
		pos += n / size
	}
	return nil
}

func runOffset(g *layout.Geometry, run int) int64 {
	return int64(g.LogRun(run)) * int64(g.BlockSize)
}
