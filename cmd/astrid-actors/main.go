// Command astrid-actors runs WebAssembly capsules as supervised actors, and controls a
// daemon that does.
//
// Scripts may rely on the arguments, the output with --json and the exit status of its
// commands; the output without --json is for people, and may change.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func main() {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(a.execute(context.Background(), os.Args[1:]))
}

// app is one execution: its streams, and the flags that all commands have.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	homeFlag, socketFlag string
	patience             time.Duration // with a daemon that hangs
}

// execute runs one command line and returns its exit status.
func (a *app) execute(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(cmd, err)
}

// The groups of commands in the help.
const (
	groupDaemon  = "daemon"
	groupClient  = "client"
	groupCapsule = "capsule"
)

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "astrid-actors",
		Short: "Run WebAssembly capsules as supervised actors",
		Long: `Run WebAssembly capsules as supervised actors: hooks are triggered from the
command line and from inside capsules, and a capsule that crashes comes back.

To see it at work:          astrid-actors demo
To try it yourself:         astrid-actors run --demo
and in another terminal:    astrid-actors trigger greet.world '{"name": "you"}'` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		Version:                    buildVersion(),
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			f := usage("unknown command %q", args[0])
			if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
				f.hint = "did you mean `" + strings.Join(like, "` or `") + "`?"
			}
			return f
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(a.stderr)
			_ = cmd.Help()
			return &failure{status: exitUsage}
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("astrid-actors {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().SortFlags = false
	a.flags(root.PersistentFlags())
	must(root.MarkPersistentFlagDirname("home"))
	must(root.MarkPersistentFlagFilename("socket"))

	root.AddGroup(
		&cobra.Group{ID: groupDaemon, Title: "The daemon:"},
		&cobra.Group{ID: groupClient, Title: "With a running daemon:"},
		&cobra.Group{ID: groupCapsule, Title: "With capsules on disk:"},
	)
	for group, commands := range map[string][]*cobra.Command{
		groupDaemon: {newRun(a), newDev(a), newDemo(a), newConfig(a), newBackup(a), newRestore(a)},
		groupClient: {
			newTrigger(a), newPs(a), newTree(a), newTop(a), newEvents(a), newLogs(a), newDescribe(a), newTopics(a), newTraces(a),
			newPublish(a), newSubscribe(a),
			newStart(a), newStop(a), newRestart(a), newKill(a), newReload(a), newRemove(a), newKV(a),
			newApprovals(a), newApprove(a), newDeny(a),
		},
		groupCapsule: {newNew(a), newCheck(a), newSeal(a), newPack(a), newInstall(a), newWorkspace(a)},
		"":           {newVersion(a), newCompletion(a), newCompileModule(a)},
	} {
		for _, c := range commands {
			c.GroupID = group
			c.Flags().SortFlags = false
			root.AddCommand(c)
		}
	}
	return root
}

// flags adds the flags of all commands.
func (a *app) flags(flags *pflag.FlagSet) {
	flags.StringVar(&a.homeFlag, "home", "", "Astrid's `directory` (default $ASTRID_HOME, else ~/.astrid)")
	flags.StringVar(&a.socketFlag, "socket", "", "the `path` of the daemon's socket (default <home>/run/actors.sock)")
	flags.DurationVar(&a.patience, "daemon-timeout", control.DefaultPatience, "give up on a daemon that hangs after this `duration`")
}

// home returns Astrid's directory, as the flag or the environment names it.
func (a *app) home() (home.Home, error) {
	h, err := home.Resolve(a.homeFlag)
	if err != nil {
		return h, usage("%w", err)
	}
	return h, nil
}

// socketPath returns the path of the daemon's socket: the flag's, the default
// configuration file's, or the one in the home.
func (a *app) socketPath() (string, error) {
	if a.socketFlag != "" {
		path, err := filepath.Abs(a.socketFlag)
		if err != nil {
			return "", fmt.Errorf("resolve --socket %q: %w", a.socketFlag, err)
		}
		return path, nil
	}
	h, err := a.home()
	if err != nil {
		return "", err
	}
	if path := configuredSocket(h); path != "" {
		return path, nil
	}
	return h.SocketPath(), nil
}

// arguments returns a validator that accepts from least to most arguments, named in the
// command's usage line.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		_, names, _ := strings.Cut(cmd.Use, " ")
		switch {
		case len(args) < least:
			return usage("%s needs %s", cmd.CommandPath(), names)
		case len(args) > most:
			if names == "" || most == 0 {
				return usage("%s takes no arguments, and got %q", cmd.CommandPath(), args[0])
			}
			return usage("%s takes %s, and got %q too", cmd.CommandPath(), names, args[most])
		}
		return nil
	}
}

// flagError explains a flag that is unknown or has an invalid value.
func flagError(cmd *cobra.Command, err error) error {
	f := usage("%w", err)
	if cmd.Name() == "trigger" && strings.HasPrefix(err.Error(), "unknown shorthand flag") {
		f.hint = "a payload that begins with - goes behind a --: astrid-actors trigger TOPIC -- -1"
	}
	return f
}

// print writes to the standard output, and returns its error as a failure.
func (a *app) print(text string) error {
	if _, err := io.WriteString(a.stdout, text); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// asFailure converts an error to a failure: with exit status 1, if it has none.
func asFailure(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	return &failure{status: exitFailed, err: err}
}
