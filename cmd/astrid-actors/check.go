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
		Short: "Say what is wrong with capsules, without running them",
		Long: `Read the capsules in each DIR, a capsule's directory or a directory of them, and
compile their modules, without running anything. Prints one problem a line, and
nothing where there is none; what is said in vain, but does no harm, is a warning on
the standard error.

What was compiled is kept where run finds it: in <home>/cache, unless --cache says
where.` + exitStatus(exitDone, exitFailed, exitUsage),
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

// check prints what is wrong with the capsules in dirs. The cache is a directory.
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
			if err := checkModule(ctx, h, host, m); err != nil {
				problems = append(problems, strings.Split(err.Error(), "\n")...)
			}
		}
		for _, w := range warnings {
			fmt.Fprintf(a.stderr, "warning: %s\n", printable(w.String()))
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

// checkModule says why a capsule's module could not be loaded.
func checkModule(ctx context.Context, h home.Home, host *capsulehost.Host, m *manifest.Manifest) error {
	wasm, _, err := m.ReadModule(h, false)
	if err != nil {
		return err
	}
	file := m.File
	if len(m.Components) > 0 && m.Components[0].File != "" {
		file = filepath.Join(m.Dir, m.Components[0].File)
	}
	module, err := host.Compile(ctx, wasm)
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
