package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"holdfast/transfer"
	"holdfast/volume"
)

func tarCommand() *cobra.Command {
	var a archiver
	c := &cobra.Command{
		Use:   "tar IMAGE:PATH [-o FILE] | tar -x IMAGE:PATH [-f FILE]",
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
			case a.extract && (a.output != "" || a.gzip):
				return usage("-x reads an archive: --file, not --output or --gzip")
			case !a.extract && a.file != "":
				return usage("--file is an archive to unpack: -x, or --output")
			}
			match, err := transfer.Match(a.exclude)
			if err != nil {
				return usage("--exclude: %w", err)
			}
			a.Exclude, a.Preserve = match, true
			return runVerb(cmd, a.extract, args, func(w *work, args []string) error {
				a.w = w
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
	f.StringVarP(&a.file, "file", "f", "", "the archive to unpack (default: standard input)")
	f.StringVarP(&a.output, "output", "o", "", "write the archive to this file")
	f.BoolVarP(&a.gzip, "gzip", "z", false, "compress the archive")
	f.StringArrayVar(&a.exclude, "exclude", nil, "leave out what matches this pattern")
	f.BoolVar(&a.KeepGoing, "keep-going", false, "leave out files that are damaged, rather than stop at one")
	return c
}

type archiver struct {
	transfer.Options
	w             *work
	extract, gzip bool
	file, output  string
	exclude       []string
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
