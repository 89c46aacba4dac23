package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/crash"
)

func crashExploreCommand() *cobra.Command {
	var override, html string
	var first, asJSON, quiet bool
	var model modelFlags
	var budget, workers, nested, keep int
	c := &cobra.Command{
		Use:   "explore SCRIPT|TRACE",
		Short: "Explore every legal crash state and prove that none was left out",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if budget < 0 || workers < 0 || nested < 0 || keep < 0 {
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
			w := cmd.OutOrStdout()
			p := &exploration{x: x, out: w}
			opt := crash.Options{MaxLeaves: budget, StopFirst: first, Workers: workers, Nested: nested, Keep: keep, Label: x.label}
			if err := model.apply(&opt); err != nil {
				return err
			}
			if workers == 0 {
				opt.Workers = runtime.GOMAXPROCS(0)
			}
			if !asJSON && !quiet {
				p.head()
				opt.Progress = p.inOrder
			}
			report, err := crash.Explore(x.trace, opt, x.check)
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
	f.BoolVar(&first, "first", false, "stop at the first violation")
	f.StringVar(&html, "html", "", "a file for the report as one page for a browser")
	f.BoolVar(&asJSON, "json", false, "the report as JSON")
	f.IntVar(&keep, "keep", 3, "violations shown per crash point; all are counted")
	f.IntVar(&nested, "nested", 0, "depth of crashes inside recovery to explore as well")
	f.BoolVarP(&quiet, "quiet", "q", false, "only the summary")
	f.IntVar(&budget, "max-leaves", 0, "leaves explored per crash point at most (0: no bound)")
	f.IntVarP(&workers, "workers", "j", 0, "crash points explored at once (0: one per core)")
	return c
}

// replayCommand is the line that rebuilds a state.
func replayCommand(script, override, id string) string {
	words := []string{"holdfast", "crash", "replay", script, id, "-o", "crash.img"}
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

// exploration prints what an exploration finds.
type exploration struct {
	x       *session
	out     io.Writer
	next    int // the point to print next
	waiting map[int]*crash.PointReport
}

// inOrder prints points in their order, whatever the order in which they were finished.
func (e *exploration) inOrder(r *crash.PointReport) {
	if e.waiting == nil {
		e.waiting = map[int]*crash.PointReport{}
	}
	e.waiting[r.Point.Index] = r
	for r = e.waiting[e.next]; r != nil; r = e.waiting[e.next] {
		delete(e.waiting, e.next)
		e.next++
		e.point(r)
	}
}

func (e *exploration) head() {
	fmt.Fprintf(e.out, "trace %016x: %d operations, sectors of %d bytes\n\n", e.x.trace.Hash(), len(e.x.script.Ops), e.x.trace.SectorSize)
	fmt.Fprintf(e.out, "%5s  %-34s %8s %14s %7s  %s\n", "point", "operation in flight", "sectors", "legal states", "leaves", "the image then shows (states)")
}

// operation names the operation in flight at a point.
func (e *exploration) operation(p *crash.Point) string {
	at, err := progress(p)
	switch {
	case err != nil:
		return err.Error()
	case at.Started > at.Finished:
		return fmt.Sprintf("%d %s", at.Started, e.x.script.Ops[at.Started-1])
	case at.Started == len(e.x.script.Ops):
		return "close"
	}
	return fmt.Sprintf("between %d and %d", at.Finished, at.Finished+1)
}

// short prints a big number: all digits while they fit, then a power of ten.
func short(n *big.Int) string {
	s := n.String()
	if len(s) <= 12 {
		return s
	}
	return fmt.Sprintf("%s.%se%d", s[:1], s[1:3], len(s)-1)
}

// exact prints every digit while they fit on a line; --json always has them all.
func exact(n *big.Int) string {
	if s := n.String(); len(s) <= 120 {
		return s
	}
	return short(n) + " (all digits with --json)"
}

// outcome words what the check noted of a state: a number of operations, or words.
func outcome(note string) string {
	switch {
	case note == "":
		return "no tree"
	case note[0] < '0' || note[0] > '9':
		return note
	}
	return "after operation " + note
}

// shows lists the outcomes of a point.
func shows(r *crash.PointReport) string {
	var list []string
	for _, o := range r.Labels {
		list = append(list, fmt.Sprintf("%s (%s)", outcome(o.Label), short(o.States)))
	}
	return strings.Join(list, ", ")
}

func (e *exploration) point(r *crash.PointReport) {
	op := e.operation(r.Point)
	if len(op) > 34 {
		op = op[:33] + "…"
	}
	fmt.Fprintf(e.out, "%5d  %-34s %8d %14s %7d  %s\n", r.Point.Index, op, r.Point.Sectors, short(r.States), r.Leaves, shows(r))
	for _, v := range r.Kept {
		fmt.Fprintf(e.out, "\n  VIOLATION %s\n    %s\n    states that fail alike: %s\n", v.ID, strings.ReplaceAll(verdictOf(v.Err, r.Point).Error(), "\n", "\n    "), short(v.States))
		for _, m := range v.Missing {
			fmt.Fprintf(e.out, "    not on the disk: %s\n", m)
		}
		for _, d := range v.Decayed {
			fmt.Fprintf(e.out, "    decayed: %d bytes at %d (%s)\n", d.Len, d.Off, e.x.holds(d))
		}
		fmt.Fprintln(e.out)
	}
	if r.Limit != "" {
		fmt.Fprintf(e.out, "       not covered: %s\n", r.Limit)
	}
}

func (e *exploration) summary(r *crash.Report) error {
	verdict := "certificate: the leaves stand for every legal state, each once"
	if !r.Complete() {
		verdict = fmt.Sprintf("no certificate: %s states were not covered", short(new(big.Int).Sub(r.States, r.Covered)))
	}
	fmt.Fprintf(e.out, "\n%d crash points, %s legal states, %d leaves, %d violations\n", len(r.Points), short(r.States), r.Leaves, r.Violations)
	if n := &r.Nested; n.Points > 0 {
		fmt.Fprintf(e.out, "inside recovery: %d crash points, %d of them distinct, %d leaves, to depth %d\n", n.Points, n.Distinct, n.Leaves, n.Deepest)
	}
	_, err := fmt.Fprintf(e.out, "legal states %s\nleaves' sum  %s\n%s\n", exact(r.States), exact(r.Covered), verdict)
	return err
}
