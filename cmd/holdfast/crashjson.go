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
	ID      string   `json:"id"`
	Error   string   `json:"error"`
	Missing []string `json:"missing"`
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
			w := violationJSON{ID: v.ID, Error: v.Err.Error()}
			for _, m := range v.Missing {
				w.Missing = append(w.Missing, m.String())
			}
			q.Violations = append(q.Violations, w)
		}
		j.Points = append(j.Points, q)
	}
	return j
}
