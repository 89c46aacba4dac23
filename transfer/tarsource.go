package transfer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"holdfast/volume"
)

// tarSource is a tar archive, in its own order.
type tarSource struct {
	any bool // a member has been read
	*Options
	name    string // for messages
	plain   io.ReadCloser
	stream  *tarStream
	tr      *tar.Reader
	global  map[string]string // records of global headers, for all that comes
	last    string            // the last member, for messages
	block   int               // bytes; ranges of content are whole blocks
	members int
	stats   *Stats // takes warnings
	strip   bool   // a name has been stripped of its slash
}

// Errors of an archive.
var (
	errDotDot = errors.New(`its name has ".." in it, which would lead out of the tree`)
	errEmpty  = errors.New("its name is empty")
)

// newTarSource reads an archive, compressed or not.
func newTarSource(r io.Reader, name string, block int, o *Options, stats *Stats) (*tarSource, error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t := &tarStream{r: plain}
	return &tarSource{Options: o, name: name, plain: plain, stream: t, tr: tar.NewReader(t), global: map[string]string{}, block: block, stats: stats}, nil
}

func (s *tarSource) close() { _ = s.plain.Close() }

func (s *tarSource) warn(format string, args ...any) {
	s.stats.Warnings = append(s.stats.Warnings, s.name+": "+fmt.Sprintf(format, args...))
}

// where is what messages call a member.
func (s *tarSource) where(member string) string { return fmt.Sprintf("%s: member %q", s.name, member) }

func (s *tarSource) next() (*entry, error) {
	for {
		s.stream.mark()
		h, err := s.tr.Next()
		switch {
		case err == nil:
			s.any = true
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			if !s.any { // zeros alone are the end of an archive; so begins many a file that is none
				return nil, fmt.Errorf("%s: no member in it: is it a tar archive?", s.name)
			}
			return nil, s.end()
		default:
			return nil, s.broken(err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			if err := s.merge(h.PAXRecords); err != nil {
				return nil, err
			}
			continue
		}
		s.members++
		s.last = h.Name
		e, err := s.entry(h)
		if err != nil {
			return nil, named(s.where(h.Name), err)
		}
		if e != nil && (e.path == "." || !s.hidden(e.path, h.FileInfo())) {
			return e, nil
		}
	}
}

// hidden reports whether a path or what it lies in is left out.
func (s *tarSource) hidden(p string, info fs.FileInfo) bool {
	if s.Exclude == nil {
		return false
	}
	if s.excluded(p, info) {
		return true
	}
	for d := path.Dir(p); d != "."; d = path.Dir(d) {
		if s.excluded(d, tarDir{path.Base(d)}) {
			return true
		}
	}
	return false
}

// tarDir is a directory of which only the name is known.
type tarDir struct{ name string }

func (d tarDir) Name() string       { return d.name }
func (d tarDir) Size() int64        { return 0 }
func (d tarDir) Mode() fs.FileMode  { return fs.ModeDir | 0o755 }
func (d tarDir) ModTime() time.Time { return time.Time{} }
func (d tarDir) IsDir() bool        { return true }
func (d tarDir) Sys() any           { return nil }

// broken is an error of the archive, with the place.
func (s *tarSource) broken(err error) error {
	first := s.members == 0
	switch {
	case first && (errors.Is(err, tar.ErrHeader) && !s.stream.isTar() || errors.Is(err, io.ErrUnexpectedEOF) && s.stream.offset < tarBlock):
		return pathed{fmt.Errorf("%s: not a tar archive%s", s.name, s.stream.otherKind())}
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the archive is cut off")
	case errors.Is(err, tar.ErrHeader):
		err = errors.New("damaged header")
	}
	if first {
		return pathed{fmt.Errorf("%s: %w", s.name, err)}
	}
	return pathed{fmt.Errorf("%s: after member %q, offset %d: %w", s.name, s.last, s.stream.offset, err)}
}

// end reads what is behind the archive, so that a checksum at the end of a compressed one is
// looked at and who writes to a pipe is not cut off.
func (s *tarSource) end() error {
	marked := s.stream.atEnd()
	if !marked && s.stream.offset%tarBlock != 0 { // inside the last block of a member's data
		return s.broken(io.ErrUnexpectedEOF)
	}
	if _, err := io.Copy(io.Discard, s.plain); err != nil {
		return s.broken(err)
	}
	if !marked {
		s.warn("it has no mark at its end, so something may be missing")
	}
	return io.EOF
}

// merge takes the records of a global header for all members that come.
func (s *tarSource) merge(records map[string]string) error {
	for k, v := range records {
		switch {
		case k == "size" || k == "path" || k == "linkpath" || strings.HasPrefix(k, "GNU.sparse."):
			return pathed{fmt.Errorf("%s: after %d members: a global header gives every member the same %q", s.name, s.members, k)}
		case v == "":
			delete(s.global, k)
		default:
			s.global[k] = v
		}
	}
	return nil
}

// record is a PAX record of a member, its own or a global one.
func (s *tarSource) record(h *tar.Header, key string) (string, bool) {
	if v, ok := h.PAXRecords[key]; ok {
		return v, false // archive/tar has put it into the header
	}
	v, ok := s.global[key]
	return v, ok
}

// clean is the path of a member in the tree.
func (s *tarSource) clean(name string) (string, error) {
	if name == "" {
		return "", errEmpty
	}
	if strings.HasPrefix(name, "/") && !s.strip {
		s.strip = true
		s.warn("removing the leading / from names")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errDotDot
		}
	}
	if strings.Contains(name, "\x00") {
		return "", errors.New("its name has a NUL in it")
	}
	return path.Clean(strings.TrimLeft("./"+strings.TrimLeft(name, "/"), "/")), nil
}

// entry is what a member says; nil: it is nothing for a tree.
func (s *tarSource) entry(h *tar.Header) (*entry, error) {
	p, err := s.clean(h.Name)
	if err != nil {
		return nil, err
	}
	e := &entry{path: p, where: s.where(h.Name), mode: uint16(h.Mode & modeBits), mtime: h.ModTime, atime: h.AccessTime}
	if err := s.owners(h, e); err != nil {
		return nil, err
	}
	if err := s.times(h, e); err != nil {
		return nil, err
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		e.mode |= 0o100000
		e.size = h.Size
		if isSparse(h) { // its holes are not written out, whatever is asked for: they cost nothing to claim
			spans, err := sparseMap(h, s.stream.tail)
			if err != nil {
				return nil, err
			}
			e.content = &sparseContent{s, e, spans}
		} else {
			e.content = &tarContent{s, e}
		}
	case tar.TypeDir:
		e.mode |= dirMode
	case tar.TypeLink:
		if e.link, err = s.clean(h.Linkname); err != nil {
			return nil, fmt.Errorf("the name it links to, %q: %w", h.Linkname, err)
		}
		return e, nil
	case tar.TypeSymlink:
		if h.Linkname == "" {
			return nil, errors.New("a symbolic link to nothing")
		}
		e.mode |= 0o120000
		e.target = h.Linkname
	case tar.TypeFifo:
		e.mode |= 0o010000
	case tar.TypeChar, tar.TypeBlock:
		e.mode |= map[byte]uint16{tar.TypeChar: 0o020000, tar.TypeBlock: 0o060000}[h.Typeflag]
		if h.Devmajor < 0 || h.Devmajor > math.MaxUint32 || h.Devminor < 0 || h.Devminor > math.MaxUint32 {
			return nil, fmt.Errorf("device number %d, %d", h.Devmajor, h.Devminor)
		}
		e.major, e.minor = uint32(h.Devmajor), uint32(h.Devminor)
	case 'V', 'M', 'N': // GNU: the label of a volume, a continuation, names
		s.warn("member %q: type %q is left out", h.Name, h.Typeflag)
		return nil, nil
	default:
		return nil, fmt.Errorf("unknown type %q", h.Typeflag)
	}
	if p == "." && !e.isDir() {
		return nil, errors.New("it would replace the top directory")
	}
	if s.Preserve {
		e.xattrs, err = s.xattrs(h)
	}
	return e, err
}

func (s *tarSource) owners(h *tar.Header, e *entry) error {
	uid, gid := int64(h.Uid), int64(h.Gid)
	for key, id := range map[string]*int64{"uid": &uid, "gid": &gid} {
		if v, ok := s.record(h, key); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return fmt.Errorf("%s %q of the global header", key, v)
			}
			*id = n
		}
		if *id < 0 || *id >= math.MaxUint32 {
			return fmt.Errorf("%s %d: not a number of a user or group", key, *id)
		}
	}
	e.uid, e.gid = uint32(uid), uint32(gid)
	return nil
}

func (s *tarSource) times(h *tar.Header, e *entry) error {
	for key, t := range map[string]*time.Time{"mtime": &e.mtime, "atime": &e.atime} {
		if v, ok := s.record(h, key); ok {
			x, err := paxTime(v)
			if err != nil {
				return fmt.Errorf("%s %q of the global header", key, v)
			}
			*t = x
		}
	}
	if e.atime.IsZero() {
		e.atime = e.mtime
	}
	return nil
}

// paxTime reads seconds since 1970 with any number of decimals.
func paxTime(v string) (time.Time, error) {
	whole, part, _ := strings.Cut(v, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	part = (part + "000000000")[:9]
	nsec, err := strconv.ParseUint(part, 10, 32)
	if strings.HasPrefix(whole, "-") {
		return time.Unix(sec, -int64(nsec)), err
	}
	return time.Unix(sec, int64(nsec)), err
}

// Prefixes and keys of the PAX records that attributes are in.
const (
	paxXattr      = "SCHILY.xattr."
	paxACL        = "SCHILY.acl.access"
	paxDefaultACL = "SCHILY.acl.default"
	aclAccess     = "system.posix_acl_access"
	aclDefault    = "system.posix_acl_default"
)

// The key of a record cannot have an equals sign: GNU tar writes it, and what that is written with, in other characters.
var (
	paxName  = strings.NewReplacer("%", "%25", "=", "%3D")
	paxNamed = strings.NewReplacer("%25", "%", "%3D", "=")
)

// xattrs is the attributes of a member. Access control lists come as attributes or, from GNU tar
// and star, as text.
func (s *tarSource) xattrs(h *tar.Header) (map[string][]byte, error) {
	records := maps.Clone(s.global)
	maps.Copy(records, h.PAXRecords)
	var m map[string][]byte
	set := func(name string, value []byte) {
		if m == nil {
			m = map[string][]byte{}
		}
		m[name] = value
	}
	for key, value := range records {
		if name, ok := strings.CutPrefix(key, paxXattr); ok {
			if name = paxNamed.Replace(name); keepXattr(name) {
				set(name, []byte(value))
			}
		}
	}
	for key, name := range map[string]string{paxACL: aclAccess, paxDefaultACL: aclDefault} {
		if text, ok := records[key]; ok && text != "" && m[name] == nil {
			acl, err := parseACL(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			if acl != nil {
				set(name, acl)
			}
		}
	}
	return m, nil
}

// tarContent is the data of a member that is not sparse.
type tarContent struct {
	s *tarSource
	e *entry
}

func (c *tarContent) read(fn func(p []byte, off int64) error) error {
	buf := make([]byte, chunkOf(c.e.size))
	for off := int64(0); off < c.e.size; {
		p := buf[:min(int64(len(buf)), c.e.size-off)]
		if _, err := io.ReadFull(c.s.tr, p); err != nil {
			return c.s.cut(c.e, off, err)
		}
		if err := fn(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

func (c *tarContent) open() (volume.Content, func() error, error) {
	r := &cutReader{from: c.s.tr, s: c.s, e: c.e}
	return volume.Content{Size: c.e.size, From: r}, nothing, nil
}

// nothing lets go of what needs no letting go.
func nothing() error { return nil }

// cutReader reads the bytes that an entry of an archive holds.
type cutReader struct {
	from io.Reader
	s    *tarSource
	e    *entry
	off  int64 // in the bytes
}

func (r *cutReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.off += int64(n)
	if err != nil && (!errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		err = r.s.cut(r.e, r.off, err)
	}
	return n, err
}

// chunkOf is how much of a file of this size is read at a time: a size that is only claimed
// costs no memory.
func chunkOf(size int64) int64 { return min(chunk, size) }

// cut is an error in the data of a member.
func (s *tarSource) cut(e *entry, off int64, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the archive is cut off: %d bytes are claimed, it ends behind %d", e.size, off)
	}
	return e.at(err)
}

func (c *tarContent) extents(fn func(start, end int64) error) error {
	return dataExtents(c, c.s.block, fn)
}

// dataExtents are the ranges of a content that are not blocks of zeros.
func dataExtents(c content, block int, fn func(start, end int64) error) error {
	return c.read(func(p []byte, off int64) error {
		return runs(p, off, block, func(p []byte, off int64) error { return fn(off, off+int64(len(p))) })
	})
}

// sparseContent is the data of a sparse member.
type sparseContent struct {
	s     *tarSource
	e     *entry
	spans []span
}

// read gives whole blocks: what of a block is in no range is zeros.
func (c *sparseContent) read(fn func(p []byte, off int64) error) error {
	block := int64(c.s.block)
	var buf []byte
	base, from, to := int64(0), int64(-1), int64(0) // of buf in the file; what of it is filled
	flush := func() error {
		if from < 0 {
			return nil
		}
		lo, hi := from/block*block, min((to+block-1)/block*block, chunk, c.e.size-base)
		err := fn(buf[lo:hi], base+lo)
		clear(buf[lo:hi])
		from = -1
		return err
	}
	for _, r := range c.spans {
		for r.n > 0 {
			if b := r.off / chunk * chunk; b != base || from >= 0 && r.off-base > to+chunk/4 {
				if err := flush(); err != nil {
					return err
				}
				base = b
			}
			if buf == nil {
				buf = make([]byte, chunk)
			}
			at := r.off - base
			n := min(r.n, chunk-at)
			if err := c.s.stream.direct(buf[at : at+n]); err != nil {
				return c.s.cut(c.e, r.off, err)
			}
			if from < 0 {
				from = at
			}
			to = at + n
			r.off, r.n = r.off+n, r.n-n
		}
	}
	return flush()
}

func (c *sparseContent) open() (volume.Content, func() error, error) {
	all := volume.Content{Size: c.e.size, Runs: make([]volume.Run, 0, len(c.spans)), From: &spanReader{c.s, c.e, c.spans}}
	for _, r := range c.spans {
		all.Runs = append(all.Runs, volume.Run{Off: r.off, Len: r.n})
	}
	return all, nothing, nil
}

// spanReader reads the ranges of a sparse member, one behind the other.
type spanReader struct {
	s     *tarSource
	e     *entry
	spans []span
}

func (r *spanReader) Read(p []byte) (int, error) {
	for len(r.spans) > 0 && r.spans[0].n == 0 {
		r.spans = r.spans[1:]
	}
	if len(r.spans) == 0 {
		return 0, io.EOF
	}
	at := r.spans[0]
	n := min(int64(len(p)), at.n)
	if err := r.s.stream.direct(p[:n]); err != nil {
		return 0, r.s.cut(r.e, at.off, err)
	}
	r.spans[0] = span{at.off + n, at.n - n}
	return int(n), nil
}

func (c *sparseContent) extents(fn func(start, end int64) error) error {
	return dataExtents(c, c.s.block, fn)
}

// FromTar unpacks a tar archive, compressed with gzip, zstd, bzip2 or not at all, into the
// directory dir of v, as GNU tar -x does: a later member replaces an earlier one, and what else
// is in the way unless it is a directory that is not empty; missing parents are made. Names never
// lead out of dir, a symbolic link is never followed, and a hard link is to what is in dir. name
// is what messages call the archive. With Options.Preserve all attributes are kept.
func FromTar(v *volume.Volume, dir volume.Ino, r io.Reader, name string, o Options) (Stats, error) {
	sink, err := newVolumeSink(v, dir, "", &o)
	if err != nil {
		return Stats{}, err
	}
	sink.replace = true
	src, err := newTarSource(r, name, sink.block, &o, &sink.stats)
	if err != nil {
		return Stats{}, err
	}
	err = drain(withManifest(src, &o), sink)
	return sink.stats, bare(err)
}

// MeasureTar is how much room what FromTar unpacks needs. It reads all of r.
func (o Options) MeasureTar(r io.Reader, name string, blockSize int) (Need, error) {
	src, err := newTarSource(r, name, blockSize, &o, &Stats{})
	if err != nil {
		return Need{}, err
	}
	return o.measure(src, blockSize)
}
