package layout

import (
	"fmt"
	"slices"
)

// RecordType is the kind of a log record.
type RecordType uint8

// A record of the log. The first byte is its type; the rest:
//
//	image   1: reserved 1, reserved 2, block 8, then a whole block
//	delta   2: flags 1 (bit 0: the base is zero, not the block's last version),
//	           ranges 2, block 8, then per range: offset 2, length 2, bytes; with bit 15
//	           of the length set, in place of the bytes an offset 2 in the base, from which
//	           they are copied (what an insertion into a sorted block has moved)
//	revoke  3: reserved 1, reserved 2, block 8: what earlier records say of it is void
//	data    4: reserved 1, blocks 2, first block 8, inode 8, logical 8, generation 4,
//	           then per block its CRC-32C 4
//	commit  5: reserved 1, reserved 2, records before it 4, CRC-32C of all payload before it 4
//
// A transaction is records and one commit at its end; nothing follows it.
const (
	RecordImage RecordType = 1 + iota
	RecordDelta
	RecordRevoke
	RecordData
	RecordCommit
)

// LogRecord is one decoded record; slices alias the payload.
type LogRecord struct {
	Type     RecordType
	Block    uint64
	ZeroBase bool
	Image    []byte  // image
	Ranges   []Range // delta
	Ino      uint64  // data
	Logical  uint64
	Gen      uint32
	Sums     []uint32
	Records  uint32 // commit
	Sum      uint32
}

// Range is a changed part of a block: bytes, or (Len > 0) a copy of Len bytes of the base from
// offset From on.
type Range struct {
	Off   int
	Bytes []byte
	From  int
	Len   int
}

// Apply makes block, which is the base, what the ranges say. It cannot fail: NextRecord has
// checked the bounds.
func Apply(block []byte, ranges []Range) {
	var base []byte
	for _, r := range ranges {
		if r.Len > 0 && base == nil {
			base = append([]byte(nil), block...)
		}
	}
	for _, r := range ranges {
		if r.Len > 0 {
			copy(block[r.Off:], base[r.From:r.From+r.Len])
		} else {
			copy(block[r.Off:], r.Bytes)
		}
	}
}

const rangeCopy = 1 << 15 // in the length

// Sizes of records without their variable part, in bytes.
const (
	recordHead     = 12
	rangeHead      = 4
	recordDataHead = recordHead + 20
	CommitSize     = 12
)

func recordStart(p []byte, t RecordType, flags uint8, n uint16, block uint64) []byte {
	p = append(p, uint8(t), flags)
	p = le.AppendUint16(p, n)
	return le.AppendUint64(p, block)
}

// AppendImage appends an image record.
func AppendImage(p []byte, block uint64, image []byte) []byte {
	return append(recordStart(p, RecordImage, 0, 0, block), image...)
}

// AppendDelta appends a delta record.
func AppendDelta(p []byte, block uint64, zeroBase bool, ranges []Range) []byte {
	var flags uint8
	if zeroBase {
		flags = 1
	}
	p = recordStart(p, RecordDelta, flags, uint16(len(ranges)), block)
	for _, r := range ranges {
		p = le.AppendUint16(p, uint16(r.Off))
		if r.Len > 0 {
			p = le.AppendUint16(p, uint16(r.Len)|rangeCopy)
			p = le.AppendUint16(p, uint16(r.From))
			continue
		}
		p = le.AppendUint16(p, uint16(len(r.Bytes)))
		p = append(p, r.Bytes...)
	}
	return p
}

// DeltaSize is the length of a delta record.
func DeltaSize(ranges []Range) int {
	n := recordHead
	for _, r := range ranges {
		n += rangeHead + len(r.Bytes)
		if r.Len > 0 {
			n += 2
		}
	}
	return n
}

// AppendRevoke appends a revoke record.
func AppendRevoke(p []byte, block uint64) []byte {
	return recordStart(p, RecordRevoke, 0, 0, block)
}

// AppendData appends a data record for len(sums) blocks from block on, at most 65535.
func AppendData(p []byte, block, ino, logical uint64, gen uint32, sums []uint32) []byte {
	p = recordStart(p, RecordData, 0, uint16(len(sums)), block)
	p = le.AppendUint64(p, ino)
	p = le.AppendUint64(p, logical)
	p = le.AppendUint32(p, gen)
	for _, s := range sums {
		p = le.AppendUint32(p, s)
	}
	return p
}

// AppendCommit appends the commit record of the payload p, which has n records. The
// transaction commits when the sectors that carry it are on stable storage.
func AppendCommit(p []byte, n uint32) []byte {
	sum := Sum(0, p)
	p = append(p, uint8(RecordCommit), 0, 0, 0)
	p = le.AppendUint32(p, n)
	return le.AppendUint32(p, sum)
}

// NextRecord reads the record at offset off of the payload p and returns the offset behind
// it. It distrusts every count; blockSize bounds images and ranges.
func NextRecord(p []byte, off, blockSize int) (r LogRecord, next int, err error) {
	next, err = r.Decode(p, off, blockSize)
	return r, next, err
}

// Decode is NextRecord into r, whose slices it uses again.
func (r *LogRecord) Decode(p []byte, off, blockSize int) (next int, err error) {
	*r = LogRecord{Ranges: r.Ranges[:0], Sums: r.Sums[:0]}
	q := p[off:]
	short := func() error { return fmt.Errorf("log record at %d cut off", off) }
	if len(q) < recordHead {
		return 0, short()
	}
	r.Type = RecordType(q[0])
	flags, n := q[1], int(le.Uint16(q[2:]))
	if flags > 1 || flags == 1 && r.Type != RecordDelta {
		return 0, fmt.Errorf("log record at %d: flags %#x", off, flags)
	}
	if n != 0 && r.Type != RecordDelta && r.Type != RecordData {
		return 0, fmt.Errorf("log record at %d: reserved bytes are not zero", off)
	}
	if r.Type == RecordCommit {
		r.Records, r.Sum = le.Uint32(q[4:]), le.Uint32(q[8:])
		if want := Sum(0, p[:off]); r.Sum != want {
			return 0, fmt.Errorf("commit record: checksum %#x, want %#x", r.Sum, want)
		}
		if len(q) != CommitSize {
			return 0, fmt.Errorf("%d bytes behind the commit record", len(q)-CommitSize)
		}
		return off + CommitSize, nil
	}
	r.Block = le.Uint64(q[4:])
	c := cursor{b: q, n: recordHead}
	room := func(k int) bool { return len(q)-c.n >= k }
	switch r.Type {
	case RecordImage:
		if !room(blockSize) {
			return 0, short()
		}
		r.Image = c.take(blockSize)
	case RecordDelta:
		r.ZeroBase = flags == 1
		r.Ranges = slices.Grow(r.Ranges, min(n, (len(q)-c.n)/rangeHead))
		end := 0
		for range n {
			if !room(rangeHead) {
				return 0, short()
			}
			at, k := int(c.u16()), int(c.u16())
			if k&rangeCopy != 0 {
				if k &^= rangeCopy; !room(2) {
					return 0, short()
				}
				from := int(c.u16())
				if k == 0 || at < end || at+k > blockSize || from+k > blockSize || r.ZeroBase {
					return 0, fmt.Errorf("log record at %d: copy %d+%d from %d of block %d", off, at, k, from, r.Block)
				}
				r.Ranges = append(r.Ranges, Range{Off: at, From: from, Len: k})
				end = at + k
				continue
			}
			if k == 0 || at < end || at+k > blockSize {
				return 0, fmt.Errorf("log record at %d: range %d+%d of block %d", off, at, k, r.Block)
			}
			if !room(k) {
				return 0, short()
			}
			r.Ranges = append(r.Ranges, Range{Off: at, Bytes: c.take(k)})
			end = at + k
		}
	case RecordRevoke:
	case RecordData:
		if !room(recordDataHead - recordHead + 4*n) {
			return 0, short()
		}
		r.Ino, r.Logical, r.Gen = c.u64(), c.u64(), c.u32()
		r.Sums = slices.Grow(r.Sums, n)
		for range n {
			r.Sums = append(r.Sums, c.u32())
		}
	default:
		return 0, fmt.Errorf("log record at %d: type %d", off, r.Type)
	}
	return off + c.n, nil
}
