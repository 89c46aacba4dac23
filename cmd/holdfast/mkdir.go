package main

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/volume"
)

func mkdirCommand() *cobra.Command {
	var parents, verbose bool
	var mode string
	c := &cobra.Command{
		Use:   "mkdir IMAGE:PATH...",
		Short: "Make directories in an image",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			perm, err := newMode(mode, 0o777, true)
			if err != nil {
				return err
			}
			return runVerb(cmd, true, args, func(w *work, args []string) error {
				w.each(args, func(o operand) error {
					if parents {
						return mkdirAll(w, o, perm, mode != "", verbose)
					}
					err := o.im.Tree().Mkdir(o.path, perm)
					w.verbose(verbose && err == nil, "created directory %s", shellQuote(o.name))
					return o.at(err)
				})
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&parents, "parents", "p", false, "make parents as needed; no error if it exists")
	c.Flags().StringVarP(&mode, "mode", "m", "", "permissions, as for chmod (default: a=rwx less the umask)")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "print a line for each directory")
	return c
}

// newMode is the permissions of something new: all less the umask, or what -m makes of all.
func newMode(mode string, all uint16, dir bool) (fs.FileMode, error) {
	if mode == "" {
		return fs.FileMode(all &^ umask()), nil
	}
	change, err := parseMode(mode)
	if err != nil {
		return 0, err
	}
	return fs.FileMode(change.apply(all, dir, umask())), nil
}

// mkdirAll makes a directory and those above it; these get the usual permissions.
func mkdirAll(w *work, o operand, perm fs.FileMode, given, verbose bool) error {
	path := strings.TrimRight(o.path, "/")
	for i := 1; i <= len(path); i++ {
		if i < len(path) && (path[i] != '/' || path[i-1] == '/') {
			continue
		}
		dir, mode := o.prefix(i), perm
		if i < len(path) && given {
			mode = fs.FileMode(0o777&^umask() | 0o300)
		}
		err := dir.im.Tree().Mkdir(dir.path, mode)
		if errors.Is(err, fs.ErrExist) {
			a, rerr := dir.resolve(true)
			switch {
			case rerr != nil:
				return rerr
			case isDir(a):
				continue
			case i < len(path):
				return dir.at(volume.ErrNotDir)
			}
		}
		if err != nil {
			return dir.at(err)
		}
		w.verbose(verbose, "created directory %s", shellQuote(dir.name))
	}
	return nil
}
