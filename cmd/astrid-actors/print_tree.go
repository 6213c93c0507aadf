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
	case tree.Stopping:
		state = "stopping"
	case !tree.Started.IsZero():
		state = "up " + duration(max(0, tree.At.Sub(tree.Started)))
	}
	restarted := func(name string) string {
		switch n := tree.SystemRestarts[name]; n {
		case 0:
			return ""
		case 1:
			return "restarted once"
		default:
			return fmt.Sprintf("restarted %d times", n)
		}
	}
	rows := [][]string{
		{"supervisor", fmt.Sprintf("%s, triggers: %d, open: %d", state, tree.Triggers, tree.OpenTriggers)},
		{"└─ root", "one for one"},
		{"   ├─ registry", restarted("registry")},
		{"   ├─ hook-router", restarted("hook-router")},
		{"   ├─ event-bus", strings.TrimSuffix(fmt.Sprintf("subscriptions: %d, ", tree.Bus.SubscriptionCount)+restarted("event-bus"), ", ")},
		{"   └─ capsules", strings.TrimSuffix("one for one, "+restarted("capsules"), ", ")},
	}
	system := len(rows)
	states := map[int]messages.CapsuleState{} // of the capsules, by row
	drawBranches(tree.Branches(), "      ", func(prefix string, b messages.Branch) {
		switch {
		case b.Instance != nil:
			states[len(rows)] = b.Instance.State
			rows = append(rows, []string{prefix + "#" + strconv.Itoa(int(b.Instance.Number)), treeInstance(tree, b.Instance)})
		case b.Capsule != nil:
			states[len(rows)] = b.Capsule.State
			rows = append(rows, []string{prefix + printable(b.Capsule.ID), treeCapsule(tree, b.Capsule)})
		default:
			rows = append(rows, []string{prefix + printable(b.Group.Name), treeGroup(b.Group)})
		}
	})
	drawn := p.table(rows, func(row, column int, text string) string {
		switch {
		case column == 0:
			name := strings.TrimLeft(text, " │├─└")
			return p.paint(faint, strings.TrimSuffix(text, name)) + p.paint(strong, name)
		case row < system:
			return p.paint(faint, text)
		}
		state, isCapsule := states[row]
		if !isCapsule {
			return text
		}
		return p.paint(stateStyles[state], state.String()) + strings.TrimPrefix(text, state.String())
	})
	return drawn + rejectedText(tree, p)
}

// treeCapsule describes the state of one capsule, and the next step.
func treeCapsule(tree *messages.Tree, c *messages.Capsule) string {
	parts := []string{stateText(c)}
	if c.Generation > 0 {
		parts = append(parts, "generation "+strconv.FormatUint(c.Generation, 10))
	}
	if c.Restart != "" {
		parts = append(parts, fmt.Sprintf("%s, restarts %d/%d in %s", c.Restart,
			c.BudgetSpent, c.Budget, duration(c.Window)))
	}
	if c.Busy > 0 {
		parts = append(parts, "in a call for "+duration(c.Busy))
	}
	if c.Queue > 0 {
		parts = append(parts, fmt.Sprintf("calls that wait: %d", c.Queue))
	}
	text := strings.Join(parts, ", ")
	switch c.State {
	case messages.StateCrashed:
		if !c.RestartAt.IsZero() {
			text += fmt.Sprintf(", next in %s", duration(max(0, c.RestartAt.Sub(tree.At))))
		}
	case messages.StateFailed:
		reason := c.Reason
		if c.LastFailure != nil && c.LastFailure.Message != "" {
			reason = strings.TrimPrefix(reason+": "+c.LastFailure.Message, ": ")
		}
		text += ": " + shortened(reason, 160)
	default:
		if c.Because != "" {
			text += ", restarted because " + shortened(c.Because, 160)
		}
		if c.Reason != "" {
			text += ": " + shortened(c.Reason, 160)
		}
	}
	return text
}

// treeInstance describes the state of one instance of a pool.
func treeInstance(tree *messages.Tree, i *messages.Instance) string {
	text := fmt.Sprintf("%s, generation %d", i.State.String(), i.Generation)
	if i.Busy > 0 {
		text += ", in a call for " + duration(i.Busy)
	}
	if i.Queue > 0 {
		text += fmt.Sprintf(", calls that wait: %d", i.Queue)
	}
	if !i.RestartAt.IsZero() {
		text += fmt.Sprintf(", next in %s", duration(max(0, i.RestartAt.Sub(tree.At))))
	}
	if i.Reason != "" {
		text += ": " + shortened(i.Reason, 160)
	}
	return text
}

// drawBranches calls draw for each branch and those below it, with what is drawn before
// its name.
func drawBranches(all []messages.Branch, indent string, draw func(prefix string, b messages.Branch)) {
	for i, b := range all {
		fork, below := "├─ ", "│  "
		if i == len(all)-1 {
			fork, below = "└─ ", "   "
		}
		draw(indent+fork, b)
		drawBranches(b.Children, indent+below, draw)
	}
}

// treeGroup describes the state of a group.
func treeGroup(g *messages.Supervisor) string {
	text := fmt.Sprintf("%s, %s, deaths %d/%d in %s", g.State, g.Strategy, g.BudgetSpent, g.Budget, duration(g.Window))
	if g.Restarts > 0 {
		text += fmt.Sprintf(", restarted: %d", g.Restarts)
	}
	if g.Reason != "" {
		text += ": " + shortened(g.Reason, 160)
	}
	return text
}
