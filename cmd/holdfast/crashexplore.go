package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/crash"
)

func crashExploreCommand() *cobra.Command {
	var override, html string
	var first, asJSON, quiet, verbose bool
	var model modelFlags
	var nested depthFlag
	var then, disaster, save, resume string
	var softErrors bool
	var budget, workers, keep int
	c := &cobra.Command{
		Use:   "explore SCRIPT|TRACE",
		Short: "Explore every legal crash state and prove that none was left out",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if budget < 0 || workers < 0 || keep < 0 {
				return usage("bounds are not negative")
			}
			if html != "" {
				if err := canWrite(html); err != nil {
					return badInput(err)
				}
			}
			x, err := load(args[0], override)
			if err != nil {
				return badInput(err)
			}
			x.soft = softErrors
			if then != "" {
				if err := x.second(then); err != nil {
					return badInput(err)
				}
			}
			w := cmd.OutOrStdout()
			if disaster != "" {
				switch broken, err := x.sampleDisasters(w, disaster); {
				case err != nil:
					return badInput(err)
				case broken > 0:
					return &statusError{crashViolation, nil}
				}
				return nil
			}
			p := &exploration{x: x, out: w, script: args[0], override: override}
			opt := crash.Options{MaxLeaves: budget, StopFirst: first, Workers: workers, Nested: int(nested), Keep: keep, Label: x.label}
			if err := model.apply(&opt); err != nil {
				return err
			}
			if workers == 0 {
				opt.Workers = runtime.GOMAXPROCS(0)
			}
			told, stop := untilInterrupt()
			defer stop()
			opt.Done = told
			if verbose && !asJSON && !quiet {
				p.head()
				opt.Progress = p.inOrder
			} else if tty := terminal(cmd.ErrOrStderr()); tty != nil {
				opt.Progress = progressLine(tty, x)
			}
			line := opt.Progress != nil && !verbose
			kept, err := x.keep(&opt, save, resume)
			if err != nil {
				return badInput(err)
			}
			report, err := crash.Explore(x.trace, opt, x.check)
			if err == nil {
				err = kept()
			}
			if line {
				fmt.Fprint(cmd.ErrOrStderr(), clearLine)
			}
			if err != nil {
				return badInput(fmt.Errorf("%s: %w", args[0], err))
			}
			if html != "" {
				replay := func(id string) string { return replayCommand(args[0], override, id) }
				err := writeWhole(html, func(w io.Writer) error { return writeHTML(w, filepath.Base(args[0]), x, report, replay) })
				if err != nil {
					return badInput(err)
				}
			}
			if asJSON {
				err = json.NewEncoder(w).Encode(toJSON(x, report))
			} else {
				if !verbose && !quiet {
					p.folded(report)
				}
				err = p.summary(report)
			}
			switch {
			case err != nil: // the report could not be written: nothing is said of the image
				return badInput(err)
			case report.Violations > 0:
				return &statusError{crashViolation, nil}
			case !report.Complete():
				return &statusError{crashBudget, nil}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&override, "image", "", `change the image line of the script, as "sector=4096 block=4k size=4m"`)
	model.bind(f)
	f.Var(&nested, "nested", "depth of crashes inside recovery to explore as well, or fix: until no image is new")
	f.BoolVar(&softErrors, "soft", false, "every read after the crash fails once, with an error that goes away on retry")
	f.StringVar(&disaster, "disaster", "", "instead of crashes, try a lying disk: phantom, misdirected or lying-flush")
	f.StringVar(&save, "save", "", "a `file` that keeps the points that are done and good")
	f.StringVar(&resume, "resume", "", "a `file` of --save: its points are not explored again")
	f.StringVar(&then, "then", "", "a second `script` that runs after each recovery; with --nested the crashes inside it are explored")
	f.BoolVar(&first, "first", false, "stop at the first violation")
	f.StringVar(&html, "html", "", "a file for the report as one page for a browser")
	f.BoolVar(&asJSON, "json", false, "the report as JSON")
	f.IntVar(&keep, "keep", 3, "violations shown per crash point; all are counted")
	f.BoolVarP(&verbose, "verbose", "v", false, "every crash point, as it is done, and every violation kept, in full")
	f.BoolVarP(&quiet, "quiet", "q", false, "only the summary")
	f.IntVar(&budget, "max-leaves", 0, "leaves explored per crash point at most (0: no bound)")
	f.IntVarP(&workers, "workers", "j", 0, "crash points explored at once (0: one per core)")
	return c
}

// replayCommand is the line that rebuilds a state.
func replayCommand(script, override, id string) string {
	return crashCommandLine("replay", script, override, id, "-o", "crash.img")
}

// crashCommandLine is a line for a shell.
func crashCommandLine(verb, script, override string, more ...string) string {
	words := append([]string{"holdfast", "crash", verb, script}, more...)
	if override != "" {
		words = append(words, "--image", override)
	}
	for i, w := range words {
		words[i] = shellWord(w)
	}
	return strings.Join(words, " ")
}

// shellWord quotes a word for a shell, if it has to be.
func shellWord(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,+@%", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
