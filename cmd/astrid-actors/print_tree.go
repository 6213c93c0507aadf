package main

import (
	"cmp"
	"fmt"
	"slices"
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
		{"   └─ capsules", strings.TrimSuffix("one for one, "+restarted("capsules"), ", ")},
	}
	system := len(rows)
	states := map[int]messages.CapsuleState{} // of the capsules, by row
	drawBranches(branches(tree, "capsules"), "      ", func(prefix string, b branch) {
		switch {
		case b.capsule != nil:
			states[len(rows)] = b.capsule.State
			rows = append(rows, []string{prefix + printable(b.capsule.ID), treeCapsule(tree, b.capsule)})
		default:
			rows = append(rows, []string{prefix + printable(b.group.Name), treeGroup(b.group)})
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
	parts := []string{c.State.String()}
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
		if c.Reason != "" {
			text += ": " + shortened(c.Reason, 160)
		}
	}
	return text
}

// branch is a child in the drawn tree: a capsule, or a group with children.
type branch struct {
	capsule  *messages.Capsule
	group    *messages.Supervisor
	children []branch
}

// branches returns the children of a supervisor, in start order.
func branches(tree *messages.Tree, parent string) []branch {
	groups := map[string]*messages.Supervisor{}
	for _, g := range tree.Supervisors {
		groups[g.Path] = g
	}
	var out []branch
	seen := map[string]bool{}
	for _, c := range tree.Capsules {
		below, ok := strings.CutPrefix(cmp.Or(c.Path, "capsules/"+c.ID), parent+"/")
		if !ok {
			continue
		}
		name, _, inGroup := strings.Cut(below, "/")
		at := parent + "/" + name
		switch g := groups[at]; {
		case !inGroup:
			out = append(out, branch{capsule: c})
		case g != nil && !seen[at]:
			seen[at] = true
			out = append(out, branch{group: g, children: branches(tree, at)})
		}
	}
	if g := groups[parent]; g != nil {
		slices.SortStableFunc(out, func(a, b branch) int {
			return cmp.Compare(slices.Index(g.Children, a.name()), slices.Index(g.Children, b.name()))
		})
	}
	return out
}

func (b branch) name() string {
	if b.group != nil {
		return b.group.Name
	}
	return b.capsule.ID
}

// drawBranches calls draw for each branch and those below it, with what is drawn before
// its name.
func drawBranches(all []branch, indent string, draw func(prefix string, b branch)) {
	for i, b := range all {
		fork, below := "├─ ", "│  "
		if i == len(all)-1 {
			fork, below = "└─ ", "   "
		}
		draw(indent+fork, b)
		drawBranches(b.children, indent+below, draw)
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
