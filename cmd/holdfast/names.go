package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/layout"
)

func mkdirCommand() *cobra.Command {
	var parents bool
	var mode string
	c := &cobra.Command{
		Use:   "mkdir IMAGE:PATH...",
		Short: "Make directories in an image",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			perm, err := strconv.ParseUint(mode, 8, 12)
			if err != nil {
				return usage("mode %q: want octal digits", mode)
			}
			return perImage(args, true, func(im *image, paths []string) error {
				for _, p := range paths {
					make := im.Tree().Mkdir
					if parents {
						make = im.Tree().MkdirAll
					}
					if err := make(p, fs.FileMode(perm)); err != nil {
						return im.at(p, err)
					}
				}
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&parents, "parents", "p", false, "make parents as needed; no error if it exists")
	c.Flags().StringVarP(&mode, "mode", "m", "0755", "permissions, octal")
	return c
}

func rmdirCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rmdir IMAGE:PATH...",
		Short: "Remove empty directories from an image",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return perImage(args, true, func(im *image, paths []string) error {
				for _, p := range paths {
					dir, err := im.resolve(path.Dir(p), true)
					if err != nil {
						return err
					}
					if err := im.Rmdir(dir.Ino, path.Base(p)); err != nil {
						return im.at(p, err)
					}
				}
				return nil
			})
		},
	}
}

func rmCommand() *cobra.Command {
	var recursive, force bool
	c := &cobra.Command{
		Use:   "rm IMAGE:PATH...",
		Short: "Remove files from an image",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			slash := map[string]bool{}
			for _, a := range args {
				if _, p, ok := splitImagePath(a); ok && strings.HasSuffix(a, "/") {
					slash[p] = true
				}
			}
			return perImage(args, true, func(im *image, paths []string) error {
				for _, p := range paths {
					if slash[p] && p != "/" { // only a directory may be written so
						p += "/"
					}
					err := remove(im, p, recursive)
					if force && errors.Is(err, fs.ErrNotExist) {
						continue
					}
					if err != nil {
						return im.at(p, err)
					}
				}
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "remove directories and what is in them")
	c.Flags().BoolVarP(&force, "force", "f", false, "no error for what does not exist")
	return c
}

func remove(im *image, p string, recursive bool) error {
	if p == "/" {
		return errors.New("the root directory cannot be removed")
	}
	a, err := im.Tree().Resolve(path.Clean(p), false)
	if err != nil {
		return err
	}
	attr, err := im.Getattr(a)
	if err != nil {
		return err
	}
	if attr.Mode&layout.ModeType != layout.ModeDir {
		return im.Tree().Remove(p)
	}
	if !recursive {
		return errors.New("is a directory (use -r)")
	}
	return im.Tree().RemoveAll(p)
}

// bothInside resolves the operands of mv and ln: all in one image.
func bothInside(args []string) (name string, paths []string, err error) {
	for i, a := range args {
		n, p, ok := splitImagePath(a)
		switch {
		case !ok && i > 0: // the destination may leave out the image
			p = path.Clean("/" + a)
		case !ok:
			return "", nil, usage("%s: want IMAGE:PATH", a)
		case i > 0 && n != name:
			return "", nil, usage("%s and %s: operands must lie in one image", name, n)
		default:
			name = n
		}
		paths = append(paths, p)
	}
	return name, paths, nil
}

// destination is where an operand goes: into the last path if that is a directory. raw is how
// the user wrote it: with a slash at the end it must be one.
func destination(im *image, src, dst, raw string, asFile bool) (string, error) {
	if asFile {
		return dst, nil
	}
	if ino, err := im.Tree().Resolve(dst, true); err == nil {
		if a, err := im.Getattr(ino); err == nil && a.Mode&layout.ModeType == layout.ModeDir {
			return path.Join(dst, path.Base(src)), nil
		}
	}
	if strings.HasSuffix(raw, "/") {
		return "", im.at(dst, errors.New("not a directory"))
	}
	return dst, nil
}

func mvCommand() *cobra.Command {
	var noTarget, noClobber bool
	c := &cobra.Command{
		Use:   "mv IMAGE:OLD... IMAGE:NEW",
		Short: "Rename files in an image, atomically",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			name, paths, err := bothInside(args)
			if err != nil {
				return err
			}
			return withImage(name, true, func(im *image) error {
				dst := paths[len(paths)-1]
				for _, src := range paths[:len(paths)-1] {
					to, err := destination(im, src, dst, args[len(args)-1], noTarget)
					if err != nil {
						return err
					}
					if len(paths) > 2 && to == dst {
						return im.at(dst, errors.New("not a directory"))
					}
					if noClobber {
						if _, err := im.Tree().Resolve(to, false); err == nil {
							continue
						}
					}
					if err := im.Tree().Rename(src, to); err != nil {
						return im.at(src, fmt.Errorf("to %s: %w", to, cause(err)))
					}
				}
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&noTarget, "no-target-directory", "T", false, "NEW is the new name even if it is a directory")
	c.Flags().BoolVarP(&noClobber, "no-clobber", "n", false, "do not replace what exists")
	return c
}

func lnCommand() *cobra.Command {
	var symbolic, force bool
	c := &cobra.Command{
		Use:   "ln [-s] IMAGE:OLD|TARGET IMAGE:NEW",
		Short: "Link files in an image",
		Args:  cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			name, dst, err := inImage(args[1])
			if err != nil && !symbolic {
				var paths []string
				if name, paths, err = bothInside(args); err == nil {
					dst = paths[1]
				}
			}
			if err != nil {
				return err
			}
			target := args[0]
			if !symbolic {
				n, p, ok := splitImagePath(args[0])
				switch {
				case !ok:
					p = path.Clean("/" + args[0])
				case n != name:
					return usage("%s and %s: hard links stay in one image", n, name)
				}
				target = p
			}
			return withImage(name, true, func(im *image) error {
				to, err := destination(im, target, dst, args[1], false)
				if err != nil {
					return err
				}
				if force {
					if err := remove(im, to, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
						return im.at(to, err)
					}
				}
				if symbolic {
					return im.at(to, im.Tree().Symlink(target, to))
				}
				return im.at(to, im.Tree().Link(target, to))
			})
		},
	}
	c.Flags().BoolVarP(&symbolic, "symbolic", "s", false, "make a symbolic link: TARGET is kept as it is")
	c.Flags().BoolVarP(&force, "force", "f", false, "remove NEW first if it exists")
	return c
}
