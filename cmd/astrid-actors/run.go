package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

func newRun(a *app) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run capsules in the foreground",
		Long: `Run a principal's capsules in the foreground, log to the standard error, and
answer the other commands at <home>/run/actors.sock.

Capsules are found in <home>/home/<principal>/.local/capsules and then in
./.astrid/capsules, unless --capsules names their directories.

The configuration file, <home>/etc/actors.toml, may set all of these flags, and settings
of single capsules; a flag on the command line wins. See astrid-actors help config.

On SIGINT, SIGTERM or SIGHUP new triggers are refused, waiting calls are answered, and
running ones may continue for up to 10 s; a second signal ends the daemon at once. Under
nohup SIGHUP stays ignored.

With --http-actions everyone who can reach the page can stop capsules and trigger hooks,
and every user of this machine can reach 127.0.0.1. So it needs --http-token, or
--http-no-token to allow this.` +
			exitStatus(exitDone, exitFailed, exitUsage),
		Example: `  astrid-actors run --demo
  astrid-actors run --capsules ./my-capsule --allow-unverified`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, a) },
	}
	o.flags(cmd)
	return cmd
}

// run runs the daemon.
func (o *runOptions) run(cmd *cobra.Command, a *app) error {
	if os.Getenv("GOMAXPROCS") == "" {
		// Guests run on one processor less than GOMAXPROCS: see docs/RATIONALE.md, "Who
		// runs when more guests spin than there are processors?".
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
	if err := o.load(a, cmd.Flags()); err != nil {
		return err
	}
	if missing := o.missing(); len(missing) > 0 {
		return errors.Join(missing...)
	}
	progress := newProgress(a.stderr)
	log, err := o.log(a, progress)
	if err != nil {
		return err
	}
	for _, w := range o.file.warnings {
		log.Warn(w.String())
	}
	cfg, err := o.config(a)
	if err != nil {
		return err
	}
	if a.socketFlag == "" {
		if err := narrowDir(filepath.Dir(cfg.SocketPath)); err != nil {
			return err
		}
	}
	if o.demo {
		dir, err := extractDemo(filepath.Dir(cfg.SocketPath))
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		cfg.CapsuleDirs = append(cfg.CapsuleDirs, dir)
	}
	cfg.Log = log
	cfg.CompileCommand = compileCommand(log)
	reader, err := o.reader(a, cmd.Flags(), log)
	if err != nil {
		return err
	}
	cfg.ReadConfig = reader.read
	ctx, stop := untilSignal(log)
	defer stop()
	o.http.reachBy(a, cfg.SocketPath)
	watch, err := o.startWatch(a, cfg.CapsuleDirs, log) // before the capsules are read, so that it misses no change
	if err != nil {
		return err
	}
	defer watch.end(log)
	return serve(ctx, cfg, o.http, progress, func(ctx context.Context, sup *supervisor.Supervisor) {
		o.welcome(log, cfg.SocketPath, sup.Snapshot())
		watch.reload(ctx, sup, log)
	})
}

// welcome logs that the daemon is ready, and suggests the next commands.
func (o *runOptions) welcome(log *slog.Logger, socket string, tree *messages.Tree) {
	states := map[string]int{}
	for _, c := range tree.Capsules {
		states[c.State.String()]++
	}
	log = log.With("socket", socket)
	for _, state := range slices.Sorted(maps.Keys(states)) {
		log = log.With(state, states[state])
	}
	switch {
	case o.demo:
		log.Info(`ready; try in another terminal: astrid-actors trigger greet.world '{"name": "you"}'`)
	case len(tree.Capsules) == 0:
		log.Info("ready, but there are no capsules; hint: run --demo has some")
	default:
		log.Info("ready")
	}
}

// untilSignal returns a context that ends at the first SIGINT, SIGTERM or SIGHUP; a
// second one ends the process at once.
func untilSignal(log *slog.Logger) (ctx context.Context, stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signal.Notify(signals, syscall.SIGHUP)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	over := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case s := <-signals:
				if n > 0 {
					log.Warn("second signal: ending at once", "signal", s.String())
					os.Exit(exitFailed)
				}
				cancel(fmt.Errorf("signal: %v", s))
			case <-over:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(over)
		cancel(nil)
	}
}
