package actors

import (
	"log/slog"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// How many lines about one capsule are logged that guests can cause at will: at
// once, and in the long run. TriggerStats counts every leg all the same.
const (
	warningBurst = 20
	warningEvery = time.Second
)

// warnings bounds such lines, so that no guest floods the log of all. Its zero
// value is ready for use, from any goroutine.
type warnings struct {
	mu    sync.Mutex
	about map[string]*warned // by capsule
}

// warned counts the lines about one capsule.
type warned struct {
	limiter limiter
	leftOut uint64 // since the last line
}

// allow reports whether a line about a capsule may be logged, and how many were left
// out before it.
func (w *warnings) allow(capsule string) (leftOut uint64, ok bool) {
	now := monotime.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	about := w.about[capsule]
	if about == nil {
		about = &warned{}
		if w.about == nil {
			w.about = map[string]*warned{}
		}
		w.about[capsule] = about
	}
	if !about.limiter.take(now, warningEvery, warningBurst) {
		about.leftOut++
		return 0, false
	}
	leftOut, about.leftOut = about.leftOut, 0
	return leftOut, true
}

// warn logs a line about a capsule, unless there were too many.
func (w *warnings) warn(log *slog.Logger, capsule, message string, args ...any) {
	leftOut, ok := w.allow(capsule)
	if !ok {
		return
	}
	if leftOut > 0 {
		args = append(args, "left_out", leftOut)
	}
	log.Warn(message, args...)
}

// WarnOfLegs logs each leg of a trigger that gave no value although it was asked
// for one; not every one, if they are many about one capsule. From is the capsule
// that asked, "" for a trigger from outside.
func (r *Router) WarnOfLegs(log *slog.Logger, from, topic string, legs []messages.Leg) {
	for n := range legs {
		leg := &legs[n]
		switch leg.Outcome {
		case messages.OutcomeContinue, messages.OutcomeFinal, messages.OutcomeEmpty:
			continue
		}
		args := []any{
			"topic", shortened(topic, topicKept), "asked", leg.Capsule, "action", leg.Action,
			"outcome", leg.Outcome.String(), "reason", leg.Reason,
		}
		if from != "" {
			args = append([]any{"capsule", from}, args...)
		}
		r.warnings.warn(log, leg.Capsule, "interceptor gave no answer", args...)
	}
}
