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
			h, err := a.home()
			if err != nil {
				return err
			}
			dir, err := cacheDir(h, cache)
			if err != nil {
				return err
			}
			return a.check(cmd.Context(), h, dir, args)
		},
		ValidArgsFunction: completeDirs,
	}
	cacheFlag(cmd.Flags(), &cache)
	return cmd
}

// check prints the problems of the capsules in dirs. The cache is a directory.
func (a *app) check(ctx context.Context, h home.Home, cache string, dirs []string) (err error) {
	host, err := capsulehost.New(ctx, capsulehost.Config{CacheDir: cache, Log: warnings(a.stderr)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close(context.WithoutCancel(ctx))) }()
	var problems []string
	for _, dir := range dirs {
		found := manifest.Discover([]string{dir}, true)
		warnings := found.Warnings
		var lacking []string
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
			missing, err := checkModule(ctx, h, host, m)
			if err != nil {
				problems = append(problems, strings.Split(err.Error(), "\n")...)
			}
			if missing != "" {
				lacking = append(lacking, missing)
			}
		}
		for _, w := range warnings {
			fmt.Fprintf(a.stderr, "warning: %s\n", printable(w.String()))
		}
		for _, l := range lacking {
			fmt.Fprintf(a.stderr, "warning: %s\n", printable(l))
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

// checkModule returns why a capsule's module could not be loaded, or which of its
// imports this host does not provide yet.
func checkModule(ctx context.Context, h home.Home, host *capsulehost.Host, m *manifest.Manifest) (lacking string, err error) {
	wasm, _, err := m.ReadModule(h, false)
	if err != nil {
		return "", err
	}
	file := m.File
	if len(m.Components) > 0 && m.Components[0].File != "" {
		file = filepath.Join(m.Dir, m.Components[0].File)
	}
	module, err := host.Compile(ctx, wasm)
	if err == nil {
		defer module.Close(ctx)
		if calls := module.NotServed(); len(calls) > 0 {
			lacking = fmt.Sprintf("%s: it imports %s, which this host does not have yet: it traps where it calls one", file, strings.Join(calls, ", "))
		}
		err = module.Serves(len(m.Interceptors))
	}
	if f, ok := errors.AsType[*capsulehost.Failure](err); ok {
		return lacking, fmt.Errorf("%s: %s", file, f.Message)
	}
	if err != nil {
		return lacking, fmt.Errorf("%s: %w", file, err)
	}
	return lacking, nil
}
