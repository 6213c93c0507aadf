package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// capsuleDescription is the output of describe --json. A time that has no value is null.
type capsuleDescription struct {
	psCapsule

	Reason       string               `json:"reason"`
	Because      string               `json:"restarted_because"` // empty unless for another capsule of its group
	Since        time.Time            `json:"since"`
	Trouble      *describedTrouble    `json:"trouble"`
	Description  string               `json:"description"`
	Directory    string               `json:"directory"`
	Manifest     string               `json:"manifest"`
	Module       string               `json:"module"`
	ModuleHash   string               `json:"module_hash"`
	Capabilities []string             `json:"capabilities"`
	Imports      []describedInterface `json:"imports"`
	Exports      []describedInterface `json:"exports"`
	Config       []describedVariable  `json:"config"`
	Limits       describedLimits      `json:"limits"`
	Versions     []describedVersion   `json:"versions"`
	Failures     []describedFailure   `json:"failures"`
	RecentCalls  []describedCall      `json:"recent_calls"`
}

type describedTrouble struct {
	What     string     `json:"what"`
	Cause    string     `json:"cause"`
	Decision string     `json:"decision"`
	Next     string     `json:"next"`
	Due      *time.Time `json:"due"`
}

type describedInterface struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Optional bool   `json:"optional"`
}

type describedVariable struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Value *string `json:"value"` // null if it has none
}

type describedLimits struct {
	Restart             string         `json:"restart"`
	Budget              uint32         `json:"budget"`
	BudgetSpent         uint32         `json:"budget_spent"`
	WindowMS            int64          `json:"window_ms"`
	BackoffInitialMS    int64          `json:"backoff_initial_ms"`
	BackoffMaxMS        int64          `json:"backoff_max_ms"`
	LoadTimeoutMS       int64          `json:"load_timeout_ms"`
	CallTimeoutMS       int64          `json:"call_timeout_ms"` // 0 for none
	StopTimeoutMS       int64          `json:"stop_timeout_ms"`
	Queue               uint32         `json:"queue"`
	MemoryBytes         uint64         `json:"memory_bytes"`
	CallReductions      uint64         `json:"call_reductions"`       // 0 for none
	ReductionsPerSecond uint64         `json:"reductions_per_second"` // 0 for none
	StateBytes          uint64         `json:"state_bytes"`
	HTTP                *describedHTTP `json:"http"` // null if no host is granted
}

type describedHTTP struct {
	Requests      uint32 `json:"requests"`
	Streams       uint32 `json:"streams"`
	Redirects     uint32 `json:"redirects"`
	RequestBytes  uint64 `json:"request_bytes"`
	ResponseBytes uint64 `json:"response_bytes"`
}

type describedVersion struct {
	At         time.Time `json:"at"`
	Change     string    `json:"change"`
	Version    string    `json:"version"`
	Previous   string    `json:"previous"`
	ModuleHash string    `json:"module_hash"`
	Reason     string    `json:"reason"`
}

type describedFailure struct {
	psFailure

	Generation uint64   `json:"generation"`
	During     string   `json:"during"`
	Decision   string   `json:"decision"`
	WasmStack  []string `json:"wasm_stack"`
	Stderr     string   `json:"stderr"`
}

type describedCall struct {
	At          time.Time `json:"at"`
	Topic       string    `json:"topic"`
	Action      string    `json:"action"`
	Outcome     string    `json:"outcome"`
	Reason      string    `json:"reason"`
	FromCapsule string    `json:"from_capsule"`
	Generation  uint64    `json:"generation"`
	DurationUS  int64     `json:"duration_us"`
	QueueWaitUS int64     `json:"queue_wait_us"`
}

func describeJSON(tree *messages.Tree, d *messages.CapsuleDetail) *capsuleDescription {
	c := d.Capsule
	out := &capsuleDescription{
		psCapsule: psOf(c), Reason: c.Reason, Because: c.Because, Since: c.Since.UTC(), Description: d.Description,
		Directory: c.Directory, Manifest: d.Manifest, Module: d.Module, ModuleHash: c.ModuleHash,
		Capabilities: append([]string{}, d.Capabilities...), Imports: interfaces(d.Imports), Exports: interfaces(d.Exports),
		Config: []describedVariable{}, Versions: []describedVersion{}, Failures: []describedFailure{}, RecentCalls: []describedCall{},
		Limits: describedLimits{
			Restart: c.Restart, Budget: c.Budget, BudgetSpent: c.BudgetSpent, WindowMS: c.Window.Milliseconds(),
			BackoffInitialMS: d.BackoffInitial.Milliseconds(), BackoffMaxMS: d.BackoffMax.Milliseconds(),
			LoadTimeoutMS: d.LoadTimeout.Milliseconds(), CallTimeoutMS: d.CallTimeout.Milliseconds(), StopTimeoutMS: d.StopTimeout.Milliseconds(),
			Queue: d.QueueLimit, MemoryBytes: c.MemoryLimitBytes,
			CallReductions: d.CallReductions, ReductionsPerSecond: d.ReductionsPerSecond, StateBytes: c.StateQuota,
		},
	}
	if l := d.HTTP; l != nil {
		out.Limits.HTTP = &describedHTTP{
			Requests: l.Requests, Streams: l.Streams, Redirects: l.Redirects, RequestBytes: l.RequestBytes, ResponseBytes: l.ResponseBytes,
		}
	}
	for _, r := range d.Versions {
		out.Versions = append(out.Versions, describedVersion{
			At: r.At.UTC(), Change: r.Change, Version: r.Version, Previous: r.Previous, ModuleHash: r.ModuleHash, Reason: r.Reason,
		})
	}
	if t := web.Diagnose(c, d, tree.Settings, tree.At); t != nil {
		out.Trouble = &describedTrouble{What: t.What, Cause: t.Cause, Decision: t.Decision, Next: t.Next}
		if !t.Due.IsZero() {
			due := t.Due.UTC()
			out.Trouble.Due = &due
		}
	}
	for _, e := range d.Env {
		v := describedVariable{Name: e.Name, Type: e.Type}
		if e.Set {
			v.Value = &e.Value
		}
		out.Config = append(out.Config, v)
	}
	for _, r := range d.Failures {
		out.Failures = append(out.Failures, describedFailure{
			psFailure:  psFailure{Kind: r.Failure.Kind, Message: r.Failure.Message, At: r.Failure.At.UTC()},
			Generation: r.Generation, During: r.During, Decision: r.Decision,
			WasmStack: append([]string{}, r.Failure.WasmStack...), Stderr: r.Failure.Stderr,
		})
	}
	for _, r := range d.RecentCalls {
		out.RecentCalls = append(out.RecentCalls, describedCall{
			At: r.At.UTC(), Topic: r.Topic, Action: r.Action, Outcome: r.Outcome.String(), Reason: r.Reason,
			FromCapsule: r.FromCapsule, Generation: r.Generation,
			DurationUS: r.Duration.Microseconds(), QueueWaitUS: r.QueueWait.Microseconds(),
		})
	}
	return out
}

func interfaces(all []messages.Interface) []describedInterface {
	out := []describedInterface{}
	for _, i := range all {
		out = append(out, describedInterface{Name: i.Namespace + ":" + i.Name, Version: i.Version, Optional: i.Optional})
	}
	return out
}

// describeWidth is the width of the text of describe: it is not drawn on a screen that has
// one.
const describeWidth = 100

// describeText returns what describe prints for people. What top shows of an open capsule
// is a part of it, in the same words.
func describeText(tree *messages.Tree, d *messages.CapsuleDetail, p painter) string {
	m := &topModel{
		tree: tree, details: map[string]*messages.CapsuleDetail{d.Capsule.ID: d}, open: d.Capsule.ID,
		painter: p, width: describeWidth, at: tree.At, now: tree.At,
	}
	lines := m.detailLines()
	lines = append(lines[1:len(lines):len(lines)], "", p.paint(strong, "FILES"))
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, fmt.Sprintf("  %-12s %s", name, printable(value))) // a path stays whole, to be copied
		}
	}
	add("description", d.Description)
	add("manifest", d.Manifest)
	add("module", d.Module)
	add("hash", d.Capsule.ModuleHash)
	lines = append(lines, "", p.paint(strong, "LIMITS"))
	add("load", duration(d.LoadTimeout))
	add("call", limitText(d.CallTimeout > 0, duration(d.CallTimeout)))
	add("stop", duration(d.StopTimeout))
	add("queue", fmt.Sprint(d.QueueLimit))
	add("backoff", duration(d.BackoffInitial)+" to "+duration(d.BackoffMax))
	add("reductions", limitText(d.CallReductions > 0, few(float64(d.CallReductions)))+" a call, "+
		limitText(d.ReductionsPerSecond > 0, few(float64(d.ReductionsPerSecond)))+" a second")
	add("memory", bytesText(d.Capsule.MemoryLimitBytes))
	add("state", bytesText(d.Capsule.StateBytes)+" of "+bytesText(d.Capsule.StateQuota))
	if l := d.HTTP; l != nil {
		add("http", fmt.Sprintf("%d requests at once, %d of them streams; %d redirects; a request of %s, a response of %s",
			l.Requests, l.Streams, l.Redirects, bytesText(l.RequestBytes), bytesText(l.ResponseBytes)))
	}
	if len(d.Capsule.Instances) > 0 {
		lines = append(lines, m.heading("INSTANCES", len(d.Capsule.Instances))...)
	}
	for n := range d.Capsule.Instances {
		i := &d.Capsule.Instances[n]
		lines = append(lines, m.wrapped(fmt.Sprintf("  #%d %s", i.Number, treeInstance(tree, i)))...)
	}
	lines = append(lines, m.heading("CONFIGURATION", len(d.Env))...)
	for _, e := range d.Env {
		value := e.Value
		if !e.Set {
			value = "not set"
		}
		lines = append(lines, m.wrapped("  "+printable(e.Name)+" = "+printable(value))...)
	}
	lines = append(lines, m.heading("GRANTS", len(d.Capabilities))...)
	for _, capability := range d.Capabilities {
		lines = append(lines, m.wrapped("  "+printable(capability))...)
	}
	lines = append(lines, m.heading("INTERCEPTORS", len(d.Capsule.Interceptors))...)
	for _, i := range d.Capsule.Interceptors {
		line := fmt.Sprintf("  %s → %s, priority %d", printable(i.Event), printable(i.Action), i.Priority)
		if i.Durable {
			line += durableText(tree, d.Capsule.ID, i)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n") + "\n"
}

// limitText returns a limit's text; "no limit" if there is none.
func limitText(limited bool, text string) string {
	if !limited {
		return "no limit"
	}
	return text
}

// durableText says how far a durable interceptor is behind, in all topics that it matches.
func durableText(tree *messages.Tree, capsule string, i messages.Interceptor) string {
	topics, lag := 0, uint64(0)
	for _, t := range tree.Bus.Durable {
		for _, s := range t.Subscriptions {
			if s.Capsule == capsule && s.Action == i.Action && capsulehost.TopicMatches(t.Name, i.Event) {
				topics++
				lag += s.Lag
			}
		}
	}
	if topics == 0 {
		return ", durable: not subscribed to any topic"
	}
	return fmt.Sprintf(", durable: %d behind", lag)
}
