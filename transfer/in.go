package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"holdfast/volume"
)

// Options of a transfer.
type Options struct {
	Preserve bool      // owners, times and modes as they are; else the defaults of a copy
	Clamp    time.Time // not zero: no modification time is later, and all other times are this
	Progress func(path string, bytes int64)
}

// Stats is what a transfer moved.
type Stats struct {
	Files, Dirs, Links, Others int
	HardLinks                  int
	Bytes                      int64
	Warnings                   []string // what could not be kept
}

// Need is how much room a tree takes in a volume.
type Need struct {
	Files  uint64 // inodes
	Blocks uint64 // data and directory blocks, with room for their indexes
}

// ErrChanged is a source that changed while it was read.
var ErrChanged = errors.New("changed while it was read")

// POSIX types and permission bits, as volume.Attr has them.
const (
	typeMask   = 0o170000
	typeFIFO   = 0o010000
	typeChar   = 0o020000
	typeDir    = 0o040000
	typeBlock  = 0o060000
	typeFile   = 0o100000
	typeLink   = 0o120000
	typeSocket = 0o140000
	permMask   = 0o007777
)

// hostAttr is what the host says of a file.
type hostAttr struct {
	dev, ino     uint64
	links        uint64
	mode         uint16
	uid, gid     uint32
	major, minor uint32
	size         int64
	mtime, atime time.Time
}

// Measure walks a host directory and says what it needs in a volume of this block size.
func Measure(dir string, blockSize int) (Need, error) {
	var n Need
	bs := int64(blockSize)
	seen := map[[2]uint64]bool{}
	names := map[string]int64{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		a := attrOf(info)
		names[filepath.Dir(p)] += int64(len(d.Name())) + 40 // a record and its index entry
		if a.mode&typeMask != typeDir && a.links > 1 {
			id := [2]uint64{a.dev, a.ino}
			if seen[id] {
				return nil
			}
			seen[id] = true
		}
		n.Files++
		switch a.mode & typeMask {
		case typeFile:
			data := (a.size + bs - 1) / bs
			n.Blocks += uint64(data + data/64)
		case typeLink:
			if a.size > 100 {
				n.Blocks += uint64((a.size + bs - 1) / bs)
			}
		}
		return nil
	})
	for _, bytes := range names {
		n.Blocks += uint64(1 + bytes*3/2/bs*2)
	}
	return n, err
}

// importer is one FromDir.
type importer struct {
	v     *volume.Volume
	o     Options
	stats Stats
	links map[[2]uint64]volume.Ino
	buf   []byte
}

// FromDir copies what a host directory holds into the root of a volume; the root gets the
// directory's own mode, owner and time.
func FromDir(v *volume.Volume, dir string, o Options) (Stats, error) {
	m := &importer{v: v, o: o, links: map[[2]uint64]volume.Ino{}, buf: make([]byte, 1<<20)}
	info, err := os.Stat(dir)
	if err != nil {
		return m.stats, err
	}
	if !info.IsDir() {
		return m.stats, &fs.PathError{Op: "read", Path: dir, Err: errors.New("not a directory")}
	}
	if err := m.children(dir, volume.Root); err != nil {
		return m.stats, err
	}
	return m.stats, m.attributes(volume.Root, attrOf(info), dir)
}

// CopyIn copies a host file or tree to a name in a directory of the volume.
func CopyIn(v *volume.Volume, host string, dir volume.Ino, name string, o Options) (Stats, error) {
	m := &importer{v: v, o: o, links: map[[2]uint64]volume.Ino{}, buf: make([]byte, 1<<20)}
	return m.stats, m.one(host, dir, name)
}

// children copies what is in a host directory, in the order of names.
func (m *importer) children(host string, dir volume.Ino) error {
	list, err := os.ReadDir(host)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := m.one(filepath.Join(host, e.Name()), dir, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (m *importer) one(host string, dir volume.Ino, name string) error {
	info, err := os.Lstat(host)
	if err != nil {
		return err
	}
	a := attrOf(info)
	kind := a.mode & typeMask
	id := [2]uint64{a.dev, a.ino}
	if kind != typeDir && a.links > 1 {
		if ino, ok := m.links[id]; ok {
			_, err := m.v.Link(ino, dir, name)
			m.stats.HardLinks++
			return m.wrap(host, err)
		}
	}
	node := volume.NewNode{Mode: kind | a.mode&permMask, Major: a.major, Minor: a.minor}
	if m.o.Preserve {
		node.UID, node.GID = a.uid, a.gid
	}
	if kind == typeLink {
		if node.Target, err = os.Readlink(host); err != nil {
			return err
		}
	}
	var ino volume.Ino
	existing := false
	if at, err := m.v.Lookup(dir, name); err == nil {
		if at.Mode&typeMask == typeDir && kind == typeDir {
			ino, existing = at.Ino, true
		} else if at.Mode&typeMask == typeDir || kind == typeDir {
			return m.wrap(host, fmt.Errorf("cannot replace %q: one is a directory and the other is not", name))
		} else if err := m.v.Unlink(dir, name); err != nil {
			return m.wrap(host, err)
		}
	}
	if !existing {
		at, err := m.v.Create(dir, name, node)
		if err != nil {
			return m.wrap(host, err)
		}
		ino = at.Ino
	}
	switch kind {
	case typeDir:
		m.stats.Dirs++
		err = m.children(host, ino)
	case typeFile:
		m.stats.Files++
		err = m.data(host, ino, a)
	case typeLink:
		m.stats.Links++
	default:
		m.stats.Others++
	}
	if err != nil {
		return err
	}
	if a.links > 1 && kind != typeDir {
		m.links[id] = ino
	}
	return m.attributes(ino, a, host)
}

func (m *importer) wrap(host string, err error) error {
	if err == nil {
		return nil
	}
	var pe *fs.PathError
	if errors.As(err, &pe) && pe.Path == host {
		return err
	}
	return fmt.Errorf("%s: %w", host, err)
}

// data copies the content of a file; runs of zeros that the host does not store, or that fill
// whole blocks, become holes.
func (m *importer) data(host string, ino volume.Ino, a hostAttr) error {
	f, err := os.Open(host)
	if err != nil {
		return err
	}
	defer f.Close()
	var off int64
	for {
		n, err := io.ReadFull(f, m.buf)
		if n > 0 {
			if werr := m.write(ino, m.buf[:n], off); werr != nil {
				return m.wrap(host, werr)
			}
			off += int64(n)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if now := attrOf(info); off != a.size || now.size != a.size || !now.mtime.Equal(a.mtime) {
		return &fs.PathError{Op: "read", Path: host, Err: ErrChanged}
	}
	m.stats.Bytes += off
	if m.o.Progress != nil {
		m.o.Progress(host, off)
	}
	size := uint64(off)
	_, err = m.v.Setattr(ino, volume.SetAttr{Size: &size})
	return m.wrap(host, err)
}

// hole is how many zeros in a row are worth a hole.
const hole = 4096

func (m *importer) write(ino volume.Ino, p []byte, off int64) error {
	for start := 0; start < len(p); {
		end := start
		for end < len(p) && !zeros(p[end:min(len(p), end+hole)]) {
			end += hole
		}
		end = min(end, len(p))
		if end > start {
			if _, err := m.v.Write(ino, p[start:end], off+int64(start)); err != nil {
				return err
			}
		}
		for end < len(p) && zeros(p[end:min(len(p), end+hole)]) {
			end += hole
		}
		start = end
	}
	return nil
}

func zeros(p []byte) bool {
	for _, x := range p {
		if x != 0 {
			return false
		}
	}
	return true
}

// attributes gives an inode what the host's file has.
func (m *importer) attributes(ino volume.Ino, a hostAttr, host string) error {
	if !m.o.Preserve {
		return nil
	}
	mtime, atime := a.mtime, a.atime
	if !m.o.Clamp.IsZero() {
		if mtime.After(m.o.Clamp) {
			mtime = m.o.Clamp
		}
		atime = m.o.Clamp
	}
	s := volume.SetAttr{Mtime: &mtime, Atime: &atime, UID: &a.uid, GID: &a.gid}
	if a.mode&typeMask != typeLink {
		mode := a.mode & permMask
		s.Mode = &mode
	}
	_, err := m.v.Setattr(ino, s)
	return m.wrap(host, err)
}

// join is a path inside a volume, for messages.
func join(dir, name string) string { return path.Join(dir, name) }
