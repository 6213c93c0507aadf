package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newReload(a *app) *cobra.Command {
	var config, asJSON bool
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
was rejected.

With --config the daemon first reads its configuration file again. Settings of single
capsules and log_level take effect at once; the others do when it is started again. Each
setting that differs from what is in effect has a line before those of the capsules:

  applied KEY: OLD -> NEW
  needs a new start KEY: OLD -> NEW

With --json: {"settings": [{"key", "applied", "previous", "value"}], "capsules": [...]}. If
the file has a mistake, nothing changes, and the exit status is 2.` + exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		Args: func(_ *cobra.Command, args []string) error {
			if config && len(args) > 0 {
				return usage("reload --config reloads all capsules, and got %q", args[0])
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			ids, directive := a.completeIDs(cmd, nil, typed)
			return slices.DeleteFunc(ids, func(c cobra.Completion) bool { return given(args, c) }), directive
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var settings []messages.SettingChange
			var changes []messages.Change
			if err := a.ask(func(c *control.Client) (err error) {
				if config {
					settings, changes, err = c.ReloadConfig(cmd.Context())
				} else {
					changes, err = c.Reload(cmd.Context(), args...)
				}
				return err
			}); err != nil {
				return err
			}
			if config {
				return a.printConfigChanges(settings, changes, asJSON)
			}
			return a.printChanges(changes, asJSON)
		},
	}
	cmd.Flags().BoolVar(&config, "config", false, "read the configuration file again, too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printConfigChanges prints what a reload has changed of the configuration and of the
// capsules. It fails if a capsule was rejected.
func (a *app) printConfigChanges(settings []messages.SettingChange, changes []messages.Change, asJSON bool) error {
	if !asJSON {
		for _, s := range settings {
			if err := a.print(printable(s.String()) + "\n"); err != nil {
				return err
			}
		}
		return a.printChanges(changes, false)
	}
	encoded, err := json.Marshal(struct {
		Settings []messages.SettingChange `json:"settings"`
		Capsules []messages.Change        `json:"capsules"`
	}{settings, changes})
	if err != nil {
		return fmt.Errorf("print the changes: %w", err)
	}
	if err := a.print(string(encoded) + "\n"); err != nil {
		return err
	}
	return rejection(changes)
}

// given reports whether a completion is among the arguments already.
func given(args []string, c cobra.Completion) bool {
	id, _, _ := strings.Cut(c, "\t") // its description
	return slices.Contains(args, id)
}
