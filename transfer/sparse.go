package transfer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
)

// A sparse member of a tar archive says which ranges of the file it holds, in one of four forms:
// GNU's old one in the header and blocks behind it, and in PAX 0.0, 0.1 (records) and 1.0 (the
// head of the data), see "Storing Sparse Files" in the manual of GNU tar. Package archive/tar
// reads them all, but gives the holes as zeros, so that a few bytes of archive would keep us
// busy for years. Here the map is read again from what archive/tar has read, and the data then
// straight from the archive.

// tarStream is what archive/tar reads from: it keeps the end of what has been read, and can be
// read from behind archive/tar's back.
type tarStream struct {
	r      io.Reader
	tail   []byte // what has been read since mark, the last tailMax of it at least
	debt   int64  // bytes that the reader above still believes to be ahead
	offset int64  // bytes read
}

// tailMax is more than the largest map that archive/tar reads, with the header before it.
const tailMax = 2 << 20

func (t *tarStream) Read(p []byte) (int, error) {
	if t.debt > 0 {
		n := int(min(int64(len(p)), t.debt))
		clear(p[:n])
		t.debt -= int64(n)
		return n, nil
	}
	n, err := t.r.Read(p)
	t.tail = append(t.tail, p[:n]...)
	t.offset += int64(n)
	if len(t.tail) > 2*tailMax {
		t.tail = append(t.tail[:0], t.tail[len(t.tail)-tailMax:]...)
	}
	return n, err
}

// mark forgets what has been read, but for the last two blocks.
func (t *tarStream) mark() {
	t.tail = append(t.tail[:0], t.tail[max(0, len(t.tail)-2*tarBlock):]...)
}

// atEnd reports whether the mark of the end of an archive, two blocks of zeros, was read last.
func (t *tarStream) atEnd() bool {
	n := len(t.tail)
	return n >= 2*tarBlock && zero(t.tail[n-2*tarBlock:])
}

// isTar reports whether what has been read since mark begins with a block that says it is a
// header, sound or not.
func (t *tarStream) isTar() bool {
	const at = 257 // of the magic, the same for ustar and GNU
	return len(t.tail) >= tarBlock && string(t.tail[at:at+5]) == "ustar"
}

// otherKind names another kind of archive that has been begun to be read, for an error.
func (t *tarStream) otherKind() string {
	for magic, kind := range map[string]string{"070701": "cpio", "070702": "cpio", "070707": "cpio", "\xc7\x71": "cpio", "PK\x03\x04": "zip", "!<arch>\n": "ar", "hsqs": "squashfs"} {
		if strings.HasPrefix(string(t.tail), magic) {
			return ": it is " + kind
		}
	}
	return ""
}

// direct reads n bytes of a member's data that archive/tar will believe to be there still.
func (t *tarStream) direct(p []byte) error {
	n, err := io.ReadFull(t.r, p)
	t.offset += int64(n)
	t.debt += int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

const tarBlock = 512

// span is a range of a file that a sparse member holds.
type span struct{ off, n int64 }

var errSparse = errors.New("its map of holes makes no sense")

// isSparse reports whether a member has a map.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	_, has := h.PAXRecords["GNU.sparse.map"]
	return has || h.PAXRecords["GNU.sparse.major"] == "1" && h.PAXRecords["GNU.sparse.minor"] == "0"
}

// sparseMap is the map of the member whose header has just been read; tail is what was read for it.
func sparseMap(h *tar.Header, tail []byte) ([]span, error) {
	var list []span
	var err error
	head, mapped := len(tail)-tarBlock, 0 // where the header is; how much of the data is the map
	switch m, has := h.PAXRecords["GNU.sparse.map"]; {
	case h.Typeflag == tar.TypeGNUSparse:
		if head = oldSparseHeader(tail); head >= 0 {
			list, err = oldSparse(tail[head:])
		}
	case has && h.PAXRecords["GNU.sparse.major"] != "1":
		list, err = decimalSpans(strings.FieldsFunc(m, func(r rune) bool { return r == ',' }))
	default:
		for head >= 0 && len(bytes.Trim(tail[head:head+tarBlock], "0123456789\n\x00")) == 0 { // a header has letters in it
			head, mapped = head-tarBlock, mapped+tarBlock
		}
		list, err = sparse1(tail[len(tail)-mapped:])
	}
	if err != nil || head < 0 {
		return nil, errSparse
	}
	stored, ok := tarNumber(tail[head+124 : head+136])
	if size, has := h.PAXRecords["size"]; has {
		stored, err = strconv.ParseInt(size, 10, 64)
	}
	stored -= int64(mapped)
	end := int64(0)
	for _, s := range list { // in order, within the file, and no more than the archive has
		if s.off < end || s.n < 0 || s.n > h.Size-s.off || s.n > stored {
			return nil, errSparse
		}
		end = s.off + s.n
		stored -= s.n
	}
	if err != nil || !ok {
		return nil, errSparse
	}
	return list, nil
}

// decimalSpans reads pairs of an offset and a length.
func decimalSpans(words []string) ([]span, error) {
	if len(words)%2 != 0 {
		return nil, errSparse
	}
	list := make([]span, 0, len(words)/2)
	for i := 0; i < len(words); i += 2 {
		off, err := strconv.ParseInt(words[i], 10, 64)
		n, err2 := strconv.ParseInt(words[i+1], 10, 64)
		if err != nil || err2 != nil || off < 0 || n < 0 {
			return nil, errSparse
		}
		list = append(list, span{off, n})
	}
	return list, nil
}

// sparse1 reads the map of format 1.0: lines of decimals, filled up to a block.
func sparse1(p []byte) ([]span, error) {
	words := strings.Fields(strings.TrimRight(string(p), "\x00"))
	if len(words) == 0 {
		return nil, errSparse
	}
	n, err := strconv.ParseInt(words[0], 10, 32)
	if err != nil || n < 0 || int(2*n) != len(words)-1 {
		return nil, errSparse
	}
	return decimalSpans(words[1:])
}

// oldSparseHeader is where in what was read the header of GNU's old form is, -1: nowhere.
func oldSparseHeader(tail []byte) int {
	for start := len(tail) - tarBlock; start >= 0; start -= tarBlock {
		h := tail[start : start+tarBlock]
		if h[156] == tar.TypeGNUSparse && bytes.HasPrefix(h[257:], []byte("ustar  \x00")) && tarChecksum(h) {
			return start
		}
	}
	return -1
}

// oldSparse reads GNU's old map: four entries in the header h, 21 in each block that follows while
// a byte says that there is one more.
func oldSparse(h []byte) ([]span, error) {
	var list []span
	add := func(p []byte) bool { // false: the map ends here
		for ; len(p) >= 24; p = p[24:] {
			if p[0] == 0 {
				return false
			}
			off, ok := tarNumber(p[:12])
			n, ok2 := tarNumber(p[12:24])
			if !ok || !ok2 {
				off, n = 0, math.MaxInt64 // no file has room for it
			}
			list = append(list, span{off, n})
		}
		return true
	}
	add(h[386 : 386+4*24])
	for more := h[482] != 0; more; {
		if h = h[tarBlock:]; len(h) < tarBlock {
			return nil, errSparse
		}
		add(h[:21*24])
		more = h[504] != 0
	}
	return list, nil
}

// tarNumber reads a field: octal, or with the top bit set in base 256.
func tarNumber(p []byte) (int64, bool) {
	if p[0]&0x80 != 0 {
		if p[0] != 0x80 || !zero(p[1:len(p)-8]) || p[len(p)-8]&0x80 != 0 {
			return 0, false
		}
		var n int64
		for _, b := range p[len(p)-8:] {
			n = n<<8 | int64(b)
		}
		return n, true
	}
	n, err := strconv.ParseInt(strings.Trim(string(p), " \x00"), 8, 64)
	return n, err == nil && n >= 0
}

// tarChecksum reports whether a header block has the checksum that it says.
func tarChecksum(h []byte) bool {
	want, ok := tarNumber(h[148:156])
	sum := int64(8 * ' ')
	for i, b := range h[:tarBlock] {
		if i < 148 || i >= 156 {
			sum += int64(b)
		}
	}
	return ok && sum == want
}
