package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// tracedTrigger is one element of the output of traces --json.
type tracedTrigger struct {
	ID        uint64     `json:"id"`
	At        time.Time  `json:"at"`
	Principal string     `json:"principal"`
	Omitted   uint64     `json:"omitted"`
	Root      tracedSpan `json:"root"`
}

type tracedSpan struct {
	Topic      string       `json:"topic"`
	Published  bool         `json:"published"`
	From       string       `json:"from"`
	StartUS    int64        `json:"start_us"`
	DurationUS int64        `json:"duration_us"`
	Open       bool         `json:"open"`
	Problem    string       `json:"problem"`
	Calls      []tracedCall `json:"calls"`
}

type tracedCall struct {
	Capsule     string       `json:"capsule"`
	Action      string       `json:"action"`
	Priority    uint32       `json:"priority"`
	Version     string       `json:"version"`
	Generation  uint64       `json:"generation"`
	Outcome     string       `json:"outcome"`
	Reason      string       `json:"reason"`
	StartUS     int64        `json:"start_us"`
	QueueWaitUS int64        `json:"queue_wait_us"`
	DurationUS  int64        `json:"duration_us"`
	Reductions  uint64       `json:"reductions"`
	Made        []tracedSpan `json:"made"`
}

// printTraces prints traces: a list, or one as a tree.
func (a *app) printTraces(traces []messages.Trace, one, asJSON bool) error {
	switch {
	case asJSON && one:
		return a.printJSON(traceJSON(traces[0]))
	case asJSON:
		out := make([]tracedTrigger, 0, len(traces))
		for _, t := range traces {
			out = append(out, traceJSON(t))
		}
		return a.printJSON(out)
	case one:
		return a.print(traceText(traces[0], a.painter()))
	}
	return a.print(tracesText(traces, a.painter()))
}

func traceJSON(t messages.Trace) tracedTrigger {
	return tracedTrigger{ID: t.ID, At: t.At.UTC(), Principal: t.Principal, Omitted: t.Omitted, Root: spanJSON(t.Root)}
}

func spanJSON(s messages.TraceSpan) tracedSpan {
	out := tracedSpan{
		Topic: s.Topic, Published: s.Published, From: s.From, StartUS: s.Start.Microseconds(), DurationUS: s.Duration.Microseconds(),
		Open: s.Open, Problem: s.Problem, Calls: []tracedCall{},
	}
	for _, c := range s.Calls {
		call := tracedCall{
			Capsule: c.Capsule, Action: c.Action, Priority: c.Priority, Version: c.Version, Generation: c.Generation,
			Outcome: c.Outcome.String(), Reason: c.Reason, StartUS: c.Start.Microseconds(), QueueWaitUS: c.QueueWait.Microseconds(),
			DurationUS: c.Duration.Microseconds(), Reductions: c.Reductions, Made: []tracedSpan{},
		}
		for _, made := range c.Made {
			call.Made = append(call.Made, spanJSON(made))
		}
		out.Calls = append(out.Calls, call)
	}
	return out
}

// tracesText lists traces, the newest first.
func tracesText(traces []messages.Trace, p painter) string {
	rows := [][]string{{"ID", "AT", "TOPIC", "FROM", "CALLS", "TOOK", "PROBLEM"}}
	for _, t := range slices.Backward(traces) {
		problem := t.Root.Problem
		if worst := t.Worst(); worst != nil && problem == "" {
			problem = worst.Capsule + " " + worst.Outcome.String()
		}
		rows = append(rows, []string{
			strconv.FormatUint(t.ID, 10), t.At.Local().Format("15:04:05.000"), printable(t.Root.Topic), orDash(printable(t.Root.From)),
			strconv.Itoa(t.Calls()), tookText(t.Root), orDash(shortened(problem, 60)),
		})
	}
	return p.table(rows, func(row, column int, text string) string {
		switch {
		case row == 0 || text == "-":
			return p.paint(faint, text)
		case column == 6:
			return p.paint(bad, text)
		}
		return text
	})
}

// tookText returns the duration of a span.
func tookText(s messages.TraceSpan) string {
	if s.Open {
		return "open"
	}
	return duration(s.Duration)
}

// traceText draws one trace as a tree.
func traceText(t messages.Trace, p painter) string {
	rows := [][]string{{"CALL", "START", "TOOK", "OUTCOME", "VERSION", "REASON"}}
	var span func(s messages.TraceSpan, indent, below string)
	span = func(s messages.TraceSpan, indent, below string) {
		kind := "trigger "
		if s.Published {
			kind = "publish "
		}
		rows = append(rows, []string{indent + kind + printable(s.Topic), "+" + duration(s.Start), tookText(s), "", "", shortened(s.Problem, 200)})
		for i, c := range s.Calls {
			fork, next := "├─ ", "│  "
			if i == len(s.Calls)-1 {
				fork, next = "└─ ", "   "
			}
			version := ""
			if c.Generation > 0 {
				version = fmt.Sprintf("%s g%d", printable(c.Version), c.Generation)
			}
			rows = append(rows, []string{
				below + fork + printable(c.Capsule) + " " + printable(c.Action), "+" + duration(c.Start), duration(c.Duration),
				c.Outcome.String(), version, shortened(c.Reason, 200),
			})
			for j, made := range c.Made {
				fork, deeper := "├─ ", "│  "
				if j == len(c.Made)-1 {
					fork, deeper = "└─ ", "   "
				}
				span(made, below+next+fork, below+next+deeper)
			}
		}
	}
	span(t.Root, "", "")
	var head strings.Builder
	fmt.Fprintf(&head, "trace %d, %s", t.ID, t.At.Local().Format("2006-01-02 15:04:05.000"))
	for _, about := range []struct{ before, text string }{{", from ", t.Root.From}, {", for ", t.Principal}} {
		if about.text != "" {
			head.WriteString(about.before + printable(about.text))
		}
	}
	if t.Omitted > 0 {
		fmt.Fprintf(&head, "; calls that are not kept: %d", t.Omitted)
	}
	return head.String() + "\n" + p.table(rows, func(row, column int, text string) string {
		switch {
		case row == 0:
			return p.paint(faint, text)
		case column == 0:
			name := strings.TrimLeft(text, " │├─└")
			return p.paint(faint, strings.TrimSuffix(text, name)) + name
		case column == 3 && text != "" && text != "continue" && text != "final" && text != "empty":
			return p.paint(bad, text)
		}
		return text
	})
}
