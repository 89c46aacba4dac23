package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"holdfast/layout"
	"holdfast/transfer"
)

func cpCommand() *cobra.Command {
	var archive, recursive bool
	c := &cobra.Command{
		Use:   "cp [-a|-r] SOURCE... DEST",
		Short: "Copy files between the host and an image",
		Long: `Copy files and trees. One side names a file in an image (IMAGE:PATH), the other the host.

With -a types, modes, owners, times and hard links are kept. Symbolic links and special
files are copied as themselves. What exists on the host is written to, as cp does; with -a it
is replaced.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			dst := args[len(args)-1]
			o := transfer.Options{Preserve: archive}
			image, inside, toImage := splitImagePath(dst)
			for _, src := range args[:len(args)-1] {
				from, p, fromImage := splitImagePath(src)
				switch {
				case fromImage == toImage && fromImage:
					return usage("%s and %s: one side has to be on the host", src, dst)
				case fromImage == toImage:
					return usage("%s and %s: one side has to be IMAGE:PATH", src, dst)
				case toImage:
					if err := copyIn(src, image, inside, dst, o, archive || recursive); err != nil {
						return err
					}
				default:
					warnings, err := copyOut(from, p, dst, o, archive || recursive)
					for _, w := range warnings {
						fmt.Fprintf(cmd.ErrOrStderr(), "%s: warning: %s\n", cmd.CommandPath(), w)
					}
					if err != nil {
						return err
					}
				}
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&archive, "archive", "a", false, "whole trees, with owners, modes, times and links")
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "whole trees")
	return c
}

func copyIn(src, name, inside, raw string, o transfer.Options, recursive bool) error {
	st, err := os.Lstat(src)
	if err != nil {
		return err
	}
	if st.IsDir() && !recursive {
		return fmt.Errorf("%s: is a directory (use -r or -a)", src)
	}
	return withImage(name, true, func(im *image) error {
		to, err := destination(im, filepath.Base(filepath.Clean(src)), inside, raw, false)
		if err != nil {
			return err
		}
		if to == "/" {
			return im.at(to, errors.New("the root directory cannot be replaced"))
		}
		dir, err := im.resolve(path.Dir(to), true)
		if err != nil {
			return err
		}
		if _, err = transfer.CopyIn(im.Volume, src, dir.Ino, path.Base(to), o); errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%s: %w", name, err) // it is not the host that is full
		}
		return err
	})
}

func copyOut(name, inside, dst string, o transfer.Options, recursive bool) (warnings []string, err error) {
	err = withImage(name, false, func(im *image) error {
		a, err := im.resolve(inside, !o.Preserve)
		if err != nil {
			return err
		}
		isDir := a.Mode&layout.ModeType == layout.ModeDir
		if isDir && !recursive {
			return im.at(inside, errors.New("is a directory (use -r or -a)"))
		}
		st, serr := os.Stat(dst)
		var stats transfer.Stats
		switch {
		case isDir && inside == "/": // the whole image: into the directory, made if need be
			stats, err = transfer.ToDir(im.Volume, a.Ino, dst, o)
		case serr == nil && st.IsDir():
			stats, err = transfer.CopyOut(im.Volume, a.Ino, dst, path.Base(inside), o)
		case isDir:
			stats, err = transfer.ToDir(im.Volume, a.Ino, dst, o)
		case serr == nil && !o.Preserve && a.Mode&layout.ModeType == layout.ModeFile:
			err = writeTo(im, inside, dst)
		case serr == nil && !st.Mode().IsRegular():
			err = fmt.Errorf("%s: exists and is not a regular file", dst)
		default:
			stats, err = transfer.CopyOut(im.Volume, a.Ino, filepath.Dir(dst), filepath.Base(dst), o)
		}
		warnings = stats.Warnings
		return err
	})
	return warnings, err
}

// writeTo writes a file's content into what exists on the host: a file keeps its mode and its
// names, a device or pipe gets the data.
func writeTo(im *image, inside, dst string) error {
	f, err := im.Tree().Open(inside)
	if err != nil {
		return im.at(inside, err)
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	_, err = io.Copy(out, f)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
