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
			return fmt.Errorf("write event %d: %w", e.Sequence, err)
		}
		return a.print(line + "\n")
	}
	return a.print(eventText(e) + "\n")
}

// eventText is an event as a person reads it.
func eventText(e *messages.Event) string {
	whom := e.Path
	if whom == "" {
		whom = "system"
	}
	if e.Generation > 0 {
		whom = fmt.Sprintf("%s #%d", whom, e.Generation)
	}
	return fmt.Sprintf("%5d  %s  %-24s  %s", e.Sequence,
		e.At.Local().Format("15:04:05.000"), printable(whom), printable(eventWhat(e)))
}

func eventWhat(e *messages.Event) string {
	because := func(what, cause string) string {
		if cause == "" {
			return what
		}
		return what + ": " + cause
	}
	switch what := e.Detail.(type) {
	case messages.SystemStarted:
		return fmt.Sprintf("started, capsules: %d", what.Capsules)
	case messages.SystemStopping:
		return because("stopping", what.Cause)
	case messages.SystemStopped:
		return because("stopped", strings.Join(what.LeftRunning, ", "))
	case messages.ActorRestarted:
		a := what
		return because("an actor of the system failed and was "+a.Decision, a.Cause)
	case messages.CapsuleRejected:
		r := what
		return fmt.Sprintf("rejected: %s: %s", r.Directory, r.Problem)
	case messages.CapsuleLoading:
		return "loading version " + what.Version
	case messages.CapsuleStarting:
		return "starting: it has not signalled yet"
	case messages.CapsuleReady:
		return "ready after " + duration(what.Took)
	case messages.ReadinessTimedOut:
		return fmt.Sprintf("has not signalled for %s: the others start without it",
			duration(what.Waited))
	case messages.CapsuleCrashed:
		c := what
		return fmt.Sprintf("crashed (%s): %s", c.During, c.Failure.Message)
	case messages.RestartScheduled:
		r := what
		when := "now"
		if d := r.Delay; d > 0 {
			when = "in " + duration(d)
		}
		return fmt.Sprintf("restarts %s: %s; restarts spent: %d/%d in %s", when, r.Cause,
			r.BudgetSpent, r.Budget, duration(r.Window))
	case messages.CapsuleFailed:
		f := what
		return fmt.Sprintf("failed for good: %s: %s", f.Decision, f.Failure.Message)
	case messages.CapsuleStopping:
		return because("stopping", what.Cause)
	case messages.CapsuleStopped:
		return because("stopped", what.Cause)
	case messages.TriggerAnswered:
		return triggerAnswered(what)
	case messages.LogSuppressed:
		l := what
		return fmt.Sprintf("logs too fast: lines kept out: %d, %d in all", l.Lines, l.Total)
	case messages.EventsLost:
		return fmt.Sprintf("events that are not kept any more: %d", what.Count)
	}
	return "an event that this version does not know"
}

func triggerAnswered(t *messages.TriggerAnswered) string {
	var legs []string
	for _, word := range slices.Sorted(maps.Keys(t.Legs)) {
		legs = append(legs, fmt.Sprintf("%s %d", word, t.Legs[word]))
	}
	text := fmt.Sprintf("answered %s in %s: %s", t.Topic, duration(t.Duration),
		cmp.Or(strings.Join(legs, ", "), "nobody was asked"))
	if n := t.StandsFor; n > 1 {
		text += fmt.Sprintf(" (one of %d)", n)
	}
	if t.Problem != "" {
		text += ": " + t.Problem
	}
	return text
}
