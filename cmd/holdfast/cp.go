package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast/transfer"
	"holdfast/volume"
)

func cpCommand() *cobra.Command {
	var c copier
	var archive, preserve bool
	var sparse string
	cmd := &cobra.Command{
		Use:        "cp [-a|-r] SOURCE... DEST",
		SuggestFor: []string{"copy", "get", "put"},
		Short:      "Copy files between the host and images",
		Long: `Copy files and trees, from the host or an image to an image or the host: IMAGE:PATH names a file
in an image, and one side has to; a file of the host whose name has a colon is written ./a:b. A
SOURCE of - is standard input, a DEST of - standard output. DIR/. is what is in a directory.

Without -a and -r what a symbolic link or a device leads to is copied, with them these
themselves. With -a types, modes, owners, times and hard links are kept. What exists in the
image, or with -a or -p on the host, is replaced; else what exists on the host is written to,
as cp does. Where an image is damaged the rest is copied, and the exit status is 1.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch sparse {
			case "auto", "always":
			case "never":
				c.Dense = true
			default:
				return usage("--sparse=%s: want auto, always or never", sparse)
			}
			sources, dst, err := c.split(cmd, args)
			if err != nil {
				return err
			}
			c.recursive = c.recursive || archive
			c.Preserve, c.KeepGoing = archive || preserve, true
			_, _, into := splitImagePath(dst)
			for _, src := range sources {
				if _, _, from := splitImagePath(src); !from && !into {
					return usage("%s and %s: one side has to be IMAGE:PATH", quoteName(src), quoteName(dst))
				}
			}
			return runVerb(cmd, into, sources, func(w *work, sources []string) error {
				c.w = w
				if into {
					return c.in(sources, dst)
				}
				return c.out(sources, dst)
			})
		},
	}
	f := cmd.Flags()
	c.flags(f)
	f.BoolVarP(&archive, "archive", "a", false, "whole trees, with owners, modes, times and links")
	f.BoolVarP(&c.recursive, "recursive", "r", false, "whole trees")
	f.BoolVarP(&c.recursive, "Recursive", "R", false, "like -r")
	f.BoolVarP(&preserve, "preserve", "p", false, "with owners, modes and times")
	f.BoolVarP(&c.noClobber, "no-clobber", "n", false, "leave what exists")
	f.BoolVarP(&c.update, "update", "u", false, "leave what exists and is not older")
	f.BoolVarP(&c.force, "force", "f", false, "replace what exists on the host and cannot be written")
	f.BoolVarP(&c.verbose, "verbose", "v", false, "print a line for each file")
	f.StringVar(&sparse, "sparse", "auto", "auto, always: blocks of zeros become holes; never: they are written")
	f.Lookup("Recursive").Hidden = true
	return cmd
}

type copier struct {
	destination
	transfer.Options
	w                                            *work
	recursive, noClobber, update, force, verbose bool
}

// keeps reports whether something that exists is left because of what is to replace it, by their times.
func (c *copier) keeps(there, source time.Time) bool {
	return c.noClobber || c.update && !source.After(there)
}

// inTheWay refuses to replace a directory by something else, and something else by a directory.
func inTheWay(to operand, old volume.Attr, dir bool) error {
	switch {
	case dir && !isDir(old):
		return to.at(errors.New("not a directory: a directory does not replace it"))
	case !dir && isDir(old):
		return to.at(errors.New("is a directory: a file does not replace it"))
	}
	return nil
}

// copied prints the line of -v.
func (c *copier) copied(src, dst string) {
	c.w.verbose(c.verbose, "%s -> %s", shellQuote(src), shellQuote(dst))
}

// options are those of one copy: rel, with the first name cut off if named is set, is where a
// file is below src and dst; there says whether something that stays is at a path below dst.
func (c *copier) options(src, dst string, named bool, there func(rel string, info fs.FileInfo) bool) transfer.Options {
	o := c.Options
	tail := func(rel string) string {
		if named {
			_, rel, _ = strings.Cut(rel, "/")
		}
		return strings.TrimPrefix(rel, ".")
	}
	if c.verbose {
		o.Progress = func(rel string, n int64) {
			if n != 0 {
				return
			}
			if t := tail(rel); t == "" {
				c.copied(src, dst)
			} else {
				c.copied(below(src, t), below(dst, t))
			}
		}
	}
	if c.noClobber || c.update {
		o.Exclude = func(rel string, info fs.FileInfo) bool { return there(tail(rel), info) }
	}
	return o
}

// report tells what a copy could not keep.
func (c *copier) report(s transfer.Stats) {
	for _, text := range s.Warnings {
		c.w.warn("warning: " + text)
	}
	c.w.failed = c.w.failed || s.Damaged > 0
}

// in copies from the host, or from images, into an image.
func (c *copier) in(sources []string, dst string) error {
	to, err := c.w.operand(dst)
	if err != nil {
		return err
	}
	name, err := c.inside(c.w.cmd, to, len(sources) > 1)
	if err != nil {
		return err
	}
	c.w.write = false // what is copied from another image is only read
	for _, src := range sources {
		to := to
		if _, _, from := splitImagePath(src); from {
			c.w.fail(filled(to, c.between(src, to, name)))
			continue
		}
		base := filepath.Base(filepath.Clean(src))
		contents := src == "." || strings.HasSuffix(src, "/.")
		if src == "-" {
			base = ""
		}
		var err error
		if !contents {
			to, err = name(base)
		}
		if err == nil {
			err = c.copyIn(src, to)
		}
		c.w.fail(filled(to, err))
	}
	return nil
}

// filled says what is full: it is not the host.
func filled(to operand, err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%s: %w", quoteName(to.im.name), err)
	}
	return err
}

func (c *copier) copyIn(src string, to operand) error {
	if src == "-" {
		return c.stream(c.w.cmd.InOrStdin(), src, to)
	}
	stat := os.Stat
	if c.recursive {
		stat = os.Lstat
	}
	st, err := stat(src)
	switch {
	case err != nil:
		return err
	case st.IsDir() && !c.recursive:
		return fmt.Errorf("%s: is a directory (use -r or -a)", quoteName(src))
	case to.slash() && !st.IsDir():
		return to.at(volume.ErrNotDir)
	case !c.recursive && !st.Mode().IsRegular():
		f, err := os.Open(src)
		if err != nil {
			return err
		}
		return errors.Join(c.stream(f, src, to), f.Close())
	}
	real := src
	if !c.recursive {
		if real, err = filepath.EvalSymlinks(src); err != nil {
			return err
		}
	}
	if st.IsDir() && to.base() == "" { // into the root
		s, err := transfer.FromDir(to.im.Volume, src, c.options(src, to.name, false, c.thereIn(to)))
		c.report(s)
		return err
	}
	dir, base, err := to.place()
	if err != nil {
		return err
	}
	if a, err := to.im.Lookup(dir, base); err == nil {
		if c.keeps(a.Mtime, st.ModTime()) && !(isDir(a) && st.IsDir()) {
			return nil
		}
		if err := inTheWay(to, a, st.IsDir()); err != nil {
			return err
		}
	}
	s, err := transfer.CopyIn(to.im.Volume, real, dir, base, c.options(src, to.name, !st.IsDir(), c.thereIn(to)))
	c.report(s)
	return err
}

// thereIn tells whether something would be in the way below an operand.
func (c *copier) thereIn(to operand) func(rel string, info fs.FileInfo) bool {
	return func(rel string, info fs.FileInfo) bool {
		ino, err := to.im.Tree().Resolve(below(to.path, rel), false)
		if err != nil {
			return false
		}
		a, err := to.im.Getattr(ino)
		return err == nil && !(info.IsDir() && isDir(a)) && c.keeps(a.Mtime, info.ModTime())
	}
}

// stream makes a file of what a reader gives.
func (c *copier) stream(r io.Reader, src string, to operand) error {
	if to.base() == "" {
		return to.at(errRoot)
	}
	if to.slash() {
		return to.at(volume.ErrNotDir)
	}
	if a, err := to.resolve(false); err == nil && c.noClobber {
		return nil
	} else if err == nil && isDir(a) {
		return to.at(volume.ErrIsDir)
	}
	uid, gid := max(0, os.Getuid()), max(0, os.Getgid())
	err := replace(to, func(p string) error {
		f, err := to.im.Tree().OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(0o666&^umask()))
		if err != nil {
			return err
		}
		_, err = io.CopyBuffer(plain{f}, r, make([]byte, 1<<20))
		if err == nil {
			err = f.Chown(uid, gid)
		}
		return errors.Join(err, f.Close())
	})
	if err == nil {
		c.copied(src, to.name)
	}
	return to.at(err)
}

// out copies to the host.
func (c *copier) out(sources []string, dst string) error {
	st, err := os.Stat(dst)
	intoDir := err == nil && st.IsDir() && !c.noTarget
	if !intoDir && dst != "-" && (len(sources) > 1 || c.w.cmd.Flags().Changed("target-directory")) {
		return fmt.Errorf("%s: not a directory", quoteName(dst))
	}
	made := map[string]bool{}
	c.w.each(sources, func(o operand) error {
		a, err := o.resolve(!c.recursive)
		if err != nil {
			return err
		}
		if dst == "-" {
			return c.toStdout(o, a)
		}
		if isDir(a) && !c.recursive {
			return o.at(errors.New("is a directory (use -r or -a)"))
		}
		base := o.base()
		contents := base == "" || base == "."
		if base == ".." {
			return o.at(errors.New("\"..\" is no name for a copy"))
		}
		host := dst
		if intoDir && !contents {
			host = filepath.Join(dst, base)
			if made[base] {
				return o.at(fmt.Errorf("%s has just been made: it is not replaced", quoteName(host)))
			}
			made[base] = true
		}
		return c.copyOut(o, a, host)
	})
	return nil
}

// copyOut copies what an operand names to a name of the host.
func (c *copier) copyOut(o operand, a volume.Attr, host string) error {
	st, serr := os.Stat(host)
	there := func(rel string, info fs.FileInfo) bool {
		st, err := os.Lstat(filepath.Join(host, filepath.FromSlash(rel)))
		return err == nil && !(info.IsDir() && st.IsDir()) && c.keeps(st.ModTime(), info.ModTime())
	}
	if old, err := os.Lstat(host); err == nil && c.keeps(old.ModTime(), a.Mtime) && !(isDir(a) && serr == nil && st.IsDir()) {
		return nil
	}
	var s transfer.Stats
	var err error
	switch {
	case isDir(a) && serr == nil && !st.IsDir():
		return fmt.Errorf("%s: not a directory", quoteName(host))
	case isDir(a):
		s, err = transfer.ToDir(o.im.Volume, a.Ino, host, c.options(o.name, host, false, there))
	case serr == nil && st.IsDir():
		return fmt.Errorf("%s: is a directory", quoteName(host))
	case serr == nil && !c.Preserve && isFile(a):
		if err = c.writeTo(o, host); err == nil {
			c.copied(o.name, host)
		}
	case serr == nil && !st.Mode().IsRegular():
		return fmt.Errorf("%s: exists and is not a regular file", quoteName(host))
	default:
		s, err = transfer.CopyOut(o.im.Volume, a.Ino, filepath.Dir(host), filepath.Base(host), c.options(o.name, host, true, there))
	}
	c.report(s)
	return err
}

// writeTo writes a file's content into what exists on the host: a file keeps its mode and its
// names, a device or pipe gets the data.
func (c *copier) writeTo(o operand, host string) error {
	out, err := os.OpenFile(host, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil && c.force {
		if err = os.Remove(host); err == nil {
			out, err = os.OpenFile(host, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(c.pour(o, out), out.Close())
}

// toStdout is the destination "-".
func (c *copier) toStdout(o operand, a volume.Attr) error {
	if isDir(a) {
		return o.at(errors.New("is a directory: it has no content for standard output"))
	}
	err := c.pour(o, c.w.out)
	if err != nil && c.w.out.Flush() != nil {
		return nil // the end of the command reports it
	}
	return err
}

// pour writes a file's content.
func (c *copier) pour(o operand, out io.Writer) error {
	f, err := o.im.Tree().Open(o.path)
	if err != nil {
		return o.at(err)
	}
	r := &source{r: f}
	_, err = io.Copy(plain{out}, r)
	if r.err != nil {
		err = o.at(r.err)
	}
	return errors.Join(err, f.Close())
}
