package journal

import (
	"context"
	"log/slog"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// Logger writes events to a log, in order and with their sequence numbers, so that the
// log agrees with them. It is a reader like any other: a log that blocks delays no
// event.
type Logger struct {
	log *slog.Logger

	last     uint64        // the newest event that was logged; belongs to the follower
	followed chan struct{} // closed when the follower has ended; belongs to Serve
}

// NewLogger returns a logger that has logged nothing.
func NewLogger(log *slog.Logger) *Logger { return &Logger{log: log} }

// Begin follows the journal on a goroutine of its own, from where the last follower
// ended. If that one still hangs, Begin does nothing.
func (l *Logger) Begin(j *Journal) {
	if l.followed != nil {
		select {
		case <-l.followed:
		default:
			return
		}
	}
	followed := make(chan struct{})
	l.followed = followed
	go func() {
		defer close(followed)
		for e := range j.Events(context.Background(), l.last) {
			l.last = e.Sequence
			l.write(&e)
		}
	}()
}

// End waits until the journal's last events are logged, unless the log hangs.
func (l *Logger) End() {
	select {
	case <-l.followed:
	case <-time.After(fileGrace):
	}
}

// write logs one event. If the program's log panics, the line is lost: no capsule and no
// event depends on a log.
func (l *Logger) write(e *messages.Event) {
	defer func() { _ = recover() }()
	logEvent(l.log, e)
}

// logEvent writes an event as one line.
func logEvent(log *slog.Logger, e *messages.Event) {
	line := func(level slog.Level, message string, args ...any) {
		about := []any{"event", e.Sequence}
		if e.Path != "" {
			about = append(about, "path", e.Path)
		}
		if e.Generation > 0 {
			about = append(about, "generation", e.Generation)
		}
		log.Log(context.Background(), level, message, append(about, args...)...)
	}
	const debug, info, warn, failure = slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError
	switch d := e.Detail.(type) {
	case messages.SystemStarted:
		line(info, "started", "capsules", d.Capsules)
	case messages.SystemStopping:
		line(info, "stopping", "cause", d.Cause)
	case messages.SystemStopped:
		line(info, "stopped", "left_running", append([]string{}, d.LeftRunning...)) // [], not null
	case messages.ActorRestarted:
		line(failure, "an actor of the system failed and was "+d.Decision, "cause", d.Cause)
	case messages.CapsuleRejected:
		line(failure, "capsule rejected", "directory", d.Directory, "problem", d.Problem)
	case messages.CapsuleAdded:
		line(info, "capsule added", "version", d.Version)
	case messages.CapsuleRemoved:
		line(info, "capsule removed", "version", d.Version)
	case messages.CapsuleUpgraded:
		line(info, "capsule upgraded", "from", d.From, "to", d.To, "took_ms", milliseconds(d.Took))
	case messages.UpgradeFailed:
		line(failure, "upgrade failed: the running instance goes on", "from", d.From, "to", d.To,
			"kind", d.Failure.Kind, "failure", d.Failure.Message, "wasm_stack", d.Failure.WasmStack)
	case messages.CapsuleRolledBack:
		line(failure, "capsule rolled back", "from", d.From, "to", d.To, "failure", d.Failure.Message)
	case messages.CapsuleLoading:
		line(debug, "capsule loading", "version", d.Version)
	case messages.CapsuleStarting:
		line(debug, "capsule starting")
	case messages.CapsuleReady:
		line(info, "capsule ready", "took_ms", milliseconds(d.Took))
	case messages.ReadinessTimedOut:
		line(warn, "capsule has not signalled that it is ready; the others start without it", "waited_ms", milliseconds(d.Waited))
	case messages.CapsuleCrashed:
		args := []any{"during", d.During, "kind", d.Failure.Kind, "failure", d.Failure.Message, "wasm_stack", d.Failure.WasmStack}
		if d.Failure.Stderr != "" {
			args = append(args, "stderr", d.Failure.Stderr)
		}
		line(failure, "capsule crashed", args...)
	case messages.RestartScheduled:
		line(info, "capsule restarts", "cause", d.Cause, "attempt", d.Attempt, "budget_spent", d.BudgetSpent,
			"budget", d.Budget, "window_ms", milliseconds(d.Window), "delay_ms", milliseconds(d.Delay),
			"supervisor", d.Supervisor, "strategy", d.Strategy, "cause_path", d.CausePath)
	case messages.PoolScaled:
		line(info, "pool scaled", "instance", d.Instance, "instances", d.Instances, "cause", d.Cause)
	case messages.SupervisorStarted:
		line(info, "supervisor serves", "capsules", d.Children)
	case messages.SupervisorFailed:
		line(failure, "supervisor failed", "cause", d.Cause, "cause_path", d.CausePath, "decision", d.Decision)
	case messages.SupervisorStopped:
		line(info, "supervisor stopped", "cause", d.Cause)
	case messages.CapsuleFailed:
		line(failure, "capsule failed for good", "decision", d.Decision, "failure", d.Failure.Message)
	case messages.CapsuleStopping:
		line(debug, "capsule stopping", "cause", d.Cause)
	case messages.CapsuleStopped:
		line(info, "capsule stopped", "cause", d.Cause)
	case messages.LogSuppressed:
		line(warn, "capsule logs too fast: lines suppressed", "lines", d.Lines, "total", d.Total)
	case messages.DeadLetter:
		line(warn, "dead letter: "+d.Why(), "topic", d.Topic, "publisher", d.Publisher, "count", d.Count)
	case messages.ApprovalRequested:
		line(warn, "capsule waits for an approval", "id", d.ID, "action", d.Action, "resource", d.Resource, "risk", d.Risk, "principal", d.Principal)
	case messages.ApprovalDecided:
		line(info, "approval decided", "id", d.ID, "action", d.Action, "resource", d.Resource, "decision", d.Decision, "cause", d.Cause)
	case messages.EventsLost:
		line(warn, "events lost: this log is too slow", "count", d.Count)
	case messages.TriggerAnswered:
		level := debug
		if d.Problem != "" {
			level = info // each failed leg has its own warning
		}
		line(level, "trigger answered", "topic", d.Topic, "took_ms", milliseconds(d.Duration), "legs", d.Legs,
			"problem", d.Problem, "stands_for", d.StandsFor)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
