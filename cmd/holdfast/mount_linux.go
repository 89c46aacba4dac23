package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast/fusefs"
	"holdfast/volume"
)

// runMount mounts and serves; as a daemon it returns when the mount is there.
func runMount(cmd *cobra.Command, m *mountArgs) error {
	if m.options.remount {
		return remount(m)
	}
	if err := mountPoint(m.dir); err != nil {
		return err
	}
	if m.daemon && !inBackground() && !m.fake {
		return background()
	}
	im, readOnly, err := openForMount(m.image, m.options.readOnly)
	if err != nil {
		return err
	}
	if m.fake {
		return im.close(nil)
	}
	return errors.Join(im.close(serve(cmd, m, im, readOnly)), im.there())
}

// there says if a file is no longer found by its name: then what was done to it is lost with it.
func (im *image) there() error {
	for _, f := range im.file.files {
		st, err := os.Stat(f.name)
		if err != nil {
			return err
		}
		if !os.SameFile(st, f.stat) {
			return fmt.Errorf("%s: another file has this name by now, and not what was mounted", f.name)
		}
	}
	return nil
}

// absolute makes the names of the files mean the same in every directory.
func (im *image) absolute() error {
	for i := range im.file.files {
		f := &im.file.files[i]
		name, err := filepath.Abs(f.name)
		if err != nil {
			return err
		}
		f.name = name
	}
	im.name = im.file.files[0].name
	return nil
}

// mountPoint refuses what cannot be mounted on, before the image is opened.
func mountPoint(dir string) error {
	err := fusefs.Mountable(dir)
	switch {
	case errors.Is(err, syscall.ENOTCONN):
		return fmt.Errorf("%s: a mount whose server is gone lies there; take it away first: umount -l %s", quoteName(dir), quoteName(dir))
	case err != nil:
		return &fs.PathError{Op: "mount", Path: dir, Err: err}
	}
	return nil
}

// openForMount opens the image for changes if it can be: a file that may not be written, or an image with
// features that only allow reading, is mounted read-only, as mount(8) does with a device.
func openForMount(name string, readOnly bool) (im *image, isReadOnly bool, err error) {
	if !readOnly {
		im, err = openImage(name, true)
		if err == nil || !errors.Is(err, fs.ErrPermission) && !errors.Is(err, volume.ErrReadOnly) && !errors.Is(err, syscall.EROFS) {
			return im, false, err
		}
	}
	im, err = openImage(name, false)
	return im, true, err
}

// serve mounts the image and returns when it is unmounted, or the program is told to end.
func serve(cmd *cobra.Command, m *mountArgs, im *image, readOnly bool) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, endSignals()...)
	defer signal.Stop(signals)
	source, err := filepath.Abs(m.image)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(m.dir)
	if err != nil {
		return err
	}
	o := m.options
	options := fusefs.Options{
		Source: source, ReadOnly: readOnly, AllowOther: o.allowOther, Dev: o.dev, Suid: o.suid, NoExec: o.noExec,
		Sync: o.sync, Writeback: o.writeback, Log: cmd.ErrOrStderr(),
	}
	if m.ordering != "" {
		log, err := os.Create(m.ordering)
		if err != nil {
			return err
		}
		defer log.Close()
		options.Ordering = log
	}
	mount, err := fusefs.New(im.Volume, dir, options)
	if err != nil {
		return err
	}
	fusefs.OwnProcess()
	if inBackground() { // ready leaves the directory in which a relative name means something
		if err := im.absolute(); err != nil {
			return errors.Join(err, mount.Unmount(), mount.ReleaseAll())
		}
	}
	if !readOnly { // others can open an image that is only read
		defer serveControl(im)()
	}
	if err := ready(); err != nil {
		return errors.Join(err, mount.Unmount(), mount.ReleaseAll())
	}
	stop := commitEvery(o.commit, im, readOnly, func(err error) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", commandName(cmd), describe(noCommit(im.name, err)))
	})
	defer stop()
	select {
	case <-mount.Done():
	case <-signals:
		err = unmount(mount)
	}
	for _, f := range im.file.files {
		leaving(f.name) // who wants the image now waits for us
	}
	return errors.Join(err, mount.ReleaseAll())
}

// unmount takes the mount away. What still has files open on it gets errors from now on, but nothing that
// it was told is done is lost: the volume is closed behind this.
func unmount(mount *fusefs.Mount) error {
	err := mount.Unmount()
	if errors.Is(err, volume.ErrBusy) {
		err = mount.Detach()
	}
	return err
}

// commitEvery commits what has changed, and says once if that fails. What it returns ends it.
func commitEvery(d time.Duration, im *image, readOnly bool, failed func(error)) (stop func()) {
	if readOnly {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(d)
		defer t.Stop()
		for {
			select {
			case <-quit:
				return
			case <-t.C:
				if err := im.Sync(); err != nil {
					failed(err)
					return
				}
			}
		}
	}()
	return func() { close(quit); <-done }
}
