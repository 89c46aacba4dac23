//go:build linux

package fusefs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"holdfast/volume"
)

// Positions of a directory: "." and ".." come first, and behind them the volume's own, which stay
// good while names come and go.
const (
	posSelf   = 0
	posParent = 1
	posNames  = 2
)

// OpenDir needs nothing done, as Open.
func (f *fileSystem) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status {
	return fuse.OK
}

// ReleaseDir undoes OpenDir.
func (f *fileSystem) ReleaseDir(*fuse.ReleaseIn) {}

// FsyncDir is fsync(2) of a directory.
func (f *fileSystem) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return f.status(lost(f.v.Fsync(ino(in.NodeId))))
}

// ReadDir is getdents(2).
func (f *fileSystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, out.AddDirEntry)
}

// ReadDirPlus is ReadDir with a lookup of each name.
func (f *fileSystem) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, func(e fuse.DirEntry) bool {
		entry := out.AddDirLookupEntry(e)
		if entry == nil {
			return false
		}
		if e.Name == "." || e.Name == ".." {
			return true // the kernel does not count these
		}
		// Where it fails the entry stays without a node, and the kernel asks by name.
		if a, err := f.v.Getattr(volume.Ino(e.Ino)); err == nil {
			_ = f.entry(a, entry)
		}
		return true
	})
}

// readDir adds the entries from a position on until they no longer fit.
func (f *fileSystem) readDir(in *fuse.ReadIn, add func(fuse.DirEntry) bool) fuse.Status {
	dir, pos := ino(in.NodeId), in.Offset
	if pos == posSelf {
		if !add(fuse.DirEntry{Name: ".", Ino: in.NodeId, Mode: syscall.S_IFDIR, Off: posParent}) {
			return fuse.OK
		}
		pos = posParent
	}
	if pos == posParent {
		parent, err := f.v.Lookup(dir, "..")
		if err != nil {
			parent.Ino = dir // of a directory that is removed
		}
		if !add(fuse.DirEntry{Name: "..", Ino: uint64(parent.Ino), Mode: syscall.S_IFDIR, Off: posNames}) {
			return fuse.OK
		}
		pos = posNames
	}
	return f.status(f.v.ReadDir(dir, pos-posNames, func(e volume.DirEntry) bool {
		return add(fuse.DirEntry{Name: e.Name, Ino: uint64(e.Ino), Mode: uint32(e.Type), Off: e.Next + posNames})
	}))
}
