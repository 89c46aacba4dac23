package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"holdfast/disk"
)

func crashRecordCommand() *cobra.Command {
	var out, override string
	c := &cobra.Command{
		Use:   "record SCRIPT -o TRACE",
		Short: "Play a workload and record every write, flush and operation",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usage("say where the trace goes: -o TRACE")
			}
			if err := canWrite(out, args[0]); err != nil {
				return badInput(err)
			}
			x, err := load(args[0], override)
			if err != nil {
				return badInput(err)
			}
			if err := writeWhole(out, func(w io.Writer) error { return x.trace.Encode(w) }); err != nil {
				return badInput(err)
			}
			var writes, flushes int
			for _, e := range x.trace.Events {
				switch e.Kind {
				case disk.EventWrite:
					writes++
				case disk.EventFlush:
					flushes++
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: trace %016x of %d operations: %d writes, %d flushes, image of %s\n",
				out, x.trace.Hash(), len(x.script.Ops), writes, flushes, human(uint64(len(x.trace.Base))))
			return err
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the trace file")
	c.Flags().StringVar(&override, "image", "", `change the image line of the script, as "sector=4096 block=4k size=4m"`)
	return c
}
