package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"holdfast/disk"
	"holdfast/volume"
)

// The global flags --mirror and --degraded: the second file of a mirror, and that it is missing.
var (
	mirrorName string
	degraded   bool
)

func mirrorFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&mirrorName, "mirror", "", "the second `file` of an image that is mirrored over two")
	f.BoolVar(&degraded, "degraded", false, "open one file of a mirror without the other")
}

// imageDevice is what an image is read from and written to: its file, or both files of a mirror.
type imageDevice struct {
	disk.Device
	files []imageFile
}

// imageFile is a file of an image: both of a mirror are one.
type imageFile struct {
	*disk.File
	name string
	stat os.FileInfo // which file it is
}

// add opens and locks one more file.
func (d *imageDevice) add(name string, write bool) (*disk.File, error) {
	f, err := openFile(name, write)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(name)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d.files = append(d.files, imageFile{f, name, st})
	return f, nil
}

// is answers whether st is one of the files.
func (d *imageDevice) is(st os.FileInfo) bool {
	return slices.ContainsFunc(d.files, func(f imageFile) bool { return os.SameFile(st, f.stat) })
}

func (d *imageDevice) Close() error {
	var err error
	for _, f := range d.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// openDevice opens and locks what an image lies in. A mirror, or a file of one, is assembled.
func openDevice(name string, write bool) (*imageDevice, error) {
	return openDeviceWith(name, write, volume.Assembly{ReadOnly: !write})
}

// openDeviceWith is openDevice that puts the files together in a way of its own.
func openDeviceWith(name string, write bool, how volume.Assembly) (*imageDevice, error) {
	d := &imageDevice{}
	f, err := d.add(name, write)
	if err != nil {
		return nil, err
	}
	d.Device = f
	switch {
	case degraded:
		d.Device, err = volume.Alone(f, how)
		err = mirrorError(err, [2]string{name, name})
	case mirrorName != "":
		var files [2]disk.Device
		if files, err = d.second(name, write); err == nil {
			d.Device, err = volume.Mirror(files, how)
			err = mirrorError(err, [2]string{name, mirrorName})
		}
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// second opens the other file of a mirror.
func (d *imageDevice) second(name string, write bool) (files [2]disk.Device, err error) {
	if err := notTheSame(name, mirrorName); err != nil {
		return files, err
	}
	f, err := d.add(mirrorName, write)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w", mirrorName, cause(err))
		if _, other := volume.HalfOf(d.files[0]); other == nil {
			err = fmt.Errorf("%w (--degraded opens %s without it, scrub --resync makes it anew)", err, name)
		}
	}
	return [2]disk.Device{d.files[0].File, f}, err
}

// notTheSame refuses one file as both of a mirror: it would be locked by ourselves.
func notTheSame(name, second string) error {
	a, err := os.Stat(name)
	b, err2 := os.Stat(second)
	if err == nil && err2 == nil && os.SameFile(a, b) {
		return fmt.Errorf("%s: --mirror %s is the same file", name, second)
	}
	return nil
}

// mirrorUsage refuses the flags where they mean nothing.
func mirrorUsage(cmd *cobra.Command) error {
	switch {
	case mirrorName != "" && degraded:
		return usage("--mirror and --degraded: one of them")
	case mirrorName == "" && cmd.Flags().Changed("mirror"):
		return usage("--mirror: the name of the other file is empty")
	}
	for c := cmd; c != nil; c = c.Parent() {
		if !slices.Contains(imageless, c.Name()) || !c.HasParent() {
			continue
		}
		for _, flag := range []string{"mirror", "degraded", "offset"} {
			if cmd.Flags().Changed(flag) {
				return &statusError{usageStatus(cmd), fmt.Errorf("--%s: %s opens no image", flag, c.Name())}
			}
		}
	}
	return nil
}

// imageless are the commands that open no image.
var imageless = []string{"crash", "umount", "version", "man", "completion", "help"}

// mirrorError says which file an error of a mirror speaks of, and what to do.
func mirrorError(err error, names [2]string) error {
	var me *volume.MirrorError
	if !errors.As(err, &me) {
		if err != nil {
			err = fmt.Errorf("%s: %w", names[0], err)
		}
		return err
	}
	both := names[0] + " and " + names[1]
	switch {
	case me.Split:
		return fmt.Errorf("%s: %w (scrub --resync --from FILE keeps what is in FILE)", both, me)
	case me.File < 0:
		return fmt.Errorf("%s: %w", both, me)
	case me.Stale:
		return fmt.Errorf("%s: %w (holdfast scrub --resync --mirror %s %s mends that)", names[me.File], me, names[me.File], names[1-me.File])
	}
	return fmt.Errorf("%s: %w", names[me.File], me)
}

// halfMirror adds to the refusal of one file of a mirror what can be done.
func halfMirror(err error) error {
	if errors.Is(err, volume.ErrHalfMirror) {
		err = fmt.Errorf("%w (--mirror FILE names the other one, --degraded opens this one alone)", err)
	}
	return err
}

// resync is scrub --resync: it makes the stale one of two files like the other.
func resync(ctx context.Context, out, errOut io.Writer, name, from string, force, quiet bool) (err error) {
	if mirrorName == "" {
		return usage("--resync wants the other file: --mirror FILE")
	}
	names := [2]string{name, mirrorName}
	o := volume.ResyncOptions{From: -1, Force: force}
	if from != "" {
		for i := range names {
			if names[i] == from {
				o.From = i
			}
		}
		if o.From < 0 {
			return usage("--from %s: want %s or %s", from, names[0], names[1])
		}
	}
	if err := notTheSame(names[0], names[1]); err != nil {
		return err
	}
	var files [2]disk.Device
	for i := range names {
		if _, serr := os.Stat(names[i]); errors.Is(serr, fs.ErrNotExist) && !offsetGiven {
			if err := replaceFile(names[i], names[1-i]); err != nil {
				return err
			}
		}
		f, err := openFile(names[i], true)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		files[i] = f
	}
	show, done := scrubBar(errOut)
	o.Progress = show
	r, err := volume.Resync(ctx, files, o)
	done()
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: interrupted: the resync has to be done again", name)
	}
	if err != nil {
		return mirrorError(err, names)
	}
	switch {
	case r.From < 0 && !quiet:
		_, err = fmt.Fprintf(out, "%s and %s: neither is stale\n", names[0], names[1])
	case r.From >= 0 && r.Lost > 0:
		err = &statusError{scrubDamage, fmt.Errorf("%s: %d bytes cannot be read; all else is in %s now", names[r.From], r.Lost, names[1-r.From])}
	case r.From >= 0 && !quiet:
		_, err = fmt.Fprintf(out, "%s: made like %s: %s copied\n", names[1-r.From], names[r.From], human(uint64(r.Copied)))
	}
	return err
}

// replaceFile makes an empty file in the place of one that is lost, as large as the other one.
func replaceFile(name, other string) error {
	st, err := os.Stat(other)
	if err != nil {
		return err
	}
	f, err := disk.CreateFile(name, st.Size(), 0o644, true)
	if err != nil {
		return err
	}
	return f.Close()
}
