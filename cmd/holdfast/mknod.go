package main

import (
	"io/fs"
	"strconv"

	"github.com/spf13/cobra"

	"holdfast/layout"
	"holdfast/volume"
)

func mknodCommand() *cobra.Command {
	var mode string
	c := &cobra.Command{
		Use:        "mknod IMAGE:PATH p|s|c|b [MAJOR MINOR]",
		SuggestFor: []string{"mkfifo"},
		Short:      "Make a pipe, a socket or a device in an image",
		Long: `Make a pipe (p), a socket (s), or a device of characters (c, u) or blocks (b) with its numbers,
in an image. No root is needed.`,
		Args: cobra.RangeArgs(2, 4),
		RunE: func(cmd *cobra.Command, args []string) error {
			types := map[string]uint16{"p": layout.ModeFIFO, "s": layout.ModeSocket, "c": layout.ModeChar, "u": layout.ModeChar, "b": layout.ModeBlock}
			kind, ok := types[args[1]]
			if !ok {
				return usage("%s: not a type: want p, s, c or b", quoteName(args[1]))
			}
			device := kind == layout.ModeChar || kind == layout.ModeBlock
			if device && len(args) != 4 {
				return usage("a device needs its MAJOR and MINOR number")
			}
			if !device && len(args) != 2 {
				return usage("only a device has numbers")
			}
			var numbers [2]uint32
			for i, s := range args[2:] {
				n, err := strconv.ParseUint(s, 0, 32)
				if most := []uint64{volume.MaxMajor, volume.MaxMinor}[i]; err != nil || n > most {
					return usage("%s: not a device number: want one up to %d", quoteName(s), most)
				}
				numbers[i] = uint32(n)
			}
			perm, err := newMode(mode, 0o666, false)
			if err != nil {
				return err
			}
			return runVerb(cmd, true, args[:1], func(w *work, args []string) error {
				w.each(args, func(o operand) error {
					return o.at(o.im.Tree().Mknod(o.path, volume.FileMode(kind)|perm&0o777|upperBits(perm), numbers[0], numbers[1]))
				})
				return nil
			})
		},
	}
	c.Flags().StringVarP(&mode, "mode", "m", "", "permissions, as for chmod (default: a=rw less the umask)")
	return c
}

// upperBits are the set-ID and sticky bits of POSIX as package fs has them.
func upperBits(perm fs.FileMode) fs.FileMode {
	return volume.FileMode(uint16(perm)&0o7000) &^ fs.ModeType
}
