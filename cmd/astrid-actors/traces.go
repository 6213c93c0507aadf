package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newTraces(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "traces [ID]",
		Short: "Show the last triggers with all calls that followed from them",
		Long: `List the last 100 triggers, and messages on the event bus that interceptors receive, the
newest first. With an ID, show one as a tree: the calls, and what these triggered and
published in turn, each with the time of its start since the beginning, its duration, its
outcome, and the version and generation that was called. What is published goes on after
the answer, so a trace may still grow.

With --json, print an array of traces, the oldest first, or one:

  {"id", "at", "principal", "omitted", "root": {"topic", "published", "from", "start_us",
  "duration_us", "open", "problem", "calls": [{"capsule", "action", "priority", "version",
  "generation", "outcome", "reason", "start_us", "queue_wait_us", "duration_us",
  "reductions", "made": [SPAN, as root]}]}}` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var id uint64
			if len(args) > 0 {
				var err error
				if id, err = strconv.ParseUint(args[0], 10, 64); err != nil || id == 0 {
					return usage("%q is no id of a trace: they are numbers from 1", args[0])
				}
			}
			var traces []messages.Trace
			if err := a.ask(func(c *control.Client) (err error) {
				traces, err = c.Traces(cmd.Context(), id)
				return err
			}); err != nil {
				return err
			}
			return a.printTraces(traces, id != 0, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
