package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newRestart(a *app) *cobra.Command {
	return a.capsuleCommand("restart", "Replace a capsule's instance by a fresh one",
		`Replace a capsule's instance by a fresh one, with its module and configuration
read again. Calls that wait are served by the new instance. It does not count
against the restart budget, and fills it. Returns when the new instance is up,
and fails if it does not come up.`,
		(*control.Client).Restart)
}
