// Command holdfast makes, checks, changes and crash-tests file-system images.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses of every command but fsck and crash, which have their own.
const (
	exitFailure = 1
	exitUsage   = 2
)

// statusError carries an exit status; a nil err prints nothing.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}
func (e *statusError) Unwrap() error { return e.err }

// usage marks err as a mistake in the command line.
func usage(format string, args ...any) error {
	return &statusError{exitUsage, fmt.Errorf(format, args...)}
}

func main() {
	helper, args := asHelper(os.Args)
	os.Exit(runAs(helper, args, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program: it returns the exit status.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return runAs("", args, in, out, errOut)
}

// runAs is run under the name of a helper, if one is given.
func runAs(helper string, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot(helper)
	if helper != "" {
		root.Annotations = map[string]string{helperName: helper}
	}
	root.SetArgs(dashMode(args))
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteC()
	if err == nil {
		return 0
	}
	status := exitFailure
	var se *statusError
	if errors.As(err, &se) {
		status = se.status
		if se.err == nil {
			return status
		}
	}
	fmt.Fprintf(errOut, "%s: %s\n", commandName(cmd), describe(err))
	return status
}

// describe is the one line that an error becomes: several joined errors are several lines.
func describe(err error) string {
	text := err.Error()
	var pe *fs.PathError
	if errors.As(err, &pe) && text == pe.Error() { // "open x: why" reads better as "x: why"
		text = pe.Path + ": " + pe.Err.Error()
	}
	return strings.TrimSpace(text)
}

func newRoot(helper string) *cobra.Command {
	root := &cobra.Command{
		Use:   "holdfast",
		Short: "Crash-consistent file-system images, and the tester that proves it",
		Long: `holdfast makes, checks, changes and crash-tests file-system images, without root.

IMAGE:PATH names a file inside an image; IMAGE alone its root. A file of the host whose name
has a colon is written with a slash before it, as in scp: ./a:b. Sizes are bytes, or a number
and one of k m g t p e (base 1024).

All operands are tried. Exit status: 0 all done, and durable where an image was changed; 1 one
of them failed; 2 wrong command line. fsck and crash have their own.`,
		Version:       versionText(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return usage("a command is needed")
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &statusError{exitUsage, err} })
	root.PersistentFlags().BoolVar(&forceShare, "force-share", false, "read an image that another process has open for writing")
	mirrorFlags(root)
	imageOffset, offsetGiven = sizeFlag{}, false
	root.PersistentFlags().Var(&imageOffset, "offset", "where in the file the image begins (inside a partitioned disk)")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		offsetGiven = cmd.Flags().Changed("offset")
		return mirrorUsage(cmd)
	}
	root.AddCommand(
		mkfsCommand(), fsckCommand(), faultCommand(), scrubCommand(),
		lsCommand(), catCommand(), statCommand(), treeCommand(), duCommand(), dfCommand(), findCommand(), readlinkCommand(),
		cpCommand(), mkdirCommand(), mknodCommand(), touchCommand(), truncateCommand(), chmodCommand(), chownCommand(),
		rmCommand(), rmdirCommand(), mvCommand(), lnCommand(), tarCommand(),
		mountCommand(helper), umountCommand(helper), dumpCommand(), crashCommand(), versionCommand(), manCommand(),
	)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SuggestionsMinimumDistance = 2
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args, c.RunE = cobra.NoArgs, needsCommand
		}
	}
	usageArgs(root)
	return root
}

// knownCommand refuses what is no command, with those that may be meant.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if list := cmd.SuggestionsFor(args[0]); len(list) > 0 {
		hint = ": " + strings.Join(list, " or ") + "?"
	}
	return usage("unknown command %q%s", args[0], hint)
}

// needsCommand is a command that only has others below it.
func needsCommand(cmd *cobra.Command, _ []string) error {
	if err := cmd.Help(); err != nil {
		return err
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return usage("say what to do: %s", strings.Join(names, ", "))
}

// usageArgs makes wrong numbers of arguments usage errors in every command.
func usageArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &statusError{usageStatus(cmd), fmt.Errorf("%w (usage: %s)", err, cmd.UseLine())}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
}

// usageStatus is the status of a wrong command line: fsck has its own.
func usageStatus(cmd *cobra.Command) int {
	if cmd.Name() == "fsck" {
		return fsckUsage
	}
	return exitUsage
}
