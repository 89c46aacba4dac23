package transfer

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"holdfast/volume"
)

// ToDir copies what is in the directory ino of v, and with Options.Preserve the directory's own
// attributes, into hostDir, which is made if it does not exist.
func ToDir(v *volume.Volume, ino volume.Ino, hostDir string, o Options) (Stats, error) {
	a, err := v.Getattr(ino)
	if err != nil {
		return Stats{}, err
	}
	if !isDir(a) {
		return Stats{}, &fs.PathError{Op: "copy to", Path: hostDir, Err: volume.ErrNotDir}
	}
	err = os.Mkdir(hostDir, 0o777)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return Stats{}, err
	}
	c, err := newOut(v, hostDir, o)
	if err != nil {
		return Stats{}, err
	}
	defer c.root.Close()
	err = c.fill(".", a, true)
	return c.stats, err
}

// CopyOut copies one file of any type, or a directory with all that is below it, from v to a
// name in a directory of the host. A symbolic link is copied, not followed. What has the name
// is replaced, and a directory merged with a directory.
func CopyOut(v *volume.Volume, ino volume.Ino, hostDir, name string, o Options) (Stats, error) {
	a, err := v.Getattr(ino)
	if err != nil {
		return Stats{}, err
	}
	c, err := newOut(v, hostDir, o)
	if err != nil {
		return Stats{}, err
	}
	defer c.root.Close()
	if name != filepath.Base(name) {
		return Stats{}, c.at("create", name, ErrName)
	}
	err = c.node(name, a)
	return c.stats, err
}

func isDir(a volume.Attr) bool { return volume.FileMode(a.Mode).IsDir() }

// out is a copy from a volume to the host.
type out struct {
	Options
	v     *volume.Volume
	host  string // for messages
	root  *os.Root
	seen  map[volume.Ino]string // the first name of files with several
	block int                   // bytes
	buf   []byte
	stats Stats
}

func newOut(v *volume.Volume, host string, o Options) (*out, error) {
	st, err := v.Statfs()
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(host)
	if err != nil {
		return nil, err
	}
	return &out{Options: o, v: v, host: host, root: root, seen: map[volume.Ino]string{}, block: st.BlockSize, buf: make([]byte, chunk)}, nil
}

// path is the destination as messages call it.
func (c *out) path(rel string) string { return filepath.Join(c.host, filepath.FromSlash(rel)) }

// at names the destination in an error of the host.
func (c *out) at(op, rel string, err error) error {
	if err == nil {
		return nil
	}
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		err = p.Err
	case errors.As(err, &l):
		err = l.Err
	}
	return &fs.PathError{Op: op, Path: c.path(rel), Err: err}
}

// from names the copy in an error of the volume.
func (c *out) from(op, rel string, err error) error {
	if err == nil {
		return nil
	}
	return &fromError{c.path(rel), op, err}
}

// fromError is an error of the volume, with the copy that it is the end of.
type fromError struct {
	path, op string
	err      error
}

func (e *fromError) Error() string {
	return fmt.Sprintf("%s: %s from the image: %v", e.path, e.op, e.err)
}
func (e *fromError) Unwrap() error { return e.err }

// damage leaves something out that the volume cannot give, if that is wanted.
func (c *out) damage(rel string, err error) error {
	if err != nil && c.KeepGoing && errors.Is(err, volume.ErrIO) {
		c.stats.Damaged++
		c.stats.loseFile(c.path(rel), err)
		return nil
	}
	return err
}

// node copies one inode to rel.
func (c *out) node(rel string, a volume.Attr) error {
	if !filepath.IsLocal(filepath.FromSlash(rel)) {
		return c.from("copy", rel, ErrName)
	}
	old, err := c.root.Lstat(rel)
	switch {
	case err == nil && old.IsDir() != isDir(a), err == nil && c.NoClobber && !old.IsDir():
		return c.at("create", rel, ErrInTheWay)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return c.at("create", rel, err)
	case isDir(a) && err == nil:
		return c.fill(rel, a, c.Preserve || c.Owner != nil)
	case isDir(a):
		// Until it is filled it is ours to write; the umask is asked what is left then.
		if err := c.root.Mkdir(rel, fs.FileMode(a.Mode&permBits|0o700)); err != nil {
			return c.at("mkdir", rel, err)
		}
		return c.fill(rel, a, true)
	case err == nil:
		if err := c.root.Remove(rel); err != nil {
			return c.at("remove", rel, err)
		}
	}
	if first, ok := c.seen[a.Ino]; ok && a.Links > 1 {
		if err := c.root.Link(first, rel); err == nil {
			c.stats.HardLinks++
			return nil
		} else if !errors.Is(err, errors.ErrUnsupported) {
			return c.at("link", rel, err)
		}
		c.stats.lose("a hard link", c.path(rel), errors.ErrUnsupported) // a copy of its own, then
	}
	c.progress(rel, 0)
	made := true
	switch m := volume.FileMode(a.Mode); {
	case m.IsRegular():
		err = c.file(rel, a)
		made = err == nil
		err = c.damage(rel, err)
	case m&fs.ModeSymlink != 0:
		made, err = c.symlink(rel, a)
	default:
		made, err = c.special(rel, a)
	}
	if err == nil && made && a.Links > 1 {
		c.seen[a.Ino] = rel
	}
	return err
}

// kept is what an error says of an attribute: nil if it is kept or noted as lost.
func (c *out) kept(what, rel string, err error) bool {
	if err != nil {
		c.stats.lose(what, c.path(rel), err)
	}
	return err == nil
}

// attributes gives owner, mode and times, in this order: a change of owner takes set-ID bits
// away, and all but the last change a time.
func (c *out) attributes(rel string, a volume.Attr, link bool) {
	own := true
	if c.Preserve || c.Owner != nil {
		o := c.owner(a.UID, a.GID)
		info, err := c.root.Lstat(rel)
		if st := (stat{}); err == nil {
			if st = statOf(info); st.uid != o.UID || st.gid != o.GID {
				err = c.root.Lchown(rel, int(o.UID), int(o.GID))
			}
		}
		own = c.kept("the owner", rel, err)
	}
	if !c.Preserve {
		return
	}
	m, err := getXattrs(c.v, a.Ino) // before the mode, which may forbid to change them
	if c.kept("extended attributes", rel, err) {
		putXattrs(c.root, rel, m, func(name string, err error) { c.kept("the attribute "+name, rel, err) })
	}
	if !link {
		mode := volume.FileMode(a.Mode) & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
		if !own {
			mode &^= fs.ModeSetuid | fs.ModeSetgid // they would speak for somebody else
		}
		c.kept("the mode", rel, c.root.Chmod(rel, mode))
	}
	atime, mtime := c.clamp(a.Atime, a.Mtime)
	c.kept("the time", rel, setTimes(c.root, rel, link, atime, mtime))
}

// fill copies what is in the directory a into rel and then, if own is set, its attributes.
func (c *out) fill(rel string, a volume.Attr, own bool) error {
	var list []volume.DirEntry
	err := c.v.ReadDir(a.Ino, 0, func(e volume.DirEntry) bool { list = append(list, e); return true })
	if err = c.damage(rel, c.from("readdir", rel, err)); err != nil {
		return err
	}
	c.stats.Dirs++
	c.progress(rel, 0)
	slices.SortFunc(list, func(a, b volume.DirEntry) int { return cmp.Compare(a.Name, b.Name) })
	for _, e := range list {
		sub := join(rel, e.Name)
		if e.Name == "" || e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") {
			return c.from("copy", rel, fmt.Errorf("%w: %q", ErrName, e.Name))
		}
		b, err := c.v.Getattr(e.Ino)
		if err != nil {
			if err = c.damage(sub, c.from("stat", sub, err)); err != nil {
				return err
			}
			continue
		}
		if c.excluded(sub, info{e.Name, b}) {
			continue
		}
		if err := c.node(sub, b); err != nil {
			return err
		}
	}
	if !own {
		return nil
	}
	if !c.Preserve && rel != "." && a.Mode&0o700 != 0o700 {
		if now, err := c.root.Lstat(rel); c.kept("the mode", rel, err) {
			c.kept("the mode", rel, c.root.Chmod(rel, now.Mode().Perm()&^fs.FileMode(0o700&^a.Mode)))
		}
	}
	c.attributes(rel, a, false)
	return nil
}

// file copies a regular file. On an error nothing is left of it.
func (c *out) file(rel string, a volume.Attr) (err error) {
	perm := fs.FileMode(a.Mode & permBits)
	if c.Preserve {
		perm = 0o600 // nobody else reads it before it has its owner
	}
	f, err := c.root.OpenFile(rel, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return c.at("create", rel, err)
	}
	err = c.content(rel, f, a)
	if cerr := f.Close(); err == nil {
		err = c.at("close", rel, cerr)
	}
	if err != nil {
		return errors.Join(err, c.at("remove", rel, c.root.Remove(rel)))
	}
	c.stats.Files++
	c.attributes(rel, a, false)
	return nil
}

// content copies what is in a file, leaving out blocks of zeros.
func (c *out) content(rel string, f *os.File, a volume.Attr) error {
	if a.Size > 1<<63-1 {
		return c.from("read", rel, volume.ErrFileTooBig)
	}
	size := int64(a.Size)
	if err := f.Truncate(size); err != nil {
		return c.at("truncate", rel, err)
	}
	return volumeData(c.v, a.Ino, size, c.Dense, func(start, end int64) error {
		err := readVolume(c.v, a.Ino, start, end, c.buf, func(p []byte, off int64) error {
			err := c.parts(p, off, c.block, func(p []byte, off int64) error {
				n, err := f.WriteAt(p, off)
				c.stats.Bytes += int64(n)
				return c.at("write", rel, err)
			})
			c.progress(rel, int64(len(p)))
			return err
		})
		if _, ours := err.(*fs.PathError); ours {
			return err
		}
		return c.from("read", rel, err)
	}, func(err error) error { return c.from("read", rel, err) })
}

// symlink copies a symbolic link; made is false if the host has none.
func (c *out) symlink(rel string, a volume.Attr) (made bool, err error) {
	target, err := c.v.Readlink(a.Ino)
	if err != nil {
		return false, c.damage(rel, c.from("readlink", rel, err))
	}
	if err := c.root.Symlink(target, rel); err != nil {
		if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOSPC) {
			return false, c.at("symlink", rel, err)
		}
		c.stats.lose("the symbolic link", c.path(rel), err)
		return false, nil
	}
	c.stats.Links++
	c.attributes(rel, a, true)
	return true, nil
}

// special copies a FIFO, socket or device; made is false if that was not possible.
func (c *out) special(rel string, a volume.Attr) (made bool, err error) {
	mode := uint32(a.Mode &^ modeBits)
	mode |= uint32(a.Mode & permBits)
	if err := mknod(c.root, rel, mode, a.Major, a.Minor); err != nil {
		if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOSPC) {
			return false, c.at("mknod", rel, err)
		}
		c.stats.lose("the special file", c.path(rel), err)
		return false, nil
	}
	c.stats.Others++
	c.attributes(rel, a, false)
	return true, nil
}

// info is an inode of the volume as an fs.FileInfo, for Exclude.
type info struct {
	name string
	a    volume.Attr
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return int64(i.a.Size) }
func (i info) Mode() fs.FileMode  { return volume.FileMode(i.a.Mode) }
func (i info) ModTime() time.Time { return i.a.Mtime }
func (i info) IsDir() bool        { return isDir(i.a) }
func (i info) Sys() any           { return i.a }
