package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newInstall(a *app) *cobra.Command {
	var o installOptions
	cmd := &cobra.Command{
		Use:   "install PATH",
		Short: "Install a capsule, and load it into a running daemon",
		Long: `Install the capsule in PATH, a directory or a .capsule file that pack wrote, into
<home>/home/<principal>/.local/capsules/<id>. If a daemon runs, it loads the capsule at
once, or upgrades the one that runs without interrupting it.

A first installation calls the capsule's astrid_install, and an upgrade astrid_upgrade
with the version that was there. If it refuses, or the daemon rejects the capsule,
everything is put back. What the capsule asks for is asked at the terminal; its secrets
are kept encrypted. A capsule that is not sealed needs --seal or --allow-unverified.

Prints what has changed: "added ID VERSION", "upgraded ID OLD -> NEW", or "unchanged ID" if
the same version with the same files is there already; "rejected ID: REASON" if the
daemon rejects it. With --json a list of objects with "id", "change", "version", and
"previous" or "reason".` + exitStatus(exitDone, exitFailed, exitUsage, exitNotFound),
		Example: `  astrid-actors install greeter-1.0.0.capsule
  astrid-actors install --seal ./greeter`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			change, err := a.install(cmd.Context(), args[0], o)
			if err != nil && change.Change != messages.ChangeRejected {
				return err
			}
			return a.printChanges([]messages.Change{change}, o.json)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.UpgradeOnly, "upgrade-only", false, "only if an older version is installed")
	flags.BoolVar(&o.Seal, "seal", false, "seal the installed copy: you vouch for its module")
	flags.BoolVar(&o.AllowUnverified, "allow-unverified", false, "also install a capsule that is not sealed; it runs under run --allow-unverified only")
	flags.StringVar(&o.principal, "principal", home.DefaultPrincipal, "the `name` of the principal that owns the capsules")
	cacheFlag(flags, &o.cache)
	flags.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// installOptions are the flags of install.
type installOptions struct {
	supervisor.InstallOptions

	principal, cache string
	json             bool
	// compileWorkers, if not 0, compiles with so many goroutines, as fast as it can; otherwise
	// a daemon that runs is disturbed as little as possible.
	compileWorkers int
}

// install installs a capsule, and has a running daemon load it.
func (a *app) install(ctx context.Context, path string, o installOptions) (supervisor.Change, error) {
	sup, err := a.installer(o)
	if err != nil {
		return supervisor.Change{}, err
	}
	o.Load, o.Ask = a.loader(sup), a.prompts()
	if o.Store, err = a.hookStore(ctx, o.principal); err != nil {
		return supervisor.Change{}, err
	}
	change, err := sup.Install(ctx, path, o.InstallOptions)
	switch {
	case errors.Is(err, supervisor.ErrUnsealed):
		return change, &failure{status: exitFailed, err: err, hint: "--seal, if you trust the module; --allow-unverified, to run it only under run --allow-unverified"}
	case errors.Is(err, supervisor.ErrChanged) && !o.Seal:
		return change, &failure{status: exitFailed, err: err, hint: "if you have built it since then, seal it again, or install it with --seal"}
	case errors.Is(err, supervisor.ErrNotFound):
		return change, &failure{status: exitNotFound, err: err}
	}
	return change, err
}

// hookStore returns where a hook keeps state and secrets: in the daemon, if one runs; nil if
// none does, and the hook may open the store itself. A daemon that runs for another
// principal holds the store, and keeps nothing for this one.
func (a *app) hookStore(ctx context.Context, principal string) (func(capsule string) supervisor.HookStore, error) {
	path, err := a.socketPath()
	if err != nil {
		return nil, err
	}
	c := control.Dial(path).WithPatience(a.patience)
	tree, err := c.Snapshot(ctx, false)
	switch {
	case errors.Is(err, control.ErrNoDaemon):
		return nil, nil
	case err == nil && tree.Principal != principal:
		return func(string) supervisor.HookStore {
			return elsewhere(fmt.Sprintf("the daemon that runs has the store, and runs for the principal %q: stop it, or install for that principal", tree.Principal))
		}, nil
	}
	return c.HookStore, nil
}

// elsewhere is a store that can't be reached, and the reason.
type elsewhere string

func (e elsewhere) Error() string { return string(e) }

func (e elsewhere) Get(context.Context, string, string) ([]byte, error)        { return nil, e }
func (e elsewhere) Set(context.Context, string, string, []byte) error          { return e }
func (e elsewhere) Delete(context.Context, string, string) error               { return e }
func (e elsewhere) ListKeys(context.Context, string, string) ([]string, error) { return nil, e }
func (e elsewhere) ClearPrefix(context.Context, string, string) (int, error)   { return 0, e }
func (e elsewhere) SetSecret(context.Context, string, string) error            { return e }
func (e elsewhere) HasSecret(context.Context, string) (bool, error)            { return false, e }

// loadInDaemon makes a running daemon load a capsule that was installed in dir. If none
// runs, the error is supervisor.ErrNotServing; if it does not look there, ErrNotFound.
func (a *app) loadInDaemon(ctx context.Context, id, dir string) (change supervisor.Change, err error) {
	var elsewhere string // where the daemon has a capsule of the same id from
	err = a.ask(func(c *control.Client) error {
		changes, err := c.Reload(ctx, id)
		if err != nil || len(changes) == 0 {
			return err
		}
		change = changes[0]
		if tree, err := c.Snapshot(ctx, false); err == nil { // it only serves a warning
			elsewhere = capsuleIn(tree, id).Directory
		}
		return nil
	})
	if f, ok := errors.AsType[*failure](err); ok {
		switch f.status {
		case exitNoDaemon:
			err = fmt.Errorf("%w: %w", supervisor.ErrNotServing, err)
		case exitNotFound:
			fmt.Fprintf(a.stderr, "warning: the daemon does not look for capsules where %s is installed: it was started with --capsules, or for another principal\n", printable(id))
			err = fmt.Errorf("%w: %w", supervisor.ErrNotFound, err)
		}
	}
	if err == nil && elsewhere != "" && !sameFile(elsewhere, dir) {
		fmt.Fprintf(a.stderr, "warning: the daemon runs %s from %s, and not what is installed in %s\n", printable(id), printable(elsewhere), printable(dir))
	}
	return change, err
}

// loader returns what makes a running daemon load what sup has installed.
func (a *app) loader(sup *supervisor.Supervisor) func(context.Context, string) (supervisor.Change, error) {
	return func(ctx context.Context, id string) (supervisor.Change, error) {
		return a.loadInDaemon(ctx, id, sup.InstallDir(id))
	}
}

// capsuleIn returns a capsule of the tree; one that is all zero if there is none.
func capsuleIn(tree *messages.Tree, id string) *messages.Capsule {
	for _, c := range tree.Capsules {
		if c.ID == id {
			return c
		}
	}
	return &messages.Capsule{}
}

// sameFile reports whether two paths lead to the same directory.
func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// installer returns a supervisor that does not run, and only installs.
func (a *app) installer(o installOptions) (*supervisor.Supervisor, error) {
	if _, err := home.ParsePrincipal(o.principal); err != nil {
		return nil, usage("--principal: %w", err)
	}
	h, err := a.home()
	if err != nil {
		return nil, err
	}
	socket, err := a.socketPath()
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir(h, o.cache)
	if err != nil {
		return nil, err
	}
	var out struct{ io.Writer }
	out.Writer = io.Discard // New warns of the capsules that are there, and that there are none
	cfg := supervisor.Config{
		Home: h.Dir(), Principal: o.principal, CacheDir: cache, SocketPath: socket,
		CapsuleDirs: []string{h.CapsulesDir(home.Principal(o.principal))}, Log: warnings(&out), CompileWorkers: o.compileWorkers,
	}
	if o.compileWorkers == 0 {
		cfg.CompileCommand = compileCommand(cfg.Log)
	}
	sup, err := supervisor.New(cfg)
	out.Writer = a.stderr
	return sup, err
}

// printChanges prints what an installation or a reload has changed, one line for each
// capsule. It fails if one was rejected.
func (a *app) printChanges(changes []messages.Change, asJSON bool) error {
	text := ""
	for _, c := range changes {
		text += printable(c.String()) + "\n"
	}
	if asJSON {
		encoded, err := json.Marshal(changes)
		if err != nil {
			return fmt.Errorf("print the changes: %w", err)
		}
		text = string(encoded) + "\n"
	}
	if err := a.print(text); err != nil {
		return err
	}
	return rejection(changes)
}

// rejection returns a failure if a capsule was rejected.
func rejection(changes []messages.Change) error {
	if slices.ContainsFunc(changes, func(c messages.Change) bool { return c.Change == messages.ChangeRejected }) {
		return &failure{status: exitFailed}
	}
	return nil
}
