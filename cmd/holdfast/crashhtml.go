package main

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"math/big"
	"strings"

	"holdfast/crash"
	"holdfast/disk"
)

//go:embed report
var reportFiles embed.FS

// reportPage is what the template of a report shows; nothing in it depends on the clock or the machine.
type reportPage struct {
	CSS         template.CSS
	JS          template.JS
	Title       string
	Badge       string
	BadgeClass  string // good, bad, warn
	Trace       string
	Model       string
	Tiles       []pageTile
	Certified   bool
	Lacking     string
	Legal, Sum  string
	Timeline    *pageTimeline
	Points      []pagePoint
	Violations  []pageViolation
	Shown       string // how many violations
	CleanPoints bool   // there are points without violations
	Script      string
	Second      string // the script that runs after recovery, if there is one
}

type pageTile struct {
	Name, Value string
	Bad         bool
}

type pagePoint struct {
	Index     int
	Operation string
	Sectors   string
	States    string
	StatesBar int // percent
	Leaves    int
	LeavesBar int
	Outcomes  []pageOutcome
	Violating int
	Limit     string
}

type pageOutcome struct {
	Text, States string
	Bad          bool
}

type pageViolation struct {
	violationJSON
	Point     int
	Meaning   string
	Allowed   string
	Nearest   string
	States    string
	LinesName string
	Lines     []pageLine
	Missing   []pageLine // class: as in the timeline
	Command   string
}

type pageLine struct{ Class, Text string }

// writeHTML writes a report as one page that needs nothing else. replay is the command that
// rebuilds a state, without its ID.
func writeHTML(w io.Writer, name string, x *session, r *crash.Report, replay func(id string) string) error {
	css, err := reportFiles.ReadFile("report/report.css")
	if err != nil {
		return err
	}
	js, err := reportFiles.ReadFile("report/report.js")
	if err != nil {
		return err
	}
	t, err := template.ParseFS(reportFiles, "report/report.html")
	if err != nil {
		return err
	}
	p := newPage(name, x, r, replay)
	p.CSS, p.JS = template.CSS(css), template.JS(js)
	return t.Execute(w, p)
}

func newPage(name string, x *session, r *crash.Report, replay func(id string) string) *reportPage {
	e := &exploration{x: x}
	p := &reportPage{
		Title: name, Trace: fmt.Sprintf("%016x", x.trace.Hash()), Model: modelText(r, x),
		Certified: r.Complete(), Legal: r.States.String(), Sum: r.Covered.String(), Script: x.text,
	}
	if x.then != nil {
		p.Second = x.then.Script().String()
	}
	switch {
	case r.Violations > 0:
		p.Badge, p.BadgeClass = counted(r.Violations, "leaf fails", "leaves fail"), "bad"
	case p.Certified:
		p.Badge, p.BadgeClass = "Every legal state is covered, and none fails", "good"
	default:
		p.Badge, p.BadgeClass = "Nothing fails, but not every state is covered", "warn"
	}
	if !p.Certified {
		p.Lacking = lacking(r) + "."
	}
	writes, flushes := 0, 0
	for _, ev := range x.trace.Events {
		switch ev.Kind {
		case disk.EventWrite:
			writes++
		case disk.EventFlush:
			flushes++
		}
	}
	p.Tiles = []pageTile{
		{Name: "operations", Value: fmt.Sprint(len(x.script.Ops))},
		{Name: "writes", Value: fmt.Sprint(writes)},
		{Name: "flushes", Value: fmt.Sprint(flushes)},
		{Name: "crash points", Value: fmt.Sprint(len(r.Points))},
		{Name: "legal states", Value: short(r.States)},
		{Name: "leaves explored", Value: fmt.Sprint(r.Leaves)},
		{Name: "failing leaves", Value: fmt.Sprint(r.Violations), Bad: r.Violations > 0},
	}
	if n := &r.Nested; n.Points > 0 {
		p.Tiles = append(p.Tiles, pageTile{Name: "leaves inside recovery", Value: fmt.Sprint(n.Leaves)})
	}
	p.Timeline = newTimeline(x, r)
	mostStates, mostLeaves := big.NewInt(1), 1
	for _, q := range r.Points {
		if q.States.Cmp(mostStates) > 0 {
			mostStates = q.States
		}
		mostLeaves = max(mostLeaves, q.Leaves)
	}
	shown := 0
	for _, q := range r.Points {
		p.Points = append(p.Points, pagePoint{
			Index: q.Point.Index, Operation: e.operation(q.Point), Sectors: counted(q.Point.Sectors, "sector", "sectors"),
			States: short(q.States), StatesBar: logBar(q.States, mostStates),
			Leaves: q.Leaves, LeavesBar: logBar(big.NewInt(int64(q.Leaves)), big.NewInt(int64(mostLeaves))),
			Outcomes: pageOutcomes(q), Violating: q.Violating, Limit: q.Limit,
		})
		p.CleanPoints = p.CleanPoints || q.Violating == 0
		for _, v := range q.Kept {
			shown++
			p.Violations = append(p.Violations, newPageViolation(x, v, q.Point, replay))
		}
	}
	p.Shown = fmt.Sprintf("%s shown of %s.", counted(shown, "failing leaf is", "failing leaves are"), fmt.Sprint(r.Violations))
	return p
}

// maxReported is how many lines a page shows of what was found at one state.
const maxReported = 50

// counted is a number and its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// modelText says what a crash could do.
func modelText(r *crash.Report, x *session) string {
	s := fmt.Sprintf("Sectors of %d bytes", x.trace.SectorSize)
	switch {
	case r.Options.Model != crash.Sectors:
		s += ", " + r.Options.Model.String()
	case r.Options.Bad:
		s += ", each in flight old, new or unreadable"
	default:
		s += ", each in flight old or new"
	}
	if n := r.Options.Decay; n > 0 {
		s += fmt.Sprintf(", up to %s decayed anywhere", counted(n, "sector", "sectors"))
	}
	if n := r.Options.Nested; n > 0 {
		s += fmt.Sprintf("; crashes inside recovery to depth %d", n)
	}
	return s + "."
}

// lacking says why there is no certificate.
func lacking(r *crash.Report) string {
	var s string
	if missing := new(big.Int).Sub(r.States, r.Covered); missing.Sign() > 0 {
		s = short(missing) + " states were not covered"
	} else {
		s = "crashes inside recovery were not all covered"
	}
	for _, p := range r.Points {
		if p.Limit != "" {
			return fmt.Sprintf("%s (point %d: %s)", s, p.Point.Index, p.Limit)
		}
	}
	return s
}

// logBar is the length of a bar in percent: 0 for nothing, 100 for most, by the number of bits.
func logBar(n, most *big.Int) int {
	if most.BitLen() == 0 {
		return 0
	}
	return 100 * n.BitLen() / most.BitLen()
}

func pageOutcomes(r *crash.PointReport) []pageOutcome {
	var list []pageOutcome
	for _, o := range r.Labels {
		list = append(list, pageOutcome{Text: outcome(o.Label), States: short(o.States), Bad: o.Label == ""})
	}
	return list
}

func newPageViolation(x *session, v *crash.Violation, point *crash.Point, replay func(id string) string) pageViolation {
	verdict := verdictOf(v.Err, point)
	p := pageViolation{
		violationJSON: violationOf(v, point), Point: point.Index,
		Meaning: verdict.Class.Meaning(), Allowed: verdict.Allowed(), Command: replay(v.ID),
		LinesName: "What fsck found",
	}
	if v.States != nil {
		p.States = short(v.States)
	}
	if verdict.Is >= 0 {
		p.Cause = fmt.Sprintf("it is the tree after operation %d", verdict.Is)
	}
	if len(verdict.Diff) > 0 {
		p.Nearest = fmt.Sprintf("the tree after operation %d", verdict.Nearest)
		p.LinesName = "Against the nearest allowed tree: − is missing, + is too much"
	}
	for _, line := range verdict.Lines(maxReported) {
		class := ""
		if strings.HasPrefix(line, "+ ") {
			class = "add"
		} else if strings.HasPrefix(line, "- ") {
			class = "del"
		}
		p.Lines = append(p.Lines, pageLine{class, line})
	}
	for _, m := range v.Missing {
		p.Missing = append(p.Missing, pageLine{writeClass(m.Label), m.String()})
	}
	for _, d := range v.Decayed {
		p.Missing = append(p.Missing, pageLine{"", fmt.Sprintf("decayed: %d bytes at %d (%s)", d.Len, d.Off, x.holds(d))})
	}
	return p
}

// writeClass is the colour of a write, by its label.
func writeClass(label string) string {
	switch {
	case strings.HasPrefix(label, "journal"):
		return "log"
	case strings.HasPrefix(label, "data"):
		return "data"
	}
	return "meta"
}
