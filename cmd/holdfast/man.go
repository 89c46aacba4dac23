package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func manCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "man [COMMAND...]",
		Short: "Write manual pages",
		Long: `Write the manual page of a command, or of the program, to standard output, or with -o all of
them into a directory, one file each. With SOURCE_DATE_EPOCH set, that is their date.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := sourceDate()
			if err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "holdfast", Manual: "holdfast"}
			if !date.IsZero() {
				header.Date = &date
			}
			if cmd.Flags().Changed("output") {
				if len(args) > 0 {
					return usage("-o writes all pages: no COMMAND goes with it")
				}
				if err := os.MkdirAll(dir, 0o777); err != nil {
					return err
				}
				return doc.GenManTree(root, header, dir)
			}
			page, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usage("%s: no such command", quoteName(strings.Join(args, " ")))
			}
			if err := doc.GenMan(page, header, cmd.OutOrStdout()); err != nil {
				return fmt.Errorf("standard output: %w", cause(err))
			}
			return nil
		},
	}
	c.Flags().StringVarP(&dir, "output", "o", "", "write all pages into this directory")
	return c
}
