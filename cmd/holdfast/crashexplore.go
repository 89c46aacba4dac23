package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"holdfast/crash"
)

// notWithDisaster are the flags that mean nothing for a sample of disasters.
var notWithDisaster = []string{
	"nested", "save", "resume", "first", "html", "json", "keep", "verbose", "max-leaves", "workers",
	"no-bad", "atomic", "prefix", "decay", "then", "soft",
}

func crashExploreCommand() *cobra.Command {
	var html string
	var from sessionSource
	var first, asJSON, quiet, verbose bool
	var model modelFlags
	var nested depthFlag
	var disaster, save, resume string
	var budget, workers, keep int
	c := &cobra.Command{
		Use:   "explore SCRIPT|TRACE",
		Short: "Explore every legal crash state and prove that none was left out",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if budget < 0 || workers < 0 || keep < 0 {
				return usage("bounds are not negative")
			}
			if disaster != "" {
				for _, name := range notWithDisaster {
					if cmd.Flags().Changed(name) {
						return usage("--disaster samples, and takes no --%s", name)
					}
				}
			}
			if html != "" {
				if err := canWrite(html, args[0]); err != nil {
					return badInput(err)
				}
			}
			x, err := from.load(args[0])
			if err != nil {
				return badInput(err)
			}
			if x.script.Image.None && (disaster != "" || model.decay > 0) {
				return usage("--disaster and --decay are for volumes with a journal: without one nothing is promised of them")
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
			p := &exploration{x: x, out: w, from: &from}
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
				err := writeWhole(html, func(w io.Writer) error { return writeHTML(w, filepath.Base(args[0]), x, report, from.replay) })
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
	from.bind(f)
	model.bind(f)
	f.Var(&nested, "nested", "depth of crashes inside recovery to explore as well, or fix: until no image is new")
	f.StringVar(&disaster, "disaster", "", "instead of crashes, try a lying disk: phantom, misdirected or lying-flush")
	f.StringVar(&save, "save", "", "a `file` that keeps the points that are done and good")
	f.StringVar(&resume, "resume", "", "a `file` of --save: its points are not explored again")
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
