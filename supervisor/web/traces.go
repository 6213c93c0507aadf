package web

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// traceRow is one trace in the list.
type traceRow struct {
	*messages.Trace
	Problem string
}

// tracePicture is one trace as a tree, with a bar for each line.
type tracePicture struct {
	*messages.Trace
	Lines []traceLine
	Took  time.Duration // the length of the time axis
}

// traceLine is one trigger, message or call.
type traceLine struct {
	Depth    int
	Span     *messages.TraceSpan // nil for a call
	Call     *messages.TraceCall // nil for a span
	Start    time.Duration
	Duration time.Duration
	Grade    string
	X, Width string // of the bar
}

// traces lists the last traces.
func (p *page) traces(v *view) {
	v.Title = "Traces"
	all := p.supervisor.Traces()
	rows := make([]part, 0, len(all))
	for _, t := range slices.Backward(all) {
		row := traceRow{Trace: &t, Problem: t.Root.Problem}
		if worst := t.Worst(); worst != nil && row.Problem == "" {
			row.Problem = worst.Capsule + " " + worst.Outcome.String() + ": " + worst.Reason
		}
		rows = append(rows, part{"trace-" + strconv.FormatUint(t.ID, 10), "trace-row", row})
	}
	v.Lists = append(v.Lists, list{"traces", rows})
	v.Parts = append(v.Parts, part{"no-traces", "empty", emptyNote{"no-traces", "There was no trigger yet, and no message for an interceptor.", len(rows) == 0}})
}

// trace shows one trace.
func (p *page) trace(v *view, q url.Values) error {
	id, err := strconv.ParseUint(q.Get("id"), 10, 64)
	if err != nil {
		return fmt.Errorf("show trace %q: %w", q.Get("id"), supervisor.ErrNotFound)
	}
	t, err := p.supervisor.Trace(id)
	if err != nil {
		return err
	}
	v.Title = fmt.Sprintf("Trace %d", id)
	v.Parts = append(v.Parts, part{"trace", "trace-tree", pictureOf(t)})
	return nil
}

// pictureOf arranges a trace in lines.
func pictureOf(t messages.Trace) *tracePicture {
	p := &tracePicture{Trace: &t}
	p.add(&p.Root, 0)
	for i := range p.Lines {
		p.Took = max(p.Took, p.Lines[i].Start+p.Lines[i].Duration)
	}
	whole := float64(max(p.Took, 1))
	for i := range p.Lines {
		l := &p.Lines[i]
		left := min(99.5, 100*float64(l.Start)/whole)
		l.X, l.Width = percent(left), percent(max(0.5, min(100-left, 100*float64(l.Duration)/whole)))
	}
	return p
}

func (p *tracePicture) add(s *messages.TraceSpan, depth int) {
	line := traceLine{Depth: min(depth, deepest), Span: s, Start: s.Start, Duration: s.Duration}
	if s.Problem != "" {
		line.Grade = "bad"
	}
	p.Lines = append(p.Lines, line)
	for i := range s.Calls {
		c := &s.Calls[i]
		p.Lines = append(p.Lines, traceLine{
			Depth: min(depth+1, deepest), Call: c, Start: c.Start, Duration: c.Duration, Grade: cmp.Or(grade(c.Outcome), "ok"),
		})
		for j := range c.Made {
			p.add(&c.Made[j], depth+2)
		}
	}
}
