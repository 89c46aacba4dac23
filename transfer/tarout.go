package transfer

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/volume"
)

// ToTar writes what ino is, a directory with all that is below it, as a tar archive in the PAX
// format. Names are those that tar -c -C DIR . gives: ./ and below it; what is no directory has
// the given name. Further names of a file are hard links, a file with holes is sparse as GNU tar
// has it (format 1.0). All attributes are kept but access times; names are in byte order, so that one tree
// is one archive. Sockets, which an archive cannot have, are left out with a warning.
func ToTar(v *volume.Volume, ino volume.Ino, name string, w io.Writer, o Options) (Stats, error) {
	a, err := v.Getattr(ino)
	if err != nil {
		return Stats{}, err
	}
	st, err := v.Statfs()
	if err != nil {
		return Stats{}, err
	}
	c := &tarOut{Options: o, v: v, w: w, tw: tar.NewWriter(w), seen: map[volume.Ino]string{}, block: st.BlockSize, buf: make([]byte, chunk)}
	if isDir(a) {
		name = "."
	}
	if err := c.node(name, a); err != nil {
		return c.stats, err
	}
	return c.stats, c.out(c.tw.Close())
}

// ErrOutput: an archive could not be written.
var ErrOutput = errors.New("cannot write the archive")

// tarOut is a copy from a volume to an archive.
type tarOut struct {
	Options
	v     *volume.Volume
	w     io.Writer
	tw    *tar.Writer
	seen  map[volume.Ino]string // the first name of files with several
	block int                   // bytes
	buf   []byte
	stats Stats
}

func (c *tarOut) out(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOutput, err)
}

// head writes the header of a member, and names it if it cannot: there are inodes that no archive has words for.
func (c *tarOut) head(rel string, h *tar.Header) error {
	if err := c.tw.WriteHeader(h); err != nil {
		return c.out(fmt.Errorf("%s: %w", rel, err))
	}
	return nil
}

// damage leaves something out that the volume cannot give, if that is wanted.
func (c *tarOut) damage(rel string, err error) error {
	if err == nil {
		return nil
	}
	if c.KeepGoing && errors.Is(err, volume.ErrIO) {
		c.stats.Damaged++
		c.stats.loseFile(rel, err)
		return nil
	}
	return fmt.Errorf("%s: %w", rel, err)
}

// node writes one inode under the name rel, "." for the top.
func (c *tarOut) node(rel string, a volume.Attr) error {
	c.progress(rel, 0)
	h, x, err := c.header(rel, a)
	if err != nil {
		return c.damage(rel, err)
	}
	switch m := volume.FileMode(a.Mode); {
	case m.IsDir():
		c.stats.Dirs++
		if err := c.head(rel, h); err != nil {
			return err
		}
		return c.dir(rel, a)
	case m&fs.ModeSocket != 0:
		c.stats.Warnings = append(c.stats.Warnings, rel+": a socket is left out: an archive cannot have one")
		return nil
	case a.Links > 1:
		if first, ok := c.seen[a.Ino]; ok {
			h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
			c.stats.HardLinks++
			return c.head(rel, h)
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		err = c.file(rel, a, h, x)
	case tar.TypeSymlink:
		c.stats.Links++
		err = c.head(rel, h)
	default:
		c.stats.Others++
		err = c.head(rel, h)
	}
	if err == nil && a.Links > 1 {
		c.seen[a.Ino] = h.Name
	}
	return err
}

// header is what an archive says of an inode; x is the attributes in it.
func (c *tarOut) header(rel string, a volume.Attr) (h *tar.Header, x map[string]string, err error) {
	own := Owner{a.UID, a.GID}
	if c.Owner != nil {
		own = *c.Owner
	}
	_, mtime := c.clamp(a.Atime, a.Mtime)
	h = &tar.Header{Format: tar.FormatPAX, Name: "./" + rel, Mode: int64(a.Mode & modeBits), Uid: int(own.UID), Gid: int(own.GID), ModTime: mtime}
	m := volume.FileMode(a.Mode)
	switch {
	case m.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		if rel == "." {
			h.Name = "./"
		}
	case m.IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, int64(a.Size)
	case m&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = c.v.Readlink(a.Ino); err != nil {
			return nil, nil, err
		}
	case m&fs.ModeNamedPipe != 0:
		h.Typeflag = tar.TypeFifo
	case m&fs.ModeCharDevice != 0:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, int64(a.Major), int64(a.Minor)
	case m&fs.ModeDevice != 0:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, int64(a.Major), int64(a.Minor)
	}
	attrs, err := getXattrs(c.v, a.Ino)
	if err != nil {
		return nil, nil, err
	}
	for name, value := range attrs {
		if x == nil {
			x = map[string]string{}
		}
		x[paxXattr+paxName.Replace(name)] = string(value)
		// GNU tar and others restore access control lists from their text alone.
		if key, ok := map[string]string{aclAccess: paxACL, aclDefault: paxDefaultACL}[name]; ok {
			if text := formatACL(value); text != "" {
				x[key] = text
			}
		}
	}
	h.PAXRecords = x
	return h, x, nil
}

// dir writes what is in a directory.
func (c *tarOut) dir(rel string, a volume.Attr) error {
	var list []volume.DirEntry
	err := c.v.ReadDir(a.Ino, 0, func(e volume.DirEntry) bool { list = append(list, e); return true })
	if err = c.damage(rel, err); err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b volume.DirEntry) int { return cmp.Compare(a.Name, b.Name) })
	for _, e := range list {
		sub := join(rel, e.Name)
		b, err := c.v.Getattr(e.Ino)
		if err != nil {
			if err = c.damage(sub, err); err != nil {
				return err
			}
			continue
		}
		if c.excluded(sub, info{e.Name, b}) {
			continue
		}
		if err := c.node(sub, b); err != nil {
			return err
		}
	}
	return nil
}

// file writes a regular file. What has been written of an archive cannot be taken back, so a file
// that turns out to be damaged ends it, unless it has been read to its end before.
func (c *tarOut) file(rel string, a volume.Attr, h *tar.Header, x map[string]string) error {
	if a.Size > volume.MaxFileSize {
		return c.damage(rel, volume.ErrFileTooBig)
	}
	size := int64(a.Size)
	var spans []span
	data := size
	if c.KeepGoing || !c.Dense && a.Blocks*uint64(c.block) < a.Size {
		var err error
		if spans, data, err = c.spans(a.Ino, size); err != nil {
			return c.damage(rel, err)
		}
	}
	c.stats.Files++
	if data == size {
		if err := c.head(rel, h); err != nil {
			return err
		}
		return c.copy(rel, a.Ino, []span{{0, size}}, c.tw)
	}
	if err := c.out(c.tw.Flush()); err != nil {
		return err
	}
	m := sparseText(spans, size)
	head, err := sparseHeader(h, x, int64(len(m))+data)
	if err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	if _, err := c.w.Write(append(head, m...)); err != nil {
		return c.out(err)
	}
	if err := c.copy(rel, a.Ino, spans, c.w); err != nil {
		return err
	}
	_, err = c.w.Write(make([]byte, -data&(tarBlock-1)))
	return c.out(err)
}

// copy writes ranges of a file, one behind the other.
func (c *tarOut) copy(rel string, ino volume.Ino, list []span, w io.Writer) error {
	for _, r := range list {
		err := readVolume(c.v, ino, r.off, r.off+r.n, c.buf, func(p []byte, _ int64) error {
			_, err := w.Write(p)
			c.stats.Bytes += int64(len(p))
			c.progress(rel, int64(len(p)))
			return c.out(err)
		})
		if errors.Is(err, ErrOutput) {
			return err
		}
		if err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
	}
	return nil
}

// spans is the ranges of a file that are no holes, and how many bytes these are. With KeepGoing
// they are read, too.
func (c *tarOut) spans(ino volume.Ino, size int64) (list []span, data int64, err error) {
	err = volumeData(c.v, ino, size, c.Dense, func(start, end int64) error {
		list = append(list, span{start, end - start})
		data += end - start
		if !c.KeepGoing {
			return nil
		}
		return readVolume(c.v, ino, start, end, c.buf, func([]byte, int64) error { return nil })
	}, func(err error) error { return err })
	return list, data, err
}

// sparseText is the map that a sparse member begins with (format 1.0), filled up to a block. A
// range of no bytes at the end says how long the file is.
func sparseText(list []span, size int64) []byte {
	if k := len(list) - 1; k < 0 || list[k].off+list[k].n < size {
		list = append(slices.Clone(list), span{size, 0})
	}
	p := fmt.Appendf(nil, "%d\n", len(list))
	for _, s := range list {
		p = fmt.Appendf(p, "%d\n%d\n", s.off, s.n)
	}
	return append(p, make([]byte, -len(p)&(tarBlock-1))...)
}

// sparseHeader is the two headers of a sparse member with stored bytes behind them. Package
// archive/tar writes none: all that does not fit a plain header is a record of ours.
func sparseHeader(h *tar.Header, x map[string]string, stored int64) ([]byte, error) {
	records := map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": h.Name,
		"GNU.sparse.realsize": strconv.FormatInt(h.Size, 10), "mtime": formatPaxTime(h.ModTime)}
	maps.Copy(records, x)
	plain := tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, Size: stored, ModTime: h.ModTime.Truncate(time.Second)}
	plain.Name = "GNUSparseFile.0/" + plainName(path.Base(h.Name))
	for key, n := range map[string]*int{"uid": &plain.Uid, "gid": &plain.Gid} {
		if *n > 0o7777777 {
			records[key], *n = strconv.Itoa(*n), 0
		}
	}
	if stored > 0o77777777777 {
		records["size"], plain.Size = strconv.FormatInt(stored, 10), 0
	}
	if t := plain.ModTime.Unix(); t < 0 || t > 0o77777777777 {
		plain.ModTime = time.Unix(0, 0)
	}
	var text []byte
	for _, key := range slices.Sorted(maps.Keys(records)) {
		text = append(text, paxRecord(key, records[key])...)
	}
	ext := tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Name: "PaxHeaders.0/" + plainName(path.Base(h.Name)), Mode: 0o644, Size: int64(len(text))}
	p, err := plainBlock(&ext, tar.TypeXHeader)
	if err != nil {
		return nil, err
	}
	p = append(append(p, text...), make([]byte, -len(text)&(tarBlock-1))...)
	q, err := plainBlock(&plain, tar.TypeReg)
	return append(p, q...), err
}

// plainBlock is the block of a header that is a plain one, with another type.
func plainBlock(h *tar.Header, typeflag byte) ([]byte, error) {
	var b strings.Builder
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return nil, err
	}
	p := []byte(b.String())[:tarBlock]
	copy(p[148:156], "        ")
	p[156] = typeflag
	sum := 0
	for _, c := range p {
		sum += int(c)
	}
	copy(p[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return p, nil
}

// plainName is what of a name any header can have: it is for readers that know no records.
func plainName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	return s[:min(len(s), 80)]
}

// paxRecord is "length key=value\n", the length being that of all of it.
func paxRecord(key, value string) string {
	rest := len(key) + len(value) + 3 // a space, = and the end of the line
	n := rest + len(strconv.Itoa(rest))
	n = rest + len(strconv.Itoa(n))
	return fmt.Sprintf("%d %s=%s\n", n, key, value)
}

// formatPaxTime is the inverse of paxTime.
func formatPaxTime(t time.Time) string {
	sec, nsec := t.Unix(), t.Nanosecond()
	if nsec == 0 {
		return strconv.FormatInt(sec, 10)
	}
	sign := ""
	if sec < 0 { // the decimals count away from zero
		sign, sec, nsec = "-", -(sec + 1), 1e9-nsec
	}
	return strings.TrimRight(fmt.Sprintf("%s%d.%09d", sign, sec, nsec), "0")
}
