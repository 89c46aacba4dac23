package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"holdfast/disk"
)

// Exit statuses of crash.
const (
	crashViolation = 1
	crashBudget    = 3 // a bound was reached without a violation
)

func crashCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "crash",
		Short: "Explore every crash state of a workload",
		Long: `Record a workload, explore every state that a crash can leave the image in, rebuild any one,
and find the smallest that fails.

Exit status: 0 complete and clean, 1 a violation was found, 2 wrong use or bad input,
3 a bound was reached without a violation.`,
		Args: knownCommand,
		RunE: needsCommand,
	}
	c.AddCommand(
		crashRecordCommand(), crashExploreCommand(), crashReplayCommand(), crashMinimizeCommand(),
		crashCompareCommand(), crashCampaignCommand(), crashMergeCommand(), helpBelow(),
	)
	c.AddCommand(crashTopics()...)
	return c
}

// badInput marks an error of what was given as one of use.
func badInput(err error) error {
	if err == nil {
		return nil
	}
	return &statusError{exitUsage, err}
}

// load reads a script or a trace and returns what was played.
func load(name, override string) (*session, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	t, err := disk.ReadTrace(bytes.NewReader(text))
	switch {
	case err == nil:
		if override != "" {
			return nil, fmt.Errorf("%s: the image of a recorded trace cannot be changed", name)
		}
		return fromTrace(name, t)
	case len(text) == 0:
		return nil, fmt.Errorf("%s: is empty: neither a script nor a trace", name)
	case !looksLikeText(text) || bytes.HasPrefix(text, []byte("HFTRACE")): // cut off in its head
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return play(name, string(text), override)
}

// looksLikeText tells a script from a damaged trace.
func looksLikeText(p []byte) bool {
	return bytes.IndexByte(p[:min(len(p), 4096)], 0) < 0
}
