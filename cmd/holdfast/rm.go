package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/layout"
	"holdfast/volume"
)

func rmCommand() *cobra.Command {
	var r remover
	c := &cobra.Command{
		Use:        "rm IMAGE:PATH...",
		SuggestFor: []string{"unlink", "del"},
		Short:      "Remove files from an image",
		Long: `Remove files from an image. A file with several names keeps the others, unless --all-names is
given: then all of them are removed, together: after a crash all are there or none is.

What is damaged is not removed: nobody could say which space is free then. fsck names it.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !r.force {
				return usage("requires at least 1 operand (usage: %s)", cmd.UseLine())
			}
			if r.allNames && (r.recursive || r.dirs) {
				return usage("--all-names is for files: -r and -d do not go with it")
			}
			r.answers = bufio.NewReader(cmd.InOrStdin())
			return runVerb(cmd, true, args, func(w *work, args []string) error {
				r.w = w
				w.each(args, r.operand)
				return nil
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&r.recursive, "recursive", "r", false, "remove directories and what is in them")
	f.BoolVarP(&r.recursive, "Recursive", "R", false, "like -r")
	f.BoolVarP(&r.force, "force", "f", false, "no error for what does not exist; never ask")
	f.BoolVarP(&r.dirs, "dir", "d", false, "remove empty directories")
	f.BoolVarP(&r.ask, "interactive", "i", false, "ask before each removal")
	f.BoolVarP(&r.verbose, "verbose", "v", false, "print a line for each removal")
	f.BoolVar(&r.allNames, "all-names", false, "remove a file under every name that it has")
	f.Lookup("Recursive").Hidden = true
	return c
}

type remover struct {
	w                                              *work
	recursive, force, dirs, ask, verbose, allNames bool
	answers                                        *bufio.Reader
}

func (r *remover) operand(o operand) error {
	switch base := o.base(); base {
	case "":
		return o.at(errRoot)
	case ".", "..":
		return o.at(fmt.Errorf("%q and %q are not removed", ".", ".."))
	}
	a, err := o.resolve(false)
	if o.slash() && err == nil && !isDir(a) {
		err = o.at(volume.ErrNotDir)
	}
	if r.force && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, volume.ErrNotDir)) {
		return nil
	}
	if err != nil {
		return r.damage(o, err)
	}
	dir, base, err := o.place()
	if err != nil {
		return err
	}
	if r.allNames && !isDir(a) {
		return r.everyName(o, a)
	}
	if isDir(a) && !r.recursive && !(r.dirs && !r.allNames) {
		return o.at(fmt.Errorf("%w (-r removes it with what is in it)", volume.ErrIsDir))
	}
	r.remove(o, dir, base, a)
	return nil
}

// damage says what to do about what cannot be removed because it is damaged.
func (r *remover) damage(o operand, err error) error {
	if !errors.Is(err, layout.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w; nothing is removed: see holdfast fsck -n %s", err, quoteName(o.im.name))
}

// remove removes a name, and what is below it. It reports whether it is gone.
func (r *remover) remove(o operand, dir volume.Ino, name string, a volume.Attr) bool {
	if !isDir(a) {
		if !r.agreed("remove %s %s?", statType(a), o) {
			return false
		}
		return r.done(o, "removed %s", o.im.Unlink(dir, name))
	}
	if r.recursive {
		list, err := o.im.entries(a.Ino)
		if err != nil {
			r.w.fail(r.damage(o, o.at(err)))
			return false
		}
		if len(list) > 0 && !r.agreed("descend into %s %s?", typeName(a.Mode), o) {
			return false
		}
		all := true
		for _, e := range list {
			sub := o.child(e.Name)
			b, err := o.im.Getattr(e.Ino)
			if err != nil {
				r.w.fail(r.damage(sub, sub.at(err)))
				all = false
				continue
			}
			all = r.remove(sub, a.Ino, e.Name, b) && all
		}
		if !all {
			return false // what stays has been named
		}
	}
	if !r.agreed("remove %s %s?", typeName(a.Mode), o) {
		return false
	}
	return r.done(o, "removed directory %s", o.im.Rmdir(dir, name))
}

func (r *remover) done(o operand, what string, err error) bool {
	if err != nil {
		r.w.fail(r.damage(o, o.at(err)))
		return false
	}
	r.w.verbose(r.verbose, what, shellQuote(o.name))
	return true
}

// everyName removes a file under all its names.
func (r *remover) everyName(o operand, a volume.Attr) error {
	if !r.agreed("remove all names of %s %s?", statType(a), o) {
		return nil
	}
	names, err := o.im.UnlinkAll(a.Ino)
	if err != nil {
		return r.damage(o, o.at(err))
	}
	for _, name := range names {
		r.w.verbose(r.verbose, "removed %s", shellQuote(o.im.name+":"+name))
	}
	return nil
}

// agreed asks, with -i, and reports whether the answer is yes.
func (r *remover) agreed(question, what string, o operand) bool {
	if !r.ask || r.force {
		return true
	}
	_ = r.w.out.Flush()
	fmt.Fprintf(r.w.cmd.ErrOrStderr(), commandName(r.w.cmd)+": "+question+" ", what, shellQuote(o.name))
	answer, _ := r.answers.ReadString('\n')
	answer = strings.TrimSpace(answer)
	return answer != "" && (answer[0] == 'y' || answer[0] == 'Y')
}
