package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
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
	flags := cmd.Flags()
	flags.StringArrayVar(&o.capsules, "capsules", nil, "a capsule's `directory`, or one that contains such directories; may be repeated")
	flags.StringVar(&o.principal, "principal", home.DefaultPrincipal, "the `name` of the principal that owns the capsules")
	flags.BoolVar(&o.demo, "demo", false, "run the demo capsules, in addition to those of --capsules")
	flags.BoolVar(&o.allowUnverified, "allow-unverified", false, "also run capsules that are not sealed")
	flags.DurationVar(&o.loadTimeout, "load-timeout", 2*time.Minute, "how long the load of a capsule may take, compilation included")
	flags.DurationVar(&o.callTimeout, "call-timeout", 5*time.Minute, "how long one call of a capsule may take")
	flags.DurationVar(&o.triggerTimeout, "trigger-timeout", 30*time.Second, "the deadline of triggers that have none")
	cacheFlag(flags, &o.cache)
	flags.StringVar(&o.eventsFile, "events-file", "", "also append every event, as JSON, to this `file`")
	o.http.flags(flags)
	flags.StringVar(&o.logFormat, "log-format", "", "`format`: json or console (default console at a terminal, else json)")
	flags.StringVar(&o.logLevel, "log-level", "info", "`level`: "+strings.ReplaceAll(logLevels, " ", ", "))
	return cmd
}

// runOptions are the flags of run.
type runOptions struct {
	capsules                    []string
	principal                   string
	demo, allowUnverified       bool
	loadTimeout                 time.Duration
	callTimeout, triggerTimeout time.Duration
	cache, eventsFile           string
	http                        httpOptions
	logFormat, logLevel         string
}

func (o *runOptions) run(cmd *cobra.Command, a *app) error {
	if os.Getenv("GOMAXPROCS") == "" {
		// Guests run on one processor less than GOMAXPROCS: see docs/RATIONALE.md, "Who
		// runs when more guests spin than there are processors?".
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
	progress := newProgress(a.stderr)
	log, err := o.log(cmd, a, progress)
	if err != nil {
		return err
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
	ctx, stop := untilSignal(log)
	defer stop()
	o.http.reachBy(a, cfg.SocketPath)
	return serve(ctx, cfg, o.http, progress, func(sup *supervisor.Supervisor) { o.welcome(log, cfg.SocketPath, sup.Snapshot()) })
}

// config converts the flags into the supervisor's configuration.
func (o *runOptions) config(a *app) (supervisor.Config, error) {
	for name, d := range map[string]time.Duration{
		"load-timeout": o.loadTimeout, "call-timeout": o.callTimeout, "trigger-timeout": o.triggerTimeout,
	} {
		if d <= 0 {
			return supervisor.Config{}, usage("--%s is %v: it must be positive", name, d)
		}
	}
	if _, err := home.ParsePrincipal(o.principal); err != nil {
		return supervisor.Config{}, usage("--principal: %w", err)
	}
	if slices.Contains(o.capsules, "") {
		return supervisor.Config{}, usage("--capsules is empty: it must be a directory")
	}
	h, err := a.home()
	if err != nil {
		return supervisor.Config{}, err
	}
	socket, err := a.socketPath()
	if err != nil {
		return supervisor.Config{}, err
	}
	cache, err := cacheDir(h, o.cache)
	if err != nil {
		return supervisor.Config{}, err
	}
	return supervisor.Config{
		Home: h.Dir(), CacheDir: cache, Principal: o.principal, CapsuleDirs: slices.Clone(o.capsules), SocketPath: socket,
		AllowUnverified: o.allowUnverified, LoadTimeout: o.loadTimeout, CallTimeout: o.callTimeout, TriggerTimeout: o.triggerTimeout,
		EventsFile: o.eventsFile,
	}, nil
}

const logLevels = "trace debug info warn error"

// log returns the daemon's logger, which writes above the progress, if there is one.
func (o *runOptions) log(cmd *cobra.Command, a *app, progress *progress) (*slog.Logger, error) {
	if !slices.Contains(strings.Fields(logLevels), o.logLevel) {
		return nil, usage("--log-level is %q: it must be one of %s", o.logLevel, logLevels)
	}
	terminal := isTerminal(a.stderr)
	format := o.logFormat
	if !cmd.Flags().Changed("log-format") {
		format = "json"
		if terminal {
			format = "console"
		}
	}
	if format != "json" && format != "console" {
		return nil, usage("--log-format is %q: it must be json or console", o.logFormat)
	}
	level, err := zerolog.ParseLevel(o.logLevel)
	if err != nil {
		return nil, usage("--log-level: %w", err)
	}
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	out := a.stderr
	if progress != nil {
		out = progress
	}
	log := zerolog.New(out)
	if format == "console" {
		log = zerolog.New(zerolog.ConsoleWriter{
			Out: out, TimeFormat: "15:04:05.000", NoColor: !terminal || colourless(),
		})
	}
	return slog.New(zerolog.NewSlogHandler(log.Level(level).With().Timestamp().Logger())), nil
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
