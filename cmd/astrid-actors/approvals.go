package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newApprovals(a *app) *cobra.Command {
	var watch, remembered, asJSON bool
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "Show what capsules ask a person to approve",
		Long: `Show what capsules ask a person to approve (astrid_request_approval), oldest first. Answer
with approve or deny; a request that nobody answers within a minute, or by the
deadline of the capsule's call, is denied.

With --watch, print each request when it comes, until interrupted. With --remembered, also
show the decisions that are remembered; deny takes one back. With --json, one object a
line: "id", "capsule", "principal", "action", "resource", "risk", "asked", "expires", and
"decision" if it is remembered.` + exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch && remembered {
				return usage("--watch and --remembered: only one of them")
			}
			return a.ask(func(c *control.Client) error {
				if watch {
					return a.watchApprovals(cmd, c, asJSON)
				}
				all, err := c.Approvals(cmd.Context(), remembered)
				if err != nil {
					return err
				}
				return a.printApprovals(all, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "print each request when it comes")
	cmd.Flags().BoolVar(&remembered, "remembered", false, "also show the decisions that are remembered")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object a line")
	return cmd
}

func newApprove(a *app) *cobra.Command {
	var session, always bool
	cmd := &cobra.Command{
		Use:   "approve ID",
		Short: "Approve what a capsule asks for",
		Long: `Approve a request that approvals shows: this one, or with --session those like it until the
daemon ends, or with --always those like it from now on. Like it are requests of the same
capsule, for the same principal, with the same action, for the same resource; if the
resource is a command line that begins with the action, also for others that do.` +
			approvalExitStatus(),
		Example: `  astrid-actors approve k3v7q2ma
  astrid-actors approve k3v7q2ma --session`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d := supervisor.ApproveOnce
			switch {
			case session && always:
				return usage("--session and --always: only one of them")
			case session:
				d = supervisor.ApproveSession
			case always:
				d = supervisor.ApproveAlways
			}
			return a.decide(cmd, args[0], d)
		},
		ValidArgsFunction: a.completeApprovals,
	}
	cmd.Flags().BoolVar(&session, "session", false, "also those like it, until the daemon ends")
	cmd.Flags().BoolVar(&always, "always", false, "also those like it, from now on")
	return cmd
}

func newDeny(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "deny ID",
		Short: "Deny what a capsule asks for, or take an approval back",
		Long: `Deny a request that approvals shows, or take back a decision that approvals --remembered
shows: the capsule is asked about again.` +
			approvalExitStatus(),
		Args:              arguments(1, 1),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.decide(cmd, args[0], supervisor.Deny) },
		ValidArgsFunction: a.completeApprovals,
	}
}

// approvalExitStatus is exitStatus for a command about an approval.
func approvalExitStatus() string {
	return strings.Replace(exitStatus(exitDone, exitFailed, exitUsage, exitNotFound, exitNoDaemon),
		exitMeanings[exitNotFound], "no such approval", 1)
}

// decide answers a request.
func (a *app) decide(cmd *cobra.Command, id string, d supervisor.Decision) error {
	err := a.ask(func(c *control.Client) error { return c.Decide(cmd.Context(), id, d) })
	if f := asFailure(err); err != nil && f.status == exitNotFound {
		f.hint = "`astrid-actors approvals` lists those that wait"
		return f
	}
	return err
}

// completeApprovals returns the ids of the requests that wait, for shell completion.
func (a *app) completeApprovals(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var ids []cobra.Completion
	if len(args) == 0 {
		_ = a.ask(func(c *control.Client) error {
			all, err := c.Approvals(cmd.Context(), false)
			for _, r := range all {
				ids = append(ids, cobra.CompletionWithDesc(r.ID, printable(r.Capsule+": "+r.Action)))
			}
			return err
		})
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// watchApprovals prints each request when it comes.
func (a *app) watchApprovals(cmd *cobra.Command, c *control.Client, asJSON bool) error {
	seen := map[string]bool{}
	for waiting, err := range c.WatchApprovals(cmd.Context()) {
		if err != nil {
			return err
		}
		now := map[string]bool{}
		for _, r := range waiting {
			now[r.ID] = true
			if seen[r.ID] {
				continue
			}
			line := printable(fmt.Sprintf("%s  %s may %s: %s?%s", r.ID, r.Capsule, r.Action, r.Resource, inBrackets(r.Risk))) + "\n"
			if asJSON {
				line = approvalJSON(r)
			}
			if err := a.print(line); err != nil {
				return err
			}
		}
		seen = now
	}
	return nil
}

func inBrackets(risk string) string {
	if risk == "" {
		return ""
	}
	return " (" + risk + ")"
}

func (a *app) printApprovals(all []messages.Approval, asJSON bool) error {
	if asJSON {
		var text strings.Builder
		for _, r := range all {
			text.WriteString(approvalJSON(r))
		}
		return a.print(text.String())
	}
	rows := [][]string{{"ID", "CAPSULE", "PRINCIPAL", "ACTION", "RESOURCE", "RISK", "UNTIL"}}
	for _, r := range all {
		row := []string{r.ID, r.Capsule, r.Principal, shortened(r.Action, 40), shortened(r.Resource, 60), r.Risk, ""}
		switch supervisor.Decision(r.Decision) {
		case supervisor.ApproveSession:
			row[6] = "the daemon ends"
		case supervisor.ApproveAlways:
			row[6] = "taken back"
		default:
			row[6] = "in " + duration(max(0, time.Until(r.Expires)))
		}
		for n := range row {
			row[n] = printable(row[n])
		}
		rows = append(rows, row)
	}
	return a.print(strings.TrimRight(table(rows), "\n") + "\n")
}

// approvalJSON returns a line of approvals --json.
func approvalJSON(r messages.Approval) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(struct { // texts and times: never fails
		ID        string    `json:"id"`
		Capsule   string    `json:"capsule"`
		Principal string    `json:"principal"`
		Action    string    `json:"action"`
		Resource  string    `json:"resource"`
		Risk      string    `json:"risk,omitempty"`
		Asked     time.Time `json:"asked"`
		Expires   time.Time `json:"expires,omitzero"`
		Decision  string    `json:"decision,omitempty"`
	}{r.ID, r.Capsule, r.Principal, r.Action, r.Resource, r.Risk, r.Asked, r.Expires, r.Decision})
	return text.String()
}
