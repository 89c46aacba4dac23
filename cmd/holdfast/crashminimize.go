package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/crash"
	"holdfast/workload"
)

func crashMinimizeCommand() *cobra.Command {
	var out string
	var from sessionSource
	var first, asJSON bool
	var model modelFlags
	var nested, budget int
	c := &cobra.Command{
		Use:   "minimize SCRIPT|TRACE ID|--first",
		Short: "Find the fewest operations and missing writes that fail alike",
		Long: `Minimize takes operations out of the script until each one is needed for a failure of the
same kind, and then puts missing writes in their place until each one that is left is needed,
without tears and crashes inside recovery where that is possible. It prints the script and the
ID of the state, which replay takes.

Exit status: 0 a smallest failure was printed, 2 wrong use, or nothing fails,
3 a bound was reached before anything failed.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if first == (len(args) == 2) {
				return usage("say which failure: an ID, or --first")
			}
			if nested < 0 || budget < 0 {
				return usage("bounds are not negative")
			}
			if out != "" {
				if err := canWrite(out); err != nil {
					return badInput(err)
				}
			}
			if from.swap.op > 0 {
				return usage("--swap: a shorter script has other steps")
			}
			x, err := from.load(args[0])
			if err != nil {
				return badInput(err)
			}
			if x.script.Image.None && model.decay > 0 {
				return usage("--decay is for volumes with a journal: without one nothing is promised of it")
			}
			h := &shrinker{from: &from, opt: crash.Options{Nested: nested, MaxLeaves: budget, Workers: runtime.GOMAXPROCS(0), Label: x.label}}
			if err := model.apply(&h.opt); err != nil {
				return err
			}
			var id string
			if first {
				id, err = h.explored(x)
			} else {
				id, err = args[1], h.given(x, args[1])
			}
			if err != nil {
				return err
			}
			small := h.shrink(x.script)
			if small == nil { // the state lies beyond the bounds: the script stays
				small = &shrunk{x, id}
			}
			image, err := h.least(small)
			if err != nil {
				return badInput(err)
			}
			m := &minimized{h: h, from: x, to: small.x, image: image, file: out}
			if out != "" {
				if err := writeWhole(out, func(w io.Writer) error { _, err := io.WriteString(w, small.x.text); return err }); err != nil {
					return badInput(err)
				}
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(m.json())
			} else {
				err = m.print(cmd.OutOrStdout())
			}
			return badInput(err)
		},
	}
	f := c.Flags()
	f.StringVarP(&out, "output", "o", "", "a file for the script")
	from.bind(f)
	f.BoolVar(&first, "first", false, "explore, and take the first failure")
	f.BoolVar(&asJSON, "json", false, "the result as JSON")
	model.bind(f)
	f.IntVar(&nested, "nested", 0, "depth of crashes inside recovery to explore as well")
	f.IntVar(&budget, "max-leaves", 0, "leaves explored per crash point at most (0: no bound)")
	return c
}

// explored explores a session up to the first failure, whose class is wanted from then on.
func (h *shrinker) explored(x *session) (id string, err error) {
	opt := h.opt
	opt.StopFirst, opt.Keep = true, 1
	r, err := crash.Explore(x.trace, opt, x.check)
	if err != nil {
		return "", badInput(fmt.Errorf("%s: %w", h.from.name, err))
	}
	for _, p := range r.Points {
		for _, v := range p.Kept {
			h.class = verdictOf(v.Err, p.Point).Class
			return v.ID, nil
		}
	}
	if !r.Complete() {
		return "", &statusError{crashBudget, fmt.Errorf("%s: nothing failed before the bound was reached", h.from.name)}
	}
	return "", badInput(fmt.Errorf("%s: nothing to minimize: no crash state fails", h.from.name))
}

// given takes the class, the model and the depth of the state that an ID names.
func (h *shrinker) given(x *session, text string) error {
	id, err := crash.ParseID(text)
	if err != nil {
		return badInput(err)
	}
	image, err := crash.Rebuild(x.trace, text, x.label, x.check)
	if err != nil {
		return badInput(err)
	}
	_, verdict := image.Judge(x.check)
	if verdict == nil {
		return badInput(fmt.Errorf("%s: nothing to minimize: the state does not fail", text))
	}
	h.class = verdictOf(verdict, image.Point).Class
	h.opt.Model, h.opt.Nested = id.Model, max(h.opt.Nested, id.Depth)
	h.opt.Decay = max(h.opt.Decay, id.Decay)
	h.opt.Bad = h.opt.Bad && id.Model == crash.Sectors
	return nil
}

// minimized is what a minimization came to.
type minimized struct {
	h        *shrinker
	from, to *session
	image    *crash.Image
	file     string // "" if the script was not written to one
}

func operations(x *session) int { return len(x.script.Setup) + len(x.script.Ops) }

func (m *minimized) verdict() *workload.Verdict {
	_, err := m.image.Judge(m.to.check)
	return verdictOf(err, m.image.Point)
}

func (m *minimized) print(w io.Writer) error {
	script := m.file
	if script == "" {
		script = "SCRIPT2"
		fmt.Fprintf(w, "%s\n", m.to.text)
	}
	fmt.Fprintf(w, "operations: %d of %d; scripts tried: %d\n", operations(m.to), operations(m.from), m.h.tried)
	fmt.Fprintf(w, "%s\n  %s\n", m.image.ID, strings.ReplaceAll(m.verdict().Error(), "\n", "\n  "))
	for _, miss := range m.image.Missing {
		fmt.Fprintf(w, "  not on the disk: %s\n", miss)
	}
	if m.image.Depth > 0 {
		fmt.Fprintf(w, "  crashes inside recovery: %d\n", m.image.Depth)
	}
	again := *m.h.from
	again.name, again.override = script, "" // the script has it
	_, err := fmt.Fprintln(w, again.command("replay", m.image.ID, "-o", "IMAGE"))
	return err
}

type minimizedJSON struct {
	Script     string        `json:"script"` // its text
	File       string        `json:"file,omitempty"`
	Operations int           `json:"operations"`
	Of         int           `json:"of_operations"`
	Tried      int           `json:"scripts_tried"`
	Violation  violationJSON `json:"violation"`
}

func (m *minimized) json() minimizedJSON {
	_, err := m.image.Judge(m.to.check)
	v := &crash.Violation{ID: m.image.ID, Err: err, Depth: m.image.Depth, Missing: m.image.Missing, Bad: m.image.Bad}
	return minimizedJSON{m.to.text, m.file, operations(m.to), operations(m.from), m.h.tried, violationOf(v, m.image.Point)}
}
