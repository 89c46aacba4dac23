package volume

import (
	"time"

	"holdfast/layout"
)

// Ino is an inode number, from 1.
type Ino uint64

// Root is the inode of the root directory.
const Root Ino = 1

// Attr is what an inode says of itself.
type Attr struct {
	Ino                        Ino
	Generation                 uint32
	Mode                       uint16 // POSIX type and permission bits, layout.ModeXxx
	Links                      uint32
	UID, GID                   uint32
	Size                       uint64 // bytes
	Blocks                     uint64 // blocks of the volume, those that data in memory will get included
	Atime, Mtime, Ctime, Btime time.Time
	Major, Minor               uint32
	Xattrs                     bool // it has extended attributes
}

// The largest numbers of a device that Linux has. An image keeps larger ones, but they mean nothing outside.
const (
	MaxMajor = 1<<12 - 1
	MaxMinor = 1<<20 - 1
)

// NewNode is what a new inode is to be.
type NewNode struct {
	Mode         uint16 // type and permissions
	Umask        uint16 // permissions that it loses, unless the directory has a default ACL
	UID, GID     uint32
	Major, Minor uint32 // devices
	Target       string // symbolic links
}

// SetAttr names the attributes to change; nil ones stay.
type SetAttr struct {
	Mode         *uint16
	UID, GID     *uint32
	Size         *uint64
	Atime, Mtime *time.Time
	Touch        bool // the change time becomes now even if nothing else is named, as chown(2) of -1, -1 has it
}

// DirEntry is a name in a directory.
type DirEntry struct {
	Name string
	Ino  Ino
	Type uint16 // mode type bits
	Next uint64 // position behind the entry
}

// Statfs says how full a volume is.
type Statfs struct {
	BlockSize       int
	Blocks          uint64 // that files may use, free ones included
	Free            uint64 // blocks
	Available       uint64 // free blocks that are not kept back or reserved
	Inodes          uint64
	FreeInodes      uint64
	Dirs            uint64
	UUID            [16]byte
	Label           string
	InitialisedGrps uint64
	Groups          uint64
}

// Statfs reads the totals; it costs no I/O.
func (v *Volume) Statfs() (Statfs, error) {
	var s Statfs
	err := v.view(func(o *op) error {
		s = statfs(&v.g, &v.super, v.totals)
		s.Available = uint64(max(0, o.available()+int64(v.busyCount))) // a commit comes before ENOSPC
		return nil
	})
	return s, err
}

// statfs is what the totals say, but for Available.
func statfs(g *layout.Geometry, super *layout.Superblock, t layout.Totals) Statfs {
	var tables uint64
	if g.Groups > 0 {
		tables = (g.Groups-1)*g.GroupTables(0) + g.GroupTables(g.Groups-1)
	}
	last := g.Groups - 1
	all := g.GroupStart(last) + g.GroupLen(last) - g.FirstGroup
	return Statfs{BlockSize: g.BlockSize, Blocks: all - tables, Free: t.FreeBlocks, Inodes: g.Inodes(), FreeInodes: t.FreeInodes,
		Dirs: t.Dirs, UUID: super.UUID, Label: super.Label, InitialisedGrps: t.Groups, Groups: g.Groups}
}

// Options say how a volume is opened; the zero value is good.
type Options struct {
	ReadOnly   bool             // nothing is written, not even what recovery restores
	CacheBytes int64            // memory for clean metadata blocks; 0: no cache
	Clock      func() time.Time // nil: time.Now
	// DirtyBytes is how much data may be in memory; 0: 64 MiB. When an eighth of it waits, or 2 MiB, it is
	// written to its blocks, ahead of the commit that makes it part of a file.
	DirtyBytes int64
	// Background writes that data beside the writers, and begins a commit there when the log's room
	// for a transaction is half used, so that they need not wait for all of it later. Without it
	// when commits happen is the caller's alone to say, as long as there is room.
	Background bool
}

func (o *Options) dirtyBytes() int64 {
	if o.DirtyBytes > 0 {
		return o.DirtyBytes
	}
	return 64 << 20
}

func toTime(t time.Time) layout.Time { return layout.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())} }
