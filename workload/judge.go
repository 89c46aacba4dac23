package workload

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"holdfast/volume"
)

// Judge answers which state a recovered volume is in: the largest k such that the tree equals
// states[k] and p.Synced <= k <= p.Started. If there is none the error is a *Verdict, and k is
// the older state that it equals, or the allowed one that is nearest. The walk
// reads everything once, in the same order for the same image.
func Judge(v *volume.Volume, states []*State, p Progress) (k int, err error) {
	if p.Synced < 0 || p.Synced > p.Started || p.Started >= len(states) {
		return 0, fmt.Errorf("judge: progress %+v with the states after 0 to %d operations", p, len(states)-1)
	}
	sum, err := Digest(v)
	if err != nil {
		return 0, &Verdict{Class: ErrUnreadable, Progress: p, Is: -1, Nearest: -1, Cause: err}
	}
	for k := p.Started; k >= p.Synced; k-- {
		if states[k].Digest() == sum {
			return k, nil
		}
	}
	found, err := Load(v)
	if err != nil {
		return 0, &Verdict{Class: ErrUnreadable, Progress: p, Is: -1, Nearest: -1, Cause: err}
	}
	verdict := &Verdict{Progress: p, Is: -1, Nearest: -1}
	for k := p.Started; k >= p.Synced; k-- {
		if d := Diff(found, states[k]); verdict.Nearest < 0 || len(d) < len(verdict.Diff) {
			verdict.Nearest, verdict.Diff = k, d
		}
	}
	for k := p.Synced - 1; k >= 0; k-- {
		if states[k].Digest() == sum {
			verdict.Class, verdict.Is = ErrDurability, k
			return k, verdict
		}
	}
	switch {
	case foreign(found, states[:p.Started+1], verdict.Diff):
		verdict.Class = ErrData
	case revived(states, p, verdict.Diff):
		verdict.Class = ErrResurrection
	default:
		verdict.Class = ErrAtomicity
	}
	return verdict.Nearest, verdict
}

// foreign reports whether nothing but the bytes of files differs, and some page of one has
// bytes that it had in no state: neither old nor new, but another's.
func foreign(found *State, states []*State, diff []Difference) bool {
	if slices.ContainsFunc(diff, func(d Difference) bool { return !d.Content }) {
		return false
	}
	for _, d := range diff {
		_, now := found.at(d.Path)
		pages := map[uint64]map[uint64]bool{} // by place: what states have there
		note := func(i uint64, _ *page) bool { pages[i] = map[uint64]bool{}; return true }
		now.content.pages.all(note)
		var was []*node
		for _, s := range states {
			if _, n := s.at(d.Path); n != nil && n.kind() == ModeFile && !slices.Contains(was, n) {
				was = append(was, n)
				n.content.pages.all(note)
			}
		}
		for i, terms := range pages {
			for _, n := range was {
				if i*pageSize < n.size {
					terms[n.content.term(i)] = true
				}
			}
			if i*pageSize < now.size && !terms[now.content.term(i)] {
				return true
			}
		}
	}
	return false
}

// revived reports whether a path is there that no allowed state has and an older one had: a
// synced operation removed it.
func revived(states []*State, p Progress, diff []Difference) bool {
	has := func(path string) func(*State) bool {
		return func(s *State) bool { _, n := s.at(path); return n != nil }
	}
	return slices.ContainsFunc(diff, func(d Difference) bool {
		return d.Want == "" &&
			!slices.ContainsFunc(states[p.Synced:p.Started+1], has(d.Path)) &&
			slices.ContainsFunc(states[:p.Synced], has(d.Path))
	})
}

// Judge is the function Judge with the states of the run; the verdict also names the operation
// that was running.
func (r *Run) Judge(v *volume.Volume, p Progress) (k int, err error) {
	k, err = Judge(v, r.States, p)
	var verdict *Verdict
	if errors.As(err, &verdict) {
		verdict.During = r.During(p)
	}
	return k, err
}

// During names the operation that was running, and its place in the script; "" for none.
func (r *Run) During(p Progress) string {
	if p.Started <= p.Finished || p.Started > len(r.Script.Ops) {
		return ""
	}
	op := r.Script.Ops[p.Started-1]
	return fmt.Sprintf("operation %d, %s (%s:%d)", p.Started, op, r.Script.Name, op.Line)
}

// Compare is nil if the volume holds exactly the tree s, else it lists the differences.
func Compare(v *volume.Volume, s *State) error {
	sum, err := Digest(v)
	if err == nil && sum == s.Digest() {
		return nil
	}
	found, err2 := Load(v)
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	d := Diff(found, s)
	if len(d) == 0 {
		return errors.New("compare: the digests differ, but not the trees")
	}
	var lines []string
	for i := range d {
		lines = append(lines, d[i].Lines()...)
	}
	return errors.New("the volume is not the model, it has + and lacks -:\n\t" + strings.Join(lines, "\n\t"))
}

// sample is how many names of a directory, in their order, share a lookup: one for each costs
// too much where this runs once per crash state. That its index has all names is I10.
const sample = 16

// maxNest bounds how deep a walk goes: nothing that a script builds is deeper.
const maxNest = 4096

// reader walks volumes. It keeps its buffers.
type reader struct {
	v     *volume.Volume
	buf   []byte
	lists []listing // one per level
	dirs  map[uint64]bool
	tally tally
	state *State // what Load builds; nil for a digest alone
	twice bool   // a directory may have a second name
}

var readers = sync.Pool{New: func() any {
	return &reader{
		buf:   make([]byte, 16*pageSize),
		dirs:  map[uint64]bool{},
		tally: tally{seen: map[uint64]uint64{}},
	}
}}

// listing is what a directory has, and the order of the names.
type listing struct {
	found []found
	order []int
}

type found struct {
	volume.DirEntry
	attr volume.Attr
	err  error // why there is none
}

func newReader(v *volume.Volume) *reader {
	r := readers.Get().(*reader)
	r.v, r.state, r.twice = v, nil, false
	clear(r.dirs)
	clear(r.tally.seen)
	r.tally.h = 0
	return r
}

func (r *reader) done() {
	r.v, r.state = nil, nil
	readers.Put(r)
}

// Digest is State.Digest of the tree on a volume. An error says what could not be read, or is
// no tree.
func Digest(v *volume.Volume) (uint64, error) {
	r := newReader(v)
	defer r.done()
	if err := r.root(); err != nil {
		return 0, err
	}
	return uint64(r.tally.h), nil
}

// Load reads the whole tree on a volume as a state.
func Load(v *volume.Volume) (*State, error) {
	r := newReader(v)
	defer r.done()
	r.state = &State{digest: new(digest)}
	if err := r.root(); err != nil {
		return nil, err
	}
	return r.state, nil
}

func (r *reader) root() error {
	a, err := r.v.Getattr(volume.Root)
	if err != nil {
		return fmt.Errorf("/: %w", err)
	}
	if a.Mode&ModeType != ModeDir {
		return fmt.Errorf("/: is a %s, not a directory", kindName(a.Mode))
	}
	return r.node("", "", a, 0)
}

// node tells one name and what it names; dir is the path of the directory it is in.
func (r *reader) node(dir, name string, a volume.Attr, depth int) error {
	isDir := a.Mode&ModeType == ModeDir
	fail := func(err error) error { return fmt.Errorf("%s: %w", word(dir+"/"+name), err) }
	if isDir && r.dirs[uint64(a.Ino)] && !r.twice {
		return fail(fmt.Errorf("directory %d has a second name", a.Ino)) // I7
	}
	if !r.tally.name(name, uint64(a.Ino)) {
		return nil
	}
	n := node{mode: a.Mode, links: a.Links, uid: a.UID, gid: a.GID}
	n.mtime = Time{a.Mtime.Unix(), uint32(a.Mtime.Nanosecond())}
	var err error
	switch a.Mode & ModeType {
	case ModeChar, ModeBlock:
		n.major, n.minor = a.Major, a.Minor
	case ModeLink:
		if n.target, err = r.v.Readlink(a.Ino); err == nil && uint64(len(n.target)) != a.Size {
			err = fmt.Errorf("size %d with a target of %d bytes", a.Size, len(n.target))
		}
	case ModeFile:
		n.size = a.Size
		n.content, err = r.content(a.Ino, a.Size)
	}
	if err == nil && a.Xattrs {
		n.xattrs, err = r.attributes(a.Ino)
	}
	if err != nil {
		return fail(err)
	}
	r.tally.node(&n)
	if isDir {
		r.dirs[uint64(a.Ino)] = true
		path := dir
		if depth > 0 {
			path += "/" + name
		}
		n.names, err = r.directory(path, a.Ino, depth)
		if err != nil {
			return err
		}
		r.tally.up()
	}
	if r.state != nil {
		kept := n // so that n itself need not outlive the call
		r.state.nodes = r.state.nodes.put(uint64(a.Ino), &kept)
	}
	return nil
}

// directory tells the entries of a directory, sorted.
func (r *reader) directory(path string, ino volume.Ino, depth int) (names pmap[string, uint64], err error) {
	fail := func(name string, err error) error { return fmt.Errorf("%s: %w", word(path+"/"+name), err) }
	if depth == maxNest {
		return names, fail("", errors.New("directories are nested too deep"))
	}
	if len(r.lists) == depth {
		r.lists = append(r.lists, listing{})
	}
	list, order := r.lists[depth].found[:0], r.lists[depth].order[:0]
	err = r.v.ReadDirPlus(ino, 0, func(e volume.DirEntry, a volume.Attr, err error) bool {
		order = append(order, len(list))
		list = append(list, found{e, a, err})
		return true
	})
	r.lists[depth] = listing{list, order}
	if err != nil {
		return names, fail("", err)
	}
	slices.SortFunc(order, func(i, k int) int { return strings.Compare(list[i].Name, list[k].Name) })
	for i := range order {
		e := &list[order[i]]
		if i > 0 && list[order[i-1]].Name == e.Name {
			return names, fail(e.Name, errors.New("the name is listed twice")) // I10
		}
		a, err := e.attr, e.err
		if i%sample == 0 {
			a, err = r.v.Lookup(ino, e.Name)
		}
		if err == nil && (a.Ino != e.Ino || a.Mode&ModeType != e.Type) {
			err = fmt.Errorf("is listed as inode %d, a %s, and looked up as inode %d, a %s",
				e.Ino, kindName(e.Type), a.Ino, kindName(a.Mode))
		}
		if err != nil {
			return names, fail(e.Name, err)
		}
		if err := r.node(path, e.Name, a, depth+1); err != nil {
			return names, err
		}
		if r.state != nil {
			names = names.put(e.Name, uint64(e.Ino))
		}
	}
	return names, nil
}

// attributes reads all extended attributes.
func (r *reader) attributes(ino volume.Ino) (all pmap[string, string], err error) {
	names, err := r.v.Listxattr(ino)
	if err != nil {
		return all, err
	}
	for _, name := range names {
		value, err := r.v.Getxattr(ino, name)
		if err != nil {
			return all, fmt.Errorf("attribute %s: %w", name, err)
		}
		all = all.put(name, string(value))
	}
	return all, nil
}

// content reads a file. For a digest only the sum is filled in.
func (r *reader) content(ino volume.Ino, size uint64) (c content, err error) {
	for off := uint64(0); off < size; off += uint64(len(r.buf)) {
		want := int(min(size-off, uint64(len(r.buf))))
		n, err := r.v.Read(ino, r.buf[:want], int64(off))
		if err != nil && !errors.Is(err, io.EOF) {
			return c, fmt.Errorf("reading %d bytes at %d: %w", want, off, err)
		}
		if n != want {
			return c, fmt.Errorf("reading %d bytes at %d of %d: only %d came", want, off, size, n)
		}
		whole := (want + pageSize - 1) / pageSize * pageSize
		clear(r.buf[want:whole])
		for at := 0; at < whole; at += pageSize {
			p := (*[pageSize]byte)(r.buf[at:])
			i := (off + uint64(at)) / pageSize
			if r.state != nil {
				c = c.put(i, &page{data: *p})
			} else {
				c.sum += pageTerm(i, p)
			}
		}
	}
	return c, nil
}
