package main

import (
	"errors"

	"github.com/spf13/cobra"

	"holdfast/volume"
)

func rmdirCommand() *cobra.Command {
	var parents, verbose, ignore bool
	c := &cobra.Command{
		Use:   "rmdir IMAGE:PATH...",
		Short: "Remove empty directories from an image",
		Args:  cobra.MinimumNArgs(1),
		RunE: verb(true, func(w *work, args []string) error {
			w.each(args, func(o operand) error {
				for {
					w.verbose(verbose, "removing directory, %s", shellQuote(o.name))
					dir, base, err := o.place()
					if err == nil {
						err = o.at(o.im.Rmdir(dir, base))
					}
					if ignore && errors.Is(err, volume.ErrNotEmpty) {
						return nil
					}
					if err != nil || !parents {
						return err
					}
					if o = o.parent(); o.base() == "" {
						return nil
					}
				}
			})
			return nil
		}),
	}
	c.Flags().BoolVarP(&parents, "parents", "p", false, "remove the directories above too, as far as the path names them")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "print a line for each directory")
	c.Flags().BoolVar(&ignore, "ignore-fail-on-non-empty", false, "no error for a directory that is not empty")
	return c
}
