package web

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/astrid-actors/astrid-actors/messages"
)

// happening is an event as the page shows it.
type happening struct {
	Event messages.Event
	// Grade is "ok", "warn", "bad" or "" (neutral).
	Grade string
	// What is a short name, Cause the reason, Decision the supervisor's.
	What, Cause, Decision string
}

// Whom returns the path of the actor that the event concerns.
func (h *happening) Whom() string { return cmp.Or(h.Event.Path, "system") }

// Capsule returns the id of the capsule that the event concerns; "" for none.
func (h *happening) Capsule() string {
	switch h.Event.Detail.(type) {
	case messages.SupervisorStarted, messages.SupervisorFailed, messages.SupervisorStopped:
		return "" // it is about a group
	}
	return h.Event.Child()
}

// Group returns the name of the group that the event concerns; "" for none.
func (h *happening) Group() string {
	switch h.Event.Detail.(type) {
	case messages.SupervisorStarted, messages.SupervisorFailed, messages.SupervisorStopped:
		return h.Event.Child()
	}
	return ""
}

// describe describes an event in words.
func describe(e messages.Event) *happening {
	h := &happening{Event: e}
	switch d := e.Detail.(type) {
	case messages.SystemStarted:
		h.Grade, h.What, h.Cause = "ok", "started", "the first start of every capsule is decided"
	case messages.SystemStopping:
		h.Grade, h.What, h.Cause = "warn", "stopping", d.Cause
		h.Decision = "no new triggers; waiting calls are answered, running ones get the stop time-out"
	case messages.SystemStopped:
		h.What = "stopped"
		if left := d.LeftRunning; len(left) > 0 {
			h.Grade, h.Cause = "bad", "these would not stop: "+strings.Join(left, ", ")
		}
	case messages.ActorRestarted:
		h.Grade, h.What = "bad", "actor failed"
		h.Cause, h.Decision = d.Cause, d.Decision
	case messages.CapsuleRejected:
		h.Grade, h.What, h.Cause = "bad", "rejected", d.Directory+": "+d.Problem
		h.Decision = "it is not started"
	case messages.CapsuleAdded:
		h.What, h.Cause = "added", "version "+d.Version
	case messages.CapsuleRemoved:
		h.What, h.Cause = "removed", "version "+d.Version
	case messages.CapsuleUpgraded:
		h.Grade, h.What, h.Cause = "ok", "upgraded", d.From+" to "+d.To
		if d.From == d.To {
			h.What, h.Cause = "replaced", "a fresh instance of version "+d.To
		}
		h.Cause += ", after " + duration(d.Took)
	case messages.UpgradeFailed:
		h.Grade, h.What = "bad", "upgrade failed"
		h.Cause, h.Decision = fmt.Sprintf("%s to %s: %s", d.From, d.To, d.Failure.Message), "the running instance goes on"
		if d.To == "" {
			h.Cause = d.From + ": " + d.Failure.Message
		}
	case messages.CapsuleRolledBack:
		h.Grade, h.What = "bad", "rolled back"
		h.Cause, h.Decision = fmt.Sprintf("%s crashed: %s", d.From, d.Failure.Message), "start "+d.To+" again"
	case messages.CapsuleLoading:
		h.What, h.Cause = "loading", "version "+d.Version
	case messages.CapsuleStarting:
		h.What, h.Cause = "starting", "it has not signalled yet"
	case messages.CapsuleReady:
		h.Grade, h.What = "ok", "ready"
		h.Cause = "after " + duration(d.Took)
	case messages.ReadinessTimedOut:
		h.Grade, h.What = "warn", "not ready"
		h.Cause = "it has not signalled for " + duration(d.Waited)
		h.Decision = "the others start without it"
	case messages.CapsuleCrashed:
		h.Grade, h.What = "bad", "crashed"
		h.Cause = fmt.Sprintf("in %s: %s", d.During, d.Failure.Message)
		if !strings.HasPrefix(d.Failure.Message, d.Failure.Kind) {
			h.Cause = fmt.Sprintf("in %s: %s: %s", d.During, d.Failure.Kind, d.Failure.Message)
		}
	case messages.RestartScheduled:
		h.Grade, h.What, h.Cause = "warn", "restart", d.Because()
		when := "at once"
		if d.Delay > 0 {
			when = "in " + duration(d.Delay)
		}
		h.Decision = "restart it " + when
		if d.Attempt > 0 {
			h.Decision += fmt.Sprintf("; %d of %d in %s spent", d.BudgetSpent, d.Budget, age(d.Window))
		}
	case messages.PoolScaled:
		h.Grade, h.What, h.Cause = "ok", "instances: "+strconv.FormatUint(uint64(d.Instances), 10), d.Cause
	case messages.SupervisorStarted:
		h.Grade, h.What, h.Cause = "ok", "serves", plural(uint64(d.Children), "capsule")+" up"
	case messages.SupervisorFailed:
		h.Grade, h.What = "bad", "supervisor failed"
		h.Cause, h.Decision = d.Cause+"; the last death was that of "+d.CausePath, d.Decision
	case messages.SupervisorStopped:
		h.What, h.Cause = "supervisor stopped", d.Cause
	case messages.CapsuleFailed:
		h.Grade, h.What = "bad", "failed"
		h.Cause, h.Decision = d.Failure.Message, d.Decision
	case messages.CapsuleStopping:
		h.What, h.Cause = "stopping", d.Cause
	case messages.CapsuleStopped:
		h.What, h.Cause = "stopped", d.Cause
	case messages.TriggerAnswered:
		answered(h, d)
	case messages.LogSuppressed:
		h.Grade, h.What = "warn", "log flood"
		h.Cause, h.Decision = "it logs too fast", fmt.Sprintf("%s kept out, %s in all", plural(d.Lines, "line"), count(d.Total))
	case messages.DeadLetter:
		h.Grade, h.What = "warn", "dead letter"
		h.Cause = fmt.Sprintf("%s on %s: %s", plural(d.Count, "message"), d.Topic, d.Why())
	case messages.ApprovalRequested:
		h.Grade, h.What = "warn", "asks for approval"
		h.Cause = d.Action + ": " + d.Resource
	case messages.ApprovalDecided:
		h.What, h.Cause, h.Decision = "approval decided", d.Action+": "+d.Resource, d.Decision+": "+d.Cause
	case messages.EventsLost:
		h.Grade, h.What, h.Cause = "", "lost", plural(d.Count, "event")+" that are no longer kept"
	case messages.EpochChanged:
		h.What, h.Cause = "new journal", "the daemon has no such event, as after a restart: all that it keeps follow"
	default:
		h.What = "an event that this version does not know"
	}
	return h
}

func answered(h *happening, t messages.TriggerAnswered) {
	h.What = "trigger"
	var legs []string
	for _, word := range slices.Sorted(maps.Keys(t.Legs)) {
		legs = append(legs, fmt.Sprintf("%d %s", t.Legs[word], word))
	}
	h.Cause = fmt.Sprintf("%s in %s: %s", t.Topic, duration(t.Duration),
		cmp.Or(strings.Join(legs, ", "), "nobody was asked"))
	if n := t.StandsFor; n > 1 {
		h.Cause += fmt.Sprintf(" (one of %s)", count(n))
	}
	if t.Problem != "" {
		h.Grade = "warn"
		h.Cause += "; " + t.Problem
	}
}
