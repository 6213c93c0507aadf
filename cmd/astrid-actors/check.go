package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

func newCheck(a *app) *cobra.Command {
	var cache string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check DIR...",
		Short: "Report problems of capsules, without running them",
		Long: `Read the capsules in each DIR, which is a capsule's directory or contains such
directories, and compile their modules, without running anything. Prints one problem a line, and
nothing if there is none. A warning about keys without effect, or about system calls
that a module imports and this host does not have yet, goes to the standard error. With
--json an object with two lists of texts, "problems" and "warnings".

The compiled modules are kept for run: in <home>/cache, or in the directory that
--cache names.` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(1, 1<<30),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withChecker(cmd.Context(), cache, func(c *checker) error { return a.check(cmd.Context(), c, args, asJSON) })
		},
		ValidArgsFunction: completeDirs,
	}
	cacheFlag(cmd.Flags(), &cache)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// check prints the problems of the capsules in dirs.
func (a *app) check(ctx context.Context, c *checker, dirs []string, asJSON bool) error {
	found := newFindings()
	for _, dir := range dirs {
		c.check(ctx, dir, found)
	}
	return a.printFound(found, asJSON)
}

// check finds what is wrong with the capsules in dir.
func (c *checker) check(ctx context.Context, dir string, found *findings) {
	there := manifest.Discover([]string{dir}, true)
	if len(there.Manifests)+len(there.Rejected) == 0 {
		found.problem(there.Warnings)
	} else {
		found.warn(there.Warnings)
	}
	for _, r := range there.Rejected {
		found.problem(r.Err)
	}
	if cycle := manifest.Order(there.Manifests).Cycle; cycle != nil {
		found.problem(cycle)
	}
	for _, m := range there.Manifests {
		found.warn(m.Warnings)
		wasm, _, err := m.ReadModule(c.home, false)
		if err != nil {
			found.problem(err)
			wasm, _, err = m.ReadModule(c.home, true) // one that is only not sealed may have other problems
		}
		if err == nil {
			found.problem(c.module(ctx, m, wasm))
		}
	}
}

// warn prints warnings about manifests.
func (a *app) warn(warnings manifest.Problems) {
	for _, w := range warnings {
		fmt.Fprintf(a.stderr, "warning: %s\n", printable(w.String()))
	}
}

// checker finds out whether modules would load.
type checker struct {
	app  *app
	home home.Home
	host *capsulehost.Host
}

// withChecker calls do with a checker, which keeps compiled modules in the directory that
// the flag --cache names.
func (a *app) withChecker(ctx context.Context, cache string, do func(*checker) error) (err error) {
	h, err := a.home()
	if err != nil {
		return err
	}
	dir, err := cacheDir(h, cache)
	if err != nil {
		return err
	}
	host, err := capsulehost.New(ctx, capsulehost.Config{CacheDir: dir, Log: warnings(a.stderr)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close(context.WithoutCancel(ctx))) }()
	return do(&checker{app: a, home: h, host: host})
}

// module returns why a capsule's module could not be loaded.
func (c *checker) module(ctx context.Context, m *manifest.Manifest, wasm []byte) error {
	file := filepath.Join(m.Dir, m.Components[0].File)
	module, err := c.host.Compile(ctx, wasm)
	if err == nil {
		defer module.Close(ctx)
		err = module.Serves(len(m.Interceptors))
	}
	if f, ok := errors.AsType[*capsulehost.Failure](err); ok {
		return fmt.Errorf("%s: %s", file, f.Message)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
