package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newSubscribe(a *app) *cobra.Command {
	var (
		asJSON bool
		count  uint
	)
	cmd := &cobra.Command{
		Use:   "subscribe PATTERN",
		Short: "Show messages on the event bus as they are published",
		Long: `Show the messages whose topic matches PATTERN, from now on, until the daemon ends: one
message a line, with the time, the topic, the principal on whose behalf it was published,
if any, and the payload. A * in PATTERN is any one segment; at the end, after another
segment, it is one or more.

With --json, each line is the message as capsules receive it in an envelope:

  {"payload": {"type": WORD, ...}, "principal": TEXT, "seq": N, "signature": null,
   "source_id": UUID, "timestamp": TIME, "topic": TEXT}

where a payload without a known type is {"data": ANY, "type": "custom"}, and "principal"
is left out if there is none.

When the daemon has subscribed, a line on the standard error says so. Another one says how
many messages are missing, if this command was too slow for them.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Example: `  astrid-actors subscribe 'order.*' --json | jq .payload.data
  astrid-actors subscribe astrid.v1.health.failed --count 1`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("count") && count == 0 {
				return usage("--count is 0: it must be positive")
			}
			return a.ask(func(c *control.Client) error {
				messages, err := c.Subscribe(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "subscribed to %s\n", args[0])
				shown := uint(0)
				for m, err := range messages {
					if err == nil {
						err = a.printMessage(&m, asJSON)
					}
					if err != nil {
						return err
					}
					if shown++; shown == count {
						return nil
					}
				}
				return nil
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print JSON, one object a line")
	flags.UintVar(&count, "count", 0, "end after this `number` of messages (default none)")
	return cmd
}

// printMessage prints one message, and reports the number of missing ones.
func (a *app) printMessage(m *control.Message, asJSON bool) error {
	if m.Lost > 0 {
		fmt.Fprintf(a.stderr, "messages missing: %d\n", m.Lost)
	}
	if asJSON {
		return a.print(string(m.Envelope) + "\n")
	}
	return a.print(fmt.Sprintf("%s  %s  %s%s\n", m.Timestamp.Local().Format("15:04:05.000"),
		printable(m.Topic), bracketed(m.Principal), printable(string(m.Payload))))
}
