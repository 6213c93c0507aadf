package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newRemove(a *app) *cobra.Command {
	var keepFiles, asJSON bool
	cmd := &cobra.Command{
		Use:   "remove ID",
		Short: "Stop a capsule, and take it out of the daemon",
		Long: `Stop a capsule, and take it out of the daemon: its running call gets the stop
time-out, calls that wait are answered, and ps does not list it any more. If install has
made its directory, that is removed, too; other files stay, and reload adds the capsule
again.` + exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			remove := (*control.Client).Uninstall
			if keepFiles {
				remove = (*control.Client).Remove
			}
			version := ""
			if err := a.ask(func(c *control.Client) error {
				tree, err := c.Snapshot(cmd.Context(), false)
				if err != nil {
					return err
				}
				version = capsuleIn(tree, args[0]).Version
				return remove(c, cmd.Context(), args[0])
			}); err != nil {
				return err
			}
			return a.printChanges([]messages.Change{{ID: args[0], Change: messages.ChangeRemoved, Version: version}}, asJSON)
		},
	}
	cmd.Flags().BoolVar(&keepFiles, "keep-files", false, "keep the capsule's directory also if install made it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
