package main

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/messagesconnect"
)

func newKill(a *app) *cobra.Command {
	return a.capsuleCommand("kill", "Make a capsule crash",
		`Make a capsule crash, as a test of what follows: it goes through supervision
like any other crash, and counts against the restart budget. Returns when the
capsule has crashed. To end a capsule, use stop.`,
		func(ctx context.Context, c messagesconnect.ControlClient, id string) error {
			_, err := c.Kill(ctx, connect.NewRequest(&messages.KillCapsule{ID: id}))
			return err
		})
}
