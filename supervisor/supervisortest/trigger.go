package supervisortest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// noise is the tolerated delay of an answer on a busy machine.
const noise = 5 * time.Second

// Trigger calls the Supervisor's, and checks the answer: every leg has an outcome, the
// order is the specified one, and the deadline was met.
func (s *System) Trigger(ctx context.Context, r supervisor.TriggerRequest) (*supervisor.Reply, error) {
	s.tb.Helper()
	s.mu.Lock()
	counted := !s.stopped
	if counted {
		s.pending.Add(1)
	}
	s.mu.Unlock()
	reply, err := s.Supervisor.Trigger(ctx, r)
	if deadline, ok := ctx.Deadline(); ok && time.Since(deadline) > noise {
		s.tb.Errorf("trigger %q: answered %v after its deadline", r.Topic, time.Since(deadline))
	}
	if err == nil {
		for _, problem := range Problems(reply) {
			s.tb.Errorf("trigger %q: %s", r.Topic, problem)
		}
	}
	s.mu.Lock()
	if !refused(err) {
		s.answered++
	}
	s.mu.Unlock()
	if counted {
		s.pending.Done()
	}
	return reply, err
}

// refused reports whether a trigger was not accepted.
func refused(err error) bool {
	for _, why := range []error{supervisor.ErrInvalid, supervisor.ErrOverloaded, supervisor.ErrNotServing, supervisor.ErrStopping} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}

// Ask triggers a topic with a payload of JSON, "" for null, and returns the reply. An
// error fails the test.
func (s *System) Ask(topic, payload string) *supervisor.Reply {
	s.tb.Helper()
	return s.Begin(topic, payload)()
}

// Begin is Ask on another goroutine. The returned function waits for the reply.
func (s *System) Begin(topic, payload string) (answer func() *supervisor.Reply) {
	var reply *supervisor.Reply
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		reply, err = s.Trigger(context.Background(), supervisor.TriggerRequest{Topic: topic, Payload: json.RawMessage(payload)})
	}()
	return func() *supervisor.Reply {
		s.tb.Helper()
		patience := s.patience() + s.triggerTimeout
		select {
		case <-done:
		case <-time.After(patience):
			s.tb.Fatalf("trigger %q is not answered after %v; the capsules are%s", topic, patience, s.states())
		}
		if err != nil {
			s.tb.Fatalf("%v", err)
		}
		return reply
	}
}

// Expect calls Ask, and compares the reply's legs with lines in the format of Legs.
func (s *System) Expect(topic, payload string, legs ...string) {
	s.tb.Helper()
	if d := diff.Diff(append([]string{}, legs...), Legs(s.Ask(topic, payload))); d != "" {
		s.tb.Errorf("the legs of trigger %q differ (-want +got):\n%s", topic, d)
	}
}

// Legs returns a reply's legs, one a line: the capsule, the outcome, and the value if
// there is one, as in `greeter continue "hi"`.
func Legs(reply *supervisor.Reply) []string {
	lines := []string{}
	for _, leg := range reply.Legs {
		line := leg.Capsule + " " + leg.Outcome.String()
		if len(leg.Value) > 0 {
			line += " " + string(leg.Value)
		}
		lines = append(lines, line)
	}
	return lines
}

// Problems describes each promise of the system that a reply breaks; nil if there is
// none.
func Problems(reply *supervisor.Reply) []string {
	var problems []string
	values := []string{}
	for n, leg := range reply.Legs {
		who := fmt.Sprintf("leg %d (%s %s)", n, leg.Capsule, leg.Action)
		gives := leg.Outcome == messages.OutcomeContinue || leg.Outcome == messages.OutcomeFinal
		switch {
		case leg.Outcome == messages.OutcomePending:
			problems = append(problems, who+" has no outcome")
		case gives != (len(leg.Value) > 0):
			problems = append(problems, fmt.Sprintf("%s has the outcome %s with the value %q", who, leg.Outcome, leg.Value))
		}
		if len(leg.Value) > 0 {
			values = append(values, string(leg.Value))
		}
		if n == 0 {
			continue
		}
		before := reply.Legs[n-1]
		if cmp.Or(cmp.Compare(before.Priority, leg.Priority), cmp.Compare(before.Capsule, leg.Capsule)) > 0 {
			problems = append(problems, fmt.Sprintf("%s comes after %s: the order is priority, capsule", who, before.Capsule))
		}
	}
	if want := "[" + strings.Join(values, ",") + "]"; string(reply.Responses) != want {
		problems = append(problems, fmt.Sprintf("the responses are %s, the legs have %s", reply.Responses, want))
	}
	return problems
}

// NoTriggerLost waits until every accepted trigger is answered, including those of
// capsules, and fails the test if one is not. Call it while no new ones are sent.
func (s *System) NoTriggerLost() {
	s.tb.Helper()
	patience := time.After(monotime.AddDurations(s.patience(), s.triggerTimeout))
	idle := make(chan struct{})
	go func() {
		s.pending.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-patience:
		s.lost()
		return
	}
	for s.openTriggers() > 0 { // those that were not sent through this System
		select {
		case <-time.After(time.Millisecond):
		case <-patience:
			s.lost()
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if accepted := s.Snapshot().Triggers; accepted < s.answered {
		s.tb.Errorf("%d triggers were accepted, and %d answered", accepted, s.answered)
	}
}

func (s *System) openTriggers() int64 {
	open := int64(s.Snapshot().OpenTriggers) //nolint:gosec // a count
	for _, w := range s.all() {
		open += w.asking.Load()
	}
	return open
}

func (s *System) lost() {
	s.tb.Helper()
	s.tb.Errorf("%d triggers are open after %v; the capsules are%s", s.openTriggers(), s.patience()+s.triggerTimeout, s.states())
}

// checkEnd fails the test if anything is left after Serve has returned.
func (s *System) checkEnd() {
	s.tb.Helper()
	if open := s.Snapshot().OpenTriggers; open != 0 && s.result == nil {
		s.tb.Errorf("Serve has returned, and %d triggers are open", open)
	}
	s.NoTriggerLost()
	if s.result != nil {
		return // the error names the capsules that did not stop
	}
	for id, w := range s.all() {
		for what, n := range map[string]int64{
			"instances that were not closed": w.alive.Load(), "calls that have not returned": w.inside.Load(),
		} {
			if n != 0 {
				s.tb.Errorf("capsule %q has left behind %d %s", id, n, what)
			}
		}
	}
}
