package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// work is one run of a verb over its operands. All operands are tried; one that fails costs a
// line on stderr and the exit status 1.
type work struct {
	cmd    *cobra.Command
	write  bool
	out    *bufio.Writer // stdout
	images []*image      // open until the end
	failed bool
}

// verb makes the RunE of a command: do is told the arguments. The images that it opened are
// closed behind it, and what changed is durable before the command succeeds.
func verb(write bool, do func(w *work, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return runVerb(cmd, write, args, do) }
}

func runVerb(cmd *cobra.Command, write bool, args []string, do func(w *work, args []string) error) error {
	w := &work{cmd: cmd, write: write, out: bufio.NewWriter(cmd.OutOrStdout())}
	err := do(w, args)
	if ferr := w.out.Flush(); err == nil && ferr != nil {
		err = fmt.Errorf("standard output: %w", cause(ferr))
	}
	for _, im := range w.images {
		if cerr := im.close(nil); cerr != nil {
			w.fail(cerr)
		}
	}
	if err == nil && w.failed {
		err = &statusError{exitFailure, nil}
	}
	return err
}

// fail prints what went wrong; the work goes on.
func (w *work) fail(err error) {
	if err == nil {
		return
	}
	w.failed = true
	w.warn(describe(err))
}

// warn prints a line on stderr, behind what is on stdout.
func (w *work) warn(text string) {
	_ = w.out.Flush() // it stays failed, and is reported at the end
	fmt.Fprintf(w.cmd.ErrOrStderr(), "%s: %s\n", commandName(w.cmd), text)
}

// each runs f for each argument, an operand in an image.
func (w *work) each(args []string, f func(o operand) error) {
	for _, arg := range args {
		o, err := w.operand(arg)
		if err == nil {
			err = f(o)
		}
		w.fail(err)
	}
}

// operand opens what an argument names: IMAGE:PATH, or an image for its root.
func (w *work) operand(arg string) (operand, error) {
	if name, inside, ok := splitImagePath(arg); ok {
		im, err := w.open(name)
		if arg == name+":" { // messages call the root by its name
			arg += inside
		}
		return operand{im, arg, inside}, err
	}
	st, err := os.Stat(arg)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return operand{}, fmt.Errorf("%s: no such file or directory (%s)", quoteName(arg), naming)
	case err != nil:
		return operand{}, err
	case st.IsDir():
		return operand{}, fmt.Errorf("%s: is a directory of the host (%s)", quoteName(arg), naming)
	}
	im, err := w.open(arg)
	return operand{im, arg + ":/", "/"}, err
}

// open is the open image of a name. One image may be called by many names.
func (w *work) open(name string) (*image, error) {
	if st, err := os.Stat(name); err == nil {
		for _, im := range w.images {
			if im.file.is(st) {
				return im, nil
			}
		}
	}
	im, err := openImage(name, w.write)
	if err == nil {
		w.images = append(w.images, im)
	}
	return im, err
}

// json prints a value as one line.
func (w *work) json(v any) error {
	e := json.NewEncoder(w.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// verbose prints a line if the flag is set.
func (w *work) verbose(on bool, format string, args ...any) {
	if on {
		fmt.Fprintf(w.out, format+"\n", args...)
	}
}

// freeH leaves -h to the command: --help stays.
func freeH(c *cobra.Command) *cobra.Command {
	c.Flags().Bool("help", false, "help for "+c.Name())
	return c
}
