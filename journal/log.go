package journal

import (
	"errors"
	"fmt"
	"sync"

	"holdfast/disk"
	"holdfast/layout"
)

// Block is a metadata block that a transaction changes.
type Block struct {
	No   uint64
	Data []byte // sealed and frozen: never changed afterwards
	Old  []byte // the last committed version; nil: a fresh block, whose base is zero
}

// Data is a run of data blocks that a transaction writes, to places that nothing durable names.
type Data struct {
	Block, Ino, Logical uint64
	Gen                 uint32
	Bytes               []byte   // len(Sums) blocks
	Sums                []uint32 // CRC-32C of each, from layout.Seeds.Data
}

// Tx is what one commit makes durable.
type Tx struct {
	Blocks  []Block
	Revoked []uint64 // metadata blocks freed: what the log says of them so far is void
	Data    []Data
}

// Options of an open log; there are none yet.
type Options struct{}

// ErrTooLarge is a transaction that the log cannot hold: the caller has to bound them.
var ErrTooLarge = errors.New("transaction larger than a quarter of the log")

// dataInLog is how much data a transaction may have and still need only one flush: recovery
// reads it all.
const dataInLog = 1 << 20

// Log is an open log. One transaction is in flight at a time.
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
	head    uint64 // position of the next sector
	tail    uint64 // of the newer header
	oldTail uint64 // of the older header: space before it may be reused
	start   uint64 // position where the running checkpoint interval began
	headSeq uint64 // sequence of the newer header
	newer   int    // the copy that holds the newer header
	seq     uint64 // last transaction written
	flushed uint64 // last transaction whose flush has returned
	real    uint64 // last transaction that was not empty
	settled uint64 // last transaction that a durable sector attests
	fresh   bool   // the epoch is not yet this Log's own

	pinned map[uint64][]byte   // newest committed version of blocks that are not home
	imaged map[uint64]struct{} // blocks whose image the log holds behind start

	buf []byte // sectors of the transaction in flight
	rec []byte // its payload
}

// Open continues a log after Recover.
func Open(dev disk.Device, g *layout.Geometry, s layout.Seeds, r *Report, _ Options) (*Log, error) {
	l := &Log{dev: dev, g: *g, seeds: s, sectors: runSectors(g), payload: layout.LogPayload(g.SectorSize),
		epoch: r.Epoch, head: r.Head, tail: r.Tail, oldTail: r.Head, start: r.Head, headSeq: r.headSeq, newer: r.newer,
		seq: r.LastSeq, flushed: r.LastSeq, real: r.LastSeq, settled: r.LastSeq, fresh: !r.owned,
		pinned: map[uint64][]byte{}, imaged: map[uint64]struct{}{}}
	return l, nil
}

func runSectors(g *layout.Geometry) uint64 { return g.RunBlocks * uint64(g.BlockSize/g.SectorSize) }

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

// Err is the error that stopped the log, if any: after the first failed write or flush nothing
// is accepted.
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

// Commit makes a transaction durable. Its sequence is the NextSeq of the moment before.
func (l *Log) Commit(tx *Tx) error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if l.err != nil {
		return l.err
	}
	return l.stop(l.commit(tx))
}

// Attest commits an empty transaction if the last one is not attested yet: all before it is
// settled then.
func (l *Log) Attest() error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if l.err != nil {
		return l.err
	}
	return l.stop(l.attest())
}

// Checkpoint writes home what is committed and moves the tail of the log.
func (l *Log) Checkpoint() error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if l.err != nil {
		return l.err
	}
	return l.stop(l.checkpoint())
}

// Close writes everything home and leaves an empty log.
func (l *Log) Close() error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if l.err != nil {
		return l.err
	}
	if len(l.pinned) == 0 && l.head == l.tail {
		return nil
	}
	return l.stop(l.checkpoint())
}

// stop remembers the first error for good.
func (l *Log) stop(err error) error {
	if err != nil && !errors.Is(err, ErrTooLarge) {
		l.mu.Lock()
		l.err = fmt.Errorf("journal: %w", err)
		err = l.err
		l.mu.Unlock()
	}
	return err
}

// attest makes the last transaction that changed something settled.
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
	if l.fresh {
		if err := l.own(); err != nil {
			return err
		}
	}
	size := 0
	for i := range tx.Data {
		size += len(tx.Data[i].Bytes)
	}
	inLog := size <= dataInLog
	l.encode(tx, inLog)
	if len(l.rec) > l.MaxTx() {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(l.rec), l.MaxTx())
	}
	for i := range tx.Data {
		d := &tx.Data[i]
		if _, err := l.dev.WriteAt(d.Bytes, int64(d.Block)*int64(l.g.BlockSize)); err != nil {
			return err
		}
	}
	if !inLog { // data before the record that makes it reachable
		if err := l.dev.Flush(); err != nil {
			return err
		}
	}
	if err := l.put(tx); err != nil {
		return err
	}
	if l.head-l.start > l.sectors/4 {
		if err := l.checkpoint(); err != nil {
			return err
		}
	}
	for l.head+l.sectors/4+2-l.oldTail > l.sectors { // the older header has to move as well
		if err := l.checkpoint(); err != nil {
			return err
		}
	}
	return nil
}

// put writes the payload in l.rec to both runs and flushes.
func (l *Log) put(tx *Tx) error {
	count := uint64((len(l.rec) + l.payload - 1) / l.payload)
	seq := l.seq + 1
	l.sectorsOf(seq, uint32(count))
	for run := range 2 {
		if err := l.writeRun(run, l.head, l.buf); err != nil {
			return err
		}
	}
	if err := l.dev.Flush(); err != nil { // the commit point
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head += count
	l.settled = l.flushed // what these sectors attest is durable with them
	l.seq, l.flushed = seq, seq
	for _, no := range tx.Revoked {
		delete(l.pinned, no)
		delete(l.imaged, no)
	}
	for i := range tx.Blocks {
		b := &tx.Blocks[i]
		l.pinned[b.No] = b.Data
		l.imaged[b.No] = struct{}{}
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
	for _, no := range tx.Revoked {
		p = layout.AppendRevoke(p, no)
		n++
	}
	for i := range tx.Blocks {
		p = l.appendBlock(p, &tx.Blocks[i])
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

// appendBlock logs a block: its difference from the last committed version, or, when the log
// does not hold that since the checkpoint interval began, from zero.
func (l *Log) appendBlock(p []byte, b *Block) []byte {
	_, imaged := l.imaged[b.No]
	base := b.Old
	if base == nil || !imaged {
		base = nil
	}
	ranges := diff(base, b.Data)
	if layout.DeltaSize(ranges) >= len(b.Data)+12 {
		return layout.AppendImage(p, b.No, b.Data)
	}
	return layout.AppendDelta(p, b.No, base == nil, ranges)
}

// mergeGap is the longest run of equal bytes that is cheaper to log than a new range.
const mergeGap = 4

// Insertion into a sorted block, and removal from one, move what is behind by the size of an
// entry; the log says "moved" in a few bytes where it would else repeat half the block.
var shifts = []int{-layout.IndexLeafSize, layout.IndexLeafSize, -layout.IndexInnerSize, layout.IndexInnerSize}

// minCopy is the shortest run that is worth a copy range.
const minCopy = 24

// diff lists the ranges in which p differs from base (nil: zero).
func diff(base, p []byte) []layout.Range {
	var list []layout.Range
	same := func(i int) bool {
		if base == nil {
			return p[i] == 0
		}
		return p[i] == base[i]
	}
	for i := 0; i < len(p); {
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

// moved is the longest run of p from i on that the base has at one of the shifts.
func moved(base, p []byte, i int) (from, n int) {
	if base == nil {
		return 0, 0
	}
	for _, d := range shifts {
		if i+d < 0 {
			continue
		}
		k, last := 0, 0
		for i+k < len(p) && i+k+d < len(base) && p[i+k] == base[i+k+d] {
			if k++; p[i+k-1] != 0 {
				last = k // trailing zeros are as well left to the base
			}
		}
		if last > n {
			from, n = i+d, last
		}
	}
	return from, n
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
