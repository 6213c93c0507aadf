package main

import (
	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/messagesconnect"
)

func newEvents(a *app) *cobra.Command {
	var (
		asJSON, follow bool
		since          uint64
	)
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened, and what was decided",
		Long: `Show what happened to the capsules and what the supervisor decided, one event a
line: its number, the time, whom it is about, and what. The daemon keeps the last
4,096; where some are gone that were asked for, a line says how many.

With --follow, go on until the daemon ends.

With --json, each line is

  {"sequence": N, "at": TIME, "path": TEXT, "generation": N, "event": WORD, ...}

where the fields that follow depend on "event", one of: system_started
system_stopping system_stopped actor_restarted capsule_rejected capsule_loading
capsule_starting capsule_ready readiness_timed_out capsule_crashed
restart_scheduled capsule_failed capsule_stopping capsule_stopped
trigger_answered log_suppressed events_lost.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(func(c messagesconnect.ControlClient) error {
				stream, err := c.Events(cmd.Context(), connect.NewRequest(&messages.EventsRequest{Since: since, Follow: follow}))
				if err != nil {
					return err
				}
				defer stream.Close()
				for stream.Receive() {
					if err := a.printEvent(stream.Msg(), asJSON); err != nil {
						return err
					}
				}
				return stream.Err()
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	flags.BoolVar(&follow, "follow", false, "go on with events as they happen")
	flags.Uint64Var(&since, "since", 0, "only events after the one with this `number`")
	return cmd
}
