//go:build linux

package fusefs

import (
	"errors"
	"os"
	"syscall"
)

// Remount changes what the kernel allows on a mount: ReadOnly, Dev, Suid, NoExec. Before it refuses changes, and
// behind those that are under way, all is made durable. syscall.EBUSY: a file is open for writing.
func Remount(m Info, o Options) error {
	d, err := os.Open(m.Dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if o.ReadOnly {
		if err := ignoreReadOnly(d.Sync()); err != nil {
			return err
		}
	}
	if err := syscall.Mount(m.Source, m.Dir, "fuse."+fsName, mountFlags(o)|syscall.MS_REMOUNT, ""); err != nil {
		return &os.PathError{Op: "remount", Path: m.Dir, Err: err}
	}
	if o.ReadOnly {
		return ignoreReadOnly(d.Sync())
	}
	return nil
}

// ignoreReadOnly is for a volume that is open for reading: nothing of it waits to be durable.
func ignoreReadOnly(err error) error {
	if errors.Is(err, syscall.EROFS) {
		return nil
	}
	return err
}

// Unmount is umount2(2) of a mount of this or another process, by fusermount3 for those who are not root.
func Unmount(m Info, flags int) error {
	if os.Geteuid() == 0 {
		if err := syscall.Unmount(m.Dir, flags); err != nil {
			return &os.PathError{Op: "umount", Path: m.Dir, Err: err}
		}
		return nil
	}
	return fusermount(m.Dir, flags&syscall.MNT_DETACH != 0)
}
