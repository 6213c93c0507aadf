package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages/messagesconnect"
)

func newTree(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "tree",
		Short: "Show the supervision tree",
		Long: `Show the supervision tree: the system's own actors and, under "capsules", every
capsule with its state, its generation, when it is restarted, how much of its
restart budget is spent, and the call that it is in. Only time in which a capsule is
up counts for the budget.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(func(c messagesconnect.ControlClient) error {
				tree, err := snapshot(cmd.Context(), c, 0)
				if err != nil {
					return err
				}
				return a.print(treeText(tree))
			})
		},
	}
}
