package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/layout"
	"holdfast/volume"
)

func chmodCommand() *cobra.Command {
	var recursive, verbose, changes, quiet bool
	var reference, mode string
	c := &cobra.Command{
		Use:   "chmod MODE[,MODE]... IMAGE:PATH...",
		Short: "Change permissions in an image",
		Long: `Change permissions in an image. A MODE is octal digits or [ugoa]*[-+=][rwxXst|ugo]..., as for
chmod(1): X is x for directories and for what somebody may execute; where nobody is named
all are meant, but for what the umask hides. Symbolic links have no permissions: one that is
named leads to what is changed, one that -R meets is left.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("reference") && mode == "" {
				mode, args = args[0], args[1:]
			}
			if len(args) == 0 {
				return usage("requires an operand behind the mode (usage: %s)", cmd.UseLine())
			}
			var change modeChange
			if reference == "" {
				var err error
				if change, err = parseMode(mode); err != nil {
					return err
				}
			}
			mask := umask()
			return runVerb(cmd, true, args, func(w *work, args []string) error {
				if reference != "" {
					var err error
					if change, err = w.modeOf(reference); err != nil {
						return err
					}
				}
				fail := func(err error) {
					if quiet && err != nil {
						w.failed = true
						return
					}
					w.fail(err)
				}
				set := func(o operand, a volume.Attr) error {
					old := a.Mode & layout.ModePerm
					perm := change.apply(old, isDir(a), mask)
					if perm != old {
						if _, err := o.im.Setattr(a.Ino, volume.SetAttr{Mode: &perm}); err != nil {
							return o.at(err)
						}
						w.verbose(verbose || changes, "mode of %s changed from %04o (%s) to %04o (%s)",
							shellQuote(o.name), old, modeString(old)[1:], perm, modeString(perm)[1:])
						return nil
					}
					w.verbose(verbose, "mode of %s retained as %04o (%s)", shellQuote(o.name), old, modeString(old)[1:])
					return nil
				}
				for _, arg := range args {
					o, err := w.operand(arg)
					var a volume.Attr
					if err == nil {
						a, err = o.resolve(true)
					}
					switch {
					case err != nil:
					case recursive:
						w.walk(o, a, fail, func(o operand, a volume.Attr) error {
							if isLink(a) {
								return nil
							}
							return set(o, a)
						})
					default:
						err = set(o, a)
					}
					fail(err)
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&recursive, "recursive", "R", false, "whole trees")
	f.BoolVarP(&verbose, "verbose", "v", false, "print a line for each file")
	f.BoolVarP(&changes, "changes", "c", false, "print a line for each change")
	f.BoolVarP(&quiet, "quiet", "f", false, "no messages for files that cannot be changed")
	f.StringVar(&reference, "reference", "", "the permissions of this file, IMAGE:PATH or of the host")
	f.StringVar(&mode, modeFlag, "", "the mode")
	f.Lookup(modeFlag).Hidden = true
	return c
}

// modeFlag carries a mode that begins with a dash past the parser of flags.
const modeFlag = "mode"

// dashMode makes `chmod -w FILE` understood: the mode is no flag.
func dashMode(args []string) []string {
	chmod := false
	for i, a := range args {
		switch {
		case a == "--":
			return args
		case a == "chmod":
			chmod = true
		case !strings.HasPrefix(a, "-") && !chmod:
			return args
		case chmod && len(a) > 1 && a[0] == '-' && strings.IndexByte("rwxXstugoa=+,01234567", a[1]) >= 0:
			done := append([]string{}, args[:i]...)
			return append(append(done, "--"+modeFlag+"="+a), args[i+1:]...)
		}
	}
	return args
}

// modeOf is the change that gives the permissions of IMAGE:PATH or of a file of the host.
func (w *work) modeOf(arg string) (modeChange, error) {
	var perm uint16
	if _, _, inside := splitImagePath(arg); inside {
		o, err := w.operand(arg)
		if err != nil {
			return nil, err
		}
		a, err := o.resolve(true)
		if err != nil {
			return nil, err
		}
		perm = a.Mode & layout.ModePerm
	} else {
		st, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		perm = volume.PosixMode(st.Mode()) & layout.ModePerm
	}
	return parseMode(fmt.Sprintf("%05o", perm))
}
