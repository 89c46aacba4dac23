package main

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"holdfast/volume"
)

func touchCommand() *cobra.Command {
	var access, modification, noCreate, itself bool
	var stamp, date, reference string
	c := &cobra.Command{
		Use:   "touch IMAGE:PATH...",
		Short: "Set times of files in an image, and make files",
		Long: `Set access and modification time of files in an image to now, or to what is said. A file that
does not exist is made, empty. Times without a zone are local.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			atime, mtime := now, now
			given := 0
			for _, name := range []string{"stamp", "date", "reference"} {
				if cmd.Flags().Changed(name) {
					given++
				}
			}
			if given > 1 {
				return usage("-t, -d and -r exclude one another")
			}
			var err error
			switch {
			case cmd.Flags().Changed("stamp"):
				if mtime, err = parseStamp(stamp, now); err != nil {
					return usage("-t %q: %w", stamp, err)
				}
				atime = mtime
			case cmd.Flags().Changed("date"):
				if mtime, err = parseDate(date, now); err != nil {
					return usage("-d %q: %w", date, err)
				}
				atime = mtime
			}
			return runVerb(cmd, true, args, func(w *work, args []string) error {
				if reference != "" {
					if atime, mtime, err = w.timesOf(reference, !itself); err != nil {
						return err
					}
				}
				var s volume.SetAttr
				if access || !modification {
					s.Atime = &atime
				}
				if modification || !access {
					s.Mtime = &mtime
				}
				w.each(args, func(o operand) error {
					a, err := o.resolve(!itself)
					if errors.Is(err, fs.ErrNotExist) {
						switch {
						case noCreate:
							return nil
						case itself:
							return err
						}
						f, cerr := o.im.Tree().OpenFile(o.path, os.O_WRONLY|os.O_CREATE, fs.FileMode(0o666&^umask()))
						if cerr != nil {
							return o.at(cerr)
						}
						a.Ino, err = f.Ino(), f.Close()
					}
					if err != nil {
						return err
					}
					_, err = o.im.Setattr(a.Ino, s)
					return o.at(err)
				})
				return nil
			})
		},
	}
	f := freeH(c).Flags()
	f.BoolVarP(&access, "access", "a", false, "only the access time")
	f.BoolVarP(&modification, "modification", "m", false, "only the modification time")
	f.BoolVarP(&noCreate, "no-create", "c", false, "make no file")
	f.BoolVarP(&itself, "no-dereference", "h", false, "of a symbolic link itself; make no file")
	f.StringVarP(&stamp, "stamp", "t", "", "this time: [[CC]YY]MMDDhhmm[.ss]")
	f.StringVarP(&date, "date", "d", "", "this time: now, @SECONDS or YYYY-MM-DD [HH:MM[:SS]] [ZONE]")
	f.StringVarP(&reference, "reference", "r", "", "the times of this file, IMAGE:PATH or of the host")
	return c
}
