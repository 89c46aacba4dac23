package main

import (
	"github.com/spf13/cobra"

	"holdfast/crash"
	"holdfast/workload"
)

// crashTopics are pages of help that are no commands.
func crashTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "scripts", Short: "The language of workloads", Long: workload.Language()},
		{Use: "ids", Short: "What the ID of a crash state says", Long: crash.Grammar()},
	}
}

// helpBelow is "help" as a command of a command that has others: holdfast crash help explore.
func helpBelow() *cobra.Command {
	return &cobra.Command{
		Use:    "help [COMMAND]",
		Short:  "Help about a command",
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			page, rest, err := cmd.Parent().Find(args)
			if err != nil || len(rest) > 0 {
				return knownCommand(cmd.Parent(), args)
			}
			return page.Help()
		},
	}
}
