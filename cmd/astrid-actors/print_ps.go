package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// psCapsule is one element of what ps --json prints.
type psCapsule struct {
	ID           string          `json:"id"`
	Version      string          `json:"version"`
	State        string          `json:"state"`
	Generation   uint64          `json:"generation"`
	Session      string          `json:"session"`
	Restarts     uint64          `json:"restarts"`
	LastFailure  *psFailure      `json:"last_failure"`
	Queue        uint32          `json:"queue"`
	Calls        uint64          `json:"calls"`
	UptimeMS     int64           `json:"uptime_ms"`
	Interceptors []psInterceptor `json:"interceptors"`
}

type psFailure struct {
	Kind    string    `json:"kind"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

type psInterceptor struct {
	Event    string `json:"event"`
	Action   string `json:"action"`
	Priority uint32 `json:"priority"`
}

// printPs prints the capsules of a tree.
func (a *app) printPs(tree *messages.Tree, asJSON bool) error {
	if asJSON {
		return a.printJSON(psJSON(tree))
	}
	return a.print(psText(tree, a.painter()))
}

func psJSON(tree *messages.Tree) []psCapsule {
	out := make([]psCapsule, 0, len(tree.GetCapsules()))
	for _, c := range tree.GetCapsules() {
		p := psCapsule{
			ID: c.GetId(), Version: c.GetVersion(), State: c.GetState().Word(),
			Generation: c.GetGeneration(), Session: c.GetSession(), Restarts: c.GetRestarts(),
			Queue: c.GetQueue(), Calls: c.GetCalls(), UptimeMS: c.GetUptime().AsDuration().Milliseconds(),
			Interceptors: make([]psInterceptor, 0, len(c.GetInterceptors())),
		}
		if f := c.GetLastFailure(); f != nil {
			p.LastFailure = &psFailure{Kind: f.GetKind(), Message: f.GetMessage(), At: f.GetAt().AsTime()}
		}
		for _, i := range c.GetInterceptors() {
			p.Interceptors = append(p.Interceptors, psInterceptor{Event: i.GetEvent(), Action: i.GetAction(), Priority: i.GetPriority()})
		}
		out = append(out, p)
	}
	return out
}

func psText(tree *messages.Tree, p painter) string {
	rows := [][]string{{"ID", "VERSION", "STATE", "GENERATION", "RESTARTS", "QUEUE", "CALLS", "UPTIME", "LAST FAILURE"}}
	for _, c := range tree.GetCapsules() {
		uptime, failure := "-", "-"
		if c.GetUptime() != nil {
			uptime = duration(c.GetUptime().AsDuration())
		}
		if f := c.GetLastFailure(); f != nil {
			ago := max(0, tree.GetAt().AsTime().Sub(f.GetAt().AsTime())) // the clock may have been set back
			failure = duration(ago) + " ago: " + shortened(f.GetMessage(), 80)
		}
		rows = append(rows, []string{
			printable(c.GetId()), orDash(printable(c.GetVersion())), c.GetState().Word(),
			strconv.FormatUint(c.GetGeneration(), 10), strconv.FormatUint(c.GetRestarts(), 10),
			strconv.FormatUint(uint64(c.GetQueue()), 10), strconv.FormatUint(c.GetCalls(), 10),
			uptime, failure,
		})
	}
	table := p.table(rows, func(row, column int, text string) string {
		switch {
		case row == 0:
			return p.paint(faint, text)
		case column == 0:
			return p.paint(strong, text)
		case column == 2:
			return p.paint(stateStyles[tree.GetCapsules()[row-1].GetState()], text)
		case text == "-" || text == "0":
			return p.paint(faint, text)
		}
		return text
	})
	return table + rejectedText(tree, p)
}

// rejectedText says what can't become a capsule, a line each.
func rejectedText(tree *messages.Tree, p painter) string {
	var text strings.Builder
	for _, r := range tree.GetRejected() {
		problem := r.GetProblem()
		if !strings.Contains(problem, r.GetDirectory()) { // most name a file in it
			problem = r.GetDirectory() + ": " + problem
		}
		fmt.Fprintf(&text, "%s %s\n", p.paint(bad, "rejected:"), shortened(problem, 200))
	}
	return text.String()
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
