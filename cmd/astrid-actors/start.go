package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newStart(a *app) *cobra.Command {
	return a.capsuleCommand("start", "Start a capsule that has stopped or failed",
		`Start a capsule that has stopped or failed, with its module and configuration
read again and a full restart budget. Returns when the capsule is up, and fails
where it does not come up. A capsule that runs is left as it is.`,
		(*control.Client).Start)
}
