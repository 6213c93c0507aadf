package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost/archive"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

func newPack(a *app) *cobra.Command {
	var output, cache string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "pack DIR",
		Short: "Write a capsule into one file, for install elsewhere",
		Long: `Write the capsule in DIR into ID-VERSION.capsule in the current directory, and print
the file's name. The file is a gzipped tar file that install reads, here and in Astrid.

It contains the manifest, the modules, the files that the manifest names, the directory
wit, and what [package] include matches; neither sources nor hidden files. If the capsule
is sealed, so is the file. The same files give the same bytes.

A capsule that would not load is refused, with the problems that check reports; warnings
go to the standard error. With --json an object with "id", "version", "file" and "sealed".` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withChecker(cmd.Context(), cache, func(c *checker) error { return c.pack(cmd, args[0], output, asJSON) })
		},
		ValidArgsFunction: completeDirs,
	}
	cmd.Flags().StringVar(&output, "output", "", "write to this `file`")
	cacheFlag(cmd.Flags(), &cache)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// pack writes the archive of the capsule in dir to a file.
func (c *checker) pack(cmd *cobra.Command, dir, output string, asJSON bool) (err error) {
	m, err := manifest.Load(dir)
	if err != nil {
		return err
	}
	c.app.warn(m.Warnings)
	wasm, _, err := m.ReadModule(c.home, true)
	if err != nil {
		return err
	}
	if err := c.module(cmd.Context(), m, wasm); err != nil {
		return err
	}
	sealed, err := m.Sealed()
	if err != nil {
		return err
	}
	if sealed == "" {
		fmt.Fprintf(c.app.stderr, "warning: %s is not sealed: install needs --seal or --allow-unverified for it\n", printable(dir))
	}
	if output == "" {
		output = archive.Name(m)
	}
	file, err := renameio.NewPendingFile(output, renameio.WithPermissions(0o644))
	if err != nil {
		return fmt.Errorf("write %s: %w", output, err)
	}
	defer func() {
		if cleanup := file.Cleanup(); cleanup != nil && !errors.Is(cleanup, os.ErrClosed) {
			err = errors.Join(err, cleanup)
		}
	}()
	if err := archive.Write(file, c.home, m); err != nil {
		return err
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("write %s: %w", output, err)
	}
	if asJSON {
		return c.app.printJSON(struct {
			ID      string `json:"id"`
			Version string `json:"version"`
			File    string `json:"file"`
			Sealed  bool   `json:"sealed"`
		}{m.ID(), m.Package.Version, output, sealed != ""})
	}
	return c.app.print(output + "\n")
}
