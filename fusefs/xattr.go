//go:build linux

package fusefs

import (
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// GetXAttr is getxattr(2). Without room for it only the length is asked for.
func (f *fileSystem) GetXAttr(_ <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	value, err := f.v.Getxattr(ino(h.NodeId), name)
	if err != nil {
		return 0, f.status(err)
	}
	return answer(string(value), dest)
}

// ListXAttr is listxattr(2). The names of trusted attributes are for root, as in ext4 and xfs.
func (f *fileSystem) ListXAttr(_ <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	names, err := f.v.Listxattr(ino(h.NodeId))
	if err != nil {
		return 0, f.status(err)
	}
	var list strings.Builder
	for _, name := range names {
		if h.Uid == 0 || !strings.HasPrefix(name, "trusted.") {
			list.WriteString(name + "\x00")
		}
	}
	return answer(list.String(), dest)
}

func answer(value string, dest []byte) (uint32, fuse.Status) {
	if len(value) > len(dest) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}

// SetXAttr is setxattr(2).
func (f *fileSystem) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	return f.changed(f.v.Setxattr(ino(in.NodeId), name, value, int(in.Flags)))
}

// RemoveXAttr is removexattr(2).
func (f *fileSystem) RemoveXAttr(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return f.changed(f.v.Removexattr(ino(h.NodeId), name))
}
