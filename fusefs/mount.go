//go:build linux

package fusefs

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"holdfast/volume"
)

// Options say how a volume is mounted; the zero value is good.
type Options struct {
	Source     string // what /proc/mounts shows as the device
	ReadOnly   bool   // the kernel refuses changes; needed if the volume was opened so
	AllowOther bool   // other users than the one who mounts may come in
	Dev, Suid  bool   // device nodes and set-user-ID bits mean something
	NoExec     bool   // nothing may be executed
	Sync       bool   // every change is durable before it is answered
	Writeback  bool   // the kernel keeps written pages back: faster, and a crash may lose their order

	// Ordering gets a line for each operation in the order in which they take effect ([Ordered]), with one Write
	// each; changes then wait for one another. nil: nowhere.
	Ordering io.Writer

	Log io.Writer // what goes wrong with the protocol; nil: nowhere
}

// fsName is the subtype: what /proc/mounts says behind "fuse.".
const fsName = "holdfast"

// maxWrite is the longest write that the kernel sends at once, in bytes: what the volume does in one
// operation.
const maxWrite = 1 << 20

// Mount is a mounted volume.
type Mount struct {
	server *fuse.Server
	fs     *fileSystem
	dir    string
	root   bool // mounted without a helper
	done   chan struct{}
}

// New mounts v on the directory dir and serves it until it is unmounted: by root with mount(2), by
// others with fusermount3. The volume stays the caller's to close, after Wait.
//
// Errors: those of statfs(2) and mount(2); syscall.ENOTCONN: dir is a mount whose server is gone.
func New(v *volume.Volume, dir string, o Options) (*Mount, error) {
	if err := Mountable(dir); err != nil {
		return nil, &os.PathError{Op: "mount", Path: dir, Err: err}
	}
	root := os.Geteuid() == 0
	if err := available(dir, root); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	s, err := v.Statfs()
	if err != nil {
		return nil, err
	}
	fs := newFileSystem(v, s.BlockSize, &o)
	real, err := realPath(dir) // before it means the mount, which nobody answers for yet
	if err != nil {
		return nil, err
	}
	server, err := fuse.NewServer(fs, dir, mountOptions(o, root))
	if err != nil {
		var errno syscall.Errno
		if errors.As(err, &errno) {
			err = errno
		}
		return nil, &os.PathError{Op: "mount", Path: dir, Err: err}
	}
	if root {
		readAhead(real)
	}
	m := &Mount{server, fs, dir, root, make(chan struct{})}
	go func() {
		defer close(m.done)
		server.Serve()
	}()
	// No WaitMount: it opens a file of the mount, and a server that is killed while it waits for its own answer
	// never ends. Nor is there anything to wait for; who comes first waits for the server.
	return m, nil
}

// available says why there is no FUSE for this process, in words that mount(2) and fusermount3 do not have.
func available(dir string, root bool) error {
	const device = "/dev/fuse"
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return &os.PathError{Op: "mount", Path: device, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(10, 229) {
		return fmt.Errorf("%s: not the device of FUSE", device)
	}
	if root {
		return nil
	}
	if _, err := fusermountProgram(); err != nil {
		return err
	}
	if err := unix.Access(dir, unix.W_OK); err != nil { // fusermount3 asks for that
		return &os.PathError{Op: "mount", Path: dir, Err: err}
	}
	return nil
}

// Mountable says why a directory cannot be mounted on. Of a mount whose server is gone the kernel may
// still know the attributes; statfs(2) always asks.
func Mountable(dir string) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		err = syscall.ENOTDIR
	}
	return err
}

func mountOptions(o Options, root bool) *fuse.MountOptions {
	opts := &fuse.MountOptions{
		FsName:            o.Source,
		Name:              fsName,
		AllowOther:        o.AllowOther,
		Options:           []string{"default_permissions"},
		MaxWrite:          maxWrite,
		MaxBackground:     64,
		DirectMountStrict: root,
		EnableAcl:         true,
		DisableSplice:     true, // what is read is in memory; to find that out costs a pipe for each read
		// The kernel's page cache is right for as long as all writing goes through it.
		ExplicitDataCacheControl: true,
		EnableSymlinkCaching:     true,
		// The volume applies the umask, because a default ACL takes its place. Handles of
		// files (open_by_handle_at, NFS) may name inodes that the kernel has forgotten.
		ExtraCapabilities: fuse.CAP_DONT_MASK | fuse.CAP_EXPORT_SUPPORT | fuse.CAP_SETXATTR_EXT | fuse.CAP_HANDLE_KILLPRIV_V2,
		Logger:            log.New(o.Log, "", 0),
	}
	if o.Writeback {
		opts.ExtraCapabilities |= fuse.CAP_WRITEBACK_CACHE
	}
	if root {
		opts.DirectMountFlags = mountFlags(o)
		return opts
	}
	for _, flag := range []struct {
		on   bool
		name string
	}{{o.ReadOnly, "ro"}, {o.NoExec, "noexec"}, {o.Sync, "sync"}, {true, "noatime"}} {
		if flag.on {
			opts.Options = append(opts.Options, flag.name)
		}
	}
	return opts
}

// mountFlags are the flags of mount(2).
func mountFlags(o Options) uintptr {
	flags := uintptr(syscall.MS_MGC_VAL | syscall.MS_NOATIME)
	for _, f := range []struct {
		on   bool
		flag uintptr
	}{
		{o.ReadOnly, syscall.MS_RDONLY}, {!o.Dev, syscall.MS_NODEV}, {!o.Suid, syscall.MS_NOSUID},
		{o.NoExec, syscall.MS_NOEXEC}, {o.Sync, syscall.MS_SYNCHRONOUS | syscall.MS_DIRSYNC},
	} {
		if f.on {
			flags |= f.flag
		}
	}
	return flags
}

// Wait returns when the volume is unmounted and no request is left.
func (m *Mount) Wait() { <-m.done }

// Done is closed when Wait would return.
func (m *Mount) Done() <-chan struct{} { return m.done }

// Unmount takes the mount away and waits for its last request. ErrBusy: files on it are open, and
// nothing is changed.
func (m *Mount) Unmount() error {
	if err := m.server.Unmount(); err != nil {
		if errors.Is(err, syscall.EBUSY) || strings.Contains(err.Error(), "busy") {
			return volume.ErrBusy
		}
		select {
		case <-m.done: // somebody else was faster
			return nil
		default:
			return err
		}
	}
	m.Wait()
	return nil
}

// Detach takes the mount out of the tree of names; who has files open on it keeps them as long as this
// process serves them.
func (m *Mount) Detach() error {
	if m.root {
		return syscall.Unmount(m.dir, syscall.MNT_DETACH)
	}
	return fusermount(m.dir, true)
}

// ReleaseAll lets go of every inode that the kernel may still know: after it, no request can be
// answered well.
func (m *Mount) ReleaseAll() error { return m.fs.nodes.releaseAll() }
