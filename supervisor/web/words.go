package web

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/astrid-actors/astrid-actors/messages"
)

// happening is an event as the page shows it.
type happening struct {
	Event *messages.Event
	// Grade is "ok", "warn", "bad" or "" (of no matter).
	Grade string
	// What is a word or two, Cause why, Decision what the supervisor made of it.
	What, Cause, Decision string
}

// Whom is the path of whom it is about.
func (h *happening) Whom() string { return cmp.Or(h.Event.Path, "system") }

// Capsule is the id of the capsule that it is about, "" for none.
func (h *happening) Capsule() string {
	id, ok := strings.CutPrefix(h.Event.Path, "capsules/")
	if !ok {
		return ""
	}
	return id
}

// describe puts an event into words.
func describe(e *messages.Event) *happening {
	h := &happening{Event: e}
	switch what := e.Detail.(type) {
	case messages.SystemStarted:
		h.Grade, h.What, h.Cause = "ok", "started", "the first start of every capsule is decided"
	case messages.SystemStopping:
		h.Grade, h.What, h.Cause = "warn", "stopping", what.Cause
		h.Decision = "no new triggers; waiting calls are answered, running ones get the stop time-out"
	case messages.SystemStopped:
		h.What = "stopped"
		if left := what.LeftRunning; len(left) > 0 {
			h.Grade, h.Cause = "bad", "these would not stop: "+strings.Join(left, ", ")
		}
	case messages.ActorRestarted:
		h.Grade, h.What = "bad", "actor failed"
		h.Cause, h.Decision = what.Cause, what.Decision
	case messages.CapsuleRejected:
		r := what
		h.Grade, h.What, h.Cause = "bad", "rejected", r.Directory+": "+r.Problem
		h.Decision = "it is not started"
	case messages.CapsuleLoading:
		h.What, h.Cause = "loading", "version "+what.Version
	case messages.CapsuleStarting:
		h.What, h.Cause = "starting", "it has not signalled yet"
	case messages.CapsuleReady:
		h.Grade, h.What = "ok", "ready"
		h.Cause = "after " + duration(what.Took)
	case messages.ReadinessTimedOut:
		h.Grade, h.What = "warn", "not ready"
		h.Cause = "it has not signalled for " + duration(what.Waited)
		h.Decision = "the others start without it"
	case messages.CapsuleCrashed:
		f := what.Failure
		h.Grade, h.What = "bad", "crashed"
		h.Cause = fmt.Sprintf("in %s: %s", what.During, f.Message)
		if !strings.HasPrefix(f.Message, f.Kind) {
			h.Cause = fmt.Sprintf("in %s: %s: %s", what.During, f.Kind, f.Message)
		}
	case messages.RestartScheduled:
		r := what
		h.Grade, h.What, h.Cause = "warn", "restart", r.Cause
		when := "at once"
		if d := r.Delay; d > 0 {
			when = "in " + duration(d)
		}
		h.Decision = "restart it " + when
		if r.Attempt > 0 {
			h.Decision += fmt.Sprintf("; %d of %d in %s spent", r.BudgetSpent, r.Budget, age(r.Window))
		}
	case messages.CapsuleFailed:
		h.Grade, h.What = "bad", "failed"
		h.Cause, h.Decision = what.Failure.Message, what.Decision
	case messages.CapsuleStopping:
		h.What, h.Cause = "stopping", what.Cause
	case messages.CapsuleStopped:
		h.What, h.Cause = "stopped", what.Cause
	case messages.TriggerAnswered:
		answered(h, what)
	case messages.LogSuppressed:
		l := what
		h.Grade, h.What = "warn", "log flood"
		h.Cause, h.Decision = "it logs too fast", fmt.Sprintf("%s kept out, %s in all", plural(l.Lines, "line"), count(l.Total))
	case messages.EventsLost:
		h.Grade, h.What, h.Cause = "", "lost", plural(what.Count, "event")+" that no longer are kept"
	default:
		h.What = "an event that this version does not know"
	}
	return h
}

func answered(h *happening, t *messages.TriggerAnswered) {
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
