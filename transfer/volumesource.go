package transfer

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"

	"holdfast/volume"
)

// Copy copies one file of any type, or a directory with all that is below it, from a volume to a
// name in the directory dir of a volume, which may be the same; an empty name is dir itself.
// where is what messages call ino. A symbolic link is copied, not followed. What has the name is
// replaced, and a directory merged with a directory.
//
// Errors: volume.ErrInvalid if ino is dir or above it; those of both volumes.
func Copy(from *volume.Volume, ino volume.Ino, where string, to *volume.Volume, dir volume.Ino, name string, o Options) (Stats, error) {
	if from == to {
		inside, err := within(to, dir, ino)
		if err == nil && inside {
			err = volume.ErrInvalid
		}
		if err != nil {
			return Stats{}, err
		}
	}
	s, err := newVolumeSink(to, dir, name, &o)
	if err != nil {
		return Stats{}, err
	}
	src := &volumeSource{Options: &o, v: from, where: where, todo: []visit{{".", ino}}, seen: map[volume.Ino]string{},
		buf: make([]byte, chunk), stats: &s.stats}
	err = drain(src, s)
	return s.stats, bare(err)
}

// within reports whether dir is top or lies below it.
func within(v *volume.Volume, dir, top volume.Ino) (bool, error) {
	for {
		if dir == top {
			return true, nil
		}
		up, err := v.Lookup(dir, "..")
		if err != nil || up.Ino == dir {
			return false, err
		}
		dir = up.Ino
	}
}

// volumeSource is a tree of a volume, a directory before what is in it.
type volumeSource struct {
	*Options
	v     *volume.Volume
	where string
	todo  []visit               // the next is the last
	seen  map[volume.Ino]string // the first name of files with several
	buf   []byte
	stats *Stats
}

type visit struct {
	path string
	ino  volume.Ino
}

func (s *volumeSource) close() {}

func (s *volumeSource) next() (*entry, error) {
	for len(s.todo) > 0 {
		p := s.todo[len(s.todo)-1]
		s.todo = s.todo[:len(s.todo)-1]
		e, err := s.entry(p)
		if err = s.damage(p.path, err); err != nil {
			return nil, named(s.name(p.path), err)
		}
		if e != nil {
			return e, nil
		}
	}
	return nil, io.EOF
}

// damage leaves something out that the volume cannot give, if that is wanted.
func (s *volumeSource) damage(p string, err error) error {
	if err == nil || !s.KeepGoing || !errors.Is(err, volume.ErrIO) {
		return err
	}
	s.stats.Damaged++
	s.stats.loseFile(s.name(p), err)
	return nil
}

func (s *volumeSource) name(p string) string {
	if p == "." {
		return s.where
	}
	return s.where + "/" + p
}

// entry is what an inode says; nil: it is left out.
func (s *volumeSource) entry(p visit) (*entry, error) {
	a, err := s.v.Getattr(p.ino)
	if err != nil {
		return nil, err
	}
	if p.path != "." && s.excluded(p.path, info{path.Base(p.path), a}) {
		return nil, nil
	}
	e := &entry{path: p.path, where: s.name(p.path), mode: a.Mode, uid: a.UID, gid: a.GID, atime: a.Atime, mtime: a.Mtime,
		major: a.Major, minor: a.Minor, linked: a.Links > 1 && !isDir(a)}
	if first, ok := s.seen[p.ino]; ok && e.linked {
		e.link = first
		return e, nil
	}
	if s.Preserve {
		if e.xattrs, err = getXattrs(s.v, p.ino); err != nil {
			return nil, err
		}
	}
	switch m := volume.FileMode(a.Mode); {
	case m.IsDir():
		err = s.enter(p)
	case m.IsRegular() && a.Size > volume.MaxFileSize:
		err = volume.ErrFileTooBig
	case m.IsRegular():
		e.size = int64(a.Size)
		c := &volumeContent{s, p.ino, e.size}
		e.content = c
		if s.KeepGoing { // what turns out to be damaged is left out as a whole
			err = c.read(func([]byte, int64) error { return nil })
		}
	case m&fs.ModeSymlink != 0:
		e.target, err = s.v.Readlink(p.ino)
	}
	if err != nil {
		return nil, err
	}
	if e.linked {
		s.seen[p.ino] = p.path
	}
	return e, nil
}

// enter puts what is in a directory before all else that is to be done, in byte order. One that is
// damaged is empty.
func (s *volumeSource) enter(p visit) error {
	from := len(s.todo)
	err := s.v.ReadDir(p.ino, 0, func(e volume.DirEntry) bool {
		s.todo = append(s.todo, visit{join(p.path, e.Name), e.Ino})
		return true
	})
	if err != nil {
		s.todo = s.todo[:from]
	}
	slices.SortFunc(s.todo[from:], func(a, b visit) int { return cmp.Compare(b.path, a.path) })
	return s.damage(p.path, err)
}

// volumeContent is the data of a file of a volume.
type volumeContent struct {
	s    *volumeSource
	ino  volume.Ino
	size int64
}

func (c *volumeContent) read(fn func(p []byte, off int64) error) error {
	return c.extents(func(start, end int64) error { return readVolume(c.s.v, c.ino, start, end, c.s.buf, fn) })
}

func (c *volumeContent) extents(fn func(start, end int64) error) error {
	return volumeData(c.s.v, c.ino, c.size, c.s.Dense, fn, func(err error) error { return err })
}

func (c *volumeContent) open() (volume.Content, func() error, error) {
	return volume.Content{}, nothing, errors.ErrUnsupported
}
