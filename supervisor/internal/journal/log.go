package journal

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/messages"
)

// Logger writes events to a log, in order and under their sequence numbers, so
// that the log tells the same story as they do. It is a reader like any other: a
// log that blocks holds up no event.
type Logger struct {
	Log zerolog.Logger

	last uint64 // the newest event that was logged
}

// Follow logs the journal's events, from where it last ended, until the journal
// ends.
func (l *Logger) Follow(j *Journal) {
	for e := range j.Events(context.Background(), l.last) {
		l.last = e.Sequence
		logEvent(&l.Log, &e)
	}
}

// logEvent writes an event as one line.
func logEvent(log *zerolog.Logger, e *messages.Event) {
	line := func(level *zerolog.Event) *zerolog.Event {
		level = level.Uint64("event", e.Sequence)
		if e.Path != "" {
			level = level.Str("path", e.Path)
		}
		if e.Generation > 0 {
			level = level.Uint64("generation", e.Generation)
		}
		return level
	}
	switch what := e.Detail.(type) {
	case messages.SystemStarted:
		line(log.Info()).Uint32("capsules", what.Capsules).Msg("started")
	case messages.SystemStopping:
		line(log.Info()).Str("cause", what.Cause).Msg("stopping")
	case messages.SystemStopped:
		line(log.Info()).Strs("left_running", what.LeftRunning).Msg("stopped")
	case messages.ActorRestarted:
		line(log.Error()).Str("cause", what.Cause).
			Msg("an actor of the system failed and was " + what.Decision)
	case messages.CapsuleRejected:
		line(log.Error()).Str("directory", what.Directory).
			Str("problem", what.Problem).Msg("capsule rejected")
	case messages.CapsuleLoading:
		line(log.Debug()).Str("version", what.Version).Msg("capsule loading")
	case messages.CapsuleStarting:
		line(log.Debug()).Msg("capsule starting")
	case messages.CapsuleReady:
		line(log.Info()).Dur("took_ms", what.Took).Msg("capsule ready")
	case messages.ReadinessTimedOut:
		line(log.Warn()).Dur("waited_ms", what.Waited).
			Msg("capsule has not signalled that it is ready; the others start without it")
	case messages.CapsuleCrashed:
		f := what.Failure
		e := line(log.Error()).Str("during", what.During).Str("kind", f.Kind).
			Str("failure", f.Message).Strs("wasm_stack", f.WasmStack)
		if f.Stderr != "" {
			e = e.Str("stderr", f.Stderr)
		}
		e.Msg("capsule crashed")
	case messages.RestartScheduled:
		s := what
		line(log.Info()).Str("cause", s.Cause).Uint32("attempt", s.Attempt).Uint32("budget_spent", s.BudgetSpent).
			Uint32("budget", s.Budget).Dur("window_ms", s.Window).
			Dur("delay_ms", s.Delay).Msg("capsule restarts")
	case messages.CapsuleFailed:
		line(log.Error()).Str("decision", what.Decision).
			Str("failure", what.Failure.Message).Msg("capsule failed for good")
	case messages.CapsuleStopping:
		line(log.Debug()).Str("cause", what.Cause).Msg("capsule stopping")
	case messages.CapsuleStopped:
		line(log.Info()).Str("cause", what.Cause).Msg("capsule stopped")
	case messages.LogSuppressed:
		line(log.Warn()).Uint64("lines", what.Lines).Uint64("total", what.Total).
			Msg("capsule logs too fast: lines suppressed")
	case messages.EventsLost:
		line(log.Warn()).Uint64("count", what.Count).Msg("events lost: this log is too slow")
	case messages.TriggerAnswered:
		a := what
		level := log.Debug()
		if a.Problem != "" {
			level = log.Info() // each of its legs that went wrong has a warning of its own
		}
		line(level).Str("topic", a.Topic).Dur("took_ms", a.Duration).Interface("legs", a.Legs).
			Str("problem", a.Problem).Uint64("stands_for", a.StandsFor).Msg("trigger answered")
	}
}
