package web

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// deepest is the last depth of the tree that is indented further.
const deepest = 6

// branch is one line of the supervision tree: a capsule or a group.
type branch struct {
	*row  // nil for a group
	Group *messages.Supervisor
	Depth int
	// Grade is "bad", "warn" or "".
	Grade string
}

// lines returns the lines of a part of the tree, at most limit, and how many there are.
func (p *page) lines(f *frame, all []messages.Branch, limit int) (lines []branch, found int) {
	var add func(all []messages.Branch, depth int)
	add = func(all []messages.Branch, depth int) {
		for _, b := range all {
			if found++; found <= limit {
				lines = append(lines, p.line(f, b, depth))
			}
			if b.Group != nil { // the instances of a pool are a part of their capsule's line
				add(b.Children, min(depth+1, deepest))
			}
		}
	}
	add(all, 0)
	return lines, found
}

func (p *page) line(f *frame, b messages.Branch, depth int) branch {
	line := branch{Group: b.Group, Depth: depth}
	if b.Group != nil {
		if a := diagnoseGroup(b.Group); a != nil {
			line.Grade = a.Grade
		}
		return line
	}
	line.row = p.watch.row(f, b.Capsule)
	if line.Trouble != nil {
		line.Grade = line.Trouble.Grade
	}
	return line
}

// ElementID returns the id of the line's element.
func (b branch) ElementID() string {
	if b.Group != nil {
		return "g-" + b.Group.Name
	}
	return "t-" + b.ID
}

// groupHead is the part at the top of a group's page.
type groupHead struct {
	*messages.Supervisor
	Actions bool
	Alarm   *attention
	Parent  string // the group that it is in; empty for none
}

// lane is the timeline of one capsule of a group.
type lane struct{ *timelinePicture }

// ElementID returns the id of the lane's element.
func (l lane) ElementID() string { return "lane-" + l.ID }

// lanesShown limits the timelines on a group's page.
const lanesShown = 24

// group shows one group: its state, its children, and who took whom down.
func (p *page) group(v *view, q url.Values) error {
	f, name := v.Frame, q.Get("id")
	g := f.groups[name]
	if g == nil {
		return fmt.Errorf("show group %q: %w", name, supervisor.ErrNotFound)
	}
	v.Title = name
	head := &groupHead{Supervisor: g, Actions: p.cfg.Actions, Alarm: diagnoseGroup(g)}
	if i := strings.LastIndexByte(g.Path, '/'); i >= len("capsules/") {
		head.Parent = g.Path[strings.LastIndexByte(g.Path[:i], '/')+1 : i]
	}
	below := g.Path + "/"
	events := p.watch.events(f, eventRowsBack, 0, func(e messages.Event) bool {
		_, trigger := e.Detail.(messages.TriggerAnswered)
		return !trigger && (e.Path == g.Path || strings.HasPrefix(e.Path, below))
	})
	v.Data = head
	v.Parts = append(v.Parts, part{"group-top", "group-top", head})
	var children, lanes []part
	lines, _ := p.lines(f, f.tree.BranchesOf(g.Path), treeRows)
	for _, b := range lines {
		children = append(children, part{b.ElementID(), "branch", b})
		if b.Group == nil && len(lanes) < lanesShown {
			l := lane{p.lane(f, b.Capsule, events, q.Get("span"))}
			lanes = append(lanes, part{l.ElementID(), "lane", l})
		}
	}
	v.Lists = append(v.Lists, list{"branches", children}, list{"lanes", lanes},
		list{"mine", happenings(events[:min(len(events), capsuleEvents)])})
	v.Parts = append(v.Parts, part{"spans", "spans", &timelinePicture{Span: q.Get("span")}})
	return nil
}

// lane draws the timeline of one capsule of a group. All lanes have the same time axis.
func (p *page) lane(f *frame, c *messages.Capsule, events []messages.Event, span string) *timelinePicture {
	long := spanOf(span)
	if long == 0 && len(events) > 0 {
		long = max(10*time.Second, f.now.Sub(events[len(events)-1].At))
	}
	var mine []messages.Event
	for _, e := range events {
		if e.Path == c.Path {
			mine = append(mine, e)
		}
	}
	detail := &messages.CapsuleDetail{Capsule: c}
	for _, e := range mine {
		if d, ok := e.Detail.(messages.CapsuleCrashed); ok {
			detail.Failures = append(detail.Failures, messages.FailureRecord{Generation: e.Generation, Failure: d.Failure, During: d.During})
		}
	}
	slices.Reverse(detail.Failures) // oldest first
	line := timeline(mine, detail, f.now, long)
	line.Span = span
	return line
}

// groupState returns the state of a capsule that is shown in the same shape and colour as
// that of a group.
func groupState(state string) messages.CapsuleState {
	switch state {
	case messages.SupervisorRunning:
		return ready
	case messages.SupervisorRestarting:
		return crashed
	case messages.SupervisorHasFailed:
		return failed
	case messages.SupervisorHasStopped:
		return stopped
	default:
		return starting
	}
}

// strategyMeans describes a strategy.
func strategyMeans(strategy string) string {
	switch supervisor.Strategy(strategy) {
	case supervisor.OneForOne:
		return "a child that dies is restarted alone."
	case supervisor.OneForAll:
		return "if a child dies, all are restarted."
	case supervisor.RestForOne:
		return "if a child dies, it and those behind it are restarted."
	default:
		return ""
	}
}
