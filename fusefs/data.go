//go:build linux

package fusefs

import (
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"holdfast/volume"
)

// openFlags let the kernel keep pages from one open to the next, and spare us a request per close.
const openFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH

// Open needs nothing done: while a file is open the kernel knows its node, and so the inode is held.
// ENOSYS tells the kernel not to ask again.
func (f *fileSystem) Open(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status {
	return fuse.ENOSYS
}

// Read is read(2).
func (f *fileSystem) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n, err := f.v.Read(ino(in.NodeId), buf[:min(len(buf), int(in.Size))], int64(in.Offset))
	if err != nil {
		return nil, f.status(err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Writev is write(2): the pieces are one operation.
func (f *fileSystem) Writev(cancel <-chan struct{}, in *fuse.WriteIn, pieces [][]byte) (uint32, fuse.Status) {
	if len(pieces) == 1 {
		return f.Write(cancel, in, pieces[0])
	}
	data := make([]byte, 0, in.Size)
	for _, p := range pieces {
		data = append(data, p...)
	}
	return f.Write(cancel, in, data)
}

// Write is write(2). A file that is open with O_SYNC or O_DSYNC is durable before the answer.
func (f *fileSystem) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		if err := f.dropPrivileges(&in.InHeader); err != nil {
			return 0, f.status(err)
		}
	}
	n, err := f.v.Write(ino(in.NodeId), data, int64(in.Offset))
	if n > 0 && n < len(data) {
		err = nil // as write(2): what is written counts, the next one says why
	}
	if err == nil && in.Flags&syscall.O_DSYNC != 0 {
		err = lost(f.v.Fsync(ino(in.NodeId)))
	}
	return uint32(n), f.changed(err)
}

// Flush comes with close(2), which promises nothing: ENOSYS tells the kernel not to ask.
func (f *fileSystem) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Release is the end of what Tmpfile opened.
func (f *fileSystem) Release(<-chan struct{}, *fuse.ReleaseIn) {}

// lost is the error of making something durable. A volume that has stopped says that it is read-only, which is
// the answer to new changes; what is to be durable here has been accepted, and is lost.
func lost(err error) error {
	if errors.Is(err, volume.ErrReadOnly) {
		return volume.ErrIO
	}
	return err
}

// Fsync is fsync(2) and fdatasync(2).
func (f *fileSystem) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return f.status(lost(f.v.Fsync(ino(in.NodeId))))
}

// Fallocate is fallocate(2).
func (f *fileSystem) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	return f.changed(f.v.Fallocate(ino(in.NodeId), in.Mode, int64(in.Offset), int64(in.Length)))
}

// Lseek is lseek(2) with SEEK_DATA and SEEK_HOLE; the kernel does the rest itself. Where the kernel keeps written
// pages back only it knows what is data: ENOSYS makes it answer that all is, and who copies loses nothing.
func (f *fileSystem) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if f.writeback {
		return fuse.ENOSYS
	}
	seek := f.v.SeekData
	switch in.Whence {
	case unix.SEEK_DATA:
	case unix.SEEK_HOLE:
		seek = f.v.SeekHole
	default:
		return fuse.EINVAL
	}
	off, err := seek(ino(in.NodeId), int64(in.Offset))
	out.Offset = uint64(off)
	return f.status(err)
}

// CopyFileRange is copy_file_range(2). It copies less than it is asked to, so that it is one operation.
func (f *fileSystem) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	if in.Flags != 0 {
		return 0, fuse.EINVAL
	}
	buf := make([]byte, min(in.Len, maxWrite))
	n, err := f.v.Read(ino(in.NodeId), buf, int64(in.OffIn))
	if err != nil || n == 0 {
		return 0, f.status(err)
	}
	n, err = f.v.Write(volume.Ino(in.NodeIdOut), buf[:n], int64(in.OffOut))
	if n > 0 {
		err = nil
	}
	return uint32(n), f.changed(err)
}
