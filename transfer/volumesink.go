package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"

	"holdfast/volume"
)

// volumeSink makes the entries of a source in a volume.
type volumeSink struct {
	*Options
	v       *volume.Volume
	base    volume.Ino // the top is this directory,
	name    string     // or if not "", this name in it
	replace bool       // as tar does: what is in the way goes, parents are made, entries come in any order
	block   int        // bytes
	dirs    map[string]volume.Ino
	late    map[volume.Ino]*entry // directories whose attributes are given when they are filled: each
	// name that is made in one changes its time, and a mark would be inherited
	open  []openDir             // from the top down, while entries come in order
	links map[string]volume.Ino // files that may get more names
	stats Stats
}

// openDir is a directory that entries are coming in.
type openDir struct {
	path string
	ino  volume.Ino
}

func newVolumeSink(v *volume.Volume, base volume.Ino, name string, o *Options) (*volumeSink, error) {
	st, err := v.Statfs()
	if err != nil {
		return nil, err
	}
	return &volumeSink{Options: o, v: v, base: base, name: name, block: st.BlockSize, dirs: map[string]volume.Ino{},
		late: map[volume.Ino]*entry{}, links: map[string]volume.Ino{}}, nil
}

// drain takes all that src gives and closes it.
func drain(src source, put sink) error {
	defer src.close()
	for {
		e, err := src.next()
		if err == io.EOF {
			return put.finish()
		}
		if err != nil {
			return err
		}
		if err := put.put(e); err != nil {
			return e.at(err)
		}
	}
}

func (s *volumeSink) put(e *entry) error {
	if err := s.settle(e.path); err != nil {
		return err
	}
	if e.path == "." && s.name == "" {
		return s.top(e)
	}
	dir, name, err := s.parent(e.path)
	if err != nil {
		return err
	}
	return s.full(s.node(e, dir, name))
}

// top is the entry of a directory that exists: the one that is copied into.
func (s *volumeSink) top(e *entry) error {
	if !e.isDir() {
		return ErrInTheWay
	}
	s.enter(e, s.base, s.Preserve || s.Owner != nil)
	return nil
}

// parent is the directory and the name that a path is in. No symbolic link is followed.
func (s *volumeSink) parent(p string) (dir volume.Ino, name string, err error) {
	if p == "." {
		return s.base, s.name, nil
	}
	dir, err = s.dir(path.Dir(p))
	return dir, path.Base(p), err
}

// dir is a directory that is there or, if parents may be made, is made.
func (s *volumeSink) dir(p string) (volume.Ino, error) {
	if p == "." && s.name == "" {
		return s.base, nil
	}
	if ino, ok := s.dirs[p]; ok {
		return ino, nil
	}
	up, name, err := s.parent(p)
	if err != nil {
		return 0, err
	}
	a, err := s.v.Lookup(up, name)
	switch {
	case err == nil && isDir(a):
		s.dirs[p] = a.Ino
		return a.Ino, nil
	case err == nil && volume.FileMode(a.Mode)&fs.ModeSymlink != 0:
		return 0, fmt.Errorf("%q is a symbolic link, which is not followed: %w", p, volume.ErrNotDir)
	case err == nil:
		return 0, fmt.Errorf("%q: %w", p, volume.ErrNotDir)
	case !s.replace || !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	own := s.owner(0, 0)
	if a, err = s.v.Create(up, name, volume.NewNode{Mode: dirMode | 0o755, UID: own.UID, GID: own.GID}); err != nil {
		return 0, s.full(err)
	}
	s.stats.Dirs++
	s.dirs[p] = a.Ino
	return a.Ino, nil
}

// dirMode is the type of a directory in a POSIX mode.
const dirMode = 0o040000

// node makes one entry in a directory.
func (s *volumeSink) node(e *entry, dir volume.Ino, name string) error {
	var first volume.Ino
	var err error
	if e.link != "" {
		if first, err = s.first(e); err != nil {
			return err
		}
	}
	old, err := s.v.Lookup(dir, name)
	switch {
	case err == nil && isDir(old) && e.isDir() && e.link == "":
		s.enter(e, old.Ino, s.Preserve || s.Owner != nil)
		return nil
	case err == nil && first == old.Ino:
		return nil
	case err == nil:
		if err := s.clear(e, dir, name, old); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if e.link != "" {
		_, err := s.v.Link(first, dir, name)
		s.stats.HardLinks++
		return err
	}
	own := s.owner(e.uid, e.gid)
	n := volume.NewNode{Mode: e.mode&^modeBits | s.mode(e.mode), UID: own.UID, GID: own.GID, Major: e.major, Minor: e.minor, Target: e.target}
	if e.isDir() {
		n.Mode = e.mode&^modeBits | 0o700 // no mark that what is below would inherit
	}
	a, err := s.v.Create(dir, name, n)
	if err != nil {
		return err
	}
	if e.linked {
		s.links[e.path] = a.Ino
	}
	switch m := volume.FileMode(e.mode); {
	case m.IsDir():
		s.enter(e, a.Ino, true)
		return nil
	case m.IsRegular():
		return s.file(e, dir, name, a)
	case m&fs.ModeSymlink != 0:
		s.stats.Links++
	default:
		s.stats.Others++
	}
	s.progress(e.path, 0)
	return s.attributes(e, a.Ino, nil)
}

// first is the file that an entry is a further name of.
func (s *volumeSink) first(e *entry) (volume.Ino, error) {
	if ino, ok := s.links[e.link]; ok {
		return ino, nil
	}
	dir, name, err := s.lookParent(e.link)
	if err == nil {
		var a volume.Attr
		if a, err = s.v.Lookup(dir, name); err == nil && isDir(a) {
			err = volume.ErrIsDir
		}
		if err == nil {
			return a.Ino, nil
		}
	}
	return 0, fmt.Errorf("a hard link to %q: %w", e.link, err)
}

// lookParent is parent that makes nothing.
func (s *volumeSink) lookParent(p string) (volume.Ino, string, error) {
	make := s.replace
	s.replace = false
	defer func() { s.replace = make }()
	return s.parent(p)
}

// clear takes away what has the name of an entry, if it may be replaced.
func (s *volumeSink) clear(e *entry, dir volume.Ino, name string, old volume.Attr) error {
	switch {
	case s.NoClobber, isDir(old) != e.isDir() && !s.replace:
		return ErrInTheWay
	case isDir(old):
		if err := s.v.Rmdir(dir, name); err != nil {
			return fmt.Errorf("a directory: %w", ErrInTheWay)
		}
		delete(s.dirs, e.path)
		delete(s.late, old.Ino)
		return nil
	}
	delete(s.links, e.path)
	return s.v.Unlink(dir, name)
}

// enter notes a directory that is to be filled; own: its attributes are given then.
func (s *volumeSink) enter(e *entry, ino volume.Ino, own bool) {
	s.stats.Dirs++
	s.progress(e.path, 0)
	s.dirs[e.path] = ino
	if own {
		s.late[ino] = e
	}
	if !s.replace {
		s.open = append(s.open, openDir{e.path, ino})
	}
}

// settle gives the directories that p is not below their attributes, if nothing comes in them
// any more.
func (s *volumeSink) settle(p string) error {
	for n := len(s.open); n > 0 && !below(p, s.open[n-1].path); n-- {
		d := s.open[n-1]
		s.open = s.open[:n-1]
		delete(s.dirs, d.path)
		if err := s.leave(d.ino); err != nil {
			return err
		}
	}
	return nil
}

// leave gives a filled directory its attributes.
func (s *volumeSink) leave(ino volume.Ino) error {
	e, ok := s.late[ino]
	if !ok {
		return nil
	}
	delete(s.late, ino)
	return e.at(s.full(s.attributes(e, ino, nil)))
}

func (s *volumeSink) finish() error {
	for _, ino := range slices.Sorted(maps.Keys(s.late)) {
		if err := s.leave(ino); err != nil {
			return err
		}
	}
	return nil
}

// attributes gives an inode what an entry says of it. size, if not nil, is that of a file.
func (s *volumeSink) attributes(e *entry, ino volume.Ino, size *uint64) error {
	if s.Preserve {
		if err := clearXattrs(s.v, ino, e.xattrs); err != nil {
			return err
		}
	}
	link := volume.FileMode(e.mode)&fs.ModeSymlink != 0
	c := s.change(s.owner(e.uid, e.gid), s.mode(e.mode), e.atime, e.mtime, link)
	c.Size = size
	if _, err := s.v.Setattr(ino, c); err != nil || !s.Preserve {
		return err
	}
	return setXattrs(s.v, ino, e.xattrs) // last: a change of owner takes capabilities away
}

// file fills a file. On an error nothing is left of it.
func (s *volumeSink) file(e *entry, dir volume.Ino, name string, a volume.Attr) error {
	err := s.fill(e, a.Ino)
	if err != nil { // half a file is no file
		delete(s.links, e.path)
		return errors.Join(err, s.v.Unlink(dir, name))
	}
	return nil
}

func (s *volumeSink) fill(e *entry, ino volume.Ino) error {
	s.stats.Files++
	s.progress(e.path, 0)
	if e.size > volume.MaxFileSize {
		return volume.ErrFileTooBig
	}
	err := e.content.read(func(p []byte, off int64) error {
		err := s.parts(p, off, s.block, func(p []byte, off int64) error {
			n, err := s.v.Write(ino, p, off)
			s.stats.Bytes += int64(n)
			return err
		})
		s.progress(e.path, int64(len(p)))
		return err
	})
	if err != nil {
		return err
	}
	var size *uint64
	a, err := s.v.Getattr(ino)
	if err != nil {
		return err
	}
	if end := uint64(e.size); a.Size != end {
		size = &end // it ends in a hole
	}
	return s.attributes(e, ino, size)
}

// full says of what the volume has no more: it is not the host that is full.
func (s *volumeSink) full(err error) error {
	if !errors.Is(err, volume.ErrNoSpace) {
		return err
	}
	st, serr := s.v.Statfs()
	if serr != nil {
		return err
	}
	return imageFull(st)
}

// imageFull is what a volume has no more.
func imageFull(st volume.Statfs) error {
	if st.FreeInodes == 0 {
		return &fullError{fmt.Sprintf("no inode left in the image: all of its %d are in use (mkfs --inodes gives it more)", st.Inodes)}
	}
	return &fullError{fmt.Sprintf("no space left in the image of %d blocks of %d bytes", st.Blocks, st.BlockSize)}
}

// fullError is volume.ErrNoSpace in other words.
type fullError struct{ text string }

func (e *fullError) Error() string { return e.text }
func (e *fullError) Unwrap() error { return volume.ErrNoSpace }
