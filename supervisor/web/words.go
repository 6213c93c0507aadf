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
func (h *happening) Whom() string { return cmp.Or(h.Event.GetPath(), "system") }

// Capsule is the id of the capsule that it is about, "" for none.
func (h *happening) Capsule() string {
	id, ok := strings.CutPrefix(h.Event.GetPath(), "capsules/")
	if !ok {
		return ""
	}
	return id
}

// describe puts an event into words.
func describe(e *messages.Event) *happening {
	h := &happening{Event: e}
	switch what := e.GetWhat().(type) {
	case *messages.Event_SystemStarted:
		h.Grade, h.What, h.Cause = "ok", "started", "the first start of every capsule is decided"
	case *messages.Event_SystemStopping:
		h.Grade, h.What, h.Cause = "warn", "stopping", what.SystemStopping.GetCause()
		h.Decision = "no new triggers; waiting calls are answered, running ones get the stop time-out"
	case *messages.Event_SystemStopped:
		h.What = "stopped"
		if left := what.SystemStopped.GetLeftRunning(); len(left) > 0 {
			h.Grade, h.Cause = "bad", "these would not stop: "+strings.Join(left, ", ")
		}
	case *messages.Event_ActorRestarted:
		h.Grade, h.What = "bad", "actor failed"
		h.Cause, h.Decision = what.ActorRestarted.GetCause(), what.ActorRestarted.GetDecision()
	case *messages.Event_CapsuleRejected:
		r := what.CapsuleRejected
		h.Grade, h.What, h.Cause = "bad", "rejected", r.GetDirectory()+": "+r.GetProblem()
		h.Decision = "it is not started"
	case *messages.Event_CapsuleLoading:
		h.What, h.Cause = "loading", "version "+what.CapsuleLoading.GetVersion()
	case *messages.Event_CapsuleStarting:
		h.What, h.Cause = "starting", "it has not signalled yet"
	case *messages.Event_CapsuleReady:
		h.Grade, h.What = "ok", "ready"
		h.Cause = "after " + duration(what.CapsuleReady.GetTook().AsDuration())
	case *messages.Event_ReadinessTimedOut:
		h.Grade, h.What = "warn", "not ready"
		h.Cause = "it has not signalled for " + duration(what.ReadinessTimedOut.GetWaited().AsDuration())
		h.Decision = "the others start without it"
	case *messages.Event_CapsuleCrashed:
		f := what.CapsuleCrashed.GetFailure()
		h.Grade, h.What = "bad", "crashed"
		h.Cause = fmt.Sprintf("in %s: %s", what.CapsuleCrashed.GetDuring(), f.GetMessage())
		if !strings.HasPrefix(f.GetMessage(), f.GetKind()) {
			h.Cause = fmt.Sprintf("in %s: %s: %s", what.CapsuleCrashed.GetDuring(), f.GetKind(), f.GetMessage())
		}
	case *messages.Event_RestartScheduled:
		r := what.RestartScheduled
		h.Grade, h.What, h.Cause = "warn", "restart", r.GetCause()
		when := "at once"
		if d := r.GetDelay().AsDuration(); d > 0 {
			when = "in " + duration(d)
		}
		h.Decision = "restart it " + when
		if r.GetAttempt() > 0 {
			h.Decision += fmt.Sprintf("; %d of %d in %s spent", r.GetBudgetSpent(), r.GetBudget(), age(r.GetWindow().AsDuration()))
		}
	case *messages.Event_CapsuleFailed:
		h.Grade, h.What = "bad", "failed"
		h.Cause, h.Decision = what.CapsuleFailed.GetFailure().GetMessage(), what.CapsuleFailed.GetDecision()
	case *messages.Event_CapsuleStopping:
		h.What, h.Cause = "stopping", what.CapsuleStopping.GetCause()
	case *messages.Event_CapsuleStopped:
		h.What, h.Cause = "stopped", what.CapsuleStopped.GetCause()
	case *messages.Event_TriggerAnswered:
		answered(h, what.TriggerAnswered)
	case *messages.Event_LogSuppressed:
		l := what.LogSuppressed
		h.Grade, h.What = "warn", "log flood"
		h.Cause, h.Decision = "it logs too fast", fmt.Sprintf("%s kept out, %s in all", plural(l.GetLines(), "line"), count(l.GetTotal()))
	case *messages.Event_EventsLost:
		h.Grade, h.What, h.Cause = "", "lost", plural(what.EventsLost.GetCount(), "event")+" that no longer are kept"
	default:
		h.What = "an event that this version does not know"
	}
	return h
}

func answered(h *happening, t *messages.TriggerAnswered) {
	h.What = "trigger"
	var legs []string
	for _, word := range slices.Sorted(maps.Keys(t.GetLegs())) {
		legs = append(legs, fmt.Sprintf("%d %s", t.GetLegs()[word], word))
	}
	h.Cause = fmt.Sprintf("%s in %s: %s", t.GetTopic(), duration(t.GetDuration().AsDuration()),
		cmp.Or(strings.Join(legs, ", "), "nobody was asked"))
	if n := t.GetStandsFor(); n > 1 {
		h.Cause += fmt.Sprintf(" (one of %s)", count(n))
	}
	if t.GetProblem() != "" {
		h.Grade = "warn"
		h.Cause += "; " + t.GetProblem()
	}
}
