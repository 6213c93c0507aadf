package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/astrid-actors/astrid-actors/messages"
)

// treeText draws the supervision tree.
func treeText(tree *messages.Tree, p painter) string {
	state := "starting"
	switch {
	case tree.GetStopping():
		state = "stopping"
	case tree.GetStarted() != nil:
		state = "up " + duration(max(0, tree.GetAt().AsTime().Sub(tree.GetStarted().AsTime())))
	}
	restarted := func(name string) string {
		switch n := tree.GetSystemRestarts()[name]; n {
		case 0:
			return ""
		case 1:
			return "restarted once"
		default:
			return fmt.Sprintf("restarted %d times", n)
		}
	}
	rows := [][]string{
		{"supervisor", fmt.Sprintf("%s, triggers: %d, open: %d", state, tree.GetTriggers(), tree.GetOpenTriggers())},
		{"└─ root", "one for one"},
		{"   ├─ registry", restarted("registry")},
		{"   ├─ hook-router", restarted("hook-router")},
		{"   └─ capsules", strings.TrimSuffix("one for one, "+restarted("capsules"), ", ")},
	}
	system := len(rows)
	for i, c := range tree.GetCapsules() {
		branch := "├─ "
		if i == len(tree.GetCapsules())-1 {
			branch = "└─ "
		}
		rows = append(rows, []string{"      " + branch + printable(c.GetId()), treeCapsule(tree, c)})
	}
	drawn := p.table(rows, func(row, column int, text string) string {
		switch {
		case column == 0:
			name := strings.TrimLeft(text, " ├─└")
			return p.paint(faint, strings.TrimSuffix(text, name)) + p.paint(strong, name)
		case row < system:
			return p.paint(faint, text)
		}
		state := tree.GetCapsules()[row-system].GetState()
		return p.paint(stateStyles[state], state.Word()) + strings.TrimPrefix(text, state.Word())
	})
	return drawn + rejectedText(tree, p)
}

// treeCapsule says how one capsule is, and what comes next.
func treeCapsule(tree *messages.Tree, c *messages.Capsule) string {
	parts := []string{c.GetState().Word()}
	if c.GetGeneration() > 0 {
		parts = append(parts, "generation "+strconv.FormatUint(c.GetGeneration(), 10))
	}
	if c.GetRestart() != "" {
		parts = append(parts, fmt.Sprintf("%s, restarts %d/%d in %s", c.GetRestart(),
			c.GetBudgetSpent(), c.GetBudget(), duration(c.GetWindow().AsDuration())))
	}
	if c.GetBusy() != nil {
		parts = append(parts, "in a call for "+duration(c.GetBusy().AsDuration()))
	}
	if c.GetQueue() > 0 {
		parts = append(parts, fmt.Sprintf("calls that wait: %d", c.GetQueue()))
	}
	text := strings.Join(parts, ", ")
	switch c.GetState() {
	case messages.CapsuleState_CAPSULE_STATE_CRASHED:
		if at := c.GetRestartAt(); at != nil {
			text += fmt.Sprintf(", next in %s", duration(max(0, at.AsTime().Sub(tree.GetAt().AsTime()))))
		}
	case messages.CapsuleState_CAPSULE_STATE_FAILED:
		reason := c.GetReason()
		if failure := c.GetLastFailure().GetMessage(); failure != "" {
			reason = strings.TrimPrefix(reason+": "+failure, ": ")
		}
		text += ": " + shortened(reason, 160)
	default:
		if c.GetReason() != "" {
			text += ": " + shortened(c.GetReason(), 160)
		}
	}
	return text
}
