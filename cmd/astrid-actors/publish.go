package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newPublish(a *app) *cobra.Command {
	var principal string
	cmd := &cobra.Command{
		Use:   "publish TOPIC [PAYLOAD | - | @FILE]",
		Short: "Publish a message on the event bus",
		Long: `Publish a message: every subscription to TOPIC receives it, and every capsule that has
an interceptor for TOPIC is called with it, one after another. PAYLOAD is JSON of at
most 5 MiB, and null if it is left out; - reads it from the standard input, @FILE from
a file.

The command returns when the message has been accepted, before any capsule is called:
what the capsules do with it is in the events and counts, and in their own messages.
"trigger" asks, and waits for the answers.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Example: `  astrid-actors publish order.placed '{"id": 7}'
  astrid-actors publish user.renamed @user.json --principal ann`,
		Args:              arguments(1, 2),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("principal") && principal == "" {
				return usage("--principal is empty: leave it out for none")
			}
			topic := args[0]
			var payload []byte
			if len(args) == 2 {
				var err error
				if payload, err = readPayload(args[1], a.stdin, supervisor.MaxMessage); err != nil {
					return err
				}
			}
			if err := supervisor.CheckMessage(topic, payload, &supervisor.Caller{Principal: principal}); err != nil {
				return usage("%w", err)
			}
			return a.ask(func(c *control.Client) error { return c.Publish(cmd.Context(), topic, payload, principal) })
		},
	}
	cmd.Flags().StringVar(&principal, "principal", "", "the `name` of the principal on whose behalf the message is published")
	return cmd
}
