package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

func newSeal(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "seal DIR",
		Short: "Record the hash of a capsule's module",
		Long: `Write the BLAKE3 hash of the module of the capsule in DIR into its meta.json, and
print it. The capsule then runs as long as its module is unchanged; without a hash it runs
only under run --allow-unverified.` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			hash, err := manifest.Seal(args[0])
			if err != nil {
				return err
			}
			return a.print(hash + "\n")
		},
		ValidArgsFunction: completeDirs,
	}
}

// completeDirs returns directories for shell completion.
func completeDirs(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}
