//go:build linux

package fusefs

import (
	"errors"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"holdfast/volume"
)

// forever is how long the kernel may keep names and attributes: it sees every change itself.
const forever = 365 * 24 * time.Hour

// fileSystem answers the kernel's requests. A node's number is its inode number.
type fileSystem struct {
	fuse.RawFileSystem // what is not answered is ENOSYS

	v         operations
	nodes     nodes
	blockSize uint64
	sync      bool // every change is durable before it is answered
	writeback bool // the kernel keeps written pages back

	forgetting sync.RWMutex // held for reading by who forgets
}

func newFileSystem(v *volume.Volume, blockSize int, o *Options) *fileSystem {
	var do operations = v
	if o.Ordering != nil {
		do = newOrdering(v, o.Ordering)
	}
	return &fileSystem{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		v:             do,
		nodes:         nodes{v: v, lookups: map[volume.Ino]uint64{}},
		blockSize:     uint64(blockSize),
		sync:          o.Sync,
		writeback:     o.Writeback,
	}
}

func (f *fileSystem) String() string { return "holdfast" }

func ino(node uint64) volume.Ino { return volume.Ino(node) }

// status is the errno of an error of the volume. Damage and what a device says is EIO.
func (f *fileSystem) status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	if errors.Is(err, volume.ErrReadOnly) { // also of one that has stopped, whatever for
		return fuse.EROFS
	}
	if errors.Is(err, volume.ErrIO) {
		return fuse.EIO
	}
	var e *volume.Error
	if errors.As(err, &e) {
		return fuse.Status(e.Errno())
	}
	return fuse.EIO
}

// changed is the status of a change: with the option sync it is made durable first.
func (f *fileSystem) changed(err error) fuse.Status {
	if err == nil && f.sync {
		err = lost(f.v.Sync())
	}
	return f.status(err)
}

// entry is the answer of a request that makes the kernel know a node.
func (f *fileSystem) entry(a volume.Attr, out *fuse.EntryOut) error {
	a, err := f.nodes.add(a)
	if err != nil {
		return err
	}
	f.fillEntry(a, out)
	return nil
}

func (f *fileSystem) fillEntry(a volume.Attr, out *fuse.EntryOut) {
	out.NodeId = uint64(a.Ino)
	out.Generation = uint64(a.Generation)
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	f.fillAttr(a, &out.Attr)
}

// Lookup is the meaning of a name. "." asks for the node itself, by a handle that somebody has kept; it need
// not be a directory. The kernel asks that only of a node that it does not have: one without a name is not open
// then, and its Forget is on the way.
func (f *fileSystem) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	var a volume.Attr
	var err error
	if name == "." {
		if a, err = f.v.Getattr(ino(h.NodeId)); err == nil && a.Links == 0 {
			err = volume.ErrStale
		}
	} else {
		a, err = f.v.Lookup(ino(h.NodeId), name)
	}
	if err == nil {
		err = f.entry(a, out)
	}
	if name != "." && errors.Is(err, volume.ErrNotExist) && !errors.Is(err, volume.ErrStale) {
		out.NodeId = 0 // the kernel keeps in mind that there is no such name
		out.SetEntryTimeout(forever)
		return fuse.OK
	}
	return f.status(err)
}

// Forget undoes lookups. There is nobody to tell of an error; an inode that could not be destroyed
// stays on the orphan list.
func (f *fileSystem) Forget(node, lookups uint64) {
	f.forgetting.RLock()
	defer f.forgetting.RUnlock()
	_ = f.nodes.forget(ino(node), lookups)
}

// StatFs is statfs(2). What an unlink before it gives back comes with a Forget: those that are under way count.
func (f *fileSystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	f.forgetting.Lock()
	defer f.forgetting.Unlock()
	s, err := f.v.Statfs()
	if err != nil {
		return f.status(err)
	}
	out.Blocks, out.Bfree, out.Bavail = s.Blocks, s.Free, s.Available
	out.Files, out.Ffree = s.Inodes, s.FreeInodes
	out.Bsize, out.Frsize = uint32(s.BlockSize), uint32(s.BlockSize)
	out.NameLen = 255
	return fuse.OK
}

// device splits a device number as the kernel packs it (new_encode_dev).
func device(rdev uint32) (major, minor uint32) {
	return rdev >> 8 & 0xfff, rdev&0xff | rdev>>12&0xfff00
}

func packDevice(major, minor uint32) uint32 { return minor&0xff | major<<8 | minor&^0xff<<12 }
