package workload

import (
	"errors"
	"fmt"
	"io"

	"holdfast/volume"
)

// maxDamaged bounds how many damaged places JudgeDamaged lists.
const maxDamaged = 16

// Media reports whether an error of a volume says that the medium lost something: that, and
// nothing else, is how damage may show.
func Media(err error) bool {
	return errors.Is(err, volume.ErrIO)
}

// JudgeDamaged is Judge for a volume on a medium that lost some sectors: what can be read must
// be that of one of the allowed states, and what cannot must fail with an error of the medium,
// never as if it were not there. p.Synced is the oldest state allowed. damaged lists the places
// that failed.
func JudgeDamaged(v *volume.Volume, states []*State, p Progress) (k int, damaged []string, err error) {
	if p.Synced < 0 || p.Synced > p.Started || p.Started >= len(states) {
		return 0, nil, fmt.Errorf("judge: progress %+v with the states after 0 to %d operations", p, len(states)-1)
	}
	verdict := &Verdict{Progress: p, Is: -1, Nearest: -1, Class: ErrAtomicity}
	look := func(k int, whole bool) *survey {
		s := &survey{v: v, s: states[k], whole: whole, buf: make([]byte, pageSize), of: map[uint64]volume.Ino{}, as: map[volume.Ino]uint64{}}
		s.node("/", volume.Root, rootIno)
		return s
	}
	for k := p.Started; k >= p.Synced; k-- {
		if s := look(k, false); len(s.diff) == 0 {
			return k, s.damaged, nil
		}
	}
	for k := p.Started; k >= p.Synced; k-- { // none: how far is each?
		s := look(k, true)
		if verdict.Nearest < 0 || len(s.diff) < len(verdict.Diff) {
			verdict.Nearest, verdict.Diff = k, s.diff
		}
	}
	for _, d := range verdict.Diff {
		if d.Content {
			verdict.Class = ErrData
		}
	}
	return verdict.Nearest, nil, verdict
}

// survey compares a damaged volume with a state.
type survey struct {
	v       *volume.Volume
	s       *State
	whole   bool // not only up to the first difference
	buf     []byte
	of      map[uint64]volume.Ino // inodes of the volume, by those of the state
	as      map[volume.Ino]uint64
	diff    []Difference
	damaged []string
}

// lost takes in an error of the medium; any other error is a difference.
func (s *survey) lost(path string, err error) {
	if !Media(err) {
		s.differ(path, fmt.Sprintf("fails, but not as damage does: %v", err), "")
		return
	}
	if len(s.damaged) < maxDamaged {
		s.damaged = append(s.damaged, fmt.Sprintf("%s: %v", word(path), err))
	}
}

func (s *survey) differ(path, found, want string) {
	s.diff = append(s.diff, Difference{Path: path, Found: found, Want: want})
}

// over reports whether no more is wanted.
func (s *survey) over() bool { return !s.whole && len(s.diff) > 0 }

// node compares one path that leads to inode ino and should lead to want.
func (s *survey) node(path string, ino volume.Ino, want uint64) {
	if known, ok := s.of[want]; ok || s.as[ino] != 0 {
		if known != ino || s.as[ino] != want {
			s.differ(path, fmt.Sprintf("is inode %d, which is another file elsewhere", ino), "")
		}
		return
	}
	s.of[want], s.as[ino] = ino, want
	n, _ := s.s.nodes.get(want)
	a, err := s.v.Getattr(ino)
	if err != nil {
		s.lost(path, err)
		return
	}
	found := node{mode: a.Mode, links: a.Links, uid: a.UID, gid: a.GID, mtime: Time{a.Mtime.Unix(), uint32(a.Mtime.Nanosecond())}}
	model := node{mode: n.mode, links: n.links, uid: n.uid, gid: n.gid, mtime: n.mtime}
	switch n.kind() {
	case ModeChar, ModeBlock:
		found.major, found.minor = a.Major, a.Minor
		model.major, model.minor = n.major, n.minor
	case ModeFile:
		found.size, model.size = a.Size, n.size
	}
	if !found.alike(&model) {
		s.differ(path, found.String(), model.String())
		return
	}
	s.attributes(path, ino, n)
	if s.over() {
		return
	}
	switch n.kind() {
	case ModeFile:
		s.file(path, ino, n)
	case ModeDir:
		s.directory(path, ino, n)
	case ModeLink:
		if target, err := s.v.Readlink(ino); err != nil {
			s.lost(path, err)
		} else if target != n.target {
			s.differ(path, "-> "+word(target), "-> "+word(n.target))
		}
	}
}

// attributes compares the extended ones: all that are listed, with their values.
func (s *survey) attributes(path string, ino volume.Ino, n *node) {
	names, err := s.v.Listxattr(ino)
	if err != nil {
		s.lost(path+": attributes", err)
		return
	}
	for _, name := range names {
		want, ok := n.xattrs.get(name)
		value, err := s.v.Getxattr(ino, name)
		switch {
		case !ok:
			s.differ(path, "attribute "+name+" is there", "")
		case err != nil:
			s.lost(path+": attribute "+name, err)
		case string(value) != want:
			s.differ(path, "another value of attribute "+name, "")
		}
	}
	if len(names) < n.xattrs.len() {
		s.differ(path, "", fmt.Sprintf("has %d attributes", n.xattrs.len()))
	}
}

// file compares page by page: one that cannot be read does not take its neighbours along.
func (s *survey) file(path string, ino volume.Ino, n *node) {
	for off := uint64(0); off < n.size && !s.over(); off += pageSize {
		p := s.buf[:min(pageSize, n.size-off)]
		count, err := s.v.Read(ino, p, int64(off))
		if err != nil && !errors.Is(err, io.EOF) {
			s.lost(fmt.Sprintf("%s at %d", path, off), err)
			continue
		}
		want := zeroPage[:]
		if q, ok := n.content.pages.get(off / pageSize); ok {
			want = q.data[:]
		}
		if count != len(p) || string(p) != string(want[:len(p)]) {
			s.diff = append(s.diff, Difference{Path: path, Content: true,
				Found: fmt.Sprintf("%d other bytes at %d", count, off), Want: fmt.Sprintf("%d bytes", len(p))})
		}
	}
}

// directory compares names. Where the listing breaks off, each name is looked up all the same:
// a name may be out of reach, but it may not be said not to exist.
func (s *survey) directory(path string, ino volume.Ino, n *node) {
	listed := map[string]volume.Ino{}
	err := s.v.ReadDir(ino, 0, func(e volume.DirEntry) bool {
		if _, twice := listed[e.Name]; twice {
			s.differ(path+"/"+e.Name, "is listed twice", "")
		}
		listed[e.Name] = e.Ino
		return true
	})
	if err != nil {
		s.lost(path, err)
	}
	whole := err == nil
	at := func(name string) string {
		if path == "/" {
			return "/" + name
		}
		return path + "/" + name
	}
	n.names.all(func(name string, want uint64) bool {
		child, ok := listed[name]
		if !ok && whole {
			s.differ(at(name), "", "is not listed")
			return !s.over()
		}
		a, err := s.v.Lookup(ino, name)
		switch {
		case err != nil && Media(err) && ok:
			s.lost(at(name), err)
			s.node(at(name), child, want)
		case err != nil:
			s.lost(at(name), err)
		case ok && a.Ino != child:
			s.differ(at(name), fmt.Sprintf("is listed as inode %d and looked up as %d", child, a.Ino), "")
		default:
			s.node(at(name), a.Ino, want)
		}
		return !s.over()
	})
	for name := range listed {
		if _, ok := n.names.get(name); !ok {
			s.differ(at(name), "is there", "")
		}
	}
}

// alike compares what nodes have of their own, but for content, names and attributes.
func (n *node) alike(o *node) bool {
	return n.mode == o.mode && n.links == o.links && n.uid == o.uid && n.gid == o.gid && n.mtime == o.mtime &&
		n.major == o.major && n.minor == o.minor && n.size == o.size
}
