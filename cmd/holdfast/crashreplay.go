package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"holdfast/crash"
)

func crashReplayCommand() *cobra.Command {
	var out string
	var from sessionSource
	var force bool
	c := &cobra.Command{
		Use:   "replay SCRIPT|TRACE ID -o IMAGE",
		Short: "Rebuild the image of one crash state",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usage("say where the image goes: -o IMAGE")
			}
			if err := refuseOverwrite(out, force); err != nil {
				return badInput(err)
			}
			if err := canWrite(out); err != nil {
				return badInput(err)
			}
			x, err := from.load(args[0])
			if err != nil {
				return badInput(err)
			}
			image, err := crash.Rebuild(x.trace, args[1], x.label, x.check)
			if err != nil {
				return badInput(err)
			}
			files := map[string][]byte{out: image.Bytes}
			second := out + ".mirror"
			if half := len(image.Bytes) / 2; x.script.Image.Mirror {
				if err := refuseOverwrite(second, force); err != nil {
					return badInput(err)
				}
				files = map[string][]byte{out: image.Bytes[:half], second: image.Bytes[half:]}
			}
			for name, p := range files {
				if err := writeWhole(name, func(w io.Writer) error { _, err := w.Write(p); return err }); err != nil {
					return badInput(err)
				}
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "%s: the image of %s\n", out, args[1])
			if x.script.Image.Mirror {
				fmt.Fprintf(w, "  its second file is %s; offsets go on from one to the other\n", second)
			}
			for _, m := range image.Missing {
				fmt.Fprintf(w, "  %s\n", m)
			}
			for _, b := range image.Bad {
				fmt.Fprintf(w, "  bad: %d bytes at %d; the file has a pattern there that no checksum accepts\n", b.Len, b.Off)
			}
			switch k, err := image.Judge(x.check); {
			case err != nil:
				_, err = fmt.Fprintf(w, "verdict: %v\n", verdictOf(err, image.Point))
				return badInput(err)
			default:
				_, err = fmt.Fprintf(w, "verdict: good: the tree %s\n", outcome(k))
				return badInput(err)
			}
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the image file")
	from.bind(c.Flags())
	c.Flags().BoolVarP(&force, "force", "F", false, "overwrite an existing file")
	return c
}
