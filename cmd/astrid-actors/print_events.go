package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/astrid-actors/astrid-actors/messages"
)

// printEvent prints one event as one line.
func (a *app) printEvent(e *messages.Event, asJSON bool) error {
	if asJSON {
		line, err := messages.EventJSON(e)
		if err != nil {
			return fmt.Errorf("write event %d: %w", e.GetSequence(), err)
		}
		return a.print(line + "\n")
	}
	return a.print(eventText(e) + "\n")
}

// eventText is an event as a person reads it.
func eventText(e *messages.Event) string {
	whom := e.GetPath()
	if whom == "" {
		whom = "system"
	}
	if e.GetGeneration() > 0 {
		whom = fmt.Sprintf("%s #%d", whom, e.GetGeneration())
	}
	return fmt.Sprintf("%5d  %s  %-24s  %s", e.GetSequence(),
		e.GetAt().AsTime().Local().Format("15:04:05.000"), printable(whom), printable(eventWhat(e)))
}

func eventWhat(e *messages.Event) string {
	because := func(what, cause string) string {
		if cause == "" {
			return what
		}
		return what + ": " + cause
	}
	switch what := e.GetWhat().(type) {
	case *messages.Event_SystemStarted:
		return fmt.Sprintf("started, capsules: %d", what.SystemStarted.GetCapsules())
	case *messages.Event_SystemStopping:
		return because("stopping", what.SystemStopping.GetCause())
	case *messages.Event_SystemStopped:
		return because("stopped", strings.Join(what.SystemStopped.GetLeftRunning(), ", "))
	case *messages.Event_ActorRestarted:
		a := what.ActorRestarted
		return because("an actor of the system failed and was "+a.GetDecision(), a.GetCause())
	case *messages.Event_CapsuleRejected:
		r := what.CapsuleRejected
		return fmt.Sprintf("rejected: %s: %s", r.GetDirectory(), r.GetProblem())
	case *messages.Event_CapsuleLoading:
		return "loading version " + what.CapsuleLoading.GetVersion()
	case *messages.Event_CapsuleStarting:
		return "starting: it has not signalled yet"
	case *messages.Event_CapsuleReady:
		return "ready after " + duration(what.CapsuleReady.GetTook().AsDuration())
	case *messages.Event_ReadinessTimedOut:
		return fmt.Sprintf("has not signalled for %s: the others start without it",
			duration(what.ReadinessTimedOut.GetWaited().AsDuration()))
	case *messages.Event_CapsuleCrashed:
		c := what.CapsuleCrashed
		return fmt.Sprintf("crashed (%s): %s", c.GetDuring(), c.GetFailure().GetMessage())
	case *messages.Event_RestartScheduled:
		r := what.RestartScheduled
		when := "now"
		if d := r.GetDelay().AsDuration(); d > 0 {
			when = "in " + duration(d)
		}
		return fmt.Sprintf("restarts %s: %s; restarts spent: %d/%d in %s", when, r.GetCause(),
			r.GetBudgetSpent(), r.GetBudget(), duration(r.GetWindow().AsDuration()))
	case *messages.Event_CapsuleFailed:
		f := what.CapsuleFailed
		return fmt.Sprintf("failed for good: %s: %s", f.GetDecision(), f.GetFailure().GetMessage())
	case *messages.Event_CapsuleStopping:
		return because("stopping", what.CapsuleStopping.GetCause())
	case *messages.Event_CapsuleStopped:
		return because("stopped", what.CapsuleStopped.GetCause())
	case *messages.Event_TriggerAnswered:
		return triggerAnswered(what.TriggerAnswered)
	case *messages.Event_LogSuppressed:
		l := what.LogSuppressed
		return fmt.Sprintf("logs too fast: lines kept out: %d, %d in all", l.GetLines(), l.GetTotal())
	case *messages.Event_EventsLost:
		return fmt.Sprintf("events that are not kept any more: %d", what.EventsLost.GetCount())
	}
	return "an event that this version does not know"
}

func triggerAnswered(t *messages.TriggerAnswered) string {
	var legs []string
	for _, word := range slices.Sorted(maps.Keys(t.GetLegs())) {
		legs = append(legs, fmt.Sprintf("%s %d", word, t.GetLegs()[word]))
	}
	text := fmt.Sprintf("answered %s in %s: %s", t.GetTopic(), duration(t.GetDuration().AsDuration()),
		cmp.Or(strings.Join(legs, ", "), "nobody was asked"))
	if n := t.GetStandsFor(); n > 1 {
		text += fmt.Sprintf(" (one of %d)", n)
	}
	if t.GetProblem() != "" {
		text += ": " + t.GetProblem()
	}
	return text
}
