package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func truncateCommand() *cobra.Command {
	var size, reference string
	var noCreate bool
	c := &cobra.Command{
		Use:   "truncate -s SIZE IMAGE:PATH...",
		Short: "Set the size of files in an image",
		Long: `Set the size of files in an image: what is cut off is gone, what is added is a hole. A file
that does not exist is made. Before SIZE may stand + or - (by as much), < (at most), > (at
least), / or % (a multiple, rounded down or up).`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if size == "" && reference == "" {
				return usage("one of -s and -r is needed")
			}
			relation := byte(0)
			if size = strings.TrimSpace(size); size != "" && strings.IndexByte("+-<>/%", size[0]) >= 0 {
				relation = size[0]
				size = strings.TrimSpace(size[1:])
			}
			var n int64
			if size != "" || reference == "" {
				var err error
				if n, err = parseSize(size); err != nil {
					return usage("%w", err)
				}
				if n == 0 && (relation == '/' || relation == '%') {
					return usage("%c0: there are no multiples of nothing", relation)
				}
				if reference != "" && relation == 0 {
					return usage("with -r, SIZE says what to add to it or how to bound it")
				}
			}
			return runVerb(cmd, true, args, func(w *work, args []string) error {
				base := int64(-1)
				if reference != "" {
					var err error
					if base, err = w.sizeOf(reference); err != nil {
						return err
					}
				}
				w.each(args, func(o operand) error {
					flag := os.O_WRONLY
					if !noCreate {
						flag |= os.O_CREATE
					}
					f, err := o.im.Tree().OpenFile(o.path, flag, fs.FileMode(0o666&^umask()))
					if noCreate && errors.Is(err, fs.ErrNotExist) {
						return nil
					}
					if err != nil {
						return o.at(err)
					}
					from := base
					if from < 0 {
						st, err := f.Stat()
						if err != nil {
							return o.at(errors.Join(err, f.Close()))
						}
						from = st.Size()
					}
					to := from
					if size != "" {
						to, err = resized(from, n, relation)
					}
					if err == nil {
						err = f.Truncate(to)
					}
					return o.at(errors.Join(err, f.Close()))
				})
				return nil
			})
		},
	}
	c.Flags().StringVarP(&size, "size", "s", "", "the new size")
	c.Flags().StringVarP(&reference, "reference", "r", "", "the size of this file, IMAGE:PATH or of the host")
	c.Flags().BoolVarP(&noCreate, "no-create", "c", false, "make no file")
	return c
}

// resized is the size that n makes of from.
func resized(from, n int64, relation byte) (int64, error) {
	switch relation {
	case '+':
		if n > math.MaxInt64-from {
			return 0, errors.New("file too large")
		}
		return from + n, nil
	case '-':
		return max(0, from-n), nil
	case '<':
		return min(from, n), nil
	case '>':
		return max(from, n), nil
	case '/':
		return from - from%n, nil
	case '%':
		if rest := from % n; rest != 0 {
			return resized(from, n-rest, '+')
		}
		return from, nil
	}
	return n, nil
}

// sizeOf is the size of IMAGE:PATH or of a file of the host.
func (w *work) sizeOf(arg string) (int64, error) {
	if _, _, inside := splitImagePath(arg); inside {
		o, err := w.operand(arg)
		if err != nil {
			return 0, err
		}
		a, err := o.resolve(true)
		if err == nil && a.Size > math.MaxInt64 {
			err = o.at(fmt.Errorf("size %d", a.Size))
		}
		return int64(a.Size), err
	}
	st, err := os.Stat(arg)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
