package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

// dialEvery is the time between two attempts of ps --wait to reach a daemon.
const dialEvery = 20 * time.Millisecond

func newPs(a *app) *cobra.Command {
	var (
		asJSON bool
		wait   time.Duration
	)
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List the capsules and their states",
		Long: `List the capsules in the order of their start, with their state: loading,
starting (a run loop that has not signalled yet), ready, crashed (to be restarted),
failed (for good), stopping or stopped.

With --wait, wait for the daemon, and until the first start of every capsule has a
result: it is ready, has failed, or did not signal in time.

With --json, print an array of

  {"id": TEXT, "version": TEXT, "state": WORD, "generation": N, "session": UUID,
   "restarts": N, "last_failure": {"kind": WORD, "message": TEXT, "at": TIME} or null,
   "queue": N, "calls": N, "uptime_ms": N, "state_bytes": N, "state_quota": N,
   "interceptors": [{"event": TEXT, "action": TEXT, "priority": N}, ...]}

"session" is empty if there is no instance; "restarts" counts those that the
supervisor decided; "uptime_ms" is how long the capsule has been ready; "state_bytes" is how much durable
state it keeps, STORED in the table.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("wait") && wait <= 0 {
				return usage("--wait is %v: it must be positive", wait)
			}
			return a.ask(func(c *control.Client) error {
				tree, err := snapshot(cmd.Context(), c, wait)
				if err != nil {
					return err
				}
				return a.printPs(tree, asJSON)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	flags.DurationVar(&wait, "wait", 0, "wait at most this long for the daemon and the first start of all capsules")
	return cmd
}

// snapshot requests the tree: at once, or, with a wait, once it has started.
func snapshot(ctx context.Context, c *control.Client, wait time.Duration) (*messages.Tree, error) {
	if wait == 0 {
		return c.Snapshot(ctx, false)
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	again := time.NewTicker(dialEvery)
	defer again.Stop()
	for {
		tree, err := c.Snapshot(waiting, true)
		switch {
		case err == nil:
			return tree, nil
		case errors.Is(err, control.ErrNoDaemon), errors.Is(err, control.ErrNoAnswer):
			select {
			case <-again.C:
				continue
			case <-waiting.Done():
				return nil, err
			}
		case waiting.Err() != nil, connect.CodeOf(err) == connect.CodeDeadlineExceeded: // the deadline passed here first, or in the daemon
			return nil, undecided(ctx, c, wait)
		default:
			return nil, err
		}
	}
}

// undecided returns an error that names the capsules that have not started.
func undecided(ctx context.Context, c *control.Client, wait time.Duration) error {
	tree, err := within(ctx, 0, func(ctx context.Context) (*messages.Tree, error) { return c.Snapshot(ctx, false) })
	if err != nil {
		return err
	}
	var names []string
	for _, capsule := range tree.Capsules {
		if !capsule.Decided {
			names = append(names, fmt.Sprintf("%s (%s)", capsule.ID, capsule.State))
		}
	}
	return fmt.Errorf("not all started within %v: %s", wait, strings.Join(names, ", "))
}
