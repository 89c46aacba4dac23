package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/volume"
)

func mvCommand() *cobra.Command {
	var d destination
	var noClobber, force, verbose bool
	c := &cobra.Command{
		Use:   "mv IMAGE:OLD... IMAGE:NEW",
		Short: "Rename files in an image, atomically",
		Long: `Rename files in an image, or move them into a directory of it; IMAGE: may be left out of the
last operand. Each is one operation: after a crash the file has the old name or the new one.
Two names of one file stay as they are, which is an error, as for mv(1).`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sources, dst, err := d.split(cmd, args)
			if err != nil {
				return err
			}
			return runVerb(cmd, true, sources, func(w *work, sources []string) error {
				var name func(string) (operand, error)
				for _, arg := range sources {
					src, err := w.operand(arg)
					if err != nil {
						w.fail(err)
						continue
					}
					if name == nil {
						to, err := w.sameImage(src, dst)
						if err != nil {
							return err
						}
						if name, err = d.inside(cmd, to, len(sources) > 1); err != nil {
							return onHost(dst, err)
						}
					}
					to, err := name(src.base())
					if err == nil && to.im != src.im {
						err = src.at(errors.New("is in another image: mv renames within one"))
					}
					if err == nil {
						err = move(src, to, noClobber, func() { w.verbose(verbose, "renamed %s -> %s", shellQuote(src.name), shellQuote(to.name)) })
					}
					w.fail(onHost(dst, err))
				}
				return nil
			})
		},
	}
	f := c.Flags()
	d.flags(f)
	f.BoolVarP(&noClobber, "no-clobber", "n", false, "do not replace what exists")
	f.BoolVarP(&force, "force", "f", false, "never ask (it never does)")
	f.BoolVarP(&verbose, "verbose", "v", false, "print a line for each")
	return c
}

// onHost adds to an error about a destination without IMAGE: that it is not in the image, but on the host.
func onHost(dst string, err error) error {
	if _, _, ok := splitImagePath(dst); ok || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, volume.ErrNotDir) {
		return err
	}
	if _, serr := os.Stat(dst); serr != nil {
		if _, serr = os.Stat(filepath.Dir(dst)); serr != nil || !strings.Contains(dst, "/") {
			return err
		}
	}
	return fmt.Errorf("%w (mv stays within an image: holdfast cp -a takes files to the host)", err)
}

// move renames src to dst; done is called if it has.
func move(src, dst operand, noClobber bool, done func()) error {
	a, err := src.resolve(false)
	if err != nil {
		return err
	}
	var flags uint
	if noClobber { // together with the renaming, whoever else is at work
		flags = volume.RenameNoReplace
	} else if b, err := dst.resolve(false); err == nil && a.Ino == b.Ino {
		return src.at(errors.New("and " + quoteName(dst.name) + " are the same file"))
	}
	err = src.im.Tree().RenameFlags(src.path, dst.path, flags)
	switch {
	case noClobber && errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, volume.ErrInvalid):
		return src.at(errors.New("cannot be moved below itself, to " + quoteName(dst.name)))
	case errors.Is(err, volume.ErrBusy):
		return src.at(errRoot)
	case err != nil:
		return dst.at(err)
	}
	done()
	return nil
}
