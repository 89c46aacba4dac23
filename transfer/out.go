package transfer

import (
	"errors"
	"fmt"
	"os"

	"holdfast/volume"
)

// exporter is one ToDir.
type exporter struct {
	v     *volume.Volume
	o     Options
	root  *os.Root
	base  string // of the root, for messages
	stats Stats
	links map[volume.Ino]string
	buf   []byte
}

// ToDir copies a directory of a volume into a host directory, which exists or is made. Owners
// that cannot be given and nodes that cannot be made without privilege are warnings.
func ToDir(v *volume.Volume, ino volume.Ino, host string, o Options) (Stats, error) {
	if err := os.Mkdir(host, 0o777); err != nil && !errors.Is(err, os.ErrExist) {
		return Stats{}, err
	}
	root, err := os.OpenRoot(host)
	if err != nil {
		return Stats{}, err
	}
	defer root.Close()
	x := &exporter{v: v, o: o, root: root, base: host, links: map[volume.Ino]string{}, buf: make([]byte, 1<<20)}
	if err := x.children(ino, "."); err != nil {
		return x.stats, err
	}
	a, err := v.Getattr(ino)
	if err != nil {
		return x.stats, err
	}
	return x.stats, x.attributes(a, ".")
}

// CopyOut copies one file of a volume, or a tree, to a name in a host directory.
func CopyOut(v *volume.Volume, ino volume.Ino, hostDir, name string, o Options) (Stats, error) {
	root, err := os.OpenRoot(hostDir)
	if err != nil {
		return Stats{}, err
	}
	defer root.Close()
	x := &exporter{v: v, o: o, root: root, base: hostDir, links: map[volume.Ino]string{}, buf: make([]byte, 1<<20)}
	a, err := v.Getattr(ino)
	if err == nil {
		err = x.one(a, name)
	}
	return x.stats, err
}

func (x *exporter) children(dir volume.Ino, host string) error {
	var list []volume.DirEntry
	if err := x.v.ReadDir(dir, 0, func(e volume.DirEntry) bool { list = append(list, e); return true }); err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	for _, e := range list {
		a, err := x.v.Getattr(e.Ino)
		if err == nil {
			err = x.one(a, join(host, e.Name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *exporter) one(a volume.Attr, host string) error {
	kind := a.Mode & typeMask
	if kind != typeDir && a.Links > 1 {
		if first, ok := x.links[a.Ino]; ok {
			if err := x.clear(host); err != nil {
				return err
			}
			x.stats.HardLinks++
			return x.root.Link(first, host)
		}
		x.links[a.Ino] = host
	}
	var err error
	switch kind {
	case typeDir:
		x.stats.Dirs++
		if err = x.root.Mkdir(host, 0o700); errors.Is(err, os.ErrExist) {
			var st os.FileInfo
			if st, err = x.root.Lstat(host); err == nil && !st.IsDir() {
				err = fmt.Errorf("%s: exists and is not a directory", host)
			}
		}
		if err == nil {
			err = x.children(a.Ino, host)
		}
	case typeFile:
		x.stats.Files++
		if err = x.clear(host); err == nil {
			err = x.data(a, host)
		}
	case typeLink:
		x.stats.Links++
		var target string
		if target, err = x.v.Readlink(a.Ino); err == nil {
			if err = x.clear(host); err == nil {
				err = x.root.Symlink(target, host)
			}
		}
	default:
		x.stats.Others++
		if err = x.clear(host); err == nil {
			if merr := x.mknod(a, host); merr != nil {
				x.warn("%s: cannot make the node: %v", host, merr)
				return nil
			}
		}
	}
	if err != nil {
		return err
	}
	return x.attributes(a, host)
}

func (x *exporter) warn(format string, args ...any) {
	x.stats.Warnings = append(x.stats.Warnings, fmt.Sprintf(format, args...))
}

// clear removes what is in the way of a file.
func (x *exporter) clear(host string) error {
	if err := x.root.Remove(host); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// data copies a file's content; blocks of zeros stay holes.
func (x *exporter) data(a volume.Attr, host string) error {
	f, err := x.root.OpenFile(host, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for off := int64(0); off < int64(a.Size); {
		n, rerr := x.v.Read(a.Ino, x.buf, off)
		if rerr != nil {
			err = fmt.Errorf("%s: %w", host, rerr)
			break
		}
		if n == 0 {
			break
		}
		for at := 0; at < n && err == nil; at += hole {
			if p := x.buf[at:min(n, at+hole)]; !zeros(p) {
				end := at + hole
				for end < n && !zeros(x.buf[end:min(n, end+hole)]) {
					end += hole
				}
				_, err = f.WriteAt(x.buf[at:min(n, end)], off+int64(at))
				at = end - hole
			}
		}
		if err != nil {
			break
		}
		off += int64(n)
	}
	if err == nil {
		err = f.Truncate(int64(a.Size))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	x.stats.Bytes += int64(a.Size)
	return err
}

// attributes gives a host file what the inode has, as far as the host lets us.
func (x *exporter) attributes(a volume.Attr, host string) error {
	isLink := a.Mode&typeMask == typeLink
	if x.o.Preserve {
		if err := x.root.Lchown(host, int(a.UID), int(a.GID)); err != nil && !x.same(host, a) {
			x.warn("%s: owner %d:%d not kept: %v", host, a.UID, a.GID, err)
		}
	}
	if !isLink {
		mode := os.FileMode(a.Mode & 0o777)
		if x.o.Preserve {
			mode |= special(a.Mode)
		}
		if err := x.root.Chmod(host, mode); err != nil {
			return err
		}
	}
	if !x.o.Preserve {
		return nil
	}
	if isLink {
		return x.linkTimes(host, a.Atime, a.Mtime)
	}
	return x.root.Chtimes(host, a.Atime, a.Mtime)
}

// same reports whether a file already has the owner that it should.
func (x *exporter) same(host string, a volume.Attr) bool {
	info, err := x.root.Lstat(host)
	if err != nil {
		return false
	}
	h := attrOf(info)
	return h.uid == a.UID && h.gid == a.GID
}

func special(mode uint16) os.FileMode {
	var m os.FileMode
	if mode&0o4000 != 0 {
		m |= os.ModeSetuid
	}
	if mode&0o2000 != 0 {
		m |= os.ModeSetgid
	}
	if mode&0o1000 != 0 {
		m |= os.ModeSticky
	}
	return m
}
