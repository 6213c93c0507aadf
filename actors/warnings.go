package actors

import (
	"sync"
	"time"

	"github.com/rs/zerolog"

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

// line returns a line about a capsule, with the number left out before it; or nil,
// which may be written to, if this one is left out.
func (w *warnings) line(log *zerolog.Logger, capsule string) *zerolog.Event {
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
		return nil
	}
	line := log.Warn()
	if about.leftOut > 0 {
		line = line.Uint64("left_out", about.leftOut)
		about.leftOut = 0
	}
	return line
}

// WarnOfLegs logs each leg of a trigger that gave no value although it was asked
// for one; not every one, if they are many about one capsule. From is the capsule
// that asked, "" for a trigger from outside.
func (r *Router) WarnOfLegs(log *zerolog.Logger, from, topic string, legs []messages.Leg) {
	for n := range legs {
		leg := &legs[n]
		switch leg.Outcome {
		case messages.OutcomeContinue, messages.OutcomeFinal, messages.OutcomeEmpty:
			continue
		}
		line := r.warnings.line(log, leg.Capsule)
		if from != "" {
			line = line.Str("capsule", from)
		}
		line.Str("topic", shortened(topic, topicKept)).Str("asked", leg.Capsule).Str("action", leg.Action).
			Str("outcome", leg.Outcome.String()).Str("reason", leg.Reason).Msg("interceptor gave no answer")
	}
}
