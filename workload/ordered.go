package workload

import (
	"errors"
	"fmt"
	"slices"

	"holdfast/volume"
)

// JudgeOrdered is Judge for a volume without a journal, where each operation is durable when it
// returns and none is atomic. Between two operations the tree is exactly what it has to be, and
// k says which. Inside one it may be in between, and k is -1: every name that the operation
// leaves alone is there, with all that it names; what the operation changes is as before or as
// after it; and a file has no fewer names than before and after. A link count may be too high
// by one, and a directory that is moved may have both names.
func JudgeOrdered(v *volume.Volume, states []*State, p Progress) (k int, err error) {
	p.Synced = p.Finished
	if k, err = Judge(v, states, p); err == nil || p.Started == p.Finished || p.Started >= len(states) {
		return k, err
	}
	r := newReader(v)
	defer r.done()
	r.twice, r.state = true, &State{digest: new(digest)}
	if err := r.root(); err != nil {
		return -1, &Verdict{Class: ErrUnreadable, Progress: p, Is: -1, Nearest: -1, Cause: err}
	}
	b := between{found: r.state, before: states[p.Finished], after: states[p.Started], is: map[uint64]uint64{}}
	b.dir("", uint64(volume.Root), rootIno)
	b.kept()
	b.links()
	if b.err == nil {
		return -1, nil
	}
	return -1, &Verdict{Class: b.class, Progress: p, Is: -1, Nearest: -1, Cause: b.err}
}

// JudgeOrdered is the function JudgeOrdered with the states of the run; the verdict also names
// the operation that was running.
func (r *Run) JudgeOrdered(v *volume.Volume, p Progress) (k int, err error) {
	k, err = JudgeOrdered(v, r.States, p)
	var verdict *Verdict
	if errors.As(err, &verdict) {
		verdict.During = r.During(p)
	}
	return k, err
}

// between compares a tree with those before and after an operation.
type between struct {
	found, before, after *State

	is    map[uint64]uint64 // inode numbers found, to those of the model
	class Class
	err   error // the first that is wrong
}

func (b *between) fail(class Class, format string, args ...any) {
	if b.err == nil {
		b.class, b.err = class, fmt.Errorf(format, args...)
	}
}

// versions is what the model has under an inode number, before and after; nil: nothing.
func (b *between) versions(ino uint64) (list []*node) {
	for _, s := range []*State{b.before, b.after} {
		if n, ok := s.nodes.get(ino); ok {
			list = append(list, n)
		}
	}
	return list
}

// like is whether a node found is one of the model's, but for its names and link count.
func like(x, n *node) bool {
	a := *n
	a.links = x.links
	return x.mode == n.mode && x.term() == a.term()
}

// fits reports whether a directory found may be the model's t by its names: it has those that
// t has before and after, and no other than one of these.
func (b *between) fits(x *node, t uint64) bool {
	list := b.versions(t)
	fits := true
	x.names.all(func(name string, _ uint64) bool {
		known := false
		for _, n := range list {
			_, ok := n.names.get(name)
			known = known || ok
		}
		fits = known
		return fits
	})
	list[0].names.all(func(name string, _ uint64) bool {
		_, is := x.names.get(name)
		_, stays := list[len(list)-1].names.get(name)
		fits = fits && (is || !stays)
		return fits
	})
	return fits
}

// dir compares directory ino, which the model knows as m.
func (b *between) dir(path string, ino, m uint64) {
	b.is[ino] = m
	x, _ := b.found.nodes.get(ino)
	same := false
	for _, n := range b.versions(m) {
		same = same || like(x, n)
	}
	if !same {
		b.fail(ErrAtomicity, "directory %s is neither as before nor as after: %s", word(path+"/"), x)
	}
	var may []pmap[string, uint64]
	for _, n := range b.versions(m) {
		may = append(may, n.names)
	}
	x.names.all(func(name string, child uint64) bool {
		b.name(path+"/"+name, name, child, may)
		return true
	})
	if len(may) == 2 {
		may[0].all(func(name string, _ uint64) bool {
			_, always := may[1].get(name)
			if _, is := x.names.get(name); always && !is {
				b.fail(ErrLost, "%s is gone", word(path+"/"+name))
			}
			return true
		})
	}
}

// name compares one name with what it may mean.
func (b *between) name(path, name string, child uint64, may []pmap[string, uint64]) {
	known := false
	var dirs []uint64 // of which it may be one
	for _, names := range may {
		t, ok := names.get(name)
		if !ok {
			continue
		}
		known = true
		if m, seen := b.is[child]; seen {
			if m == t {
				return
			}
			continue
		}
		x, _ := b.found.nodes.get(child)
		for _, n := range b.versions(t) {
			switch {
			case !like(x, n):
			case x.isDir():
				dirs = append(dirs, t)
			default:
				b.is[child] = t
				return
			}
		}
	}
	x, _ := b.found.nodes.get(child)
	if len(dirs) > 0 { // two may differ in their names alone
		i := max(0, slices.IndexFunc(dirs, func(t uint64) bool { return b.fits(x, t) }))
		b.dir(path, child, dirs[i])
		return
	}
	if !known {
		b.fail(ErrResurrection, "%s is there, and is neither before nor after: %s", word(path), x)
	} else {
		b.fail(ErrData, "%s is neither what it is before nor what it is after: %s", word(path), x)
	}
}

// names counts the names of each inode below the root, and gives the first of them.
func (s *State) names() (first map[uint64]string, count map[uint64]int) {
	first, count = map[uint64]string{}, map[uint64]int{}
	for _, e := range s.list() {
		if count[e.ino]++; count[e.ino] == 1 {
			first[e.ino] = e.path
		}
	}
	return first, count
}

// kept wants every inode to have as many names as it has before and after, whichever are less: one
// that is renamed is never without the old name and the new one.
func (b *between) kept() {
	have := map[uint64]int{rootIno: 1}
	b.found.nodes.all(func(ino uint64, x *node) bool {
		x.names.all(func(_ string, child uint64) bool {
			if m, ok := b.is[child]; ok {
				have[m]++
			}
			return true
		})
		return true
	})
	from, before := b.before.names()
	to, after := b.after.names()
	for _, e := range b.before.list() {
		switch want := min(before[e.ino], after[e.ino]); {
		case have[e.ino] >= want:
		case have[e.ino] == 0 && from[e.ino] != to[e.ino]:
			b.fail(ErrLost, "%s, then %s, is lost: it has no name", word(from[e.ino]), word(to[e.ino]))
		default:
			b.fail(ErrLost, "%s has lost a name: it has %d, at least %d before and after", word(from[e.ino]), have[e.ino], want)
		}
	}
}

// links wants link counts of what is no directory to be no higher than they need to be. What is
// too low is the business of fsck, and so are directories.
func (b *between) links() {
	b.found.nodes.all(func(ino uint64, x *node) bool {
		m, ok := b.is[ino]
		if !ok || x.isDir() {
			return true
		}
		most := uint32(0)
		for _, n := range b.versions(m) {
			most = max(most, n.links)
		}
		if x.links > most+1 {
			b.fail(ErrAtomicity, "a link count of %d, at most %d", x.links, most+1)
		}
		return true
	})
}
