package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/volume"
)

func lnCommand() *cobra.Command {
	var l linker
	c := &cobra.Command{
		Use:   "ln [-s] IMAGE:OLD|TARGET... IMAGE:NEW",
		Short: "Link files in an image",
		Long: `Give files of an image another name, or with -s make symbolic links. The TARGET of a symbolic
link is kept as it is written; with -r it is IMAGE:PATH or a path of the image, and kept as the
way there from the link.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if l.relative && !l.symbolic {
				return usage("-r is for symbolic links (-s)")
			}
			sources, dst, err := l.split(cmd, args)
			if err != nil {
				return err
			}
			return runVerb(cmd, true, args, func(w *work, _ []string) error {
				l.w = w
				return l.run(sources, dst)
			})
		},
	}
	f := c.Flags()
	l.flags(f)
	f.BoolVarP(&l.symbolic, "symbolic", "s", false, "make symbolic links")
	f.BoolVarP(&l.force, "force", "f", false, "replace NEW if it exists")
	f.BoolVarP(&l.noDeref, "no-dereference", "n", false, "NEW is replaced even if it is a symbolic link to a directory")
	f.BoolVarP(&l.relative, "relative", "r", false, "with -s: from where the link is")
	f.BoolVarP(&l.verbose, "verbose", "v", false, "print a line for each link")
	return c
}

type linker struct {
	destination
	w                                  *work
	symbolic, force, relative, verbose bool
}

func (l *linker) run(sources []string, dst string) error {
	var first operand // whose image the destination may leave out
	if _, _, ok := splitImagePath(dst); ok || l.symbolic && !l.relative {
		o, err := l.w.operand(dst)
		if err != nil {
			return err
		}
		first = o
	} else {
		o, err := l.w.operand(sources[0])
		if err != nil {
			return err
		}
		first = o
	}
	to, err := l.w.sameImage(first, dst)
	if err != nil {
		return err
	}
	name, err := l.inside(l.w.cmd, to, len(sources) > 1)
	if err != nil {
		return err
	}
	for _, src := range sources {
		l.w.fail(l.one(src, first, name))
	}
	return nil
}

// one makes one link.
func (l *linker) one(arg string, first operand, name func(string) (operand, error)) error {
	if l.symbolic && !l.relative {
		to, err := name(path.Base(arg))
		if err != nil {
			return err
		}
		return l.made(arg, to, "->", l.replacing(to, 0, func(p string) error { return to.im.Tree().Symlink(arg, p) }))
	}
	src, err := l.w.sameImage(first, arg)
	if err != nil {
		return err
	}
	to, err := name(src.base())
	if err != nil {
		return err
	}
	if l.symbolic {
		target, err := relativeTarget(src, to)
		if err != nil {
			return err
		}
		return l.made(target, to, "->", l.replacing(to, 0, func(p string) error { return to.im.Tree().Symlink(target, p) }))
	}
	a, err := src.resolve(false)
	switch {
	case err != nil:
		return err
	case isDir(a):
		return src.at(errors.New("is a directory: it has one name only"))
	case src.slash():
		return src.at(volume.ErrNotDir)
	case src.path == to.path:
		return src.at(errors.New("is the same name"))
	}
	return l.made(src.name, to, "=>", l.replacing(to, a.Ino, func(p string) error { return to.im.Tree().Link(src.path, p) }))
}

func (l *linker) made(target string, to operand, arrow string, err error) error {
	l.w.verbose(l.verbose && err == nil, "%s %s %s", shellQuote(to.name), arrow, shellQuote(target))
	return to.at(err)
}

// replacing makes a link, with -f in the place of what has its name: made under a name of its
// own and renamed over it, so that the name is never missing.
func (l *linker) replacing(to operand, ino volume.Ino, link func(p string) error) error {
	err := link(to.path)
	if !l.force || !errors.Is(err, fs.ErrExist) {
		return err
	}
	old, rerr := to.resolve(false)
	switch {
	case rerr != nil:
		return rerr
	case isDir(old):
		return fmt.Errorf("%w: it is not replaced", volume.ErrIsDir)
	case old.Ino == ino: // it has both names
		return nil
	}
	return replace(to, link)
}

// relativeTarget is the way from the directory of a link to a file.
func relativeTarget(src, link operand) (string, error) {
	to, err := canonical(src, missingAny)
	if err != nil {
		return "", err
	}
	dir, err := canonical(link.parent(), missingNone)
	if err != nil {
		return "", err
	}
	split := func(p string) []string { return strings.FieldsFunc(p, func(r rune) bool { return r == '/' }) }
	from, there := split(dir), split(to)
	for len(from) > 0 && len(there) > 0 && from[0] == there[0] {
		from, there = from[1:], there[1:]
	}
	way := append(strings.Split(strings.TrimSuffix(strings.Repeat("../", len(from)), "/"), "/"), there...)
	if len(from) == 0 {
		way = there
	}
	if len(way) == 0 {
		return ".", nil
	}
	return strings.Join(way, "/"), nil
}
