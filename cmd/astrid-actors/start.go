package main

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/messagesconnect"
)

func newStart(a *app) *cobra.Command {
	return a.capsuleCommand("start", "Start a capsule that has stopped or failed",
		`Start a capsule that has stopped or failed, with its module and configuration
read again and a full restart budget. Returns when the capsule is up, and fails
where it does not come up.`,
		func(ctx context.Context, c messagesconnect.ControlClient, id string) error {
			_, err := c.Start(ctx, connect.NewRequest(&messages.StartCapsule{ID: id}))
			return err
		})
}
