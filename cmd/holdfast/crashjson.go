package main

import (
	"fmt"
	"math/big"

	"holdfast/crash"
)

// The --json form of a report.
type exploreJSON struct {
	Trace      string      `json:"trace"`
	Points     []pointJSON `json:"points"`
	Legal      *big.Int    `json:"legal_states"`
	Sum        *big.Int    `json:"sum"`
	Leaves     int         `json:"leaves"`
	Violations int         `json:"violations"`
	Certified  bool        `json:"certified"`
}

type pointJSON struct {
	Index      int             `json:"index"`
	Operation  string          `json:"operation"`
	Sectors    int             `json:"sectors"`
	Legal      *big.Int        `json:"legal_states"`
	Sum        *big.Int        `json:"sum"`
	Leaves     int             `json:"leaves"`
	Certified  bool            `json:"certified"`
	Outcomes   []outcomeJSON   `json:"outcomes"`
	Violations []violationJSON `json:"violations,omitempty"`
}

type outcomeJSON struct {
	After  string   `json:"after_operation"`
	Leaves int      `json:"leaves"`
	States *big.Int `json:"states"`
}

type violationJSON struct {
	ID      string      `json:"id"`
	Verdict string      `json:"verdict"` // the name of its class
	Error   string      `json:"error"`
	During  string      `json:"during,omitempty"`
	Allowed allowedJSON `json:"allowed"`
	Is      *int        `json:"is_after_operation,omitempty"`      // the synced prefix that it falls short of
	Nearest *int        `json:"nearest_after_operation,omitempty"` // of the allowed trees
	Found   []string    `json:"found,omitempty"`                   // what fsck found, or the difference to the nearest: "-" is missing, "+" too much
	Cause   string      `json:"cause,omitempty"`
	Depth   int         `json:"crashes_inside_recovery"`
	States  *big.Int    `json:"states,omitempty"`
	Missing []string    `json:"missing"`
	Bad     []badJSON   `json:"bad,omitempty"`
	Decayed []badJSON   `json:"decayed,omitempty"`
}

// allowedJSON is the range of operations after which a tree would have been right.
type allowedJSON struct {
	From int `json:"from_operation"`
	To   int `json:"to_operation"`
}

type badJSON struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

func violationOf(v *crash.Violation, p *crash.Point) violationJSON {
	verdict := verdictOf(v.Err, p)
	w := violationJSON{
		ID: v.ID, Verdict: verdict.Class.String(), Error: verdict.Error(), During: verdict.During,
		Allowed: allowedJSON{verdict.Progress.Synced, verdict.Progress.Started},
		Found:   verdict.Lines(0), Depth: v.Depth, States: v.States, Missing: []string{},
	}
	if verdict.Is >= 0 {
		w.Is = &verdict.Is
	}
	if verdict.Nearest >= 0 {
		w.Nearest = &verdict.Nearest
	}
	if verdict.Cause != nil {
		w.Cause = verdict.Cause.Error()
	}
	for _, m := range v.Missing {
		w.Missing = append(w.Missing, m.String())
	}
	for _, d := range v.Decayed {
		w.Decayed = append(w.Decayed, badJSON{d.Off, d.Len})
	}
	for _, b := range v.Bad {
		w.Bad = append(w.Bad, badJSON{b.Off, b.Len})
	}
	return w
}

func toJSON(x *session, r *crash.Report) exploreJSON {
	e := &exploration{x: x}
	j := exploreJSON{fmt.Sprintf("%016x", x.trace.Hash()), nil, r.States, r.Covered, r.Leaves, r.Violations, r.Complete()}
	for _, p := range r.Points {
		q := pointJSON{Index: p.Point.Index, Operation: e.operation(p.Point), Sectors: p.Point.Sectors, Legal: p.States, Sum: p.Covered, Leaves: p.Leaves, Certified: p.Complete()}
		for _, o := range p.Labels {
			q.Outcomes = append(q.Outcomes, outcomeJSON{o.Label, o.Leaves, o.States})
		}
		for _, v := range p.Kept {
			q.Violations = append(q.Violations, violationOf(v, p.Point))
		}
		j.Points = append(j.Points, q)
	}
	return j
}
