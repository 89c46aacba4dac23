//go:build linux

package fusefs

import (
	"errors"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"holdfast/volume"
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

// SetXAttr is setxattr(2). Who sets an ACL and is not of the file's group loses the set-group-ID bit by it;
// that is a second operation, because a crash between them only keeps a bit that was there.
func (f *fileSystem) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	err := f.v.Setxattr(ino(in.NodeId), name, value, int(in.Flags))
	if err == nil && in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0 {
		err = f.dropSetgid(ino(in.NodeId))
	}
	return f.changed(err)
}

func (f *fileSystem) dropSetgid(ino volume.Ino) error {
	a, err := f.v.Getattr(ino)
	if err != nil || a.Mode&syscall.S_ISGID == 0 {
		return err
	}
	mode := a.Mode & 07777 &^ syscall.S_ISGID
	_, err = f.v.Setattr(ino, volume.SetAttr{Mode: &mode})
	return err
}

// RemoveXAttr is removexattr(2). An ACL that is not there is one that says no more than the mode does.
func (f *fileSystem) RemoveXAttr(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	err := f.v.Removexattr(ino(h.NodeId), name)
	if errors.Is(err, volume.ErrNoAttr) && (name == volume.ACLAccess || name == volume.ACLDefault) {
		return fuse.OK
	}
	return f.changed(err)
}
