package main

import (
	"cmp"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
)

// plan is what all shards of a campaign must have in common: the sum of two that differ in it
// means nothing. It is comparable as its JSON.
type plan struct {
	Program   string   `json:"program"`              // programID
	Kind      string   `json:"kind"`                 // "seq-2", "random"
	Table     string   `json:"table,omitempty"`      // digest of the table of operations
	Seed      uint64   `json:"seed,omitempty"`       // random: of the first workload
	Of        uint64   `json:"of"`                   // workloads there are
	Selected  uint64   `json:"selected"`             // of these, wanted
	Shards    int      `json:"shards"`               // in how many shards
	Image     string   `json:"image,omitempty"`      // --image
	Model     []string `json:"model,omitempty"`      // what differs from the default
	Nested    string   `json:"nested"`               // depth, or "fix"
	MaxLeaves int      `json:"max_leaves,omitempty"` // per crash point
}

// campaignSum is what some shards of a campaign found.
type campaignSum struct {
	Plan   plan  `json:"campaign"`
	Shards []int `json:"shards"` // from 1, those in this sum, ascending

	Assigned  uint64 `json:"assigned"`          // workloads of these shards
	Done      uint64 `json:"done"`              // of these, explored completely
	Same      uint64 `json:"same"`              // of those done, not explored: another one leaves the same writes
	Refused   uint64 `json:"refused,omitempty"` // of those done, not explored: without a journal an operation is not possible
	Uncovered uint64 `json:"uncovered"`         // explored, but a bound of the exploration was reached

	Points       int     `json:"points"`       // crash points explored
	Legal        big.Int `json:"legal_states"` // at these
	Covered      big.Int `json:"sum"`          // of these, stood for by leaves
	Leaves       int     `json:"leaves"`
	NestedPoints int     `json:"nested_points"` // distinct crash points inside recovery
	NestedLeaves int     `json:"nested_leaves"`
	Seconds      float64 `json:"seconds"` // added up over shards

	Violations int                 `json:"violations"` // leaves with one
	Violating  []campaignViolation `json:"violating,omitempty"`
}

// campaignViolation is a workload with a violation, the first one found in it.
type campaignViolation struct {
	Number uint64 `json:"number"`
	Name   string `json:"name"`
	ID     string `json:"id,omitempty"` // "": the run itself failed
	Error  string `json:"error"`
	Script string `json:"script"`
}

// leaves is how often the check has run.
func (s *campaignSum) leaves() int { return s.Leaves + s.NestedLeaves }

// missing lists the shards that are not in the sum.
func (s *campaignSum) missing() []int {
	var list []int
	for i := 1; i <= s.Plan.Shards; i++ {
		if !slices.Contains(s.Shards, i) {
			list = append(list, i)
		}
	}
	return list
}

// complete reports whether all that these shards were to explore was. Which shards there are
// is for merge to say.
func (s *campaignSum) complete() bool { return s.Done == s.Assigned }

func (s *campaignSum) sort() {
	slices.Sort(s.Shards)
	slices.SortFunc(s.Violating, func(a, b campaignViolation) int { return cmp.Compare(a.Number, b.Number) })
}

// print is the summary for people.
func (s *campaignSum) print(w io.Writer) error {
	p := &s.Plan
	fmt.Fprintf(w, "%s: %d workloads", p.Kind, p.Of)
	if p.Selected != p.Of {
		fmt.Fprintf(w, ", %d of them selected", p.Selected)
	}
	if p.Shards > 1 {
		fmt.Fprintf(w, ", %d in %s of %d", s.Assigned, shardList(s.Shards), p.Shards)
	}
	for _, m := range p.Model {
		fmt.Fprintf(w, ", %s", m)
	}
	if p.Image != "" {
		fmt.Fprintf(w, ", %s", p.Image)
	}
	fmt.Fprintln(w)
	for _, v := range s.Violating {
		fmt.Fprintf(w, "\nVIOLATION %s %s\n  %s\n%s\n", v.Name, v.ID, strings.ReplaceAll(v.Error, "\n", "\n  "), indent(v.Script))
	}
	fmt.Fprintf(w, "done        %d of %d workloads, %s of all\n", s.Done, s.Assigned, percent(s.Done, p.Of))
	if s.Same > 0 {
		fmt.Fprintf(w, "explored    %d; %d more leave the same writes as one of these\n", s.Done-s.Same-s.Refused, s.Same)
	}
	if s.Refused > 0 {
		fmt.Fprintf(w, "refused     %d, for an operation that is not possible without a journal\n", s.Refused)
	}
	if s.Uncovered > 0 {
		fmt.Fprintf(w, "not covered %d workloads, beyond a bound\n", s.Uncovered)
	}
	fmt.Fprintf(w, "points      %d crash points\n", s.Points)
	if s.NestedPoints > 0 {
		depth := "depth " + p.Nested
		if p.Nested == "fix" {
			depth = "the fixpoint"
		}
		fmt.Fprintf(w, "recovery    %d crash points inside it, to %s\n", s.NestedPoints, depth)
	}
	fmt.Fprintf(w, "states      %s legal, the leaves stand for %s\n", short(&s.Legal), short(&s.Covered))
	fmt.Fprintf(w, "leaves      %d, %.0f a second in %.1f s\n", s.leaves(), float64(s.leaves())/max(s.Seconds, 1e-3), s.Seconds)
	_, err := fmt.Fprintf(w, "violations  %d in %d workloads\n", s.Violations, len(s.Violating))
	return err
}

func percent(n, of uint64) string {
	if n == of {
		return "100%"
	}
	return fmt.Sprintf("%.3g%%", 100*float64(n)/float64(of))
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ")
}

// shardList is "shard 1" or "shards 1-3, 7".
func shardList(list []int) string {
	var runs []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if i == j {
			runs = append(runs, fmt.Sprint(list[i]))
		} else {
			runs = append(runs, fmt.Sprintf("%d-%d", list[i], list[j]))
		}
		i = j + 1
	}
	what := "shards "
	if len(list) == 1 {
		what = "shard "
	}
	return what + strings.Join(runs, ", ")
}
