package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"

	"github.com/spf13/cobra"
)

func crashMergeCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "merge FILE...",
		Short: "Add up what the shards of a campaign found",
		Long: `Add up the JSON lines that shards of one campaign printed. A file may hold several; - is standard input.

Exit status as of campaign; 3 also if shards are missing.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var sum *campaignSum
			for _, name := range args {
				text, err := readInput(cmd, name)
				if err != nil {
					return badInput(err)
				}
				if sum, err = merge(sum, name, text); err != nil {
					return badInput(err)
				}
			}
			if sum == nil {
				return badInput(fmt.Errorf("%s: no summary of a campaign", args[0]))
			}
			sum.sort()
			err := sum.finish(cmd.OutOrStdout(), asJSON)
			missing := sum.missing()
			if missing == nil {
				return err
			}
			lacking := fmt.Errorf("%s of %d: missing", shardList(missing), sum.Plan.Shards)
			var status *statusError
			if errors.As(err, &status) {
				return &statusError{status.status, lacking}
			}
			return &statusError{crashBudget, lacking}
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "the sum as one line of JSON, which can be merged again")
	return c
}

func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name)
}

// merge adds the summaries in a file to sum, nil at first.
func merge(sum *campaignSum, name string, text []byte) (*campaignSum, error) {
	for n, line := range bytes.Split(text, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var s campaignSum
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil {
			return nil, fmt.Errorf("%s:%d: not a summary of a campaign: %w", name, n+1, err)
		}
		if err := s.valid(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n+1, err)
		}
		if sum == nil {
			sum = &s
			continue
		}
		if field := differs(sum.Plan, s.Plan); field != "" {
			return nil, fmt.Errorf("%s:%d: another campaign than the first: %s differs", name, n+1, field)
		}
		for _, i := range s.Shards {
			if slices.Contains(sum.Shards, i) {
				return nil, fmt.Errorf("%s:%d: shard %d of %d is there already", name, n+1, i, s.Plan.Shards)
			}
		}
		sum.add(&s)
	}
	return sum, nil
}

// maxShards bounds what a summary may say.
const maxShards = 1 << 20

// valid refuses what no campaign prints.
func (s *campaignSum) valid() error {
	if s.Plan.Shards < 1 || s.Plan.Shards > maxShards || len(s.Shards) == 0 {
		return fmt.Errorf("not a summary of a campaign: %d of %d shards", len(s.Shards), s.Plan.Shards)
	}
	for k, i := range s.Shards {
		if i < 1 || i > s.Plan.Shards || slices.Contains(s.Shards[:k], i) {
			return fmt.Errorf("not a summary of a campaign: shard %d of %d", i, s.Plan.Shards)
		}
	}
	assigned := uint64(0)
	for _, i := range s.Shards {
		assigned += (&campaign{sum: campaignSum{Plan: s.Plan, Shards: []int{i}}}).assigned()
	}
	switch {
	case s.Plan.Selected > s.Plan.Of || s.Assigned != assigned:
		return fmt.Errorf("its counts do not add up: %d workloads in these shards, there are %d", s.Assigned, assigned)
	case s.Same > s.Done || s.Done > s.Assigned || s.Uncovered > s.Assigned-s.Done:
		return fmt.Errorf("its counts do not add up: %d of %d workloads done", s.Done, s.Assigned)
	case s.Covered.Sign() < 0 || s.Covered.Cmp(&s.Legal) > 0 || s.complete() && s.Covered.Cmp(&s.Legal) != 0:
		return fmt.Errorf("its counts do not add up: the leaves stand for %v of %v states", &s.Covered, &s.Legal)
	case min(s.Points, s.Leaves, s.NestedPoints, s.NestedLeaves) < 0 || !(s.Seconds >= 0):
		return errors.New("its counts do not add up: some are negative")
	case s.Violations < len(s.Violating) || s.Violations > 0 && len(s.Violating) == 0:
		return fmt.Errorf("its counts do not add up: %d violations in %d workloads", s.Violations, len(s.Violating))
	}
	return nil
}

// differs names the first field in which two plans differ, "" if there is none.
func differs(a, b plan) string {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			return fmt.Sprintf("%s (%v, %v)", x.Type().Field(i).Tag.Get("json"), x.Field(i), y.Field(i))
		}
	}
	return ""
}

// add adds what another sum of the same campaign found.
func (s *campaignSum) add(o *campaignSum) {
	s.Shards = append(s.Shards, o.Shards...)
	s.Assigned += o.Assigned
	s.Done += o.Done
	s.Same += o.Same
	s.Refused += o.Refused
	s.Uncovered += o.Uncovered
	s.Points += o.Points
	s.Legal.Add(&s.Legal, &o.Legal)
	s.Covered.Add(&s.Covered, &o.Covered)
	s.Leaves += o.Leaves
	s.NestedPoints += o.NestedPoints
	s.NestedLeaves += o.NestedLeaves
	s.Seconds += o.Seconds
	s.Violations += o.Violations
	s.Violating = append(s.Violating, o.Violating...)
}
