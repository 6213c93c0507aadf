package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Print the version of astrid-actors, of the Go that built it, and of the Astrid whose
capsules it hosts.` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return a.print("astrid-actors " + buildVersion() + "\n")
		},
	}
}

// buildVersion returns the version that the Go tool recorded in this binary.
func buildVersion() string {
	version := "(devel)"
	revision, dirty := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = fmt.Sprintf(" %.12s", s.Value)
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = ", modified"
			}
		}
	}
	return fmt.Sprintf("%s%s%s (%s %s/%s, for capsules of astrid %s)",
		version, revision, dirty, runtime.Version(), runtime.GOOS, runtime.GOARCH, manifest.HostVersion)
}
