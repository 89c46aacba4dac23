//go:build linux

package fusefs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"holdfast/volume"
)

func (f *fileSystem) fillAttr(a volume.Attr, out *fuse.Attr) {
	*out = fuse.Attr{
		Ino: uint64(a.Ino), Size: a.Size, Blocks: a.Blocks * (f.blockSize / 512),
		Mode: uint32(a.Mode), Nlink: a.Links, Owner: fuse.Owner{Uid: a.UID, Gid: a.GID},
		Rdev: packDevice(a.Major, a.Minor), Blksize: uint32(f.blockSize),
	}
	out.SetTimes(&a.Atime, &a.Mtime, &a.Ctime)
}

// GetAttr is stat(2).
func (f *fileSystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	a, err := f.v.Getattr(ino(in.NodeId))
	if err != nil {
		return f.status(err)
	}
	f.fillAttr(a, &out.Attr)
	out.SetTimeout(forever)
	return fuse.OK
}

// Statx is statx(2): GetAttr with the time of birth.
func (f *fileSystem) Statx(_ <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	a, err := f.v.Getattr(ino(in.NodeId))
	if err != nil {
		return f.status(err)
	}
	out.Statx = fuse.Statx{
		Mask:    unix.STATX_BASIC_STATS | unix.STATX_BTIME,
		Blksize: uint32(f.blockSize), Nlink: a.Links, Uid: a.UID, Gid: a.GID, Mode: a.Mode,
		Ino: uint64(a.Ino), Size: a.Size, Blocks: a.Blocks * (f.blockSize / 512),
		Atime: sxTime(a.Atime), Btime: sxTime(a.Btime), Ctime: sxTime(a.Ctime), Mtime: sxTime(a.Mtime),
		RdevMajor: a.Major, RdevMinor: a.Minor,
	}
	out.SetTimeout(forever)
	return fuse.OK
}

func sxTime(t time.Time) fuse.SxTime {
	return fuse.SxTime{Sec: uint64(t.Unix()), Nsec: uint32(t.Nanosecond())}
}

// SetAttr is chmod(2), chown(2), truncate(2) and utimensat(2), in one operation.
func (f *fileSystem) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	s := setAttr(in, time.Now())
	// What names nothing is chown(2) of -1, -1, or announces a change of the content (fallocate, copy_file_range):
	// both take privileges away. So does root who writes a file with these bits and a capability, which cannot be
	// told from chown; that takes more away than elsewhere.
	nothing := s == volume.SetAttr{}
	s.Touch = true
	if nothing || in.Valid&fuse.FATTR_KILL_SUIDGID != 0 && s.Size != nil && s.Mode == nil {
		a, err := f.v.Getattr(ino(in.NodeId))
		if err != nil {
			return f.status(err)
		}
		if mode := withoutPrivileges(a, &in.InHeader); mode != a.Mode {
			mode &= 07777
			s.Mode = &mode
		}
	}
	a, err := f.v.Setattr(ino(in.NodeId), s)
	if err != nil {
		return f.status(err)
	}
	f.fillAttr(a, &out.Attr)
	out.SetTimeout(forever)
	return f.changed(nil)
}

func setAttr(in *fuse.SetAttrIn, now time.Time) volume.SetAttr {
	var s volume.SetAttr
	if in.Valid&fuse.FATTR_MODE != 0 {
		mode := uint16(in.Mode & 07777)
		s.Mode = &mode
	}
	if in.Valid&fuse.FATTR_UID != 0 {
		s.UID = &in.Uid
	}
	if in.Valid&fuse.FATTR_GID != 0 {
		s.GID = &in.Gid
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		s.Size = &in.Size
	}
	s.Atime = newTime(in.Valid, fuse.FATTR_ATIME, fuse.FATTR_ATIME_NOW, in.Atime, in.Atimensec, now)
	s.Mtime = newTime(in.Valid, fuse.FATTR_MTIME, fuse.FATTR_MTIME_NOW, in.Mtime, in.Mtimensec, now)
	return s
}

// newTime is the time to set: given, or now.
func newTime(valid, given, isNow uint32, sec uint64, nsec uint32, now time.Time) *time.Time {
	switch {
	case valid&isNow != 0:
		return &now
	case valid&given != 0:
		t := time.Unix(int64(sec), int64(nsec))
		return &t
	}
	return nil
}
