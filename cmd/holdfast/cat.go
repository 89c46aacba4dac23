package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func catCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cat IMAGE:PATH...",
		Short: "Print files of an image",
		Args:  cobra.MinimumNArgs(1),
		RunE: verb(false, func(w *work, args []string) error {
			var broken error // no use in reading on if nobody takes it
			w.each(args, func(o operand) error {
				if broken != nil {
					return nil
				}
				f, err := o.im.Tree().Open(o.path)
				if err != nil {
					return o.at(err)
				}
				r := &source{r: f}
				_, err = io.Copy(plain{w.out}, r)
				if err != nil && r.err == nil {
					broken = fmt.Errorf("standard output: %w", cause(err))
					err = nil
				}
				return o.at(errors.Join(err, f.Close()))
			})
			return broken
		}),
	}
}

// source tells errors of reading from those of writing.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// plain hides all of a writer but Write: a bufio.Writer that reads for itself takes an error of
// reading for its own.
type plain struct{ io.Writer }
