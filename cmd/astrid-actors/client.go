package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

// ask calls do with a client of the daemon, and converts its error into an exit status.
func (a *app) ask(do func(*control.Client) error) error {
	path, err := a.socketPath()
	if err != nil {
		return err
	}
	if a.patience <= 0 {
		return usage("--daemon-timeout is %v: it must be positive", a.patience)
	}
	err = do(control.Dial(path).WithPatience(a.patience))
	answered, isAnswer := errors.AsType[*connect.Error](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, control.ErrNoDaemon):
		return &failure{
			status: exitNoDaemon, err: fmt.Errorf("%w: %s", control.ErrNoDaemon, path),
			hint: "`astrid-actors run` starts one; --socket, --home or $ASTRID_HOME say where another one is",
		}
	case errors.Is(err, control.ErrNoAnswer):
		return &failure{
			status: exitNoDaemon, err: fmt.Errorf("%w at %s; it may have been stopped by a signal, or have no processor", noAnswer(err), path),
			hint: "its process is still there: `kill -CONT` continues a stopped one, and after SIGKILL `astrid-actors run` starts another",
		}
	case !isAnswer:
		return err
	case !connect.IsWireError(err):
		return fmt.Errorf("ask the daemon at %s: %w", path, answered.Unwrap())
	}
	f := &failure{status: exitFailed, err: errors.New(answered.Message())}
	switch answered.Code() {
	case connect.CodeNotFound:
		f.status, f.hint = exitNotFound, "`astrid-actors ps` lists the capsules"
	case connect.CodeInvalidArgument:
		f.status = exitUsage
	}
	return f
}

// noAnswer returns the part of an error of a client that says how long it has waited.
func noAnswer(err error) error {
	for err := err; err != nil; err = errors.Unwrap(err) {
		if errors.Unwrap(err) == control.ErrNoAnswer { //nolint:errorlint // the error that wraps it directly
			return err
		}
	}
	return control.ErrNoAnswer
}

// hangMargin is how long a daemon may need to answer after the time that a request gave it.
const hangMargin = 2 * time.Second

// within bounds a request of limited duration. If the daemon has not answered hangMargin
// after the limit, the error matches control.ErrNoAnswer.
func within[T any](ctx context.Context, limit time.Duration, do func(context.Context) (T, error)) (T, error) {
	bounded, cancel := context.WithTimeout(ctx, monotime.AddDurations(limit, hangMargin))
	defer cancel()
	answer, err := do(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: waited %v", control.ErrNoAnswer, monotime.AddDurations(limit, hangMargin))
	}
	return answer, err
}

// capsuleCommand returns a command that acts on one capsule and prints nothing.
func (a *app) capsuleCommand(verb, short, long string, do func(*control.Client, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " ID",
		Short: short,
		Long:  long + exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(func(c *control.Client) error { return do(c, cmd.Context(), args[0]) })
		},
		ValidArgsFunction: a.completeIDs,
	}
}

// completeIDs returns the ids of the daemon's capsules for shell completion.
func (a *app) completeIDs(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []cobra.Completion
	_ = a.ask(func(c *control.Client) error {
		tree, err := c.Snapshot(cmd.Context(), false)
		if err != nil {
			return err
		}
		for _, capsule := range tree.Capsules {
			ids = append(ids, cobra.CompletionWithDesc(capsule.ID, capsule.State.String()))
		}
		return nil
	})
	return ids, cobra.ShellCompDirectiveNoFileComp
}
