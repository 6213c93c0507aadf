package actors

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astrid-actors/astrid-actors/messages"
)

// How often a TriggerAnswered is made: seldom, or these events would drive all
// others out of what is kept.
const (
	answeredEvery = 10 * time.Second // where all is well
	problemEvery  = time.Second      // with a leg that was no answer, in the long run
	problemBurst  = 5                // and at once
)

// outcomeCount is one more than the highest Outcome.
const outcomeCount = int(messages.Outcome_OUTCOME_UNAVAILABLE) + 1

// Traffic is what is counted of triggers, from outside and from capsules. Its zero
// value is ready for use, from any goroutine.
type Traffic struct {
	// Observe, where it is set, takes a sample of the answers as events. It must
	// not block.
	Observe func(*messages.Event)

	mu           sync.Mutex
	legs         [outcomeCount]uint64
	took, nested messages.Counts // answered ones
	begun        uint64          // nested ones
	unreported   uint64          // answered since the last event
	reported     time.Time       // when that was; zero before the first
	problems     limiter
}

// limiter lets burst through at once, and one each interval in the long run.
type limiter struct{ full time.Time } // when it will have nothing left to regain

func (l *limiter) take(now time.Time, every time.Duration, burst int) bool {
	full := l.full
	if full.Before(now) {
		full = now
	}
	if full.Add(every).After(now.Add(every * time.Duration(burst))) {
		return false
	}
	l.full = full.Add(every)
	return true
}

// asked counts a trigger that a capsule makes.
func (t *Traffic) asked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun++
}

// answered counts a trigger that was answered.
func (t *Traffic) answered(m *messages.RouteTrigger, legs []*messages.Leg, now time.Time, took time.Duration) {
	var by [outcomeCount]uint64
	var problem *messages.Leg
	for _, leg := range legs {
		by[leg.GetOutcome()]++
		if problem == nil && !answers(leg.GetOutcome()) {
			problem = leg
		}
	}
	t.mu.Lock()
	for outcome, n := range by {
		t.legs[outcome] += n
	}
	if m.GetFromCapsule() == "" {
		t.took.Add(took)
	} else {
		t.nested.Add(took)
	}
	t.unreported++
	report := t.Observe != nil && (now.Sub(t.reported) >= answeredEvery ||
		problem != nil && t.problems.take(now, problemEvery, problemBurst))
	standsFor := t.unreported
	if report {
		t.unreported, t.reported = 0, now
	}
	t.mu.Unlock()
	if report {
		t.Observe(answeredEvent(m, by, problem, took, standsFor))
	}
}

// answers says whether an outcome is an answer of the guest's, as opposed to what
// came in its place.
func answers(o messages.Outcome) bool {
	switch o {
	case messages.Outcome_OUTCOME_CONTINUE, messages.Outcome_OUTCOME_FINAL, messages.Outcome_OUTCOME_EMPTY,
		messages.Outcome_OUTCOME_DENIED:
		return true
	default:
		return false
	}
}

func answeredEvent(m *messages.RouteTrigger, by [outcomeCount]uint64, problem *messages.Leg, took time.Duration, standsFor uint64) *messages.Event {
	answered := &messages.TriggerAnswered{
		Topic: shortened(m.GetTopic(), topicKept), Duration: durationpb.New(took), Legs: map[string]uint64{}, StandsFor: standsFor,
	}
	for outcome, n := range by {
		if n > 0 {
			answered.Legs[messages.Outcome(outcome).Word()] = n
		}
	}
	if problem != nil {
		answered.Problem = fmt.Sprintf("%s/%s: %s: %s",
			problem.GetCapsule(), problem.GetAction(), problem.GetOutcome().Word(), problem.GetReason())
	}
	path := RouterName
	if m.GetFromCapsule() != "" {
		path = CapsulePath(m.GetFromCapsule())
	}
	return &messages.Event{Path: path, What: &messages.Event_TriggerAnswered{TriggerAnswered: answered}}
}

// Show fills the figures into a snapshot.
func (t *Traffic) Show(tree *messages.Tree) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tree.NestedTriggers = t.begun
	tree.TriggerDuration, tree.NestedTriggerDuration = t.took.Histogram(), t.nested.Histogram()
	for outcome, n := range t.legs {
		if n > 0 {
			tree.Legs = append(tree.Legs, &messages.OutcomeCount{Outcome: messages.Outcome(outcome), Count: n})
		}
	}
}
