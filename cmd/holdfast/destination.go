package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdfast/volume"
)

// destination says where cp, mv and ln put things.
type destination struct {
	dir      string // -t
	noTarget bool   // -T
	noDeref  bool   // ln -n: a link to a directory is no directory
}

func (d *destination) flags(f *pflag.FlagSet) {
	f.StringVarP(&d.dir, "target-directory", "t", "", "put all into this directory")
	f.BoolVarP(&d.noTarget, "no-target-directory", "T", false, "the last operand is the new name even if it is a directory")
}

// split splits the operands into sources and destination.
func (d *destination) split(cmd *cobra.Command, args []string) (sources []string, dst string, err error) {
	given := cmd.Flags().Changed("target-directory")
	switch {
	case given && d.noTarget:
		return nil, "", usage("-t and -T exclude one another")
	case given && len(args) > 0:
		return args, d.dir, nil
	case given || len(args) < 2:
		return nil, "", usage("missing operand (usage: %s)", cmd.UseLine())
	case d.noTarget && len(args) > 2:
		return nil, "", usage("%s: one operand too many", quoteName(args[2]))
	}
	return args[:len(args)-1], args[len(args)-1], nil
}

// inside says what the operands become in an image: each its own name in the directory dst, or
// dst itself. several: dst has to be a directory. What is written with a slash behind it and does
// not exist may become a directory; nothing else.
func (d *destination) inside(cmd *cobra.Command, dst operand, several bool) (func(base string) (operand, error), error) {
	if d.noTarget {
		return func(string) (operand, error) { return dst, nil }, nil
	}
	a, err := dst.resolve(!d.noDeref)
	switch {
	case err == nil && isDir(a):
		made := map[string]bool{}
		return func(base string) (operand, error) {
			to := dst.child(base)
			if base == "" || base == "." || base == ".." {
				return to, dst.at(fmt.Errorf("%q is no name for something in it", base))
			}
			if made[base] {
				return to, to.at(fmt.Errorf("has just been made: it is not replaced"))
			}
			made[base] = true
			return to, nil
		}, nil
	case several || cmd.Flags().Changed("target-directory") || dst.slash() && !errors.Is(err, fs.ErrNotExist):
		if err == nil {
			err = dst.at(volume.ErrNotDir)
		}
		return nil, err
	}
	return func(string) (operand, error) { return dst, nil }, nil
}

// sameImage is the operand that arg is in the image of first: without IMAGE: it is a path of it.
func (w *work) sameImage(first operand, arg string) (operand, error) {
	if _, _, ok := splitImagePath(arg); !ok {
		return operand{first.im, first.im.name + ":" + rooted(arg), rooted(arg)}, nil
	}
	o, err := w.operand(arg)
	if err == nil && o.im != first.im {
		err = usage("%s and %s: operands must lie in one image", quoteName(first.im.name), quoteName(o.im.name))
	}
	return o, err
}
