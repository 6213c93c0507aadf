package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newTrigger(a *app) *cobra.Command {
	var (
		principal string
		timeout   time.Duration
		asJSON    bool
		fail      bool
	)
	cmd := &cobra.Command{
		Use:   "trigger TOPIC [PAYLOAD | - | @FILE]",
		Short: "Invoke every capsule that subscribes to a topic",
		Long: `Invoke every capsule that has an interceptor for TOPIC, and print the JSON array of
their responses on one line: ordered by priority, then capsule, then position in the
manifest. PAYLOAD is JSON of at most 1 MiB, and null if it is left out; - reads it
from the standard input, @FILE from a file.

A capsule that crashes, denies or does not answer in time has no response in the
array; a note on the standard error says why. With --json each is listed under "legs",
with its outcome, and there are no notes:

  {"topic": TEXT, "responses": [ANY, ...],
   "legs": [{"capsule": ID, "action": TEXT, "priority": N, "outcome": WORD,
             "value": ANY, "reason": TEXT, "generation": N, "duration_us": N}, ...]}

A leg has a "value", or a "reason" why it has none. The outcome is one of: continue
final empty invalid denied failed crashed timeout overloaded deadlock unavailable.

The command succeeds with all of them, unless --fail is given: then it fails if a leg is
anything else than continue, final or empty.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Example: `  astrid-actors trigger greet.world '{"name": "you"}'
  jq .user config.json | astrid-actors trigger user.changed - --timeout 2s --json`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("timeout") && timeout <= 0 {
				return usage("--timeout is %v: it must be positive", timeout)
			}
			if cmd.Flags().Changed("principal") && principal == "" {
				return usage("--principal is empty: leave it out for none")
			}
			request := control.TriggerRequest{Topic: args[0], Principal: principal, Timeout: timeout}
			if len(args) == 2 {
				payload, err := readPayload(args[1], a.stdin, supervisor.MaxPayload)
				if err != nil {
					return err
				}
				request.Payload = payload
			}
			if err := validate(request); err != nil {
				return err
			}
			return a.ask(func(c *control.Client) error {
				reply, err := sendTrigger(cmd.Context(), c, request)
				if err != nil {
					return err
				}
				if asJSON {
					err = a.printJSON(triggerJSON(reply))
				} else {
					err = a.printTrigger(reply, fail)
				}
				if err != nil {
					return err
				}
				if fail {
					return failedLegs(reply)
				}
				return nil
			})
		},
		ValidArgsFunction: a.completeTopics,
	}
	flags := cmd.Flags()
	flags.StringVar(&principal, "principal", "", "the `name` of the principal on whose behalf the trigger is sent")
	flags.DurationVar(&timeout, "timeout", 0, "how long to wait for answers (default the daemon's --trigger-timeout)")
	flags.BoolVar(&asJSON, "json", false, "print every leg of the answer, as JSON")
	flags.BoolVar(&fail, "fail", false, "exit with status 1 unless every leg is continue, final or empty")
	return cmd
}

// sendTrigger sends a trigger, and gives up soon after its time-out if it has one.
func sendTrigger(ctx context.Context, c *control.Client, r control.TriggerRequest) (*messages.Reply, error) {
	if r.Timeout == 0 {
		return c.Trigger(ctx, r)
	}
	return within(ctx, r.Timeout, func(ctx context.Context) (*messages.Reply, error) { return c.Trigger(ctx, r) })
}

// readPayload reads the payload that the argument names, of at most limit bytes.
func readPayload(arg string, stdin io.Reader, limit int) ([]byte, error) {
	source, from := stdin, "the standard input"
	switch {
	case arg == "-":
	case arg != "" && arg[0] == '@':
		from = arg[1:]
		file, err := os.Open(from)
		if err != nil {
			return nil, usage("read the payload: %w", err)
		}
		defer file.Close()
		source = file
	default:
		if arg == "" {
			return nil, usage("the payload is empty, which is not JSON: leave it out for null")
		}
		return []byte(arg), nil
	}
	payload, err := io.ReadAll(io.LimitReader(source, int64(limit)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the payload from %s: %w", from, err)
	case len(payload) == 0:
		return nil, usage("the payload from %s is empty, which is not JSON", from)
	case len(payload) > limit:
		return nil, usage("the payload from %s is over the limit of %d bytes", from, limit)
	}
	return payload, nil
}

// validate refuses a request that the daemon would refuse, before it is sent.
func validate(r control.TriggerRequest) error {
	check := supervisor.TriggerRequest{Topic: r.Topic, Payload: r.Payload}
	if r.Principal != "" {
		check.Caller = &supervisor.Caller{Principal: r.Principal}
	}
	if err := check.Validate(); err != nil {
		return usage("%w", err)
	}
	return nil
}
