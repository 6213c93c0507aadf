package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// psCapsule is one element of the output of ps --json.
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
	StateBytes   uint64          `json:"state_bytes"`
	StateQuota   uint64          `json:"state_quota"`
	Interceptors []psInterceptor `json:"interceptors"`
	Instances    []psInstance    `json:"instances,omitempty"` // of a pool
}

type psInstance struct {
	Number     uint32 `json:"number"`
	Generation uint64 `json:"generation"`
	Session    string `json:"session"`
	State      string `json:"state"`
	Queue      uint32 `json:"queue"`
	Calls      uint64 `json:"calls"`
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
	out := make([]psCapsule, 0, len(tree.Capsules))
	for _, c := range tree.Capsules {
		out = append(out, psOf(c))
	}
	return out
}

func psOf(c *messages.Capsule) psCapsule {
	p := psCapsule{
		ID: c.ID, Version: c.Version, State: c.State.String(),
		Generation: c.Generation, Session: c.Session, Restarts: c.Restarts,
		Queue: c.Queue, Calls: c.Calls, UptimeMS: c.Uptime.Milliseconds(),
		StateBytes: c.StateBytes, StateQuota: c.StateQuota,
		Interceptors: make([]psInterceptor, 0, len(c.Interceptors)),
	}
	if f := c.LastFailure; f != nil {
		p.LastFailure = &psFailure{Kind: f.Kind, Message: f.Message, At: f.At.UTC()}
	}
	for _, i := range c.Interceptors {
		p.Interceptors = append(p.Interceptors, psInterceptor{Event: i.Event, Action: i.Action, Priority: i.Priority})
	}
	for _, i := range c.Instances {
		p.Instances = append(p.Instances, psInstance{
			Number: i.Number, Generation: i.Generation, Session: i.Session, State: i.State.String(), Queue: i.Queue, Calls: i.Calls,
		})
	}
	return p
}

// stateText returns a capsule's state, of a pool with how many of its instances are ready.
func stateText(c *messages.Capsule) string {
	if c.InstancesMax == 0 {
		return c.State.String()
	}
	ready := 0
	for _, i := range c.Instances {
		if i.State == messages.StateReady {
			ready++
		}
	}
	return fmt.Sprintf("%s %d/%d", c.State.String(), ready, max(len(c.Instances), int(c.InstancesMin)))
}

func psText(tree *messages.Tree, p painter) string {
	rows := [][]string{{"ID", "VERSION", "STATE", "GENERATION", "RESTARTS", "QUEUE", "CALLS", "STORED", "UPTIME", "LAST FAILURE"}}
	for _, c := range tree.Capsules {
		uptime, failure := "-", "-"
		if c.Uptime > 0 {
			uptime = duration(c.Uptime)
		}
		if f := c.LastFailure; f != nil {
			ago := max(0, tree.At.Sub(f.At)) // the clock may have been set back
			failure = duration(ago) + " ago: " + shortened(f.Message, 80)
		}
		rows = append(rows, []string{
			printable(c.ID), orDash(printable(c.Version)), stateText(c),
			strconv.FormatUint(c.Generation, 10), strconv.FormatUint(c.Restarts, 10),
			strconv.FormatUint(uint64(c.Queue), 10), strconv.FormatUint(c.Calls, 10),
			storedText(c.StateBytes), uptime, failure,
		})
	}
	table := p.table(rows, func(row, column int, text string) string {
		switch {
		case row == 0:
			return p.paint(faint, text)
		case column == 0:
			return p.paint(strong, text)
		case column == 2:
			return p.paint(stateStyles[tree.Capsules[row-1].State], text)
		case text == "-" || text == "0":
			return p.paint(faint, text)
		}
		return text
	})
	return table + rejectedText(tree, p)
}

// storedText formats how much state a capsule keeps.
func storedText(bytes uint64) string {
	if bytes == 0 {
		return "-"
	}
	return bytesText(bytes)
}

// rejectedText lists the directories that cannot become a capsule, one a line.
func rejectedText(tree *messages.Tree, p painter) string {
	var text strings.Builder
	for _, r := range tree.Rejected {
		problem := r.Problem
		if !strings.Contains(problem, r.Directory) { // most problems name a file in it
			problem = r.Directory + ": " + problem
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
