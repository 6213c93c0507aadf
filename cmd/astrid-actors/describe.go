package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newDescribe(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "describe ID",
		Short: "Show all about one capsule",
		Long: `Show all about one capsule: its state, why, and what happens next; its version, module
and manifest; the limits and the configuration in effect, with values that may be secret
as ***; what it may do and listens to; its last failures with stack and standard error,
the decisions on them, and its last calls.

With --json, print an object with "id", "version", "state", and more.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(func(c *control.Client) error {
				tree, detail, err := look(cmd.Context(), c, args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(describeJSON(tree, detail))
				}
				return a.print(describeText(tree, detail, a.painter()))
			})
		},
		ValidArgsFunction: a.completeIDs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// look requests one capsule's details, and the tree that it is in.
func look(ctx context.Context, c *control.Client, id string) (*messages.Tree, *messages.CapsuleDetail, error) {
	detail, err := c.Capsule(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	tree, err := c.Snapshot(ctx, false)
	if err != nil {
		return nil, nil, fmt.Errorf("describe capsule %q: %w", id, err)
	}
	return tree, detail, nil
}
