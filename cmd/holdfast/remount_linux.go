package main

import (
	"errors"
	"fmt"
	"syscall"

	"holdfast/disk"
	"holdfast/fusefs"
)

// asMounted makes the options those of a mount that is there.
func (o *mountOptions) asMounted(dir string) error {
	m, err := mountedOn(dir)
	if err != nil {
		return err
	}
	*o = mountOptions{commit: o.commit, sloppy: o.sloppy, allowOther: true, dev: true, suid: true}
	return o.parse(m.Options)
}

func mountedOn(dir string) (fusefs.Info, error) {
	m, err := fusefs.Mounted(dir)
	if errors.Is(err, syscall.EINVAL) {
		return m, fmt.Errorf("%s: no image is mounted there", quoteName(dir))
	}
	return m, err
}

// mountedImage is the image that is mounted on a directory; what is no mount of an image is one itself, or is refused as one.
func mountedImage(arg string) string {
	if m, err := fusefs.Mounted(arg); err == nil && m.Source != "" {
		return m.Source
	}
	return arg
}

// remount changes what the kernel allows on a mount; the server that serves it stays as it is.
func remount(m *mountArgs) error {
	info, err := mountedOn(m.dir)
	if err != nil {
		return err
	}
	was := mountOptions{}
	if err := was.asMounted(m.dir); err != nil {
		return err
	}
	o := m.options
	if o.sync != was.sync || o.writeback || o.commit != defaultCommit || m.ordering != "" {
		return fmt.Errorf("%s: only ro, rw, dev, suid and exec can be changed while it is mounted", quoteName(m.dir))
	}
	if was.readOnly && !o.readOnly && openForReading(info.Source) {
		return fmt.Errorf("%s: it was opened for reading; unmount and mount it again", info.Source)
	}
	if m.fake {
		return nil
	}
	return fusefs.Remount(info, fusefs.Options{ReadOnly: o.readOnly, Dev: o.dev, Suid: o.suid, NoExec: o.noExec, Sync: o.sync})
}

// openForReading is whether who has an image open only reads it: its lock can be shared.
func openForReading(name string) bool {
	f, err := disk.OpenFile(name, disk.FileOptions{ReadOnly: true})
	if err != nil {
		return false
	}
	return f.Close() == nil
}
