package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newStop(a *app) *cobra.Command {
	return a.capsuleCommand("stop", "Stop a capsule",
		`Stop a capsule until it is started again. Calls that wait are answered
"unavailable" at once; a running one is given the capsule's stop time-out, 10 s
unless its manifest says otherwise. Returns when the capsule has ended,
at once if it does not run.`,
		(*control.Client).Stop)
}
