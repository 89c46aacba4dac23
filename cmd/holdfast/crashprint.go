package main

import (
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"holdfast/crash"
	"holdfast/workload"
)

// exploration prints what an exploration finds.
type exploration struct {
	x    *session
	out  io.Writer
	from *sessionSource // for the commands that are proposed

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

func (e *exploration) title() {
	fmt.Fprintf(e.out, "trace %016x: %d operations, sectors of %d bytes\n", e.x.trace.Hash(), len(e.x.script.Ops), e.x.trace.SectorSize)
}

func (e *exploration) head() {
	e.title()
	fmt.Fprintf(e.out, "%5s  %-23s %7s %12s %7s  %s\n", "point", "operation in flight", "sectors", "legal states", "leaves", "tree after")
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
	if s := n.String(); len(s) <= 60 {
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

// shows lists the outcomes of a point: after which operation the tree is, and with counts in
// how many states.
func shows(r *crash.PointReport, counts bool) string {
	var list []string
	for _, o := range r.Labels {
		s := strings.TrimPrefix(outcome(o.Label), "after operation ")
		if counts {
			s += " (" + short(o.States) + ")"
		}
		list = append(list, s)
	}
	return strings.Join(list, ", ")
}

// columns is the width of the screen that what is not asked for in full has to fit.
const columns = 80

// cut shortens a line.
func cut(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

// wrapped breaks a line between words, into so many at most.
func wrapped(s string, width, most int) []string {
	var list []string
	for len(list) < most-1 && len(s) > width {
		at := strings.LastIndexByte(s[:width+1], ' ')
		if at <= 0 {
			break
		}
		list = append(list, s[:at])
		s = s[at+1:]
	}
	return append(list, s)
}

// row is a line of the table.
func (e *exploration) row(r *crash.PointReport, counts bool) string {
	s := fmt.Sprintf("%5d  %-23s %7d %12s %7d  ", r.Point.Index, cut(e.operation(r.Point), 23), r.Point.Sectors, short(r.States), r.Leaves)
	if counts {
		return s + shows(r, true)
	}
	return cut(s+shows(r, false), columns)
}

// point prints one point and its violations in full.
func (e *exploration) point(r *crash.PointReport) {
	fmt.Fprintln(e.out, e.row(r, true))
	for _, v := range r.Kept {
		fmt.Fprintf(e.out, "\n  VIOLATION %s\n    %s\n    states that fail alike: %s\n", v.ID, strings.ReplaceAll(verdictOf(v.Err, r.Point).Error(), "\n", "\n    "), short(v.States))
		for _, m := range e.absent(v, false) {
			fmt.Fprintf(e.out, "    %s\n", m)
		}
	}
	if len(r.Kept) > 0 {
		fmt.Fprintln(e.out)
	}
	if r.Limit != "" {
		fmt.Fprintf(e.out, "       not covered: %s\n", r.Limit)
	}
}

// absent is what makes a failing state other than one with everything in place; brief
// names writes by what they hold alone.
func (e *exploration) absent(v *crash.Violation, brief bool) []string {
	var list []string
	for _, m := range v.Missing {
		if brief && m.Label != "" {
			list = append(list, "not on the disk: "+m.Label)
			continue
		}
		list = append(list, "not on the disk: "+m.String())
	}
	for _, d := range v.Decayed {
		list = append(list, fmt.Sprintf("decayed: %d bytes at %d (%s)", d.Len, d.Off, e.x.holds(d)))
	}
	if v.Depth > 0 {
		list = append(list, fmt.Sprintf("crashes inside recovery: %d; replay names its missing writes", v.Depth))
	}
	return list
}

// How many lines a screen has for what may be long.
const (
	foldAll     = 14 // crash points, if none fails
	foldFailing = 2  // crash points that fail
	foldVerdict = 3  // what is wrong
	foldFound   = 3  // the difference of trees
	foldAbsent  = 3  // missing writes
)

// folded prints on one screen what was found: all points if they are few, else those that fail,
// and the violation with the least missing.
func (e *exploration) folded(r *crash.Report) {
	var list []*crash.PointReport
	most := foldAll
	for _, p := range r.Points {
		if r.Violations == 0 && len(r.Points) <= foldAll || p.Violating > 0 || p.Limit != "" {
			list = append(list, p)
		}
	}
	v, at := simplest(r)
	if v != nil {
		most = foldFailing
		list = slices.DeleteFunc(list, func(p *crash.PointReport) bool { return p.Violating == 0 || p == at })
		list = slices.Insert(list, 0, at)
	}
	list = list[:min(len(list), most)]
	if len(list) == 0 {
		e.title()
		fmt.Fprintf(e.out, "%d crash points, none with anything to tell: -v lists them\n", len(r.Points))
		return
	}
	e.head()
	for _, p := range list {
		fmt.Fprintln(e.out, e.row(p, false))
	}
	if n := len(r.Points) - len(list); n > 0 {
		fmt.Fprintf(e.out, "%5s  and %d points more: -v lists them\n", "", n)
	}
	if v != nil {
		e.foldedViolation(r, v, at.Point)
	}
}

// simplest is the violation with the fewest crashes and the least missing, and its point.
func simplest(r *crash.Report) (v *crash.Violation, at *crash.PointReport) {
	for _, p := range r.Points {
		for _, w := range p.Kept {
			if v == nil || w.Depth < v.Depth || w.Depth == v.Depth && len(w.Missing) < len(v.Missing) {
				v, at = w, p
			}
		}
	}
	return v, at
}

func (e *exploration) foldedViolation(r *crash.Report, v *crash.Violation, point *crash.Point) {
	kinds := map[workload.Class]int{}
	kept := 0
	for _, p := range r.Points {
		for _, w := range p.Kept {
			kept++
			kinds[verdictOf(w.Err, p.Point).Class]++
		}
	}
	verdict := verdictOf(v.Err, point)
	first, _, _ := strings.Cut(verdict.Error(), "\n")
	line := func(format string, args ...any) { fmt.Fprintln(e.out, cut(fmt.Sprintf(format, args...), columns)) }
	fmt.Fprintln(e.out)
	for i, s := range wrapped(fmt.Sprintf("point %d: %s", point.Index, first), columns-2, foldVerdict) {
		line("%*s%s", 2*min(i, 1), "", s)
	}
	fmt.Fprintf(e.out, "  %s\n", v.ID) // whole: it is for copying
	if verdict.During != "" {
		line("  during %s", verdict.During)
	}
	line("  allowed: %s", verdict.Allowed())
	for _, s := range verdict.Lines(foldFound) {
		line("  %s", s)
	}
	missing := e.absent(v, true)
	if n := len(missing) - foldAbsent; n > 0 {
		missing = append(missing[:foldAbsent-1], fmt.Sprintf("and %d more", n+1))
	}
	for _, s := range missing {
		line("  %s", s)
	}
	var list []string
	for _, c := range workload.Classes() {
		if n := kinds[c]; n > 0 {
			list = append(list, fmt.Sprintf("%s %d", c.String(), n))
		}
	}
	if kept > 1 {
		line("of %d kept: %s; -v shows them", kept, strings.Join(list, ", "))
	}
	if e.from.swap.op > 0 {
		fmt.Fprintln(e.out, e.from.replay(v.ID))
		return
	}
	fmt.Fprintln(e.out, e.from.command("minimize", v.ID))
}

func (e *exploration) summary(r *crash.Report) error {
	verdict := "certificate: the leaves stand for every legal state, each once"
	if !r.Complete() {
		verdict = strings.Join(wrapped("no certificate: "+lacking(r), columns-2, 4), "\n  ")
	}
	fmt.Fprintf(e.out, "\n%d crash points, %s legal states, %d leaves, %d violations\n", len(r.Points), short(r.States), r.Leaves, r.Violations)
	if n := &r.Nested; n.Points > 0 {
		fmt.Fprintf(e.out, "inside recovery: %d crash points, %d of them distinct, %d leaves, to depth %d\n", n.Points, n.Distinct, n.Leaves, n.Deepest)
	}
	_, err := fmt.Fprintf(e.out, "legal states %s\nleaves' sum  %s\n%s\n", exact(r.States), exact(r.Covered), verdict)
	return err
}

// clearLine takes a line of progress off a terminal.
const clearLine = "\r\x1b[K"

// progressLine tells on a terminal how far an exploration has come.
func progressLine(w io.Writer, x *session) func(*crash.PointReport) {
	points, err := crash.Points(x.trace, nil)
	if err != nil {
		return nil // Explore will say it
	}
	done, failing := 0, 0
	return func(p *crash.PointReport) {
		done++
		failing += p.Violating
		fmt.Fprintf(w, "%s%d of %d crash points, %s", clearLine, done, len(points), counted(failing, "failing leaf", "failing leaves"))
	}
}
