package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newKill(a *app) *cobra.Command {
	return a.capsuleCommand("kill", "Make a capsule crash",
		`Make a capsule crash, to test its supervision: the crash is handled like any
other, and counts against the restart budget. Returns when the
capsule has crashed. To end a capsule, use stop.`,
		(*control.Client).Kill)
}
