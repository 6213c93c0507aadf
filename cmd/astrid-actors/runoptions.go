package main

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/internal/tomlfile"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// runOptions are the flags of run. The configuration file has a key for each: see
// configFile.
type runOptions struct {
	capsules                    []string
	principal                   string
	demo, allowUnverified       bool
	watch                       bool
	loadTimeout                 time.Duration
	callTimeout, triggerTimeout time.Duration
	cache, eventsFile           string
	stateDurability             string
	stateQuota                  uint64
	outside                     outsideOptions
	http                        httpOptions
	logFormat, logLevel         string
	onFailure                   string

	configFlag string
	file       *configFile // once load has returned
}

// flags adds the flags of run. One that completes file names holds a path.
func (o *runOptions) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	configFlag(cmd, &o.configFlag)
	flags.StringArrayVar(&o.capsules, "capsules", nil, "a capsule's `directory`, or one that contains such directories; may be repeated")
	flags.StringVar(&o.principal, "principal", home.DefaultPrincipal, "the `name` of the principal that owns the capsules")
	flags.BoolVar(&o.demo, "demo", false, "run the demo capsules, in addition to those of --capsules")
	flags.BoolVar(&o.allowUnverified, "allow-unverified", false, "also run capsules that are not sealed")
	flags.BoolVar(&o.watch, "watch", false, "reload when a file of a capsule changes")
	flags.DurationVar(&o.loadTimeout, "load-timeout", 2*time.Minute, "how long the load of a capsule may take, compilation included")
	flags.DurationVar(&o.callTimeout, "call-timeout", 5*time.Minute, "how long one call of a capsule may take")
	flags.DurationVar(&o.triggerTimeout, "trigger-timeout", 30*time.Second, "the deadline of triggers that have none")
	o.outside.flags(flags)
	cacheFlag(flags, &o.cache)
	flags.StringVar(&o.stateDurability, "state-durability", string(store.DurabilityCommit), "when a write of a capsule's state is done: `commit` (on the disk) or interval (there within 1 s)")
	flags.Uint64Var(&o.stateQuota, "state-quota", 64<<20, "how much state one capsule may keep, in `bytes`")
	flags.StringVar(&o.eventsFile, "events-file", "", "also append every event, as JSON, to this `file`")
	flags.StringVar(&o.onFailure, "on-failure", string(supervisor.KeepServing), "when a capsule or supervisor fails for good: keep the others, or exit with status 1; `keep` or exit")
	o.http.flags(flags)
	flags.StringVar(&o.logFormat, "log-format", "", "`format`: json or console (default console at a terminal, else json)")
	flags.StringVar(&o.logLevel, "log-level", "info", "`level`: "+strings.ReplaceAll(logLevels, " ", ", "))
	for _, dir := range []string{"capsules", "workspace", "cache"} {
		must(cmd.MarkFlagDirname(dir))
	}
	for _, file := range []string{"events-file", "http-token"} {
		must(cmd.MarkFlagFilename(file))
	}
}

// configFlag adds --config to a command.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", "", "the configuration `file` (default <home>/etc/actors.toml, if it exists)")
	must(cmd.MarkFlagFilename("config", "toml"))
}

// must panics on an error that only a mistake in this program can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// load reads the configuration file, and applies it to the flags that the command line
// does not set. Its error names every problem, those of the file in the order of their
// lines.
func (o *runOptions) load(a *app, flags *pflag.FlagSet) error {
	h, err := a.home()
	if err != nil {
		return err
	}
	path, named, err := configPath(h, o.configFlag)
	if err != nil {
		return err
	}
	var inFile tomlfile.Problems
	o.file, inFile = readConfigFile(path, named, flags)
	inFile = append(inFile, o.file.apply(flags)...)
	var problems []error
	hint := ""
	for _, p := range slices.Concat(o.problems(), o.outside.problems(), o.http.problems()) {
		hint = cmp.Or(hint, p.err.hint)
		err := o.locate(p)
		if located, ok := errors.AsType[tomlfile.Problem](err); ok {
			inFile = append(inFile, located)
			continue
		}
		problems = append(problems, err)
	}
	slices.SortStableFunc(inFile, func(a, b tomlfile.Problem) int { return cmp.Compare(a.Line, b.Line) })
	for _, p := range inFile {
		problems = append(problems, p)
	}
	if len(problems) > 0 {
		return &failure{status: exitUsage, err: errors.Join(problems...), hint: hint}
	}
	return nil
}

// flagProblem is an invalid value of a flag, in the words of the command line.
type flagProblem struct {
	flag string
	err  *failure
}

// locate returns a problem in the words of the file, if it is the file that sets the flag.
func (o *runOptions) locate(p flagProblem) error {
	if _, ok := o.file.flags[p.flag]; !ok {
		return p.err.err
	}
	return o.file.problem(p.flag, strings.TrimLeft(strings.TrimPrefix(p.err.Error(), "--"+p.flag), ": "))
}

const logLevels = "trace debug info warn error"

// problems returns the flags whose values can't be accepted.
func (o *runOptions) problems() []flagProblem {
	var found []flagProblem
	wrong := func(flag, format string, args ...any) {
		found = append(found, flagProblem{flag, usage("--"+flag+format, args...)})
	}
	if d := store.Durability(o.stateDurability); d != store.DurabilityCommit && d != store.DurabilityInterval {
		wrong("state-durability", " is %q: it must be commit or interval", d)
	}
	if o.stateQuota == 0 {
		wrong("state-quota", " is 0: it must be positive")
	}
	for _, timeout := range []struct {
		name  string
		value time.Duration
	}{{"load-timeout", o.loadTimeout}, {"call-timeout", o.callTimeout}, {"trigger-timeout", o.triggerTimeout}} {
		if timeout.value <= 0 {
			wrong(timeout.name, " is %v: it must be positive", timeout.value)
		}
	}
	if _, err := home.ParsePrincipal(o.principal); err != nil {
		wrong("principal", ": %w", err)
	}
	if slices.Contains(o.capsules, "") {
		wrong("capsules", " is empty: it must be a directory")
	}
	if !slices.Contains(strings.Fields(logLevels), o.logLevel) {
		wrong("log-level", " is %q: it must be one of %s", o.logLevel, logLevels)
	}
	if !slices.Contains([]string{string(supervisor.KeepServing), string(supervisor.Exit)}, o.onFailure) {
		wrong("on-failure", " is %q: it must be %s or %s", o.onFailure, supervisor.KeepServing, supervisor.Exit)
	}
	if !slices.Contains([]string{"", "json", "console"}, o.logFormat) {
		wrong("log-format", " is %q: it must be json or console", o.logFormat)
	}
	return found
}

// missing returns why the directories of --capsules can't be searched.
func (o *runOptions) missing() []error {
	var found []error
	for _, dir := range o.capsules {
		problem := "there is no such directory"
		switch info, err := os.Stat(dir); {
		case err == nil && !info.IsDir():
			problem = "it is a file, and must be a directory"
		case !errors.Is(err, fs.ErrNotExist) || dir == "":
			continue
		}
		found = append(found, o.locate(flagProblem{"capsules", usage("--capsules %s: %s", dir, problem)}))
	}
	return found
}

// config converts the flags into the supervisor's configuration.
func (o *runOptions) config(a *app) (supervisor.Config, error) {
	h, err := a.home()
	if err != nil {
		return supervisor.Config{}, err
	}
	socket := h.SocketPath()
	if a.socketFlag != "" {
		if socket, err = a.socketPath(); err != nil {
			return supervisor.Config{}, err
		}
	}
	cache, err := cacheDir(h, o.cache)
	if err != nil {
		return supervisor.Config{}, err
	}
	cfg := supervisor.Config{
		Home: h.Dir(), CacheDir: cache, Principal: o.principal, CapsuleDirs: slices.Clone(o.capsules), SocketPath: socket,
		AllowUnverified: o.allowUnverified, LoadTimeout: o.loadTimeout, CallTimeout: o.callTimeout, TriggerTimeout: o.triggerTimeout,
		EventsFile: o.eventsFile, StateDurability: store.Durability(o.stateDurability), StateQuota: o.stateQuota,
		CapsuleSettings: o.file.capsules,
		Topics:          o.file.topics,
		Supervisors:     o.file.groups, OnFailure: supervisor.OnFailure(o.onFailure),
	}
	o.outside.apply(&cfg)
	return cfg, nil
}

// log returns the daemon's logger, which writes above the progress, if there is one.
func (o *runOptions) log(a *app, progress *progress) (*slog.Logger, error) {
	terminal := isTerminal(a.stderr)
	format := o.logFormat
	if format == "" {
		format = "json"
		if terminal {
			format = "console"
		}
	}
	level, err := zerolog.ParseLevel(o.logLevel)
	if err != nil {
		return nil, usage("--log-level: %w", err)
	}
	zerolog.SetGlobalLevel(level) // which reload --config may change
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
	return slog.New(zerolog.NewSlogHandler(log.With().Timestamp().Logger())), nil
}
