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
		line, err := e.MarshalJSON()
		if err != nil {
			return fmt.Errorf("write event %d: %w", e.Sequence, err)
		}
		return a.print(string(line) + "\n")
	}
	return a.print(eventText(e) + "\n")
}

// eventText formats an event as one line for a person.
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
	because := func(text, cause string) string {
		if cause == "" {
			return text
		}
		return text + ": " + cause
	}
	switch d := e.Detail.(type) {
	case messages.SystemStarted:
		return fmt.Sprintf("started, capsules: %d", d.Capsules)
	case messages.SystemStopping:
		return because("stopping", d.Cause)
	case messages.SystemStopped:
		return because("stopped", strings.Join(d.LeftRunning, ", "))
	case messages.ActorRestarted:
		return because("an actor of the system failed and was "+d.Decision, d.Cause)
	case messages.CapsuleRejected:
		return fmt.Sprintf("rejected: %s: %s", d.Directory, d.Problem)
	case messages.CapsuleAdded:
		return "added, version " + d.Version
	case messages.CapsuleRemoved:
		return "removed, version " + d.Version
	case messages.CapsuleUpgraded:
		if d.From == d.To {
			return fmt.Sprintf("replaced by a fresh instance of version %s after %s", d.To, duration(d.Took))
		}
		return fmt.Sprintf("upgraded from %s to %s after %s", d.From, d.To, duration(d.Took))
	case messages.UpgradeFailed:
		if d.To == "" {
			return fmt.Sprintf("upgrade of version %s failed, the running instance goes on: %s", d.From, d.Failure.Message)
		}
		return fmt.Sprintf("upgrade from %s to %s failed, the running instance goes on: %s", d.From, d.To, d.Failure.Message)
	case messages.CapsuleRolledBack:
		return fmt.Sprintf("rolled back from %s to %s: %s", d.From, d.To, d.Failure.Message)
	case messages.CapsuleLoading:
		return "loading version " + d.Version
	case messages.CapsuleStarting:
		return "starting: it has not signalled yet"
	case messages.CapsuleReady:
		return "ready after " + duration(d.Took)
	case messages.ReadinessTimedOut:
		return fmt.Sprintf("has not signalled for %s: the others start without it",
			duration(d.Waited))
	case messages.CapsuleCrashed:
		return fmt.Sprintf("crashed (%s): %s", d.During, d.Failure.Message)
	case messages.RestartScheduled:
		when := "now"
		if d.Delay > 0 {
			when = "in " + duration(d.Delay)
		}
		return fmt.Sprintf("restarts %s: %s; restarts spent: %d/%d in %s", when, d.Because(),
			d.BudgetSpent, d.Budget, duration(d.Window))
	case messages.PoolScaled:
		return fmt.Sprintf("instances: %d: %s", d.Instances, d.Cause)
	case messages.SupervisorStarted:
		return fmt.Sprintf("serves, capsules: %d", d.Children)
	case messages.SupervisorFailed:
		return fmt.Sprintf("failed: %s; the last death was that of %s; %s", d.Cause, d.CausePath, d.Decision)
	case messages.SupervisorStopped:
		return because("stopped", d.Cause)
	case messages.CapsuleFailed:
		return fmt.Sprintf("failed for good: %s: %s", d.Decision, d.Failure.Message)
	case messages.CapsuleStopping:
		return because("stopping", d.Cause)
	case messages.CapsuleStopped:
		return because("stopped", d.Cause)
	case messages.TriggerAnswered:
		return triggerAnswered(d)
	case messages.LogSuppressed:
		return fmt.Sprintf("logs too fast: lines kept out: %d, %d in all", d.Lines, d.Total)
	case messages.DeadLetter:
		return fmt.Sprintf("dead letters on %s: %d: %s", d.Topic, d.Count, d.Why())
	case messages.ApprovalRequested:
		return fmt.Sprintf("asks whether it may %s: %s (%s)", d.Action, d.Resource, d.ID)
	case messages.ApprovalDecided:
		return fmt.Sprintf("approval of %s: %s (%s)", d.Action, d.Decision, d.Cause)
	case messages.EventsLost:
		return fmt.Sprintf("events that are no longer kept: %d", d.Count)
	case messages.EpochChanged:
		return "the daemon has no such event, as after a restart: all that it keeps follow"
	}
	return "an event that this version does not know"
}

func triggerAnswered(t messages.TriggerAnswered) string {
	var legs []string
	for _, word := range slices.Sorted(maps.Keys(t.Legs)) {
		legs = append(legs, fmt.Sprintf("%s %d", word, t.Legs[word]))
	}
	text := fmt.Sprintf("answered %s in %s: %s", t.Topic, duration(t.Duration),
		cmp.Or(strings.Join(legs, ", "), "no capsule was asked"))
	if n := t.StandsFor; n > 1 {
		text += fmt.Sprintf(" (one of %d)", n)
	}
	if t.Problem != "" {
		text += ": " + t.Problem
	}
	return text
}
