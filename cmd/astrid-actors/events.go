package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newEvents(a *app) *cobra.Command {
	var (
		asJSON, follow bool
		since          uint64
	)
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show events and the supervisors' decisions",
		Long: `Show what happened to the capsules and what the supervisor decided, one event a
line: its number, the time, the path of the actor, and a text. The daemon keeps
the last 4,096; if older ones are asked for, the first line reports how many are gone.

With --follow, continue with new events until the daemon ends. After a restart the
daemon counts its events from 1. If the event of --since is beyond its newest one, the first line
reports it (epoch_changed), and all events follow.

With --json, each line is

  {"sequence": N, "at": TIME, "path": TEXT, "generation": N, "event": WORD, ...}

where the fields that follow depend on "event", one of: system_started
system_stopping system_stopped actor_restarted capsule_rejected capsule_added
capsule_removed capsule_upgraded upgrade_failed capsule_rolled_back capsule_loading
capsule_starting capsule_ready readiness_timed_out capsule_crashed
restart_scheduled supervisor_started supervisor_failed supervisor_stopped
pool_scaled capsule_failed capsule_stopping capsule_stopped
trigger_answered log_suppressed dead_letter approval_requested
approval_decided events_lost epoch_changed.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(func(c *control.Client) error {
				for e, err := range c.Events(cmd.Context(), control.EventsRequest{Since: since, Follow: follow}) {
					if err == nil {
						err = a.printEvent(&e, asJSON)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print JSON, one object a line")
	flags.BoolVar(&follow, "follow", false, "continue with new events")
	flags.Uint64Var(&since, "since", 0, "only events after the one with this `number`")
	return cmd
}
