package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newTree(a *app) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "Show the supervision tree",
		Long: `Show the supervision tree: the system's own actors and, under "capsules", every
capsule with its state, its generation, the time of its next restart, the spent part
of its restart budget, and its current call. Only uptime counts for the budget.

With --watch, continue until the daemon ends: at a terminal show it again every second,
and at once after an event; otherwise print it again when the state of a capsule has
changed, with an empty line in front.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(func(c *control.Client) error {
				tree, err := snapshot(cmd.Context(), c, 0)
				if err != nil {
					return err
				}
				if watch {
					return a.watchTree(cmd.Context(), c, tree)
				}
				return a.print(treeText(tree, a.painter()))
			})
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "continue until the daemon ends")
	return cmd
}
