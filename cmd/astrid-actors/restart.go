package main

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/messagesconnect"
)

func newRestart(a *app) *cobra.Command {
	return a.capsuleCommand("restart", "Replace a capsule's instance by a fresh one",
		`Replace a capsule's instance by a fresh one, with its module and configuration
read again. Calls that wait are served by the new instance. It does not count
against the restart budget, and fills it. Returns when the new instance is up,
and fails where it does not come up.`,
		func(ctx context.Context, c messagesconnect.ControlClient, id string) error {
			_, err := c.Restart(ctx, connect.NewRequest(&messages.RestartCapsule{ID: id}))
			return err
		})
}
