package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newReload(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload [ID...]",
		Short: "Read the capsule directories again, and apply what has changed",
		Long: `Read the capsule directories again, and apply what has changed: add new capsules,
upgrade those whose manifest, module or configuration has changed, and remove those that
are not there any more. With IDs, only these. An upgrade interrupts nothing: the new
version takes over between two calls, and if it can't, the running one goes on.

Prints one line per capsule, sorted by id:

  added ID VERSION
  upgraded ID OLD -> NEW
  unchanged ID
  removed ID
  rejected ID: REASON

With --json: [{"id", "change", "version", "previous"?, "reason"?}]. Fails if a capsule
was rejected.` + exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return a.completeIDs(cmd, nil, typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var changes []messages.Change
			if err := a.ask(func(c *control.Client) (err error) {
				changes, err = c.Reload(cmd.Context(), args...)
				return err
			}); err != nil {
				return err
			}
			return a.printChanges(changes, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
