package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/transfer"
	"holdfast/volume"
)

func tarCommand() *cobra.Command {
	var a archiver
	var create bool
	c := &cobra.Command{
		Use:   "tar [-c] IMAGE:PATH [-f FILE] | tar -x IMAGE:PATH [-f FILE]",
		Short: "Write a tar archive of a tree in an image, or unpack one into it",
		Long: `Write what a path in an image names as a tar archive in the PAX format, to standard output or
--output. Names are those that tar -c -C PATH . gives. Types, modes, numeric owners, times to the
nanosecond, hard links, holes and extended attributes are kept; sockets are left out.

With -x unpack an archive, compressed with gzip, zstd or bzip2 or not at all, from standard input
or --file into a directory of an image, as GNU tar does: a later member replaces an earlier one. Names that
lead out of the directory are refused, symbolic links not followed. The first member that cannot
be unpacked ends it; what came before it stays.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case a.extract && create:
				return usage("-c and -x exclude one another")
			case a.extract && a.output != "":
				return usage("-x reads an archive: --file, not --output")
			case !a.extract && a.file != "" && a.output != "":
				return usage("--file and --output are both where the archive goes")
			case !a.extract && a.file != "":
				a.output = a.file
			}
			match, err := transfer.Match(a.exclude)
			if err != nil {
				return usage("--exclude: %w", err)
			}
			a.Exclude, a.Preserve = match, true
			return runVerb(cmd, a.extract, args, func(w *work, args []string) error {
				a.w = w
				a.list()
				to, err := w.operand(args[0])
				if err != nil {
					return err
				}
				if a.extract {
					return a.in(to)
				}
				return a.out(to)
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&a.extract, "extract", "x", false, "unpack an archive")
	f.BoolVarP(&create, "create", "c", false, "write an archive, as without -x")
	f.StringVarP(&a.file, "file", "f", "", "the archive (default: standard input or output)")
	f.StringVarP(&a.output, "output", "o", "", "write the archive to this file, like -c -f")
	f.BoolVarP(&a.gzip, "gzip", "z", false, "compress the archive; with -x it is recognised in any case")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "list the members, on standard error if the archive goes to standard output")
	f.StringArrayVar(&a.exclude, "exclude", nil, "leave out what matches this pattern")
	f.BoolVar(&a.KeepGoing, "keep-going", false, "leave out files that are damaged, rather than stop at one")
	return c
}

type archiver struct {
	transfer.Options
	w                      *work
	extract, gzip, verbose bool
	file, output           string
	exclude                []string
}

// list has members listed, with -v.
func (a *archiver) list() {
	if !a.verbose {
		return
	}
	var out io.Writer = a.w.out
	if !a.extract && (a.output == "" || a.output == "-") {
		out = a.w.cmd.ErrOrStderr()
	}
	a.Progress = func(rel string, n int64) {
		if n == 0 {
			fmt.Fprintln(out, quoteName(strings.TrimSuffix("./"+rel, "/.")))
		}
	}
}

func (a *archiver) report(s transfer.Stats) {
	for _, text := range s.Warnings {
		a.w.warn("warning: " + text)
	}
	a.w.failed = a.w.failed || s.Damaged > 0
}

// in unpacks an archive.
func (a *archiver) in(to operand) error {
	dir, err := to.resolve(true)
	if err != nil {
		return err
	}
	if !isDir(dir) {
		return to.at(volume.ErrNotDir)
	}
	var r io.Reader = a.w.cmd.InOrStdin()
	name := "standard input"
	if a.file != "" && a.file != "-" {
		f, err := os.Open(a.file)
		if err != nil {
			return err
		}
		defer f.Close()
		r, name = f, a.file
	}
	s, err := transfer.FromTar(to.im.Volume, dir.Ino, r, name, a.Options)
	a.report(s)
	return err
}

// out writes an archive.
func (a *archiver) out(from operand) error {
	top, err := from.resolve(true)
	if err != nil {
		return err
	}
	write := func(w io.Writer) error {
		z := io.WriteCloser(plainWriter{w})
		if a.gzip {
			z = gzip.NewWriter(w)
		}
		s, err := transfer.ToTar(from.im.Volume, top.Ino, from.base(), z, a.Options)
		a.report(s)
		if err != nil && !errors.Is(err, transfer.ErrOutput) {
			return fmt.Errorf("%s: %w", quoteName(from.name), err)
		}
		return errors.Join(err, z.Close())
	}
	if a.output != "" && a.output != "-" {
		return writeWhole(a.output, write)
	}
	return write(a.w.out)
}

// plainWriter is a writer whose Close does nothing.
type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }
