package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/volume"
)

func findCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "find IMAGE[:PATH]... [EXPRESSION]",
		Short: "Look for files of an image",
		Long: `Look for files of an image. Symbolic links are not followed.

  -name -iname -path GLOB   the last component, in any case of letters, the whole path
  -type [fdlpsbc],...       -links -inum -uid -gid N  (-user and -group too: owners are numbers)
  -size N[cwbkMG]           -empty   -perm MODE, -MODE (all of its bits), /MODE (one of them)
  -samefile -newer FILE     -mtime -mmin N  -newermt TIME   (+N: more than N, -N: less)
  -maxdepth -mindepth N     -depth   -prune  -quit  -true  -false
  ( E )  ! E  -not E  E -a E  E -o E        and, unless there is another, the action -print
  -print -print0 -delete    --json prints JSON objects instead

A FILE is IMAGE:PATH or, for -newer, a file of the host.`,
		DisableFlagParsing: true, // -name is no -n
		RunE: func(cmd *cobra.Command, args []string) error {
			f := &finder{maxDepth: -1, now: time.Now(), umask: umask()}
			var operands, words []string
			for i, arg := range args {
				switch {
				case arg == "--help" || arg == "-h" || arg == "-help":
					return cmd.Help()
				case arg == "--force-share":
					forceShare = true
				case arg == "--json":
					f.json = true
				case len(words) == 0 && !expression(arg):
					operands = append(operands, arg)
				default:
					words = append(words, args[i])
				}
			}
			if len(operands) == 0 {
				return usage("requires at least 1 operand (usage: %s)", cmd.UseLine())
			}
			deletes := false
			for _, w := range words {
				deletes = deletes || w == "-delete"
			}
			return runVerb(cmd, deletes, operands, func(w *work, operands []string) error {
				f.w = w
				if err := f.parse(words); err != nil {
					return err
				}
				w.each(operands, func(o operand) error {
					a, err := o.resolve(false)
					if err == nil {
						f.walk(found{operand: o, attr: a})
					}
					return err
				})
				return nil
			})
		},
	}
}

// expression reports whether an argument begins the expression.
func expression(arg string) bool {
	return strings.HasPrefix(arg, "-") && arg != "-" || arg == "(" || arg == "!" || arg == ")" || arg == ","
}

// found is a file that find has met.
type found struct {
	operand
	attr  volume.Attr
	dir   volume.Ino // where its name is; 0: it is an operand
	entry string
	depth int
	prune bool
}

type finder struct {
	w                  *work
	json               bool
	now                time.Time
	umask              uint16
	minDepth, maxDepth int // -1: no bound
	post               bool
	test               predicate
	stopped            bool
}

// walk tries a file and what is below it.
func (f *finder) walk(x found) {
	if f.stopped {
		return
	}
	if !f.post {
		f.try(&x)
	}
	if isDir(x.attr) && !x.prune && !f.stopped && (f.maxDepth < 0 || x.depth < f.maxDepth) {
		list, err := x.im.entries(x.attr.Ino)
		f.w.fail(x.at(err))
		for _, e := range list {
			sub := x.child(e.Name)
			a, err := x.im.Getattr(e.Ino)
			if err != nil {
				f.w.fail(sub.at(err))
				continue
			}
			f.walk(found{operand: sub, attr: a, dir: x.attr.Ino, entry: e.Name, depth: x.depth + 1})
		}
	}
	if f.post && !f.stopped {
		f.try(&x)
	}
}

func (f *finder) try(x *found) {
	if x.depth >= f.minDepth {
		f.test(x)
	}
}

// print is the action -print, or its JSON.
func (f *finder) print(x *found, end string) bool {
	if !f.json {
		name := x.name
		if end == "\n" {
			name = quoteName(name)
		}
		_, err := f.w.out.WriteString(name + end)
		return err == nil
	}
	var target string
	if isLink(x.attr) {
		var err error
		if target, err = x.im.Readlink(x.attr.Ino); err != nil {
			f.w.fail(x.at(err))
		}
	}
	return f.w.json(fileJSON(x.operand, x.attr, target, nil)) == nil
}

// delete is the action -delete; the root of an image stays without a word.
func (f *finder) delete(x *found) bool {
	var err error
	switch {
	case x.attr.Ino == volume.Root:
		return true
	case x.dir == 0:
		err = x.im.Tree().Remove(x.path)
	case isDir(x.attr):
		err = x.im.Rmdir(x.dir, x.entry)
	default:
		err = x.im.Unlink(x.dir, x.entry)
	}
	f.w.fail(x.at(err))
	return err == nil
}
