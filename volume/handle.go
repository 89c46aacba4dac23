package volume

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"holdfast/layout"
)

// holdTable counts who holds an inode. An inode that is held keeps its number and content
// when its last name goes. Counts change under mu; that an inode is not destroyed between a
// look at it and a hold on it is due to Volume.mu, under which both happen.
type holdTable struct {
	mu   sync.Mutex
	n    map[Ino]int
	temp map[Ino]bool // held ones that never had a name and may get one
}

// setTemp notes whether a held inode without a name may get one.
func (t *holdTable) setTemp(ino Ino, on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !on:
		delete(t.temp, ino)
	case t.temp == nil:
		t.temp = map[Ino]bool{ino: true}
	default:
		t.temp[ino] = true
	}
}

func (t *holdTable) isTemp(ino Ino) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.temp[ino]
}

func (t *holdTable) add(ino Ino) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = make(map[Ino]int)
	}
	t.n[ino]++
}

// drop takes one hold away and returns how many are left; ok is false if there was none.
func (t *holdTable) drop(ino Ino) (left int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	left, ok = t.n[ino]
	if !ok {
		return 0, false
	}
	left--
	if left == 0 {
		delete(t.n, ino)
		delete(t.temp, ino)
	} else {
		t.n[ino] = left
	}
	return left, true
}

func (t *holdTable) count(ino Ino) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[ino]
}

// all is the inodes that are held, in order.
func (t *holdTable) all() []Ino {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.n))
}

// Hold keeps the inode alive, as an open file does, until as many calls of Release: its
// number is not used again, and what has lost its last name can still be read and written.
// A crash lets go of all holds. ErrStale: there is no such inode.
func (v *Volume) Hold(ino Ino) error {
	return v.view(func(o *op) error {
		if _, err := o.inode(ino); err != nil {
			return err
		}
		v.holds.add(ino)
		return nil
	})
}

// Release undoes one Hold. The last one destroys an inode that has no name any more; an error
// of that leaves the inode on the orphan list, for the next Open to destroy (I8). ErrInvalid:
// the inode is not held.
func (v *Volume) Release(ino Ino) error {
	orphan := false
	err := v.view(func(o *op) error {
		left, ok := v.holds.drop(ino)
		if !ok {
			return ErrInvalid
		}
		if left > 0 {
			return nil
		}
		in, err := o.inode(ino)
		orphan = err == nil && in.Links == 0
		return err
	})
	if err != nil || !orphan {
		return err
	}
	// Others may have come between: who holds the inode now will release it, and who has
	// destroyed it has done what is wanted here.
	err = v.update(v.needRemove(), func(o *op) error {
		in, err := o.inode(ino)
		if err != nil || in.Links > 0 || v.holds.count(ino) > 0 {
			return err
		}
		return o.destroy(ino, &in)
	})
	if errors.Is(err, ErrStale) || errors.Is(err, ErrReadOnly) {
		return nil // destroyed meanwhile; or the next writer's business
	}
	return err
}

// File is an open file or directory of a volume, as *os.File is one of the host. It is safe
// for concurrent use. Its file keeps existing when its last name is removed, until Close.
type File struct {
	v    *Volume
	name string // as given to OpenFile
	ino  Ino
	kind uint16 // file type
	flag int

	// Close takes both locks, all else one: while a call is under way the file is held, and its
	// number means nothing else.
	life   sync.RWMutex
	mu     sync.Mutex
	off    int64  // for Read, Write and Seek
	pos    uint64 // in a directory
	atEnd  bool   // of the directory
	closed bool
}

// Name is the path that the file was opened by.
func (f *File) Name() string { return f.name }

// Ino is the number of the file's inode.
func (f *File) Ino() Ino { return f.ino }

func (f *File) fail(verb string, err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // io.EOF is never wrapped, io.Reader
		return err
	}
	return &fs.PathError{Op: verb, Path: f.name, Err: err}
}

// usable answers whether content can be read (or written) through f.
func (f *File) usable(write bool) error {
	mode := f.flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR)
	switch {
	case f.closed:
		return fs.ErrClosed
	case write && mode == os.O_RDONLY, !write && mode == os.O_WRONLY:
		return ErrBadFile
	case f.kind == layout.ModeDir:
		return ErrIsDir
	case f.kind != layout.ModeFile:
		return ErrNoDevice // an image has no drivers: a node can be looked at, not used
	}
	return nil
}

// Read reads from the file's offset, io.Reader.
func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(false); err != nil {
		return 0, f.fail("read", err)
	}
	n, err := f.v.Read(f.ino, p, f.off)
	f.off += int64(n)
	if n == 0 && err == nil && len(p) > 0 {
		err = io.EOF
	}
	if n > 0 && err == io.EOF { //nolint:errorlint // see fail
		err = nil
	}
	return n, f.fail("read", err)
}

// ReadAt reads at off, io.ReaderAt: fewer bytes than asked for come with io.EOF.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	f.life.RLock()
	defer f.life.RUnlock()
	err := f.usable(false)
	if err == nil && off < 0 {
		err = ErrInvalid
	}
	if err != nil {
		return 0, f.fail("read", err)
	}
	n, err := f.v.Read(f.ino, p, off)
	if n < len(p) && err == nil {
		err = io.EOF
	}
	return n, f.fail("read", err)
}

// Write writes at the file's offset, or with O_APPEND at the end, io.Writer. Up to 1 MiB is
// one operation, at its end as at an offset.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(true); err != nil {
		return 0, f.fail("write", err)
	}
	var n int
	var err error
	if f.flag&os.O_APPEND != 0 {
		var end int64
		n, end, err = f.v.appendTo(f.ino, p)
		if n > 0 {
			f.off = end
		}
	} else {
		n, err = f.v.Write(f.ino, p, f.off)
		f.off += int64(n)
	}
	return n, f.written(n, err)
}

// WriteString is Write of a string.
func (f *File) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

// WriteAt writes at off, io.WriterAt. As for *os.File it is an error with O_APPEND.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	f.life.RLock()
	defer f.life.RUnlock()
	err := f.usable(true)
	if err == nil && (off < 0 || f.flag&os.O_APPEND != 0) {
		err = ErrInvalid
	}
	if err != nil {
		return 0, f.fail("write", err)
	}
	n, err := f.v.Write(f.ino, p, off)
	return n, f.written(n, err)
}

// written ends a write: with O_SYNC it is durable when the call returns.
func (f *File) written(n int, err error) error {
	if f.flag&os.O_SYNC != 0 && n > 0 {
		if serr := f.v.Fsync(f.ino); err == nil {
			err = serr
		}
	}
	return f.fail("write", err)
}

// Seek sets the offset of the next Read or Write, io.Seeker. In a directory only
// Seek(0, io.SeekStart) is possible: the next ReadDir begins again.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, f.fail("seek", fs.ErrClosed)
	}
	if f.kind == layout.ModeDir {
		if offset != 0 || whence != io.SeekStart {
			return 0, f.fail("seek", ErrInvalid)
		}
		f.pos, f.atEnd = 0, false
		return 0, nil
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.off
	case io.SeekEnd:
		a, err := f.v.Getattr(f.ino)
		if err != nil {
			return 0, f.fail("seek", err)
		}
		offset += int64(a.Size)
	default:
		return 0, f.fail("seek", ErrInvalid)
	}
	if offset < 0 {
		return 0, f.fail("seek", ErrInvalid)
	}
	f.off = offset
	return offset, nil
}

// setattr is Setattr through the handle.
func (f *File) setattr(verb string, s SetAttr) error {
	f.life.RLock()
	defer f.life.RUnlock()
	if f.closed {
		return f.fail(verb, fs.ErrClosed)
	}
	_, err := f.v.Setattr(f.ino, s)
	return f.fail(verb, err)
}

// Truncate changes the size of a file opened for writing, ftruncate(2).
func (f *File) Truncate(size int64) error {
	f.life.RLock()
	defer f.life.RUnlock()
	err := f.usable(true)
	if errors.Is(err, ErrBadFile) || err == nil && size < 0 {
		err = ErrInvalid
	}
	if err != nil {
		return f.fail("truncate", err)
	}
	n := uint64(size)
	_, err = f.v.Setattr(f.ino, SetAttr{Size: &n})
	return f.fail("truncate", err)
}

// Chmod changes the permissions, fchmod(2).
func (f *File) Chmod(mode fs.FileMode) error {
	m := permBits(mode)
	return f.setattr("chmod", SetAttr{Mode: &m})
}

// Chown changes owner and group, fchown(2); -1 leaves one as it is.
func (f *File) Chown(uid, gid int) error { return f.setattr("chown", owner(uid, gid)) }

// Sync makes the file durable, and everything that was done to the volume before, fsync(2).
func (f *File) Sync() error {
	f.life.RLock()
	defer f.life.RUnlock()
	if f.closed {
		return f.fail("sync", fs.ErrClosed)
	}
	return f.fail("sync", f.v.Fsync(f.ino))
}

// Close lets go of the file. It makes nothing durable: that is Sync.
func (f *File) Close() error {
	f.life.Lock()
	defer f.life.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.fail("close", fs.ErrClosed)
	}
	f.closed = true
	return f.fail("close", f.v.Release(f.ino))
}

// Stat is what the inode says now; its Sys is an Attr.
func (f *File) Stat() (fs.FileInfo, error) {
	f.life.RLock()
	defer f.life.RUnlock()
	if f.closed {
		return nil, f.fail("stat", fs.ErrClosed)
	}
	a, err := f.v.Getattr(f.ino)
	if err != nil {
		return nil, f.fail("stat", err)
	}
	return fileInfo{baseName(f.name), a}, nil
}

// ReadDir reads the next n entries of a directory in the order of their positions, or all
// that are left if n <= 0, as fs.ReadDirFile has it: with n > 0 the end is io.EOF.
func (f *File) ReadDir(n int) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, f.fail("readdir", fs.ErrClosed)
	case f.kind != layout.ModeDir:
		return nil, f.fail("readdir", ErrNotDir)
	}
	var list []fs.DirEntry
	full := false
	if !f.atEnd {
		err := f.v.ReadDir(f.ino, f.pos, func(e DirEntry) bool {
			list = append(list, dirEntry{f.v, e})
			f.pos = e.Next
			full = n > 0 && len(list) == n
			return !full
		})
		if err != nil {
			return list, f.fail("readdir", err)
		}
		f.atEnd = !full
	}
	if n > 0 && len(list) == 0 {
		return nil, io.EOF
	}
	return list, nil
}

// baseName is the last component of a path, as FileInfo.Name has it.
func baseName(name string) string { return path.Base(name) }

// fileInfo is an Attr as an fs.FileInfo.
type fileInfo struct {
	name string
	attr Attr
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return int64(i.attr.Size) }
func (i fileInfo) Mode() fs.FileMode  { return FileMode(i.attr.Mode) }
func (i fileInfo) ModTime() time.Time { return i.attr.Mtime }
func (i fileInfo) IsDir() bool        { return i.attr.Mode&layout.ModeType == layout.ModeDir }
func (i fileInfo) Sys() any           { return i.attr }

// dirEntry is a DirEntry as an fs.DirEntry.
type dirEntry struct {
	v *Volume
	e DirEntry
}

func (d dirEntry) Name() string      { return d.e.Name }
func (d dirEntry) IsDir() bool       { return d.e.Type == layout.ModeDir }
func (d dirEntry) Type() fs.FileMode { return FileMode(d.e.Type).Type() }
func (d dirEntry) String() string    { return fs.FormatDirEntry(d) }

// Info is what the inode says now; fs.ErrNotExist if it is gone since the directory was read.
func (d dirEntry) Info() (fs.FileInfo, error) {
	a, err := d.v.Getattr(d.e.Ino)
	if err == nil && a.Mode&layout.ModeType != d.e.Type {
		err = ErrStale // the number serves something else now
	}
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: d.e.Name, Err: err}
	}
	return fileInfo{d.e.Name, a}, nil
}
func (i fileInfo) String() string { return fs.FormatFileInfo(i) }

// FileMode is a POSIX mode (Attr.Mode) as an fs.FileMode.
func FileMode(mode uint16) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & layout.ModeType {
	case layout.ModeDir:
		m |= fs.ModeDir
	case layout.ModeLink:
		m |= fs.ModeSymlink
	case layout.ModeFIFO:
		m |= fs.ModeNamedPipe
	case layout.ModeSocket:
		m |= fs.ModeSocket
	case layout.ModeBlock:
		m |= fs.ModeDevice
	case layout.ModeChar:
		m |= fs.ModeDevice | fs.ModeCharDevice
	}
	if mode&modeSetUID != 0 {
		m |= fs.ModeSetuid
	}
	if mode&modeSetGID != 0 {
		m |= fs.ModeSetgid
	}
	if mode&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// PosixMode is an fs.FileMode as a POSIX mode; the inverse of [FileMode].
func PosixMode(m fs.FileMode) uint16 {
	mode := permBits(m)
	switch t := m.Type(); {
	case t&fs.ModeDir != 0:
		mode |= layout.ModeDir
	case t&fs.ModeSymlink != 0:
		mode |= layout.ModeLink
	case t&fs.ModeNamedPipe != 0:
		mode |= layout.ModeFIFO
	case t&fs.ModeSocket != 0:
		mode |= layout.ModeSocket
	case t&fs.ModeCharDevice != 0:
		mode |= layout.ModeChar
	case t&fs.ModeDevice != 0:
		mode |= layout.ModeBlock
	default:
		mode |= layout.ModeFile
	}
	return mode
}

// permBits is the twelve permission bits of m. The upper three are taken from where package
// fs has them and from where POSIX has them, which package fs leaves unused.
func permBits(m fs.FileMode) uint16 {
	p := uint16(m) & layout.ModePerm
	if m&fs.ModeSetuid != 0 {
		p |= modeSetUID
	}
	if m&fs.ModeSetgid != 0 {
		p |= modeSetGID
	}
	if m&fs.ModeSticky != 0 {
		p |= 0o1000
	}
	return p
}

// owner is the SetAttr of chown(2).
func owner(uid, gid int) (s SetAttr) {
	if uid != -1 {
		u := uint32(uid)
		s.UID = &u
	}
	if gid != -1 {
		g := uint32(gid)
		s.GID = &g
	}
	return s
}
