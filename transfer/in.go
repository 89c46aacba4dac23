package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"holdfast/volume"
)

// FromDir copies what is in hostDir, and with Options.Preserve the attributes of hostDir
// itself, into the root directory of v.
func FromDir(v *volume.Volume, hostDir string, o Options) (Stats, error) {
	c, err := newIn(v, hostDir, o)
	if err != nil {
		return Stats{}, err
	}
	defer c.root.Close()
	info, err := c.root.Lstat(".")
	if err == nil {
		err = c.fill(".", info, volume.Root, true)
	}
	return c.stats, c.fail(err)
}

// CopyIn copies one file of any type, or a directory with all that is below it, from the host
// to a name in the directory dir of v. A symbolic link is copied, not followed. What has the
// name is replaced, and a directory merged with a directory.
func CopyIn(v *volume.Volume, host string, dir volume.Ino, name string, o Options) (Stats, error) {
	info, err := os.Lstat(host)
	if err != nil {
		return Stats{}, err
	}
	top, rel := filepath.Dir(filepath.Clean(host)), filepath.Base(filepath.Clean(host))
	if info.IsDir() {
		top, rel = host, "."
	}
	c, err := newIn(v, top, o)
	if err != nil {
		return Stats{}, err
	}
	defer c.root.Close()
	err = c.node(rel, info, dir, name)
	return c.stats, c.fail(err)
}

// hostID is what is one file on the host.
type hostID struct{ dev, ino uint64 }

// in is a copy from the host into a volume.
type in struct {
	Options
	v     *volume.Volume
	top   string // for messages
	root  *os.Root
	seen  map[hostID]volume.Ino // files with several names
	block int                   // bytes
	buf   []byte
	stats Stats
}

func newIn(v *volume.Volume, top string, o Options) (*in, error) {
	st, err := v.Statfs()
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	return &in{Options: o, v: v, top: top, root: root, seen: map[hostID]volume.Ino{}, block: st.BlockSize, buf: make([]byte, chunk)}, nil
}

// pathed is an error that has its path already.
type pathed struct{ error }

func (e pathed) Unwrap() error { return e.error }

// at names the source in an error.
func (c *in) at(rel string, err error) error {
	var done pathed
	if err == nil || errors.As(err, &done) {
		return err
	}
	var p *fs.PathError
	if errors.As(err, &p) { // of os.Root, with a path from the top
		err = &fs.PathError{Op: p.Op, Path: filepath.Join(c.top, filepath.FromSlash(rel)), Err: p.Err}
	} else {
		err = fmt.Errorf("%s: %w", filepath.Join(c.top, filepath.FromSlash(rel)), err)
	}
	return pathed{err}
}

// fail is an error as callers get it.
func (c *in) fail(err error) error {
	var done pathed
	if errors.As(err, &done) {
		return done.error
	}
	return c.at(".", err)
}

// node copies rel, of which info has been read, to a name in a directory of the volume.
func (c *in) node(rel string, info fs.FileInfo, dir volume.Ino, name string) error {
	st := statOf(info)
	old, err := c.v.Lookup(dir, name)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c.at(rel, err)
	}
	if exists {
		isDir := volume.FileMode(old.Mode).IsDir()
		if isDir != info.IsDir() || c.NoClobber && !isDir {
			return c.at(rel, ErrInTheWay)
		}
		if isDir {
			return c.fill(rel, info, old.Ino, c.Preserve || c.Owner != nil)
		}
		if ino, linked := c.seen[st.id]; linked && ino == old.Ino {
			return nil
		}
		if err := c.v.Unlink(dir, name); err != nil {
			return c.at(rel, err)
		}
	}
	if ino, linked := c.seen[st.id]; linked && st.links > 1 && !info.IsDir() {
		_, err := c.v.Link(ino, dir, name)
		c.stats.HardLinks++
		return c.at(rel, err)
	}
	mode := volume.PosixMode(info.Mode())
	own := c.owner(st.uid, st.gid)
	n := volume.NewNode{Mode: mode&^modeBits | c.mode(mode), UID: own.UID, GID: own.GID}
	switch t := info.Mode().Type(); {
	case t == 0:
		return c.file(rel, info, dir, name, n)
	case t&fs.ModeDir != 0:
		n.Mode = mode&^modeBits | 0o700 // no mark that what is below would inherit
		a, err := c.v.Create(dir, name, n)
		if err != nil {
			return c.at(rel, err)
		}
		return c.fill(rel, info, a.Ino, true)
	case t&fs.ModeSymlink != 0:
		if n.Target, err = c.root.Readlink(rel); err != nil {
			return c.at(rel, err)
		}
		c.stats.Links++
	case t&fs.ModeIrregular != 0:
		return c.at(rel, fmt.Errorf("a file of unknown type: %w", errors.ErrUnsupported))
	default:
		n.Major, n.Minor = st.major, st.minor
		c.stats.Others++
	}
	a, err := c.v.Create(dir, name, n)
	if err != nil {
		return c.at(rel, err)
	}
	c.progress(rel, 0)
	return c.at(rel, c.finish(a.Ino, info, st))
}

// finish gives a copy its attributes, and remembers a file that has more names.
func (c *in) finish(ino volume.Ino, info fs.FileInfo, st stat) error {
	if st.links > 1 && !info.IsDir() {
		c.seen[st.id] = ino
	}
	mode := c.mode(volume.PosixMode(info.Mode()))
	link := info.Mode()&fs.ModeSymlink != 0
	_, err := c.v.Setattr(ino, c.change(c.owner(st.uid, st.gid), mode, st.atime, info.ModTime(), link))
	return err
}

// fill copies what is in the directory rel into the directory ino and then, if own is set, its
// attributes: each name that is made changes the time of modification.
func (c *in) fill(rel string, info fs.FileInfo, ino volume.Ino, own bool) error {
	names, err := c.names(rel)
	if err != nil {
		return c.at(rel, err)
	}
	c.stats.Dirs++
	c.progress(rel, 0)
	for _, name := range names {
		sub := join(rel, name)
		si, err := c.root.Lstat(sub)
		if err != nil {
			return c.at(sub, err)
		}
		if c.excluded(sub, si) {
			continue
		}
		if err := c.node(sub, si, ino, name); err != nil {
			return err
		}
	}
	now, err := c.root.Lstat(rel)
	if err != nil {
		return c.at(rel, err)
	}
	if !os.SameFile(info, now) || !now.ModTime().Equal(info.ModTime()) {
		return c.at(rel, ErrChanged)
	}
	if !own || ino == volume.Root && !c.Preserve && c.Owner == nil {
		return nil
	}
	return c.at(rel, c.finish(ino, info, statOf(info)))
}

// names is the entries of a directory of the host, in byte order.
func (c *in) names(rel string) ([]string, error) {
	d, err := c.root.Open(rel)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// file copies a regular file.
func (c *in) file(rel string, info fs.FileInfo, dir volume.Ino, name string, n volume.NewNode) error {
	f, err := c.root.OpenFile(rel, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return c.at(rel, err)
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return c.at(rel, err)
	}
	if !os.SameFile(info, before) || !before.Mode().IsRegular() {
		return c.at(rel, ErrChanged)
	}
	a, err := c.v.Create(dir, name, n)
	if err != nil {
		return c.at(rel, err)
	}
	c.stats.Files++
	c.progress(rel, 0)
	size := before.Size()
	err = c.content(rel, f, a.Ino, size)
	if err == nil {
		var after fs.FileInfo
		if after, err = f.Stat(); err == nil && (after.Size() != size || !after.ModTime().Equal(before.ModTime())) {
			err = ErrChanged
		}
	}
	if err != nil { // half a file is no file
		return errors.Join(c.at(rel, err), c.at(rel, c.v.Unlink(dir, name)))
	}
	st := statOf(before)
	if st.links > 1 {
		c.seen[st.id] = a.Ino
	}
	s := c.change(c.owner(st.uid, st.gid), c.mode(volume.PosixMode(before.Mode())), st.atime, before.ModTime(), false)
	if a, err = c.v.Getattr(a.Ino); err == nil {
		if end := uint64(size); a.Size != end {
			s.Size = &end // it ends in a hole
		}
		_, err = c.v.Setattr(a.Ino, s)
	}
	return c.at(rel, err)
}

// content copies size bytes, leaving out holes and blocks of zeros.
func (c *in) content(rel string, f *os.File, ino volume.Ino, size int64) error {
	for off := int64(0); off < size; {
		start, end, err := off, size, error(nil)
		if !c.Dense {
			start, end, err = nextData(f, off, size)
		}
		if err != nil {
			return err
		}
		off = start / int64(c.block) * int64(c.block) // whole blocks, whatever the host's are
		end = min(size, (end+int64(c.block)-1)/int64(c.block)*int64(c.block))
		for off < end {
			p := c.buf[:min(chunk-off%chunk, end-off)]
			if n, err := f.ReadAt(p, off); n < len(p) {
				if err == nil || errors.Is(err, io.EOF) {
					err = ErrChanged // it is shorter now
				}
				return err
			}
			err := c.parts(p, off, c.block, func(p []byte, off int64) error {
				n, err := c.v.Write(ino, p, off)
				c.stats.Bytes += int64(n)
				return err
			})
			if err != nil {
				return err
			}
			off += int64(len(p))
			c.progress(rel, int64(len(p)))
		}
	}
	return nil
}

// Need is what a tree needs in a volume.
type Need struct {
	Files  uint64 // inodes: all that is there, each once, the top included
	Blocks uint64 // of the volume: content, directories, long links and their indexes, at most
	Bytes  uint64 // of content, without the host's holes
}

// Measure is how much room what FromDir copies with these options needs in a volume with
// blocks of blockSize bytes. It reads no contents.
func (o Options) Measure(hostDir string, blockSize int) (Need, error) {
	root, err := os.OpenRoot(hostDir)
	if err != nil {
		return Need{}, err
	}
	defer root.Close()
	m := measure{in: in{Options: o, top: hostDir, root: root, block: blockSize}, seen: map[hostID]bool{}}
	err = m.dir(".")
	return m.Need, m.fail(err)
}

// Measure is Options.Measure of all that is in hostDir.
func Measure(hostDir string, blockSize int) (Need, error) {
	return Options{}.Measure(hostDir, blockSize)
}

type measure struct {
	in
	Need
	seen map[hostID]bool
}

// Sizes of the format (docs/FORMAT.md): the overhead of a metadata block, what an inode holds
// of a link's target, the head of a directory record.
const (
	overhead   = 64
	inlineLink = 104
	recordHead = 12
)

func (m *measure) dir(rel string) error {
	m.Files++
	names, err := m.names(rel)
	if err != nil {
		return m.at(rel, err)
	}
	bytes := 0
	for _, name := range names {
		sub := join(rel, name)
		info, err := m.root.Lstat(sub)
		if err != nil {
			return m.at(sub, err)
		}
		if m.excluded(sub, info) {
			continue
		}
		bytes += max(16, (recordHead+len(name)+3)&^3)
		if info.IsDir() {
			if err := m.dir(sub); err != nil {
				return err
			}
			continue
		}
		if st := statOf(info); st.links > 1 {
			if m.seen[st.id] {
				continue
			}
			m.seen[st.id] = true
		}
		m.Files++
		if err := m.file(sub, info); err != nil {
			return m.at(sub, err)
		}
	}
	m.Blocks += dirBlocks(bytes, len(names), m.block)
	return nil
}

// dirBlocks bounds the blocks of a directory with n names in records of this many bytes.
func dirBlocks(bytes, n, block int) uint64 {
	body := block - overhead
	if bytes <= body {
		return uint64(min(bytes, 1))
	}
	leaves := bytes/(body-body/8) + 2
	index := n*16/(body/2) + 2 // nodes that have split are half full
	index += index*24/(body/2) + 2
	extents := leaves*16/(body/2) + 1
	return uint64(leaves + index + extents + leaves/body + 1)
}

func (m *measure) file(rel string, info fs.FileInfo) error {
	block := uint64(m.block)
	switch info.Mode().Type() {
	case 0:
	case fs.ModeSymlink:
		target, err := m.root.Readlink(rel)
		if len(target) > inlineLink {
			m.Blocks += (uint64(len(target)) + block - 1) / block
		}
		return err
	default:
		return nil
	}
	size := info.Size()
	data, pieces := uint64(size), uint64(1)
	blocks := (data + block - 1) / block
	if statOf(info).allocated < data { // it has holes, or is compressed
		f, err := m.root.OpenFile(rel, os.O_RDONLY|nonblock, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		data, blocks, pieces = 0, 0, 0
		last := int64(-1) // block
		for off := int64(0); off < size; pieces++ {
			start, end, err := nextData(f, off, size)
			if err != nil {
				return err
			}
			data += uint64(end - start)
			if end > start {
				first := max(last+1, start/int64(block))
				last = (end - 1) / int64(block)
				blocks += uint64(last - first + 1)
			}
			off = end
		}
	}
	m.Bytes += data
	m.Blocks += blocks
	if per := (block - overhead) / 16 / 2; pieces > 6 || blocks > 6*block { // an index of the extents
		n := pieces + blocks/(8*block)
		m.Blocks += n/per + 2
	}
	return nil
}
