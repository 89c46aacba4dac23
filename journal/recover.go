package journal

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"holdfast/disk"
	"holdfast/layout"
)

// Report is what a look at the log found.
type Report struct {
	Epoch      uint64
	Tail       uint64 // position where replay begins
	Head       uint64 // position behind the last good transaction
	Replayed   int    // transactions
	Blocks     int    // blocks that they restore
	LastSeq    uint64 // of the last good transaction
	Attested   uint64 // the last transaction known to have been flushed
	Dropped    bool   // an unfinished transaction was left out
	DroppedWhy string

	headSeq uint64 // sequence of the newer header
	newer   int    // its copy
	owned   bool   // both headers were written by this recovery
}

// reader reads a log.
type reader struct {
	dev     disk.Device
	g       *layout.Geometry
	seeds   layout.Seeds
	sectors uint64
	mend    bool // replicas of data in flight
	report  Report
	blocks  map[uint64][]byte // what replay restores
	spare   [][]byte          // blocks that an earlier reader restored
	want    want
	accept  func(p []byte) bool // accepts

	// Buffers, which the next reader uses again.
	sector  []byte
	payload []byte
	records []layout.LogRecord
	block   []byte
	peeked  []byte
	places  [2]int64
}

var readers = sync.Pool{New: func() any {
	r := &reader{}
	r.accept = r.accepts
	return r
}}

// done gives the reader back; what it has read is void.
func (r *reader) done() {
	r.dev, r.g, r.report = nil, nil, Report{}
	if len(r.blocks) > maxSpare || cap(r.payload) > maxWrite { // a large log's is not kept
		r.blocks, r.spare, r.payload, r.records = nil, nil, nil, nil
	}
	for no := range r.blocks {
		r.forget(no)
	}
	readers.Put(r)
}

// maxSpare bounds the blocks that are kept from one recovery to the next.
const maxSpare = 64

// forget drops a block that replay has restored.
func (r *reader) forget(no uint64) {
	if b := r.blocks[no]; b != nil && len(r.spare) < maxSpare {
		r.spare = append(r.spare, b)
	}
	delete(r.blocks, no)
}

// restored is the block that replay restores, of any content if it is a new one.
func (r *reader) restored(no uint64) []byte {
	b := r.blocks[no]
	if b != nil {
		return b
	}
	if n := len(r.spare); n > 0 {
		b, r.spare = r.spare[n-1], r.spare[:n-1]
	}
	if len(b) != r.g.BlockSize {
		b = make([]byte, r.g.BlockSize)
	}
	r.blocks[no] = b
	return b
}

// Scan is Recover's verdict without any write.
func Scan(dev disk.Device, g *layout.Geometry, s layout.Seeds) (*Report, error) {
	r, err := scan(dev, g, s, false)
	if err != nil {
		return nil, err
	}
	defer r.done()
	rep := r.report
	return &rep, nil
}

// Recover replays the log: the blocks of every good transaction go home, are flushed, and an
// epoch begins in which nothing of the old log is valid. It depends on the image alone and may
// be interrupted and repeated; an image whose log is empty gets no write, and one without a log
// has nothing to replay.
//
// Errors: one that matches layout.ErrCorrupt when a transaction known to have been durable
// cannot be read, and those of the device.
func Recover(dev disk.Device, g *layout.Geometry, s layout.Seeds) (*Report, error) {
	if g.RunBlocks == 0 {
		return &Report{}, nil
	}
	r, err := scan(dev, g, s, true)
	if err != nil {
		return nil, err
	}
	defer r.done()
	rep := new(Report)
	*rep = r.report
	if rep.Replayed == 0 && !rep.Dropped {
		return rep, nil
	}
	if err := writeHome(dev, g, r.blocks); err != nil {
		return nil, err
	}
	if err := dev.Flush(); err != nil { // home before the headers give the log up
		return nil, err
	}
	l, err := Open(dev, g, s, rep, Options{})
	if err != nil {
		return nil, err
	}
	if err := l.own(); err != nil {
		return nil, err
	}
	rep.Epoch, rep.Tail, rep.headSeq, rep.newer, rep.owned = l.epoch, l.head, l.headSeq, l.newer, true
	return rep, nil
}

func scan(dev disk.Device, g *layout.Geometry, s layout.Seeds, mend bool) (*reader, error) {
	n, err := runSectors(g)
	if err != nil {
		return nil, err
	}
	r := readers.Get().(*reader)
	r.dev, r.g, r.seeds, r.sectors, r.mend = dev, g, s, n, mend
	r.sector = slices.Grow(r.sector[:0], g.SectorSize)[:g.SectorSize]
	head, err := r.header()
	if err != nil {
		return nil, err
	}
	rep := &r.report
	rep.Epoch, rep.Tail, rep.Head = head.Epoch, head.Tail, head.Tail
	rep.LastSeq = head.TailSeq - 1
	rep.Attested = rep.LastSeq
	for {
		more, err := r.transaction()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	return r, r.damage()
}

// header finds the current log header.
func (r *reader) header() (*layout.LogHead, error) {
	var best *layout.LogHead
	var why error
	p := make([]byte, layout.LogHeadSize)
	for i := range 2 {
		no := r.g.LogHead(i)
		_, err := r.dev.ReadChecked(p, disk.Check{Seed: r.seeds.Head(i), Want: layout.Residue, Version: layout.LogHeadVersion}, int64(no)*int64(r.g.BlockSize))
		if err != nil {
			why = err
			continue
		}
		h, err := layout.DecodeLogHead(p, i, no, r.seeds)
		if err != nil {
			why = err
			continue
		}
		if h.TailSeq == 0 {
			why = layout.Corrupt(fmt.Sprintf("log header %d", i), no, 32, "transaction 0", nil)
			continue
		}
		if best == nil || h.Sequence > best.Sequence {
			best = h
			r.report.headSeq, r.report.newer = h.Sequence, i
		}
	}
	if best == nil {
		return nil, layout.Corrupt("journal", r.g.LogHead(0), 0, fmt.Sprintf("no good header: %v", why), nil)
	}
	return best, nil
}

// want is the sector that read accepts, of this epoch.
type want struct {
	pos     uint64
	attests uint64 // at least this transaction
	seq     uint64 // if not 0: of this transaction, and
	index   uint32 // this one of it, and if not the first
	count   uint32 // of as many sectors, which attest exactly that
}

// accepts tells a sector that read wants from a void one by what it says. It is what keeps old
// laps and epochs from ever being a choice for the explorer.
func (r *reader) accepts(p []byte) bool {
	h, ok := layout.PeekLogSector(p)
	w := &r.want
	if !ok || h.Epoch != r.report.Epoch || h.Pos != w.pos || h.Attested < w.attests {
		return false
	}
	return w.seq == 0 || h.Seq == w.seq && h.Index == w.index && (w.index == 0 || h.Count == w.count && h.Attested == w.attests)
}

// read reads a sector into r.sector, from either run; ok is false when there is none that is wanted.
func (r *reader) read(w want) (h layout.LogSector, ok bool, err error) {
	r.want = w
	at := int64(w.pos%r.sectors) * int64(r.g.SectorSize)
	check := disk.Check{Seed: r.seeds.Log(w.pos), Want: layout.Residue, Accept: r.accept}
	r.places = [2]int64{runOffset(r.g, 0) + at, runOffset(r.g, 1) + at}
	_, err = r.dev.ReadChecked(r.sector, check, r.places[:]...)
	switch {
	case err == nil:
		h, _ = layout.PeekLogSector(r.sector)
		return h, true, nil
	case errors.Is(err, disk.ErrChecksum) || errors.Is(err, disk.ErrBadSector):
		return h, false, nil
	}
	return h, false, err
}

// transaction reads the next transaction at the head and applies it; more is false when there
// is none, or none that is whole.
func (r *reader) transaction() (more bool, err error) {
	rep := &r.report
	seq := rep.LastSeq + 1
	r.payload = r.payload[:0]
	var first layout.LogSector
	for i := uint32(0); i == 0 || i < first.Count; i++ {
		h, ok, err := r.read(want{pos: rep.Head + uint64(i), seq: seq, index: i, count: first.Count, attests: first.Attested})
		if err != nil {
			return false, err
		}
		if !ok {
			if i > 0 {
				r.drop(fmt.Sprintf("transaction %d: log sector %d of %d at position %d is missing", seq, i+1, first.Count, rep.Head+uint64(i)))
			}
			return false, nil
		}
		if i == 0 {
			first = h
			if uint64(h.Count) > r.sectors/4 {
				return false, r.corrupt(rep.Head, fmt.Sprintf("transaction %d of %d sectors", seq, h.Count))
			}
			rep.Attested = max(rep.Attested, h.Attested)
		}
		r.payload = append(r.payload, layout.LogSectorPayload(r.sector, &h)...)
	}
	records, err := r.parse(r.payload)
	if err != nil { // its sectors are good and of one transaction: no crash explains that
		return false, r.corrupt(rep.Head, fmt.Sprintf("transaction %d: %v", seq, err))
	}
	if no, err := r.unfinished(records, rep.Head+uint64(first.Count), seq); err != nil {
		return false, err
	} else if no != 0 {
		r.drop(fmt.Sprintf("transaction %d: data block %d is missing", seq, no))
		return false, nil
	}
	if err := r.apply(records, seq); err != nil {
		return false, err
	}
	rep.Head += uint64(first.Count)
	rep.LastSeq = seq
	rep.Replayed++
	return true, nil
}

func (r *reader) drop(why string) {
	r.report.Dropped, r.report.DroppedWhy = true, why
}

func (r *reader) corrupt(pos uint64, what string) error {
	at := pos % r.sectors
	per := uint64(r.g.BlockSize / r.g.SectorSize)
	return layout.Corrupt("journal", r.g.LogRun(0)+at/per, int(at%per)*r.g.SectorSize, what, nil)
}

// unfinished is a data block of the transaction seq, which ends at position next, whose absence
// says that its flush never returned; 0 if there is none.
//
// Whether the data arrived matters only there. What is attested (the first sector of the next
// transaction says it) has had its flush, and later transactions may have freed these blocks and
// written them again.
func (r *reader) unfinished(records []layout.LogRecord, next, seq uint64) (no uint64, err error) {
	data := false
	for i := range records {
		data = data || records[i].Type == layout.RecordData
	}
	if !data {
		return 0, nil
	}
	if _, ok, err := r.read(want{pos: next, attests: seq}); ok || err != nil {
		return 0, err
	}
	if no, err = r.missing(records); no == 0 || err != nil {
		return 0, err
	}
	// The rest of the next transaction may still be there to attest it.
	if _, ok, err := r.ahead(next+1, seq); ok || err != nil {
		return 0, err
	}
	return no, nil
}

// ahead looks from a position on for a sector that attests seq, as far as the first sector
// behind a transaction that is missing.
func (r *reader) ahead(pos, seq uint64) (uint64, bool, error) {
	end := pos + r.sectors/4 + 1
	for pos += r.void(pos, end, seq); pos < end; pos += 1 + r.void(pos+1, end, seq) {
		_, ok, err := r.read(want{pos: pos, attests: seq})
		if err != nil || ok {
			return pos, ok, err
		}
	}
	return 0, false, nil
}

// maxPeek is how much of a run is looked at at once, in bytes.
const maxPeek = 128 << 10

// void is how many sectors from a position on, below end, hold nothing in either run that could
// attest seq, as far as that can be seen without a checked read of each. Every open looks at a
// quarter of the log.
func (r *reader) void(pos, end, seq uint64) (n uint64) {
	size := uint64(r.g.SectorSize)
	for pos+n < end {
		at := (pos + n) % r.sectors
		k := min(end-pos-n, r.sectors-at, maxPeek/size)
		r.peeked = slices.Grow(r.peeked[:0], int(2*k*size))[:2*k*size]
		a, b := r.peeked[:k*size], r.peeked[k*size:]
		seen := disk.Peek(r.dev, a, runOffset(r.g, 0)+int64(at*size))
		if seen = min(seen, disk.Peek(r.dev, b[:seen], runOffset(r.g, 1)+int64(at*size))); uint64(seen) < size {
			return n
		}
		k = uint64(seen) / size
		for i := range k {
			r.want = want{pos: pos + n + i, attests: seq}
			if r.accepts(a[i*size:(i+1)*size]) || r.accepts(b[i*size:(i+1)*size]) {
				return n + i
			}
		}
		n += k
	}
	return n
}

// damage answers whether the log goes on behind the head: a sector there that attests a later
// transaction than the last good one says that one is lost which had been durable. The sectors
// of a transaction that a crash cut off attest only what was found.
func (r *reader) damage() error {
	rep := &r.report
	lost := rep.LastSeq + 1
	pos, found, err := r.ahead(rep.Head, lost)
	if err != nil {
		return err
	}
	if found {
		return r.corrupt(rep.Head, fmt.Sprintf("transaction %d at position %d cannot be read, but position %d says that it was durable", lost, rep.Head, pos))
	}
	return nil
}

// parse decodes a transaction's payload.
func (r *reader) parse(payload []byte) ([]layout.LogRecord, error) {
	records := r.records[:0]
	defer func() { r.records = records }()
	for off := 0; off < len(payload); {
		if len(records) == cap(records) {
			records = append(records, layout.LogRecord{})[:len(records)]
		}
		rec := &records[:len(records)+1][len(records)] // with the slices of an earlier one
		next, err := rec.Decode(payload, off, r.g.BlockSize)
		if err != nil {
			return nil, err
		}
		if rec.Type == layout.RecordCommit {
			if rec.Records != uint32(len(records)) {
				return nil, fmt.Errorf("commit record of %d records, found %d", rec.Records, len(records))
			}
			return records, nil
		}
		if rec.Block >= r.g.Blocks || uint64(len(rec.Sums)) > r.g.Blocks-rec.Block {
			return nil, fmt.Errorf("block %d beyond the volume", rec.Block)
		}
		if off = next; rec.Type != layout.RecordData && (rec.Block < r.g.TotalsBlock() || rec.Block > r.g.TotalsBlock() && rec.Block < r.g.FirstGroup) {
			return nil, fmt.Errorf("block %d is not the log's to change", rec.Block)
		}
		records = records[:len(records)+1]
	}
	return nil, errors.New("no commit record")
}

// missing is the first data block of a transaction that is not on the device, 0 if none.
//
// Of two replicas a crash may have left the data good on one and torn on the other; if the
// transaction stays, nobody would look at the other before the first is needed no more. So
// recovery reads both and mends: this is the cleanup of Lampson and Sturgis, for what was in
// flight and has no other home to be written to. What the log restores is written to both
// replicas anyway.
func (r *reader) missing(records []layout.LogRecord) (uint64, error) {
	r.block = slices.Grow(r.block[:0], r.g.BlockSize)[:r.g.BlockSize]
	p := r.block
	for i := range records {
		rec := &records[i]
		if rec.Type != layout.RecordData {
			continue
		}
		for k, sum := range rec.Sums {
			no := rec.Block + uint64(k)
			check := disk.Check{Seed: r.seeds.Data(no, rec.Ino, rec.Gen, rec.Logical+uint64(k)), Want: sum}
			check.Whole = true
			var err error
			if r.mend {
				_, err = disk.Mend(r.dev, p, check, int64(no)*int64(r.g.BlockSize))
			} else {
				_, err = r.dev.ReadChecked(p, check, int64(no)*int64(r.g.BlockSize))
			}
			if errors.Is(err, disk.ErrChecksum) || errors.Is(err, disk.ErrBadSector) {
				return no, nil
			}
			if err != nil {
				return 0, err
			}
		}
	}
	return 0, nil
}

// apply brings the blocks that replay restores up to a transaction.
func (r *reader) apply(records []layout.LogRecord, seq uint64) error {
	if r.blocks == nil {
		r.blocks = map[uint64][]byte{}
	}
	for i := range records { // a transaction revokes what was before it
		if records[i].Type == layout.RecordRevoke {
			r.forget(records[i].Block)
		}
	}
	for i := range records {
		rec := &records[i]
		switch rec.Type {
		case layout.RecordImage:
			copy(r.restored(rec.Block), rec.Image)
		case layout.RecordDelta:
			b := r.blocks[rec.Block]
			if rec.ZeroBase {
				b = r.restored(rec.Block)
				clear(b)
			}
			if b == nil {
				return r.corrupt(r.report.Head, fmt.Sprintf("transaction %d changes block %d, which the log does not hold", seq, rec.Block))
			}
			layout.Apply(b, rec.Ranges)
		}
	}
	r.report.Blocks = len(r.blocks)
	return nil
}
