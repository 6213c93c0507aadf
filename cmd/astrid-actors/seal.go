package main

import (
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

func newSeal(a *app) *cobra.Command {
	var cache string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "seal DIR",
		Short: "Record the hash of a capsule's module",
		Long: `Write the BLAKE3 hash of the module of the capsule in DIR into its meta.json, and
print it. The capsule then runs as long as its module is unchanged; without a hash it runs
only under run --allow-unverified. A capsule that would not load is refused, with the
problems that check reports; warnings go to the standard error. With --json an object with
"id", "version" and "hash".` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withChecker(cmd.Context(), cache, func(c *checker) error {
				var sealed struct {
					ID      string `json:"id"`
					Version string `json:"version"`
					Hash    string `json:"hash"`
				}
				hash, err := manifest.Seal(args[0], func(m *manifest.Manifest, wasm []byte) error {
					a.warn(m.Warnings)
					sealed.ID, sealed.Version = m.ID(), m.Package.Version
					return c.module(cmd.Context(), m, wasm)
				})
				if err != nil {
					return err
				}
				sealed.Hash = hash
				if asJSON {
					return a.printJSON(sealed)
				}
				return a.print(hash + "\n")
			})
		},
		ValidArgsFunction: completeDirs,
	}
	cacheFlag(cmd.Flags(), &cache)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// completeDirs returns directories for shell completion.
func completeDirs(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}
