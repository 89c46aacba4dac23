package volume

import (
	"io/fs"

	"holdfast/layout"
)

// A Tree below a directory is confined to it: what moves or is replaced outside, or above it,
// does not change what its paths mean. With the operations between two trees these are the
// *at* forms of the system calls.

// OpenRoot is the tree below a directory, whatever the directory is called or moved to later.
// No path, ".." or symbolic link leads out of it. Close gives it back; a directory that is
// removed meanwhile is empty, and nothing can be made in it.
func (t *Tree) OpenRoot(name string) (*Tree, error) {
	sub := &Tree{v: t.v, held: true}
	err := t.v.view(func(o *op) error {
		ino, in, err := t.walker(o).resolve(name, true)
		switch {
		case err != nil:
			return err
		case !in.IsDir():
			return ErrNotDir
		}
		sub.top = ino
		t.v.holds.add(ino)
		return nil
	})
	if err != nil {
		return nil, pathError("openroot", name, err)
	}
	return sub, nil
}

// Close gives a tree of OpenRoot back; that of the volume needs none.
func (t *Tree) Close() error {
	if !t.held {
		return nil
	}
	return t.v.Release(t.top)
}

// LinkTo is Link with the new name in another tree of the volume, linkat(2). Another volume's
// is ErrCrossDevice.
func (t *Tree) LinkTo(oldname string, to *Tree, newname string) error {
	if to.v != t.v {
		return linkError("link", oldname, newname, ErrCrossDevice)
	}
	return linkError("link", oldname, newname, t.v.update(t.v.needLink(), func(o *op) error {
		ino, _, err := t.walker(o).resolve(oldname, false)
		if err != nil {
			return err
		}
		return to.linkAt(o, ino, newname)
	}))
}

func (t *Tree) linkAt(o *op, ino Ino, newname string) error {
	at, err := t.walker(o).place(newname)
	if err == nil {
		err = at.free(o, false)
	}
	if err == nil {
		_, err = o.link(ino, at.dir, at.name)
	}
	return err
}

// LinkFile gives an open file a name: one of CreateTemp its first, linkat(2) of a descriptor.
// ErrNotExist: its last name has been removed.
func (t *Tree) LinkFile(f *File, newname string) error {
	if f.v != t.v {
		return linkError("link", f.name, newname, ErrCrossDevice)
	}
	f.life.RLock()
	defer f.life.RUnlock()
	if f.closed {
		return linkError("link", f.name, newname, fs.ErrClosed)
	}
	return linkError("link", f.name, newname, t.v.update(t.v.needLink()+2, func(o *op) error {
		return t.linkAt(o, f.ino, newname)
	}))
}

// RenameTo is RenameFlags with the new name in another tree of the volume, renameat2(2).
// Another volume's is ErrCrossDevice.
func (t *Tree) RenameTo(oldname string, to *Tree, newname string, flags uint) error {
	if to.v != t.v {
		return linkError("rename", oldname, newname, ErrCrossDevice)
	}
	return linkError("rename", oldname, newname, t.v.update(t.v.needRenameFlags(flags), func(o *op) error {
		from, err := t.walker(o).place(oldname)
		if err != nil {
			return err
		}
		at, err := to.walker(o).place(newname)
		if err != nil {
			return err
		}
		switch {
		case !renameFlags(flags):
			return ErrInvalid
		case from.kind != lastName:
			return ErrBusy
		case at.kind != lastName && flags&RenameNoReplace != 0:
			return ErrExist
		case at.kind != lastName:
			return ErrBusy
		}
		return o.renameSlash(&from, &at, flags)
	}))
}

// RemoveFile removes a name if it still names an open file or directory, and otherwise leaves
// it: ErrChanged, as funlinkat(2) of FreeBSD. So a pid file that somebody else has replaced
// meanwhile stays.
func (t *Tree) RemoveFile(name string, f *File) error {
	f.life.RLock()
	defer f.life.RUnlock()
	if f.closed {
		return pathError("remove", name, fs.ErrClosed)
	}
	return pathError("remove", name, t.v.update(t.v.needRemove(), func(o *op) error {
		at, err := t.walker(o).place(name)
		switch {
		case err != nil:
			return err
		case f.v != t.v:
			return ErrCrossDevice
		case at.kind != lastName:
			return ErrBusy
		}
		ino, _, err := o.entry(at.dir, &at.in, at.name)
		switch {
		case err != nil:
			return err
		case ino != f.ino: // it is held: its number means nothing else
			return ErrChanged
		}
		return o.removeEntry(at.dir, at.name, at.slash)
	}))
}

// CreateTemp makes a file without a name, open(2) with O_TMPFILE: dir is the directory that
// says its group and ACL. It goes with Close unless LinkFile has given it a name; with
// os.O_EXCL in flag that is refused.
func (t *Tree) CreateTemp(dir string, flag int, perm fs.FileMode) (*File, error) {
	f := &File{v: t.v, name: dir, kind: layout.ModeFile, flag: flag}
	err := t.v.update(t.v.needCreate()+2, func(o *op) error {
		d, in, err := t.walker(o).resolve(dir, true)
		switch {
		case err != nil:
			return err
		case !in.IsDir():
			return ErrNotDir
		}
		f.ino, _, err = o.createTemp(d, &NewNode{Mode: layout.ModeFile | permBits(perm)}, flag)
		return err
	})
	if err != nil {
		return nil, pathError("open", dir, err)
	}
	return f, nil
}
