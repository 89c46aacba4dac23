//go:build linux

// Command nothing mounts a directory with one file, takes what is written to it and throws it away: what the
// protocol and the kernel's page cache cost, with a server that costs nothing. The benchmark of the mount shows it
// beside file systems.
package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	forever = 365 * 24 * time.Hour
	top     = fuse.FUSE_ROOT_ID
	node    = 2
)

type nothing struct {
	fuse.RawFileSystem

	mu   sync.Mutex
	name string // of the file; "": there is none
	size uint64
}

func (n *nothing) attr(of uint64, a *fuse.Attr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a.Ino, a.Nlink, a.Blksize = of, 1, 4096
	if a.Mode = fuse.S_IFDIR | 0o777; of == node {
		a.Mode, a.Size = fuse.S_IFREG|0o666, n.size
	}
}

func (n *nothing) entry(e *fuse.EntryOut) fuse.Status {
	e.NodeId, e.Generation = node, 1
	e.SetEntryTimeout(forever)
	e.SetAttrTimeout(forever)
	n.attr(node, &e.Attr)
	return fuse.OK
}

func (n *nothing) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, e *fuse.EntryOut) fuse.Status {
	n.mu.Lock()
	known := name == n.name
	n.mu.Unlock()
	if !known {
		return fuse.ENOENT
	}
	return n.entry(e)
}

func (n *nothing) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	out.SetTimeout(forever)
	n.attr(in.NodeId, &out.Attr)
	return fuse.OK
}

func (n *nothing) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if size, ok := in.GetSize(); ok {
		n.mu.Lock()
		n.size = size
		n.mu.Unlock()
	}
	out.SetTimeout(forever)
	n.attr(in.NodeId, &out.Attr)
	return fuse.OK
}

func (n *nothing) Mknod(_ <-chan struct{}, _ *fuse.MknodIn, name string, e *fuse.EntryOut) fuse.Status {
	n.mu.Lock()
	n.name, n.size = name, 0
	n.mu.Unlock()
	return n.entry(e)
}

func (n *nothing) Unlink(<-chan struct{}, *fuse.InHeader, string) fuse.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.name = ""
	return fuse.OK
}

func (n *nothing) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.size = max(n.size, in.Offset+uint64(len(data)))
	return uint32(len(data)), fuse.OK
}

func (n *nothing) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	return fuse.ReadResultData(buf[:in.Size]), fuse.OK
}

func (n *nothing) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }
func (n *nothing) Forget(uint64, uint64)                            {}

// The kernel does not ask again.
func (n *nothing) Open(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.ENOSYS }
func (n *nothing) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status              { return fuse.ENOSYS }
func (n *nothing) Create(<-chan struct{}, *fuse.CreateIn, string, *fuse.CreateOut) fuse.Status {
	return fuse.ENOSYS
}

func main() {
	s, err := fuse.NewServer(&nothing{RawFileSystem: fuse.NewDefaultRawFileSystem()}, os.Args[1],
		&fuse.MountOptions{Name: "nothing", MaxWrite: 1 << 20, MaxBackground: 64, DirectMount: true, ExplicitDataCacheControl: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.Serve()
}
