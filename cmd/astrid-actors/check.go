package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

func newCheck(a *app) *cobra.Command {
	var cache string
	cmd := &cobra.Command{
		Use:   "check DIR...",
		Short: "Report problems of capsules, without running them",
		Long: `Read the capsules in each DIR, which is a capsule's directory or contains such
directories, and compile their modules, without running anything. Prints one problem a line, and
nothing if there is none. A warning about keys without effect, or about system calls
that a module imports and this host does not have yet, goes to the standard error.

The compiled modules are kept for run: in <home>/cache, or in the directory that
--cache names.` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: arguments(1, 1<<30),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withChecker(cmd.Context(), cache, func(c *checker) error { return a.check(cmd.Context(), c, args) })
		},
		ValidArgsFunction: completeDirs,
	}
	cacheFlag(cmd.Flags(), &cache)
	return cmd
}

// check prints the problems of the capsules in dirs.
func (a *app) check(ctx context.Context, c *checker, dirs []string) error {
	var problems []string
	for _, dir := range dirs {
		found := manifest.Discover([]string{dir}, true)
		warnings := found.Warnings
		if len(found.Manifests)+len(found.Rejected) == 0 {
			problems, warnings = append(problems, strings.Split(warnings.Error(), "\n")...), nil
		}
		for _, r := range found.Rejected {
			problems = append(problems, strings.Split(r.Err.Error(), "\n")...)
		}
		if cycle := manifest.Order(found.Manifests).Cycle; cycle != nil {
			problems = append(problems, cycle.Error())
		}
		for _, m := range found.Manifests {
			warnings = append(warnings, m.Warnings...)
		}
		a.warn(warnings)
		for _, m := range found.Manifests {
			wasm, _, err := m.ReadModule(c.home, false)
			if err == nil {
				err = c.module(ctx, m, wasm)
			}
			if err != nil {
				problems = append(problems, strings.Split(err.Error(), "\n")...)
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	for i, p := range problems {
		problems[i] = printable(p)
	}
	if err := a.print(strings.Join(problems, "\n") + "\n"); err != nil {
		return err
	}
	return &failure{status: exitFailed}
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
