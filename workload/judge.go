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

// The classes of verdicts, for errors.Is on what Judge returns.
var (
	ErrUnreadable = errors.New("unreadable")           // the tree could not be walked to its end
	ErrData       = errors.New("wrong data served")    // the names are right, the bytes are not
	ErrAtomicity  = errors.New("atomicity is broken")  // the tree is no prefix of the operations
	ErrDurability = errors.New("durability is broken") // it is a prefix, but shorter than what was synced
)

// Verdict is a breach of the promise: what the tree is, and what it should have been.
type Verdict struct {
	Class    error // one of the sentinels
	Progress Progress
	Nearest  int          // the state after this many operations is the nearest
	Diff     []Difference // found against that state; none for ErrDurability and ErrUnreadable
	Cause    error        // ErrUnreadable: what the volume said
}

// maxDiff is how many differences Error shows.
const maxDiff = 12

func (e *Verdict) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v (synced %d, finished %d, started %d)", e.Class, e.Progress.Synced, e.Progress.Finished, e.Progress.Started)
	switch {
	case e.Cause != nil:
		fmt.Fprintf(&b, ": %v", e.Cause)
	case e.Class == ErrDurability:
		fmt.Fprintf(&b, ": it is the state after %d", e.Nearest)
	default:
		fmt.Fprintf(&b, ": nearest is the state after %d", e.Nearest)
	}
	for i, d := range e.Diff {
		if i == maxDiff {
			fmt.Fprintf(&b, "\n\t... and %d more", len(e.Diff)-i)
			break
		}
		fmt.Fprintf(&b, "\n\t%s", d)
	}
	return b.String()
}

// Unwrap gives the class and the cause.
func (e *Verdict) Unwrap() []error {
	if e.Cause != nil {
		return []error{e.Class, e.Cause}
	}
	return []error{e.Class}
}

// Judge answers which state a recovered volume is in: the largest k such that the tree equals
// states[k] and p.Synced <= k <= p.Started. If there is none the error is a *Verdict. The walk
// reads everything once, in the same order for the same image.
func Judge(v *volume.Volume, states []*State, p Progress) (k int, err error) {
	if p.Synced < 0 || p.Synced > p.Started || p.Started >= len(states) {
		return 0, fmt.Errorf("judge: progress %+v with the states after 0 to %d operations", p, len(states)-1)
	}
	sum, err := Digest(v)
	if err != nil {
		return 0, &Verdict{Class: ErrUnreadable, Progress: p, Cause: err}
	}
	for k := p.Started; k >= p.Synced; k-- {
		if states[k].Digest() == sum {
			return k, nil
		}
	}
	for k := p.Synced - 1; k >= 0; k-- {
		if states[k].Digest() == sum {
			return k, &Verdict{Class: ErrDurability, Progress: p, Nearest: k}
		}
	}
	found, err := Load(v)
	if err != nil {
		return 0, &Verdict{Class: ErrUnreadable, Progress: p, Cause: err}
	}
	verdict := &Verdict{Class: ErrAtomicity, Progress: p, Nearest: -1}
	for k := p.Started; k >= 0; k-- {
		if d := Diff(found, states[k]); verdict.Nearest < 0 || len(d) < len(verdict.Diff) {
			verdict.Nearest, verdict.Diff = k, d
		}
	}
	if !slices.ContainsFunc(verdict.Diff, func(d Difference) bool { return !d.Content }) {
		verdict.Class = ErrData
	}
	return verdict.Nearest, verdict
}

// Judge is the function Judge with the states of the run; the error also names the operation
// that was running.
func (r *Run) Judge(v *volume.Volume, p Progress) (k int, err error) {
	k, err = Judge(v, r.States, p)
	if err != nil && p.Started > p.Finished && p.Started <= len(r.Script.Ops) {
		op := r.Script.Ops[p.Started-1]
		err = fmt.Errorf("%s:%d: during operation %d, %s: %w", r.Script.Name, op.Line, p.Started, op, err)
	}
	return k, err
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
	lines := make([]string, len(d))
	for i := range d {
		lines[i] = d[i].String()
	}
	return errors.New("the volume is not the model: " + strings.Join(lines, "\n\t"))
}

// bigDir is the number of names from which on a directory is looked up by sample: a listing
// and a lookup for each name cost too much where this runs once per crash state.
const (
	bigDir    = 256
	bigSample = 16
)

// maxNest bounds how deep a walk goes: nothing that a script builds is deeper.
const maxNest = 4096

// reader walks volumes. It keeps its buffers.
type reader struct {
	v     *volume.Volume
	buf   []byte
	lists [][]volume.DirEntry // one per level
	dirs  map[uint64]bool
	tally tally
	state *State // what Load builds; nil for a digest alone
}

var readers = sync.Pool{New: func() any {
	return &reader{
		buf:   make([]byte, 16*pageSize),
		dirs:  map[uint64]bool{},
		tally: tally{seen: map[uint64]uint64{}},
	}
}}

func newReader(v *volume.Volume) *reader {
	r := readers.Get().(*reader)
	r.v, r.state = v, nil
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
	if isDir && r.dirs[uint64(a.Ino)] {
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
		r.state.nodes = r.state.nodes.put(uint64(a.Ino), &n)
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
		r.lists = append(r.lists, nil)
	}
	list := r.lists[depth][:0]
	err = r.v.ReadDir(ino, 0, func(e volume.DirEntry) bool {
		list = append(list, e)
		return true
	})
	r.lists[depth] = list
	if err != nil {
		return names, fail("", err)
	}
	slices.SortFunc(list, func(a, b volume.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	for i, e := range list {
		if i > 0 && list[i-1].Name == e.Name {
			return names, fail(e.Name, errors.New("the name is listed twice")) // I10
		}
		var a volume.Attr
		if len(list) <= bigDir || i%bigSample == 0 {
			a, err = r.v.Lookup(ino, e.Name)
		} else {
			a, err = r.v.Getattr(e.Ino)
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
