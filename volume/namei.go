package volume

import (
	"errors"
	"fmt"
	"strings"

	"holdfast/layout"
)

// Limits of names and paths, as Linux has them.
const (
	// MaxPath bounds a path and the target of a symbolic link, in bytes (PATH_MAX counts
	// the NUL that C puts behind it).
	MaxPath = 4095
	// MaxFollow is how many symbolic links one walk may follow, path_resolution(7).
	MaxFollow = 40
)

// lastKind says what the last component of a path is: only a name can be made or removed.
type lastKind int

const (
	lastName   lastKind = iota
	lastDot             // "."
	lastDotDot          // ".."
	lastRoot            // the path is nothing but slashes
)

// place is what a path names before its last component is looked up.
type place struct {
	dir   Ino          // the directory of the last component
	in    layout.Inode // its inode
	name  string       // the last component
	kind  lastKind
	slash bool // the path ends in slashes: only a directory will do
}

// walker walks paths within one operation, so that a walk and what is done at its end see one
// state of the tree. It counts the symbolic links it has followed, over all its walks.
type walker struct {
	o        *op
	top      Ino // what "/" names, and whose ".." is itself
	followed int
}

// checkName answers whether name can be an entry of a directory (I10).
func checkName(name string) error {
	switch {
	case name == "":
		return ErrNotExist
	case len(name) > layout.MaxName:
		return ErrNameTooLong
	case strings.IndexByte(name, '/') >= 0, strings.IndexByte(name, 0) >= 0:
		return ErrInvalid
	}
	return nil
}

// isDot reports whether name is "." or "..", which every directory has without an entry.
func isDot(name string) bool { return name == "." || name == ".." }

// checkPath answers what is wrong with a path before anything is looked up.
func checkPath(p string) error {
	switch {
	case p == "":
		return ErrNotExist
	case len(p) > MaxPath:
		return ErrNameTooLong
	case strings.IndexByte(p, 0) >= 0:
		return ErrInvalid
	}
	return nil
}

// directory reads inode dir, which must be a directory.
func (o *op) directory(dir Ino) (layout.Inode, error) {
	in, err := o.inode(dir)
	if err != nil {
		return in, err
	}
	if !in.IsDir() {
		return in, ErrNotDir
	}
	return o.countNames(dir, in)
}

// find looks a name up in a directory whose inode is in. It knows nothing of "." and "..".
func (o *op) find(dir Ino, in *layout.Inode, name string) (layout.Dirent, bool, error) {
	if err := checkName(name); err != nil {
		return layout.Dirent{}, false, err
	}
	d, _, found, err := o.dir(dir, in).Lookup(name)
	return d, found, err
}

// child reads the inode that an entry of dir names. That it is allocated, and of the type
// that the entry states, is I5: anything else is damage, not an absent file.
func (o *op) child(dir Ino, d *layout.Dirent) (layout.Inode, error) {
	ino := Ino(d.Ino)
	in, err := o.inode(ino)
	free := errors.Is(err, ErrStale)
	if err != nil && !free {
		return in, err
	}
	if !free && in.Type()>>12 == uint16(d.Type) {
		return in, nil
	}
	var block uint64
	var off int
	found := "an inode out of range"
	if g := o.geometry(); d.Ino > 0 && d.Ino <= g.Inodes() {
		block, off = g.InodePlace(d.Ino)
		found = "a free inode"
		if !free {
			found = fmt.Sprintf("type %#o", in.Type()>>12)
		}
	}
	return in, layout.Corrupt(fmt.Sprintf("inode %d, named %q in directory %d", ino, d.Name, dir), block, off,
		found, fmt.Sprintf("an inode of type %#o", d.Type))
}

// parent reads the parent of a directory. A directory that is removed and only held has none.
func (o *op) parent(dir Ino, in *layout.Inode) (Ino, layout.Inode, error) {
	if dir == Root {
		return Root, *in, nil
	}
	if in.Links == 0 {
		return 0, layout.Inode{}, ErrNotExist
	}
	up := Ino(in.Parent)
	pin, err := o.inode(up)
	if err != nil && !errors.Is(err, ErrStale) {
		return 0, pin, err
	}
	if err != nil || !pin.IsDir() {
		block, off := o.geometry().InodePlace(uint64(dir))
		return 0, pin, layout.Corrupt(fmt.Sprintf("inode %d", dir), block, off+120,
			fmt.Sprintf("parent %d", up), "a directory")
	}
	return up, pin, nil
}

// entry looks name up in a directory, "." and ".." included.
func (o *op) entry(dir Ino, in *layout.Inode, name string) (Ino, layout.Inode, error) {
	switch name {
	case ".":
		return dir, *in, nil
	case "..":
		return o.parent(dir, in)
	}
	d, found, err := o.find(dir, in, name)
	if err != nil {
		return 0, layout.Inode{}, err
	}
	if !found {
		return 0, layout.Inode{}, ErrNotExist
	}
	c, err := o.child(dir, &d)
	return Ino(d.Ino), c, err
}

// step is entry for a walk, which does not leave its top.
func (w *walker) step(dir Ino, in *layout.Inode, name string) (Ino, layout.Inode, error) {
	if name == ".." && dir == w.top {
		return dir, *in, nil
	}
	return w.o.entry(dir, in, name)
}

// follow counts a symbolic link and reads its target.
func (w *walker) follow(ino Ino, in *layout.Inode) (string, error) {
	if w.followed++; w.followed > MaxFollow {
		return "", ErrLoop
	}
	return w.o.target(ino, in)
}

// trimSlashes splits the leading slashes off p and reports whether there were any.
func trimSlashes(p string) (string, bool) {
	q := strings.TrimLeft(p, "/")
	return q, len(q) < len(p)
}

// place walks p from the top up to its last component, following every symbolic link on the
// way but not the last component itself.
func (w *walker) place(p string) (place, error) {
	var at place
	if err := checkPath(p); err != nil {
		return at, err
	}
	return w.rest(w.top, p)
}

// rest is place without the limits of a path, which hold for each piece but not for pieces
// put together from links.
func (w *walker) rest(dir Ino, p string) (place, error) {
	var at place
	p, absolute := trimSlashes(p)
	if absolute {
		dir = w.top
	}
	in, err := w.o.directory(dir)
	if err != nil {
		return at, err
	}
	if p == "" {
		return place{dir: dir, in: in, kind: lastRoot, slash: true}, nil
	}
	for {
		name, rest, more := strings.Cut(p, "/")
		after, _ := trimSlashes(rest)
		if after == "" {
			at = place{dir: dir, in: in, name: name, slash: more}
			switch name {
			case ".":
				at.kind = lastDot
			case "..":
				at.kind = lastDotDot
			}
			return at, nil
		}
		ino, c, err := w.step(dir, &in, name)
		if err != nil {
			return at, err
		}
		switch {
		case c.IsDir():
			dir, in, p = ino, c, after
		case c.Type() == layout.ModeLink:
			target, err := w.follow(ino, &c)
			if err != nil {
				return at, err
			}
			q, absolute := trimSlashes(target)
			if absolute {
				dir = w.top
				if in, err = w.o.directory(dir); err != nil {
					return at, err
				}
			}
			if q == "" {
				p = after
			} else {
				p = q + "/" + after
			}
		default:
			return at, ErrNotDir
		}
	}
}

// last looks the last component of a place up. follow says whether a symbolic link there is
// to be followed; a trailing slash follows in any case, and refuses all but a directory.
func (w *walker) last(at place, follow bool) (Ino, layout.Inode, error) {
	for {
		var ino Ino
		in := at.in
		var err error
		switch at.kind {
		case lastRoot, lastDot:
			ino = at.dir
		default:
			ino, in, err = w.step(at.dir, &at.in, at.name)
		}
		if err != nil {
			return 0, in, err
		}
		if in.Type() != layout.ModeLink || !follow && !at.slash {
			if at.slash && !in.IsDir() {
				return 0, in, ErrNotDir
			}
			return ino, in, nil
		}
		if at, err = w.through(at, ino, &in); err != nil {
			return 0, in, err
		}
	}
}

// through is the place that the symbolic link ino, found at the place at, leads to.
func (w *walker) through(at place, ino Ino, in *layout.Inode) (place, error) {
	target, err := w.follow(ino, in)
	if err != nil {
		return at, err
	}
	slash := at.slash
	if at, err = w.rest(at.dir, target); err != nil {
		return at, err
	}
	at.slash = at.slash || slash
	return at, nil
}

// resolve walks a whole path.
func (w *walker) resolve(p string, follow bool) (Ino, layout.Inode, error) {
	at, err := w.place(p)
	if err != nil {
		return 0, layout.Inode{}, err
	}
	return w.last(at, follow)
}
