package volume

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"holdfast/layout"
)

// Flags of OpenFile beside those of package os. They are bits of our own, so that they mean
// the same on every system.
const (
	O_NOFOLLOW  = 1 << 29 // ErrLoop if the last component is a symbolic link
	O_DIRECTORY = 1 << 28 // ErrNotDir if it is no directory
)

// Tree is the volume by paths: the names and meanings of os.Root. Paths are separated by
// slashes and taken from the root directory of the volume, with or without a leading slash;
// ".." and symbolic links never lead out of it. An absolute target of a symbolic link is taken
// from the root, another from the directory that the link is in; a walk follows at most
// MaxFollow of them. Walking a path and what is done at its end are one operation, but for
// MkdirAll, RemoveAll, ReadFile and WriteFile, which are sequences of such.
//
// New nodes belong to owner 0, group 0 (or, below a set-group-ID directory, its group). No
// permissions are checked and no umask is applied. Permissions are given as fs.FileMode, and
// the upper three as package fs has them or as POSIX has them.
//
// Errors are *fs.PathError, or *os.LinkError for two paths, around those of the inode level.
// A Tree is safe for concurrent use.
type Tree struct {
	v    *Volume
	top  Ino  // what "/" names
	held bool // by OpenRoot
}

// Tree is the path level of the volume.
func (v *Volume) Tree() *Tree { return &Tree{v: v, top: Root} }

func pathError(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: verb, Path: name, Err: err}
}

func linkError(verb, from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: verb, Old: from, New: to, Err: err}
}

// walker begins a walk within an operation.
func (t *Tree) walker(o *op) *walker { return &walker{o: o, top: t.top} }

// get resolves a path in a view.
func (t *Tree) get(name string, follow bool) (a Attr, err error) {
	err = t.v.view(func(o *op) error {
		ino, in, err := t.walker(o).resolve(name, follow)
		a = o.attr(ino, &in)
		return err
	})
	return result(a, err)
}

// Resolve is the inode that a path names; follow says whether a symbolic link as its last
// component is followed. The inode is not held (see [Volume.Hold]).
func (t *Tree) Resolve(name string, follow bool) (Ino, error) {
	a, err := t.get(name, follow)
	return a.Ino, pathError("resolve", name, err)
}

// Stat is what a path names, symbolic links followed; its Sys is an [Attr].
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	a, err := t.get(name, true)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return fileInfo{path.Base(name), a}, nil
}

// Lstat is Stat that does not follow a symbolic link as the last component.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) {
	a, err := t.get(name, false)
	if err != nil {
		return nil, pathError("lstat", name, err)
	}
	return fileInfo{path.Base(name), a}, nil
}

// Readlink is the target of a symbolic link; ErrInvalid for anything else.
func (t *Tree) Readlink(name string) (target string, err error) {
	err = t.v.view(func(o *op) error {
		ino, in, err := t.walker(o).resolve(name, false)
		if err != nil {
			return err
		}
		target, err = o.target(ino, &in)
		return err
	})
	return target, pathError("readlink", name, err)
}

// ReadlinkPath is Readlink.
func (t *Tree) ReadlinkPath(name string) (string, error) { return t.Readlink(name) }

// Open opens a file or directory for reading.
func (t *Tree) Open(name string) (*File, error) { return t.OpenFile(name, os.O_RDONLY, 0) }

// Create makes or truncates a file and opens it for reading and writing.
func (t *Tree) Create(name string) (*File, error) {
	return t.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// CreateFile is Create.
func (t *Tree) CreateFile(name string) (*File, error) { return t.Create(name) }

// errChange says that an operation begun as a view has to change something.
var errChange = errors.New("not a view")

// OpenFile opens a file, open(2): flag is of os.O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREATE,
// O_EXCL, O_TRUNC, O_SYNC and of O_NOFOLLOW, O_DIRECTORY; perm are the permissions of a file
// that is made. A symbolic link without a target is made to have one, but not with O_EXCL.
// Sockets, pipes and devices can be opened and looked at; to read or write them is ErrNoDevice.
//
// Errors: ErrNotExist, ErrExist, ErrIsDir (a directory for writing, or with O_CREATE),
// ErrNotDir, ErrLoop, ErrNameTooLong, ErrInvalid (O_CREATE with O_DIRECTORY), ErrNoSpace,
// ErrReadOnly (for writing, if the volume is).
func (t *Tree) OpenFile(name string, flag int, perm fs.FileMode) (*File, error) {
	var f *File
	open := func(o *op) error {
		ino, in, err := t.open(o, name, flag, perm)
		if err != nil {
			return err
		}
		f = &File{v: t.v, name: name, ino: ino, kind: in.Type(), flag: flag}
		t.v.holds.add(ino)
		if o.write {
			o.onFail(func() { t.v.holds.drop(ino) })
		}
		return nil
	}
	err := t.v.view(open)
	if err == errChange { //nolint:errorlint // it is never wrapped
		err = t.v.update(t.v.needCreate()+t.v.needSetattr(), open)
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return f, nil
}

// open finds or makes what is to be opened, in the order of path_openat in Linux.
func (t *Tree) open(o *op, name string, flag int, perm fs.FileMode) (ino Ino, in layout.Inode, err error) {
	w := t.walker(o)
	create := flag&os.O_CREATE != 0
	switch {
	case create && flag&O_DIRECTORY != 0:
		return 0, in, ErrInvalid
	case create:
		var created bool
		if ino, in, created, err = w.openCreate(name, flag, perm); err != nil || created {
			return ino, in, err
		}
	default:
		if ino, in, err = w.resolve(name, flag&O_NOFOLLOW == 0); err != nil {
			return 0, in, err
		}
	}
	writes := flag&(os.O_WRONLY|os.O_RDWR|os.O_TRUNC) != 0
	switch kind := in.Type(); {
	case flag&O_DIRECTORY != 0 && kind != layout.ModeDir:
		return 0, in, ErrNotDir
	case kind == layout.ModeLink: // not followed
		return 0, in, ErrLoop
	case kind == layout.ModeDir && (writes || create):
		return 0, in, ErrIsDir
	case kind != layout.ModeFile || !writes:
		return ino, in, nil
	case o.v.readOnly:
		return 0, in, ErrReadOnly
	case flag&os.O_TRUNC == 0:
		return ino, in, nil
	case !o.write:
		return 0, in, errChange
	}
	var none uint64
	in, err = o.setattr(ino, &SetAttr{Size: &none})
	return ino, in, err
}

// openCreate is open with O_CREATE up to the point where the file is there.
func (w *walker) openCreate(name string, flag int, perm fs.FileMode) (ino Ino, in layout.Inode, created bool, err error) {
	at, err := w.place(name)
	for {
		exclusive := flag&os.O_EXCL != 0
		switch {
		case err != nil:
			return 0, in, false, err
		case at.kind != lastName && exclusive:
			return 0, in, false, ErrExist
		case at.kind != lastName || at.slash:
			return 0, in, false, ErrIsDir
		}
		ino, in, err = w.o.entry(at.dir, &at.in, at.name)
		switch {
		case errors.Is(err, ErrNotExist) && !w.o.write:
			return 0, in, false, errChange
		case errors.Is(err, ErrNotExist):
			ino, in, err = w.o.create(at.dir, at.name, &NewNode{Mode: layout.ModeFile | permBits(perm)})
			return ino, in, err == nil, err
		case err != nil:
			return 0, in, false, err
		case exclusive:
			return 0, in, false, ErrExist
		case in.Type() != layout.ModeLink || flag&O_NOFOLLOW != 0:
			return ino, in, false, nil
		}
		at, err = w.through(at, ino, &in)
	}
}

// makeAt makes a node at a path.
func (t *Tree) makeAt(o *op, name string, n *NewNode) error {
	if err := n.check(); err != nil { // a bad target comes before a bad path, symlink(2)
		return err
	}
	at, err := t.walker(o).place(name)
	if err == nil {
		err = at.free(o, n.Mode&layout.ModeType == layout.ModeDir)
	}
	if err == nil {
		_, _, err = o.create(at.dir, at.name, n)
	}
	return err
}

// free answers what forbids a new name at the place before it is looked at by create or link:
// only a directory may be made with slashes behind its name.
func (at *place) free(o *op, isDir bool) error {
	switch {
	case at.kind != lastName:
		return ErrExist
	case isDir || !at.slash:
		return nil
	}
	_, _, err := o.entry(at.dir, &at.in, at.name)
	if err == nil {
		return ErrExist
	}
	return err
}

func (t *Tree) makeNode(name string, n NewNode) error {
	return t.v.update(t.v.needCreate(), func(o *op) error { return t.makeAt(o, name, &n) })
}

// Mkdir makes a directory, mkdir(2).
func (t *Tree) Mkdir(name string, perm fs.FileMode) error {
	return pathError("mkdir", name, t.makeNode(name, NewNode{Mode: layout.ModeDir | permBits(perm)}))
}

// MkdirAll makes a directory and those above it that do not exist. It is no error if the
// directory exists. Each directory is an operation.
func (t *Tree) MkdirAll(name string, perm fs.FileMode) error {
	if a, err := t.get(name, true); err == nil {
		if a.Mode&layout.ModeType != layout.ModeDir {
			return pathError("mkdir", name, ErrNotDir)
		}
		return nil
	}
	if name == "" {
		return pathError("mkdir", name, ErrNotExist)
	}
	for i := 0; i < len(name); {
		for i < len(name) && name[i] == '/' {
			i++
		}
		if i == len(name) {
			break
		}
		if j := strings.IndexByte(name[i:], '/'); j < 0 {
			i = len(name)
		} else {
			i += j
		}
		prefix := name[:i]
		err := t.makeNode(prefix, NewNode{Mode: layout.ModeDir | permBits(perm)})
		if errors.Is(err, ErrExist) {
			a, serr := t.get(prefix, true)
			switch {
			case serr == nil && a.Mode&layout.ModeType == layout.ModeDir:
				err = nil
			case serr == nil:
				err = ErrNotDir
			}
		}
		if err != nil {
			return pathError("mkdir", prefix, err)
		}
	}
	return nil
}

// Mknod makes a node of the type in mode: a file, a pipe, a socket, or a device with its
// numbers, mknod(2).
func (t *Tree) Mknod(name string, mode fs.FileMode, major, minor uint32) error {
	n := NewNode{Mode: PosixMode(mode), Major: major, Minor: minor}
	switch n.Mode & layout.ModeType {
	case layout.ModeDir, layout.ModeLink:
		return pathError("mknod", name, ErrInvalid)
	}
	return pathError("mknod", name, t.makeNode(name, n))
}

// Symlink makes a symbolic link, symlink(2): target is kept as it is, 1 to 4095 bytes.
func (t *Tree) Symlink(target, name string) error {
	return linkError("symlink", target, name, t.makeNode(name, NewNode{Mode: layout.ModeLink | 0o777, Target: target}))
}

// Link gives what oldname names another name, link(2). A symbolic link is not followed.
func (t *Tree) Link(oldname, newname string) error { return t.LinkTo(oldname, t, newname) }

// Rename moves a name, see [Volume.Rename], rename(2). Only a directory may have slashes
// behind its name.
func (t *Tree) Rename(oldname, newname string) error { return t.RenameFlags(oldname, newname, 0) }

// RenameFlags is Rename with the flags of [Volume.Rename], renameat2(2).
func (t *Tree) RenameFlags(oldname, newname string, flags uint) error {
	return t.RenameTo(oldname, t, newname, flags)
}

// Remove removes a file, or an empty directory: unlink(2) or rmdir(2), whichever it takes.
func (t *Tree) Remove(name string) error {
	return pathError("remove", name, t.v.update(t.v.needRemove(), func(o *op) error {
		at, err := t.walker(o).place(name)
		if err != nil {
			return err
		}
		switch at.kind {
		case lastRoot:
			return ErrBusy
		case lastDot, lastDotDot:
			return o.rmdir(at.dir, at.name) // which knows the refusal
		}
		return o.removeEntry(at.dir, at.name, at.slash)
	}))
}

// removeEntry is rmdir for a directory and unlink for the rest.
func (o *op) removeEntry(dir Ino, name string, slash bool) error {
	din, err := o.directory(dir)
	if err != nil {
		return err
	}
	_, in, err := o.entry(dir, &din, name)
	switch {
	case err != nil:
		return err
	case in.IsDir():
		return o.rmdir(dir, name)
	case slash:
		return ErrNotDir
	}
	return o.unlink(dir, name)
}

// RemoveAll removes what a path names and everything below it, one operation each; it does
// not follow symbolic links. It is no error if there is nothing. The root is ErrBusy, a path
// that ends in "." or ".." ErrInvalid.
func (t *Tree) RemoveAll(name string) error {
	var at place
	err := t.v.view(func(o *op) (err error) {
		if at, err = t.walker(o).place(name); err != nil {
			return err
		}
		switch at.kind {
		case lastRoot:
			return ErrBusy
		case lastDot, lastDotDot:
			return ErrInvalid
		}
		t.v.holds.add(at.dir) // its number must not come to mean another directory
		return nil
	})
	if err == nil {
		err = t.removeBelow(at.dir, at.name)
		err = errors.Join(err, t.v.Release(at.dir))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return pathError("removeall", name, err)
}

// removeBelow removes an entry of a directory that is held, and what is below it.
func (t *Tree) removeBelow(dir Ino, name string) error {
	for {
		err := t.v.update(t.v.needRemove(), func(o *op) error { return o.removeEntry(dir, name, false) })
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, ErrNotEmpty) {
			return err
		}
		var sub Ino
		err = t.v.view(func(o *op) error {
			din, err := o.directory(dir)
			if err != nil {
				return err
			}
			ino, in, err := o.entry(dir, &din, name)
			if err != nil || !in.IsDir() {
				return err // something else by now: the next round removes it
			}
			sub = ino
			t.v.holds.add(sub)
			return nil
		})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case sub == 0:
			continue
		}
		err = t.removeEntries(sub)
		if err = errors.Join(err, t.v.Release(sub)); err != nil {
			return err
		}
	}
}

// removeEntries empties a directory that is held.
func (t *Tree) removeEntries(dir Ino) error {
	var failed error
	err := t.v.ReadDir(dir, 0, func(e DirEntry) bool {
		failed = t.removeBelow(dir, e.Name)
		return failed == nil
	})
	return errors.Join(failed, err)
}

func (t *Tree) setattr(verb, name string, follow bool, s SetAttr) error {
	return pathError(verb, name, t.v.update(t.v.needSetattr(), func(o *op) error {
		ino, _, err := t.walker(o).resolve(name, follow)
		if err == nil {
			_, err = o.setattr(ino, &s)
		}
		return err
	}))
}

// Chmod changes the permissions, chmod(2).
func (t *Tree) Chmod(name string, mode fs.FileMode) error {
	m := permBits(mode)
	return t.setattr("chmod", name, true, SetAttr{Mode: &m})
}

// Chown changes owner and group, chown(2); -1 leaves one as it is.
func (t *Tree) Chown(name string, uid, gid int) error {
	return t.setattr("chown", name, true, owner(uid, gid))
}

// Lchown is Chown that does not follow a symbolic link as the last component.
func (t *Tree) Lchown(name string, uid, gid int) error {
	return t.setattr("lchown", name, false, owner(uid, gid))
}

// Chtimes changes access and modification time; a zero time leaves one as it is.
func (t *Tree) Chtimes(name string, atime, mtime time.Time) error {
	var s SetAttr
	if !atime.IsZero() {
		s.Atime = &atime
	}
	if !mtime.IsZero() {
		s.Mtime = &mtime
	}
	return t.setattr("chtimes", name, true, s)
}

// Truncate changes the size of a file, truncate(2).
func (t *Tree) Truncate(name string, size int64) error {
	if size < 0 {
		return pathError("truncate", name, ErrInvalid)
	}
	n := uint64(size)
	return t.setattr("truncate", name, true, SetAttr{Size: &n})
}

// ReadDir is all entries of a directory as they are at one point in time, sorted by name.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	var list []fs.DirEntry
	err := t.v.view(func(o *op) error {
		dir, in, err := t.walker(o).resolve(name, true)
		switch {
		case err != nil:
			return err
		case !in.IsDir():
			return ErrNotDir
		}
		return o.dir(dir, &in).Walk(0, func(e layout.Dirent, _, next uint64) (bool, error) {
			list = append(list, dirEntry{t.v, entryOf(&e, next)})
			return true, nil
		})
	})
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, pathError("readdir", name, err)
}

// ReadFile is the content of a file.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

// WriteFile makes or truncates a file and writes its content: several operations.
func (t *Tree) WriteFile(name string, data []byte, perm fs.FileMode) error {
	f, err := t.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
