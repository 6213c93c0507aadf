package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newRemove(a *app) *cobra.Command {
	var o removeOptions
	cmd := &cobra.Command{
		Use:   "remove ID",
		Short: "Stop a capsule, and take it out of the daemon",
		Long: `Stop a capsule, and take it out of the daemon: its running call gets the stop
time-out, calls that wait are answered, and ps does not list it any more. If install has
made its directory, that is removed, too; other files stay, and reload adds the capsule
again. If no daemon runs, a capsule that install has installed is removed.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := a.remove(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			return a.printChanges([]messages.Change{{ID: args[0], Change: messages.ChangeRemoved, Version: version}}, o.json)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.keepFiles, "keep-files", false, "keep the capsule's directory also if install made it")
	flags.StringVar(&o.principal, "principal", home.DefaultPrincipal, "the `name` of the principal that owns the capsule, if no daemon runs")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// removeOptions are the flags of remove.
type removeOptions struct {
	principal       string
	keepFiles, json bool
}

// remove removes a capsule and returns its version.
func (a *app) remove(ctx context.Context, id string, o removeOptions) (version string, err error) {
	remove := (*control.Client).Uninstall
	if o.keepFiles {
		remove = (*control.Client).Remove
	}
	err = a.ask(func(c *control.Client) error {
		tree, err := c.Snapshot(ctx, false)
		if err != nil {
			return err
		}
		version = capsuleIn(tree, id).Version
		return remove(c, ctx, id)
	})
	if errors.Is(err, control.ErrNoDaemon) && !o.keepFiles {
		return a.removeInstalled(ctx, id, o.principal)
	}
	return version, err
}

// removeInstalled removes an installed capsule that does not run, and returns its version.
func (a *app) removeInstalled(ctx context.Context, id, principal string) (version string, err error) {
	sup, err := a.installer(installOptions{principal: principal})
	if err != nil {
		return "", err
	}
	if m, err := manifest.Load(sup.InstallDir(id)); err == nil { // a broken one can be removed, too
		version = m.Package.Version
	}
	err = sup.Uninstall(ctx, id)
	if errors.Is(err, supervisor.ErrNotFound) {
		err = &failure{status: exitNotFound, err: err, hint: "no daemon runs, and no such capsule is installed: --principal or --home may say where it is"}
	}
	return version, err
}
