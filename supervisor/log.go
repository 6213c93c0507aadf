package supervisor

import (
	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/messages"
)

// logEvent writes an event as one log line, so that the log tells the same
// story as the events, under the same sequence numbers.
func logEvent(log *zerolog.Logger, e *messages.Event) {
	line := func(level *zerolog.Event) *zerolog.Event {
		level = level.Uint64("event", e.GetSequence())
		if e.GetPath() != "" {
			level = level.Str("path", e.GetPath())
		}
		if e.GetGeneration() > 0 {
			level = level.Uint64("generation", e.GetGeneration())
		}
		return level
	}
	switch what := e.GetWhat().(type) {
	case *messages.Event_SystemStarted:
		line(log.Info()).Uint32("capsules", what.SystemStarted.GetCapsules()).Msg("started")
	case *messages.Event_SystemStopping:
		line(log.Info()).Str("cause", what.SystemStopping.GetCause()).Msg("stopping")
	case *messages.Event_SystemStopped:
		line(log.Info()).Strs("left_running", what.SystemStopped.GetLeftRunning()).Msg("stopped")
	case *messages.Event_ActorRestarted:
		line(log.Error()).Str("cause", what.ActorRestarted.GetCause()).
			Msg("an actor of the system failed and was " + what.ActorRestarted.GetDecision())
	case *messages.Event_CapsuleRejected:
		line(log.Error()).Str("directory", what.CapsuleRejected.GetDirectory()).
			Str("problem", what.CapsuleRejected.GetProblem()).Msg("capsule rejected")
	case *messages.Event_CapsuleLoading:
		line(log.Debug()).Str("version", what.CapsuleLoading.GetVersion()).Msg("capsule loading")
	case *messages.Event_CapsuleStarting:
		line(log.Debug()).Msg("capsule starting")
	case *messages.Event_CapsuleReady:
		line(log.Info()).Dur("took_ms", what.CapsuleReady.GetTook().AsDuration()).Msg("capsule ready")
	case *messages.Event_ReadinessTimedOut:
		line(log.Warn()).Dur("waited_ms", what.ReadinessTimedOut.GetWaited().AsDuration()).
			Msg("capsule has not signalled that it is ready; the others start without it")
	case *messages.Event_CapsuleCrashed:
		f := what.CapsuleCrashed.GetFailure()
		e := line(log.Error()).Str("during", what.CapsuleCrashed.GetDuring()).Str("kind", f.GetKind()).
			Str("failure", f.GetMessage()).Strs("wasm_stack", f.GetWasmStack())
		if f.GetStderr() != "" {
			e = e.Str("stderr", f.GetStderr())
		}
		e.Msg("capsule crashed")
	case *messages.Event_RestartScheduled:
		s := what.RestartScheduled
		line(log.Info()).Str("cause", s.GetCause()).Uint32("attempt", s.GetAttempt()).Uint32("budget_spent", s.GetBudgetSpent()).
			Uint32("budget", s.GetBudget()).Dur("window_ms", s.GetWindow().AsDuration()).
			Dur("delay_ms", s.GetDelay().AsDuration()).Msg("capsule restarts")
	case *messages.Event_CapsuleFailed:
		line(log.Error()).Str("decision", what.CapsuleFailed.GetDecision()).
			Str("failure", what.CapsuleFailed.GetFailure().GetMessage()).Msg("capsule failed for good")
	case *messages.Event_CapsuleStopping:
		line(log.Debug()).Str("cause", what.CapsuleStopping.GetCause()).Msg("capsule stopping")
	case *messages.Event_CapsuleStopped:
		line(log.Info()).Str("cause", what.CapsuleStopped.GetCause()).Msg("capsule stopped")
	case *messages.Event_LogSuppressed:
		line(log.Warn()).Uint64("lines", what.LogSuppressed.GetLines()).Uint64("total", what.LogSuppressed.GetTotal()).
			Msg("capsule logs too fast: lines suppressed")
	case *messages.Event_TriggerAnswered:
		a := what.TriggerAnswered
		level := log.Debug()
		if a.GetProblem() != "" {
			level = log.Info() // each of its legs that went wrong has a warning of its own
		}
		line(level).Str("topic", a.GetTopic()).Dur("took_ms", a.GetDuration().AsDuration()).Interface("legs", a.GetLegs()).
			Str("problem", a.GetProblem()).Uint64("stands_for", a.GetStandsFor()).Msg("trigger answered")
	}
}
