package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/volume"
)

func chownCommand() *cobra.Command {
	var recursive, itself, verbose, changes bool
	var reference string
	c := &cobra.Command{
		Use:        "chown [UID][:[GID]] IMAGE:PATH...",
		SuggestFor: []string{"chgrp"},
		Short:      "Change owner and group in an image",
		Long: `Change owner and group in an image, both numbers; one that is left out stays. A symbolic link
is followed, but with -h or -R changed itself.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var s volume.SetAttr
			if reference == "" {
				var err error
				if s, err = parseOwner(args[0]); err != nil {
					return err
				}
				args = args[1:]
			}
			if len(args) == 0 {
				return usage("requires an operand behind the owner (usage: %s)", cmd.UseLine())
			}
			return runVerb(cmd, true, args, func(w *work, args []string) error {
				if reference != "" {
					o, err := w.operand(reference)
					if err != nil {
						return err
					}
					a, err := o.resolve(true)
					if err != nil {
						return err
					}
					s = volume.SetAttr{UID: &a.UID, GID: &a.GID}
				}
				set := func(o operand, a volume.Attr) error {
					uid, gid := a.UID, a.GID
					if s.UID != nil {
						uid = *s.UID
					}
					if s.GID != nil {
						gid = *s.GID
					}
					if _, err := o.im.Setattr(a.Ino, s); err != nil {
						return o.at(err)
					}
					if uid == a.UID && gid == a.GID {
						w.verbose(verbose, "ownership of %s retained as %d:%d", shellQuote(o.name), uid, gid)
					} else {
						w.verbose(verbose || changes, "changed ownership of %s from %d:%d to %d:%d", shellQuote(o.name), a.UID, a.GID, uid, gid)
					}
					return nil
				}
				w.each(args, func(o operand) error {
					a, err := o.resolve(!itself && !recursive)
					if err != nil {
						return err
					}
					if recursive {
						w.walk(o, a, w.fail, set)
						return nil
					}
					return set(o, a)
				})
				return nil
			})
		},
	}
	f := freeH(c).Flags()
	f.BoolVarP(&recursive, "recursive", "R", false, "whole trees")
	f.BoolVarP(&itself, "no-dereference", "h", false, "change symbolic links themselves")
	f.BoolVarP(&verbose, "verbose", "v", false, "print a line for each file")
	f.BoolVarP(&changes, "changes", "c", false, "print a line for each change")
	f.StringVar(&reference, "reference", "", "owner and group of this IMAGE:PATH")
	return c
}

// parseOwner reads UID, UID:GID or :GID.
func parseOwner(s string) (volume.SetAttr, error) {
	var change volume.SetAttr
	uid, gid, _ := strings.Cut(s, ":")
	for _, part := range []struct {
		text string
		to   **uint32
	}{{uid, &change.UID}, {gid, &change.GID}} {
		if part.text == "" {
			continue
		}
		n, err := strconv.ParseUint(part.text, 10, 32)
		if err != nil || n == 1<<32-1 {
			return change, usage("%s: want UID:GID, numbers below 4294967295", quoteName(s))
		}
		v := uint32(n)
		*part.to = &v
	}
	if strings.HasSuffix(s, ":") && s != ":" {
		return change, usage("%s: a group is missing behind the colon: owners are numbers, no login says which group is meant", quoteName(s))
	}
	return change, nil
}
