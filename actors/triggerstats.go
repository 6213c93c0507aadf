package actors

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// How often a TriggerAnswered is made: seldom, or these events would drive all
// others out of what is kept.
const (
	answeredEvery = 10 * time.Second // without problems
	problemEvery  = time.Second      // with a leg that was no answer, in the long run
	problemBurst  = 5                // and at once
)

// TriggerStats counts triggers, from outside and from capsules. The zero value is
// ready for use, from any goroutine.
type TriggerStats struct {
	// Observe, unless nil, takes a sample of the answers as events. It must
	// not block.
	Observe func(messages.Event)

	begun atomic.Uint64 // nested ones

	mu           sync.Mutex
	legs         [messages.OutcomeCount]uint64
	took, nested messages.Counts // answered ones
	unreported   uint64          // answered since the last event
	reported     monotime.Time   // when that was; None before the first
	problems     limiter
}

// limiter lets burst through at once, and one each interval in the long run.
type limiter struct{ full monotime.Time } // when nothing will be left to regain; None before the first

func (l *limiter) take(now monotime.Time, every time.Duration, burst int) bool {
	full := l.full
	if full == monotime.None || full < now {
		full = now
	}
	if full.Add(every) > now.Add(every*time.Duration(burst)) {
		return false
	}
	l.full = full.Add(every)
	return true
}

// asked counts a trigger that a capsule makes.
func (s *TriggerStats) asked() {
	s.begun.Add(1)
}

// answered counts a trigger that was answered.
func (s *TriggerStats) answered(t *trigger, now monotime.Time) {
	var by [messages.OutcomeCount]uint64
	var problem *messages.Leg
	for n := range t.legs {
		leg := &t.legs[n]
		by[leg.Outcome]++
		if problem == nil && !leg.Outcome.Answered() {
			problem = leg
		}
	}
	took := now.Sub(t.made)
	s.mu.Lock()
	for outcome, n := range by {
		s.legs[outcome] += n
	}
	if t.from == "" {
		s.took.Add(took)
	} else {
		s.nested.Add(took)
	}
	s.unreported++
	report := s.Observe != nil && (s.reported == monotime.None || now.Sub(s.reported) >= answeredEvery ||
		problem != nil && s.problems.take(now, problemEvery, problemBurst))
	standsFor := s.unreported
	if report {
		s.unreported, s.reported = 0, now
	}
	s.mu.Unlock()
	if report {
		s.Observe(answeredEvent(t, by, problem, took, standsFor))
	}
}

func answeredEvent(t *trigger, by [messages.OutcomeCount]uint64, problem *messages.Leg, took time.Duration, standsFor uint64) messages.Event {
	answered := messages.TriggerAnswered{
		Topic: shortened(t.topic, topicKept), Duration: took, Legs: map[string]uint64{}, StandsFor: standsFor,
	}
	for outcome, n := range by {
		if n > 0 {
			answered.Legs[messages.Outcome(outcome).String()] = n
		}
	}
	if problem != nil {
		answered.Problem = fmt.Sprintf("%s/%s: %s: %s", problem.Capsule, problem.Action, problem.Outcome, problem.Reason)
	}
	path := RouterName
	if t.from != "" {
		path = CapsulePath(t.from)
	}
	return messages.Event{Path: path, Detail: answered}
}

// Show fills the counts into a snapshot.
func (s *TriggerStats) Show(tree *messages.Tree) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tree.NestedTriggers = s.begun.Load()
	tree.TriggerDuration, tree.NestedTriggerDuration = s.took.Histogram(), s.nested.Histogram()
	tree.Legs = map[messages.Outcome]uint64{}
	for outcome, n := range s.legs {
		if n > 0 {
			tree.Legs[messages.Outcome(outcome)] = n
		}
	}
}
