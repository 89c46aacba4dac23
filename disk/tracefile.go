package disk

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/crc32"
)

// The file of a trace, version 1, little-endian:
//
//	offset  size  field
//	0       8     magic "HFTRACE\n"
//	8       4     version, 1
//	12      4     sector size in bytes, 512 or 4096
//	16      8     size of the base in bytes, a multiple of the sector size, at most MaxTraceBase
//	24            items
//	end-4   4     CRC-32C of all bytes before it
//
// An item is a kind (one byte) and what the kind says; a number is an unsigned varint:
//
//	0 end    nothing; the last item
//	1 write  offset / sector size, length / sector size (at least 1), the bytes
//	2 flush  nothing
//	3 mark   length, the bytes (at most maxMark)
//	4 zeros  length, at least 1: the base goes on with so many zero bytes
//	5 bytes  length, at least 1, the bytes: the base goes on with them
//
// The items 4 and 5 come first, take turns, are whole sectors, and give the base exactly; a
// zero sector is always part of an item 4.
const (
	traceMagic   = "HFTRACE\n"
	traceVersion = 1

	itemEnd   = 0
	itemWrite = byte(EventWrite)
	itemFlush = byte(EventFlush)
	itemMark  = byte(EventMark)
	itemZeros = 4
	itemBytes = 5

	// MaxTraceBase bounds the base of a trace in bytes.
	MaxTraceBase = 4 << 30
	maxMark      = 1 << 20 // bytes
)

// ErrTrace says that what was read is no trace of this version, or a damaged one.
var ErrTrace = errors.New("not a valid trace")

// check refuses a trace that breaks its own rules; the error matches [ErrTrace].
func (t *Trace) check() error {
	if t.SectorSize != 512 && t.SectorSize != 4096 {
		return fmt.Errorf("%w: sector size %d", ErrTrace, t.SectorSize)
	}
	size, sector := int64(len(t.Base)), int64(t.SectorSize)
	if size%sector != 0 || size > MaxTraceBase {
		return fmt.Errorf("%w: base of %d bytes", ErrTrace, size)
	}
	for i, e := range t.Events {
		switch e.Kind {
		case EventWrite:
			if inRange(len(e.Data), e.Off, size) != nil || wholeSectors(len(e.Data), e.Off, sector) != nil || len(e.Data) == 0 {
				return fmt.Errorf("%w: event %d: write of %d bytes at %d", ErrTrace, i, len(e.Data), e.Off)
			}
		case EventFlush:
		case EventMark:
			if len(e.Mark) > maxMark {
				return fmt.Errorf("%w: event %d: mark of %d bytes", ErrTrace, i, len(e.Mark))
			}
		default:
			return fmt.Errorf("%w: event %d: kind %d", ErrTrace, i, e.Kind)
		}
	}
	return nil
}

// traceWriter keeps the first error and the CRC of what was written.
type traceWriter struct {
	w   *bufio.Writer
	crc uint32
	err error
	buf []byte
}

func (w *traceWriter) bytes(p []byte) {
	if w.err == nil {
		w.crc = crc32.Update(w.crc, castagnoli, p)
		_, w.err = w.w.Write(p)
	}
}

func (w *traceWriter) item(kind byte, numbers ...uint64) {
	w.buf = append(w.buf[:0], kind)
	for _, n := range numbers {
		w.buf = binary.AppendUvarint(w.buf, n)
	}
	w.bytes(w.buf)
}

// Encode writes the trace to out. A trace has one encoding only. The error matches [ErrTrace]
// if the trace breaks the rules of its format.
func (t *Trace) Encode(out io.Writer) error {
	if err := t.check(); err != nil {
		return err
	}
	w := &traceWriter{w: bufio.NewWriterSize(out, 64<<10)}
	head := append(make([]byte, 0, 24), traceMagic...)
	head = binary.LittleEndian.AppendUint32(head, traceVersion)
	head = binary.LittleEndian.AppendUint32(head, uint32(t.SectorSize))
	head = binary.LittleEndian.AppendUint64(head, uint64(len(t.Base)))
	w.bytes(head)

	zero := make([]byte, t.SectorSize)
	alike := func(from int, zeros bool) int { // the end of the run of sectors from there on
		for from < len(t.Base) && bytes.Equal(t.Base[from:from+t.SectorSize], zero) == zeros {
			from += t.SectorSize
		}
		return from
	}
	for pos := 0; pos < len(t.Base); {
		if end := alike(pos, true); end > pos {
			w.item(itemZeros, uint64(end-pos))
			pos = end
		}
		if end := alike(pos, false); end > pos {
			w.item(itemBytes, uint64(end-pos))
			w.bytes(t.Base[pos:end])
			pos = end
		}
	}
	sector := uint64(t.SectorSize)
	for i := range t.Events {
		switch e := &t.Events[i]; e.Kind {
		case EventWrite:
			w.item(itemWrite, uint64(e.Off)/sector, uint64(len(e.Data))/sector)
			w.bytes(e.Data)
		case EventFlush:
			w.item(itemFlush)
		case EventMark:
			w.item(itemMark, uint64(len(e.Mark)))
			w.bytes([]byte(e.Mark))
		}
	}
	w.item(itemEnd)
	w.bytes(binary.LittleEndian.AppendUint32(nil, w.crc))
	if w.err != nil {
		return w.err
	}
	return w.w.Flush()
}

// Hash identifies the trace: it depends on its content alone, and is the same on every machine
// (the first eight bytes, big-endian, of the SHA-256 of its encoding). A trace that Encode
// refuses has the hash 0.
func (t *Trace) Hash() uint64 {
	h := sha256.New()
	if t.Encode(h) != nil {
		return 0
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// traceReader keeps the place and the CRC of what was read.
type traceReader struct {
	r   *bufio.Reader
	pos int64
	crc uint32
	one [1]byte
}

func (r *traceReader) bad(format string, args ...any) error {
	return fmt.Errorf("%w: byte %d: %s", ErrTrace, r.pos, fmt.Sprintf(format, args...))
}

// failed tells a file that ends too early from a read error of the host.
func (r *traceReader) failed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: cut off at byte %d: %w", ErrTrace, r.pos, io.ErrUnexpectedEOF)
	}
	return err
}

func (r *traceReader) full(p []byte) error {
	n, err := io.ReadFull(r.r, p)
	r.pos += int64(n)
	if err != nil {
		return r.failed(err)
	}
	r.crc = crc32.Update(r.crc, castagnoli, p)
	return nil
}

// ReadByte implements [io.ByteReader].
func (r *traceReader) ReadByte() (byte, error) {
	err := r.full(r.one[:])
	return r.one[0], err
}

// number reads a varint of at most limit.
func (r *traceReader) number(what string, limit uint64) (int64, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		if errors.Is(err, ErrTrace) {
			return 0, err
		}
		return 0, r.bad("%s: %v", what, err)
	}
	if n > limit {
		return 0, r.bad("%s %d, at most %d", what, n, limit)
	}
	return int64(n), nil
}

// take reads n bytes. It allocates as they come, so that a length costs nobody more memory
// than the bytes that are there.
func (r *traceReader) take(n int64) ([]byte, error) {
	const step = 64 << 10
	p := make([]byte, 0, min(n, step))
	for int64(len(p)) < n {
		if len(p) == cap(p) {
			p = append(p, make([]byte, min(int64(len(p)), n-int64(len(p))))...)[:len(p)]
		}
		from := len(p)
		p = p[:min(int64(cap(p)), n)]
		if err := r.full(p[from:]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// ReadTrace reads a trace up to its end, which must be the end of in. What is not a whole,
// undamaged trace gives an error that matches [ErrTrace] and names the byte; a file that was
// cut off one that matches [io.ErrUnexpectedEOF] too.
//
// Memory is bounded by the length of in until the checksum has been verified, and by the base
// (at most [MaxTraceBase]) after it.
func ReadTrace(in io.Reader) (*Trace, error) {
	r := &traceReader{r: bufio.NewReaderSize(in, 64<<10)}
	var head [24]byte
	if err := r.full(head[:]); err != nil {
		return nil, err
	}
	if string(head[:8]) != traceMagic {
		return nil, fmt.Errorf("%w: no magic", ErrTrace)
	}
	if v := binary.LittleEndian.Uint32(head[8:]); v != traceVersion {
		return nil, fmt.Errorf("%w: version %d, want %d", ErrTrace, v, traceVersion)
	}
	sector := uint64(binary.LittleEndian.Uint32(head[12:]))
	if sector != 512 && sector != 4096 {
		return nil, fmt.Errorf("%w: sector size %d", ErrTrace, sector)
	}
	size := binary.LittleEndian.Uint64(head[16:])
	if size > min(MaxTraceBase, math.MaxInt) || size%sector != 0 {
		return nil, fmt.Errorf("%w: base of %d bytes", ErrTrace, size)
	}

	// The base is kept as pieces until the checksum says that its size is meant.
	type piece struct {
		off  int64
		data []byte
	}
	var pieces []piece
	var filled uint64
	for previous := byte(itemEnd); filled < size; {
		kind, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		if kind != itemZeros && kind != itemBytes || kind == previous {
			return nil, r.bad("item %d in the base", kind)
		}
		previous = kind
		n, err := r.number("length", size-filled)
		if err != nil {
			return nil, err
		}
		if n == 0 || uint64(n)%sector != 0 {
			return nil, r.bad("length %d in the base", n)
		}
		if kind == itemBytes {
			data, err := r.take(n)
			if err != nil {
				return nil, err
			}
			pieces = append(pieces, piece{int64(filled), data})
		}
		filled += uint64(n)
	}

	t := &Trace{SectorSize: int(sector)}
	for kind := byte(itemFlush); kind != itemEnd; {
		var err error
		if kind, err = r.ReadByte(); err != nil {
			return nil, err
		}
		e := Event{Kind: EventKind(kind)}
		switch kind {
		case itemEnd:
			continue
		case itemFlush:
		case itemMark:
			n, err := r.number("length of a mark", maxMark)
			if err != nil {
				return nil, err
			}
			text, err := r.take(n)
			if err != nil {
				return nil, err
			}
			e.Mark = string(text)
		case itemWrite:
			off, err := r.number("sector", size/sector)
			if err != nil {
				return nil, err
			}
			n, err := r.number("sectors", size/sector-uint64(off))
			if err != nil {
				return nil, err
			}
			if n == 0 {
				return nil, r.bad("empty write")
			}
			e.Off = off * int64(sector)
			if e.Data, err = r.take(n * int64(sector)); err != nil {
				return nil, err
			}
		default:
			return nil, r.bad("item %d", kind)
		}
		t.Events = append(t.Events, e)
	}
	want := r.crc
	var sum [4]byte
	if err := r.full(sum[:]); err != nil {
		return nil, err
	}
	if found := binary.LittleEndian.Uint32(sum[:]); found != want {
		return nil, fmt.Errorf("%w: checksum %#x, want %#x", ErrTrace, found, want)
	}
	switch _, err := r.r.ReadByte(); {
	case err == nil:
		return nil, r.bad("bytes after the end")
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	t.Base = make([]byte, size)
	for _, p := range pieces {
		copy(t.Base[p.off:], p.data)
	}
	return t, nil
}
