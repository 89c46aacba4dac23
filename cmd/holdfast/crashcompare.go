package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/workload"
)

func crashCompareCommand() *cobra.Command {
	var override string
	swap := swapFlag{1, 2, 3}
	op := 0
	c := &cobra.Command{
		Use:   "compare SCRIPT",
		Short: "Explore one operation in a wrong order, in the right order, and with a journal",
		Long: `Explore one operation of a script three ways: without a journal and with two of its steps in each
other's place, without a journal in the classical order, and with the journal. Each line is a crash
point: what is broken in some state that a crash there may leave, and how badly. Without a journal
blocks are written whole or not at all; with it every sector in flight is old, new or bad.

For a rename from one directory to another the steps are: link count up, new entry in, old entry
out, link count down; without --swap the naive order takes the old entry out first.

Exit status: 0 as promised, 1 the right order or the journal left more than it may, 2 bad input.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := cmd.Flags().Changed("swap")
			if op > 0 && given && swap.op > 1 && swap.op != op {
				return usage("--op %d and --swap %s are about two operations", op, &swap)
			}
			if given && swap.op > 1 {
				op = swap.op
			}
			ways, err := compareWays(args[0], override, op, swap)
			if err != nil {
				return badInput(err)
			}
			broken, err := printWays(cmd.OutOrStdout(), ways)
			switch {
			case err != nil:
				return badInput(err)
			case broken:
				return &statusError{crashViolation, nil}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&override, "image", "", "as in explore")
	f.IntVar(&op, "op", 0, "the operation, counted from 1 (0: the first mv)")
	f.Var(&swap, "swap", "the steps that the wrong order has in each other's place")
	return c
}

// severity is how bad a finding is.
type severity int

const (
	worstNone severity = iota // the tree is as before or as after
	worstLeak                 // a leak, a count too high: what the mode says
	worstLoss
)

// cell is a crash point of a way.
type cell struct {
	during string // the verb that was running
	worst  severity
	text   string
}

// way is one of those compared.
type way struct {
	title           [2]string
	cells           []cell
	writes, flushes int // up to the end of the fsync behind the operation
	bytes           int64
	states          string
}

// compareWays explores the ways, the wrong one first.
func compareWays(script, override string, op int, swap swapFlag) ([]*way, error) {
	journal, err := load(script, override)
	if err != nil {
		return nil, err
	}
	if op == 0 {
		op = slices.IndexFunc(journal.script.Ops, func(o workload.Op) bool { return o.Kind == workload.OpRename }) + 1
	}
	if op < 1 || op > len(journal.script.Ops) {
		return nil, fmt.Errorf("%s: which of its %d operations? say --op", script, len(journal.script.Ops))
	}
	if journal.script.Image.None {
		return nil, fmt.Errorf("%s: its image has no journal to compare with", script)
	}
	ordered, err := load(script, strings.TrimSpace(override+" journal=none"))
	if err != nil {
		return nil, err
	}
	swap.op = op
	naive, err := ordered.swapped(swap)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", script, err)
	}
	first := [2]string{"naive order:", "old out, then new in"}
	if swap.i != 2 || swap.j != 3 || journal.script.Ops[op-1].Kind != workload.OpRename {
		first = [2]string{"wrong order:", fmt.Sprintf("steps %d and %d swapped", swap.i, swap.j)}
	}
	ways := []*way{{title: first}, {title: [2]string{"link-count order:", "no journal"}}, {title: [2]string{"journal:", "one transaction"}}}
	for i, x := range []*session{naive, ordered, journal} {
		if err := ways[i].explore(x, op); err != nil {
			return nil, fmt.Errorf("%s: %w", script, err)
		}
	}
	return ways, nil
}

// explore fills in the crash points from an operation on, and what it costs.
func (w *way) explore(x *session, op int) error {
	opt := crash.Options{Bad: true, Workers: runtime.GOMAXPROCS(0), Label: x.label}
	if x.script.Image.None {
		opt.Model, opt.Bad = crash.Atomic, false
	}
	opt.Points = func(p *crash.Point) bool { n, err := strconv.Atoi(p.Started); return err == nil && n >= op }
	r, err := crash.Explore(x.trace, opt, x.check)
	if err != nil {
		return err
	}
	if !r.Complete() {
		return fmt.Errorf("%s: no certificate", w.title[0])
	}
	for _, p := range r.Points {
		w.cells = append(w.cells, x.cell(p))
	}
	w.states = short(r.States)
	w.cost(x.trace, op)
	return nil
}

// cost counts what goes to the disk from the start of an operation until it is durable.
func (w *way) cost(t *disk.Trace, op int) {
	counts := false
	for _, e := range t.Events {
		verb, number, _ := strings.Cut(e.Mark, " ")
		n, _ := strconv.Atoi(number)
		switch {
		case e.Kind == disk.EventMark && verb == "started" && n == op:
			counts = true
		case e.Kind == disk.EventMark && verb == "synced" && n >= op:
			return
		case counts && e.Kind == disk.EventWrite:
			w.writes++
			w.bytes += int64(len(e.Data))
		case counts && e.Kind == disk.EventFlush:
			w.flushes++
		}
	}
}

// cell says what is broken in some state at a crash point.
func (x *session) cell(p *crash.PointReport) cell {
	c := cell{during: "close"}
	if at, err := progress(p.Point); err == nil && at.Started > at.Finished {
		c.during = x.script.Ops[at.Started-1].Kind.String()
	}
	if len(p.Kept) > 0 {
		c.worst = worstLoss
		c.text = "BROKEN"
		var list []string
		for _, v := range p.Kept {
			what := breach(verdictOf(v.Err, p.Point))
			if verdictOf(v.Err, p.Point).Class == workload.ErrLost {
				c.text, what = "FILE LOST", "I8"
			}
			if !slices.Contains(list, what) {
				list = append(list, what)
			}
		}
		slices.Sort(list)
		c.text += " (" + strings.Join(list, " ") + ")"
		return c
	}
	var list []string // invariants
	for _, l := range p.Labels {
		_, with, _ := strings.Cut(l.Label, " with ")
		for _, i := range strings.Fields(with) {
			if !slices.Contains(list, i) {
				list = append(list, i)
			}
		}
	}
	if len(list) == 0 {
		c.text = "nothing"
		return c
	}
	slices.Sort(list)
	c.worst = worstLeak
	switch {
	case slices.Contains(list, "I7"):
		c.text = "two names"
	case slices.Equal(list, []string{"I9"}):
		c.text = "a counter"
	default:
		c.text = "a leak"
	}
	c.text += " (" + strings.Join(list, " ") + ")"
	return c
}

// colours are those of a severity on a terminal.
var colours = [...]string{worstNone: "\x1b[32m", worstLeak: "\x1b[33m", worstLoss: "\x1b[31m"}

// printWays prints them side by side, and reports whether one of the right ones is broken.
func printWays(out io.Writer, ways []*way) (bad bool, err error) {
	const width = 22
	tty := terminal(out) != nil
	var page strings.Builder
	line := func(head string, text func(w *way) (string, severity)) {
		b := fmt.Sprintf("%7s", head)
		for _, w := range ways {
			s, worst := text(w)
			s = fmt.Sprintf("%-*s", width, s)
			if tty && worst >= 0 {
				s = colours[worst] + s + "\x1b[0m"
			}
			b += "  " + s
		}
		page.WriteString(strings.TrimRight(b, " ") + "\n")
	}
	plain := func(fn func(w *way) string) func(*way) (string, severity) {
		return func(w *way) (string, severity) { return fn(w), -1 }
	}
	line("crash", plain(func(w *way) string { return w.title[0] }))
	line("point", plain(func(w *way) string { return w.title[1] }))
	rows := 0
	for i, w := range ways {
		rows = max(rows, len(w.cells))
		for _, c := range w.cells {
			bad = bad || i > 0 && c.worst == worstLoss || i > 1 && c.worst > worstNone
		}
	}
	for i := range rows {
		line(strconv.Itoa(i+1), func(w *way) (string, severity) {
			if i >= len(w.cells) {
				return "", -1
			}
			c := w.cells[i]
			return fmt.Sprintf("%-5s %s", c.during, c.text), c.worst
		})
	}
	line("states", plain(func(w *way) string { return w.states + ", all explored" }))
	line("writes", plain(func(w *way) string { return fmt.Sprintf("%d, %.3g KiB", w.writes, float64(w.bytes)/1024) }))
	line("flushes", plain(func(w *way) string { return strconv.Itoa(w.flushes) }))
	_, err = io.WriteString(out, page.String())
	return bad, err
}
