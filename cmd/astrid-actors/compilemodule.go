package main

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// newCompileModule is the command by which a daemon has itself compile one module in a
// process of its own. It is not for people, so no help shows it.
func newCompileModule(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "compile-module",
		Short:  "Compile a module for a daemon",
		Hidden: true,
		Args:   arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return capsulehost.ServeCompile(a.stdin, a.stdout)
		},
	}
}

// compileCommand returns the command that starts newCompileModule; nil if this program can't
// be found. One that was replaced on disk meanwhile, by another version, refuses to compile.
func compileCommand(log *slog.Logger) []string {
	path, err := os.Executable()
	if err != nil {
		log.Warn("this program can't find itself: it compiles modules beside the calls, which may be slow meanwhile", "error", err)
		return nil
	}
	return []string{path, "compile-module"}
}
