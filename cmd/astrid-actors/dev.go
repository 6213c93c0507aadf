package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newDev(a *app) *cobra.Command {
	var principal string
	cmd := &cobra.Command{
		Use:   "dev DIR",
		Short: "Build, install and run a capsule, again after each save",
		Long: `Build the capsule in DIR with the [build] command of its manifest, install it as
install --seal does, and run it; and again each time that a file in DIR is saved. The
running capsule is upgraded without interruption; if a build fails, it goes on.

If a daemon runs, the capsule runs there. Otherwise this command is the daemon until it
ends, with the principal's other capsules: use the other commands in another terminal.
The capsule stays installed; remove ID takes it away.

Hidden files, *.wasm, meta.json, target and node_modules are not watched.` +
			exitStatus(exitDone, exitFailed, exitUsage),
		Example: `  astrid-actors new greeter
  astrid-actors dev greeter`,
		Args: arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			d := &developer{app: a, dir: args[0], options: installOptions{principal: principal}}
			return d.run()
		},
		ValidArgsFunction: completeDirs,
	}
	cmd.Flags().StringVar(&principal, "principal", home.DefaultPrincipal, "the `name` of the principal that owns the capsule")
	return cmd
}

// developer is one dev command.
type developer struct {
	*app
	dir     string
	options installOptions
	sup     *supervisor.Supervisor // installs, and runs the capsules if no daemon does
	written []string               // what the last build has changed of the sources
	begun   bool                   // the first build has begun
}

func (d *developer) run() (err error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // compiling makes much garbage: a fifth less time from save to answer
	}
	d.options.compileWorkers = runtime.GOMAXPROCS(0)
	m, err := manifest.Load(d.dir)
	if err != nil {
		return err
	}
	if m.Build.Command == "" {
		return &failure{status: exitFailed, err: m.Problem("build.command", "is missing: it says how the module is built"),
			hint: "astrid-actors new writes one; or " + `[build] command = "make"`}
	}
	log := slog.New(zerolog.NewSlogHandler(zerolog.New(zerolog.ConsoleWriter{
		Out: d.stderr, TimeFormat: "15:04:05.000", NoColor: !isTerminal(d.stderr) || colourless(),
	}).Level(zerolog.WarnLevel).With().Timestamp().Logger()))
	ctx, stop := untilSignal(log)
	defer stop()
	watch, err := watchFiles(30*time.Millisecond, d.sources)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watch.close()) }()
	running, err := d.daemonRuns(ctx)
	if err != nil {
		return err
	}
	if running {
		if d.sup, err = d.installer(d.options); err != nil {
			return err
		}
		d.options.Load = d.loads(d.loader(d.sup))
		return d.loop(ctx, watch)
	}
	cfg, err := d.config(log)
	if err != nil {
		return err
	}
	if d.socketFlag == "" {
		if err := narrowDir(filepath.Dir(cfg.SocketPath)); err != nil {
			return err
		}
	}
	serving, end := context.WithCancel(ctx)
	defer end()
	looped := make(chan error, 1)
	started := false
	zerolog.SetGlobalLevel(zerolog.ErrorLevel) // that there is no capsule yet is no reason to worry
	err = serve(serving, cfg, httpOptions{}, nil, func(ctx context.Context, sup *supervisor.Supervisor) {
		zerolog.SetGlobalLevel(zerolog.TraceLevel)
		started, d.sup = true, sup
		looped <- d.loop(ctx, watch)
		end()
	})
	if started {
		err = errors.Join(<-looped, err)
	}
	return err
}

// config is the configuration of the daemon that this command is.
func (d *developer) config(log *slog.Logger) (supervisor.Config, error) {
	h, err := d.home()
	if err != nil {
		return supervisor.Config{}, err
	}
	if _, err := home.ParsePrincipal(d.options.principal); err != nil {
		return supervisor.Config{}, usage("--principal: %w", err)
	}
	socket, err := d.socketPath()
	if err != nil {
		return supervisor.Config{}, err
	}
	return supervisor.Config{Home: h.Dir(), Principal: d.options.principal, SocketPath: socket, Log: log, CompileWorkers: d.options.compileWorkers}, nil
}

// daemonRuns reports whether a daemon runs.
func (d *developer) daemonRuns(ctx context.Context) (bool, error) {
	err := d.ask(func(c *control.Client) error {
		_, err := c.Snapshot(ctx, false)
		return err
	})
	if f, ok := errors.AsType[*failure](err); ok && f.status == exitNoDaemon && errors.Is(err, control.ErrNoDaemon) {
		return false, nil
	}
	return err == nil, err
}

// loads returns load for a developer, who wants the capsule to run: what a daemon does not
// run is an error.
func (d *developer) loads(load func(context.Context, string) (supervisor.Change, error)) func(context.Context, string) (supervisor.Change, error) {
	return func(ctx context.Context, id string) (supervisor.Change, error) {
		change, err := load(ctx, id)
		switch {
		case errors.Is(err, supervisor.ErrNotServing):
			err = errors.New("the daemon has ended: start one, or this command again, which is one then")
		case errors.Is(err, supervisor.ErrNotFound):
			err = errors.New("the daemon does not run it")
		}
		return change, err
	}
}

// loop builds and installs the capsule, now and after each save, until ctx ends.
func (d *developer) loop(ctx context.Context, watch *fileWatch) error {
	for {
		changed, err := d.once(ctx, watch)
		if err == nil && len(changed) == 0 {
			changed, err = watch.next(ctx)
		}
		if err != nil {
			return ended(ctx, err)
		}
		for _, file := range changed {
			if name, err := filepath.Rel(d.dir, file); err == nil {
				file = name
			}
			if err := d.print(printable(file) + " changed\n"); err != nil {
				return err
			}
		}
	}
}

// ended returns err, or nil if ctx has ended: that is how the command ends.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it is what err says
	}
	return err
}

// once builds and installs the capsule. What goes wrong with the capsule is printed, and is
// no error: the next save may mend it. It returns the files that were saved meanwhile.
func (d *developer) once(ctx context.Context, watch *fileWatch) (saved []string, err error) {
	began := time.Now()
	m, err := manifest.Load(d.dir)
	if err != nil {
		return nil, d.wrong(err)
	}
	if !d.begun { // it may take long: with stock Go it compiles the standard library
		d.begun = true
		if err := d.print("building: " + printable(m.Build.Command) + "\n"); err != nil {
			return nil, err
		}
	}
	failed := d.build(ctx, m.Build.Command)
	built := time.Now()
	if saved, err = d.savedInBuild(watch, failed == nil); err != nil {
		return nil, err
	}
	if failed != nil {
		return saved, d.wrong(fmt.Errorf("%s: %w", m.Build.Command, failed))
	}
	if err := d.print(fmt.Sprintf("built in %s\n", duration(built.Sub(began)))); err != nil {
		return nil, err
	}
	options := d.options.InstallOptions
	options.Seal, options.DropReplaced, options.Ask = true, true, d.prompts()
	if options.Store, err = d.hookStore(ctx, d.options.principal); err != nil {
		return saved, d.wrong(err)
	}
	change, err := d.sup.Install(ctx, d.dir, options)
	if err != nil {
		return saved, d.wrong(err)
	}
	text := fmt.Sprintf("%s, answering after %s\n", printable(change.String()), duration(time.Since(built)))
	if change.Change == messages.ChangeAdded && len(m.Interceptors) > 0 {
		text += fmt.Sprintf("try in another terminal: astrid-actors trigger %s '{\"name\": \"you\"}'\n",
			strings.ReplaceAll(m.Interceptors[0].Event, "*", "hello"))
	}
	return saved, d.print(text)
}

// savedInBuild returns the files that were saved while the build ran. A build may also
// write files that count as sources, such as a lock file: those that two complete builds in
// a row have changed are no saves.
func (d *developer) savedInBuild(watch *fileWatch, complete bool) ([]string, error) {
	changed, err := watch.look()
	before := d.written
	if complete {
		d.written = changed
	}
	if err != nil || !slices.ContainsFunc(changed, func(file string) bool { return !slices.Contains(before, file) }) {
		return nil, err
	}
	return changed, nil
}

// wrong prints what is wrong with the capsule.
func (d *developer) wrong(err error) error {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(d.stderr, "error: %s\n", printable(line))
	}
	_, err = fmt.Fprintln(d.stderr, "waiting for the next save")
	return err
}

// build runs the build command. Its output goes to the standard error.
func (d *developer) build(ctx context.Context, command string) error {
	c := exec.CommandContext(ctx, "sh", "-c", command) //nolint:gosec // the developer's own command
	c.Dir = d.dir
	c.Stdout, c.Stderr = d.stderr, d.stderr
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 5 * time.Second
	return c.Run()
}

// sources are the files that count: all below the directory that a person may edit.
func (d *developer) sources() (watched, error) {
	var found watched
	err := filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != d.dir:
			return nil // it was removed meanwhile
		case err != nil:
			return err
		case path != d.dir && notSource(entry) && entry.IsDir():
			return fs.SkipDir
		case path != d.dir && notSource(entry):
			return nil
		case entry.IsDir():
			found.dirs = append(found.dirs, path)
		default:
			found.files = append(found.files, path)
		}
		return nil
	})
	return found, err
}

// notSource reports whether a file or directory is none that a person edits.
func notSource(entry fs.DirEntry) bool {
	name := entry.Name()
	if entry.IsDir() {
		return strings.HasPrefix(name, ".") || slices.Contains([]string{"target", "node_modules"}, name)
	}
	return strings.HasPrefix(name, ".") && name != ".env.json" || name == manifest.MetaName || strings.HasSuffix(name, ".wasm")
}
