//go:build linux

package fusefs

import (
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"holdfast/volume"
)

// node makes a node and answers with it.
func (f *fileSystem) node(h *fuse.InHeader, name string, n volume.NewNode, out *fuse.EntryOut) fuse.Status {
	n.UID, n.GID = h.Uid, h.Gid
	a, err := f.v.Create(ino(h.NodeId), name, n)
	if err == nil {
		err = f.entry(a, out)
	}
	return f.changed(err)
}

// Mknod is mknod(2).
func (f *fileSystem) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	n := volume.NewNode{Mode: uint16(in.Mode), Umask: uint16(in.Umask & 0777)}
	if t := in.Mode & syscall.S_IFMT; t == syscall.S_IFCHR || t == syscall.S_IFBLK {
		n.Major, n.Minor = device(in.Rdev)
	}
	return f.node(&in.InHeader, name, n, out)
}

// Mkdir is mkdir(2).
func (f *fileSystem) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	n := volume.NewNode{Mode: syscall.S_IFDIR | uint16(in.Mode&07777), Umask: uint16(in.Umask & 0777)}
	return f.node(&in.InHeader, name, n, out)
}

// Symlink is symlink(2).
func (f *fileSystem) Symlink(_ <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return f.node(h, name, volume.NewNode{Mode: syscall.S_IFLNK | 0777, Target: target}, out)
}

// Readlink is readlink(2).
func (f *fileSystem) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	target, err := f.v.Readlink(ino(h.NodeId))
	return []byte(target), f.status(err)
}

// Link is link(2).
func (f *fileSystem) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	a, err := f.v.Link(ino(in.Oldnodeid), ino(in.NodeId), name)
	if err == nil {
		err = f.entry(a, out)
	}
	return f.changed(err)
}

// Unlink is unlink(2).
func (f *fileSystem) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return f.changed(f.v.Unlink(ino(h.NodeId), name))
}

// Rmdir is rmdir(2).
func (f *fileSystem) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return f.changed(f.v.Rmdir(ino(h.NodeId), name))
}

// Rename is renameat2(2).
func (f *fileSystem) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	return f.changed(f.v.Rename(ino(in.NodeId), from, ino(in.Newdir), to, uint(in.Flags)))
}

// Create is open(2) with O_CREAT of a name that does not exist. ENOSYS makes the kernel use mknod, and open without
// asking: one request in place of two, for what comes of this one has to be released.
func (f *fileSystem) Create(<-chan struct{}, *fuse.CreateIn, string, *fuse.CreateOut) fuse.Status {
	return fuse.ENOSYS
}

// Tmpfile is open(2) with O_TMPFILE.
func (f *fileSystem) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	n := newFile(in)
	n.UID, n.GID = in.Uid, in.Gid
	a, err := f.v.CreateTemp(ino(in.NodeId), n, int(in.Flags)&os.O_EXCL)
	if err == nil { // it comes held
		f.fillEntry(a, &out.EntryOut)
		err = f.nodes.addHeld(a.Ino)
	}
	out.OpenFlags = openFlags
	return f.changed(err)
}

func newFile(in *fuse.CreateIn) volume.NewNode {
	return volume.NewNode{Mode: syscall.S_IFREG | uint16(in.Mode&07777), Umask: uint16(in.Umask & 0777)}
}
