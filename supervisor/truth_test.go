package supervisor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"pgregory.net/rapid"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// Promise 7: a snapshot, the events, the metrics and the log always agree.
func TestWhatIsSeenIsTrue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{
			"fine", "fine", "fine", "deny", "fail", "trap", "trap", "hang", "hang long", "not json", "nested", "all", "nobody",
			"kill a", "restart a", "stop b", "start b", "pass", "pass long", "registry", "hook-router", "chatter",
		}), 1, 40).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			s := newStory(t)
			for _, step := range steps {
				s.step(step)
				synctest.Wait()
			}
			s.NoTriggerLost()
			synctest.Wait()
			s.check(rt)
			if err := s.Close(); err != nil {
				rt.Errorf("close: %v", err)
			}
			s.checkEvents(rt, s.Snapshot())
		})
	})
}

// story is a system, and the record of its users' requests.
type story struct {
	*supervisortest.System
	registry *prometheus.Registry
	log      *locked

	mu   sync.Mutex
	legs map[string]uint64 // outcomes in the answers to triggers from outside
}

// locked is a buffer for several goroutines.
type locked struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.text.String()), "\n")
}

func newStory(t *testing.T) *story {
	s := &story{registry: prometheus.NewPedanticRegistry(), log: &locked{}, legs: map[string]uint64{}}
	act := func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		var deed string
		_ = json.Unmarshal(c.Payload, &deed)
		switch deed {
		case "deny":
			return capsulehost.Result{Action: capsulehost.Deny, Data: []byte("no")}, nil
		case "fail":
			return capsulehost.Result{}, fmt.Errorf("as told")
		case "trap":
			return capsulehost.Result{}, &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: "as told"}
		case "hang", "hang long":
			<-ctx.Done()
			return capsulehost.Result{}, ctx.Err()
		case "not json":
			return capsulehost.Result{Data: []byte("{")}, nil
		case "nested":
			return supervisortest.JSON(c.Trigger(ctx, "b.t", "fine"))
		case "chatter":
			for range 1500 {
				c.Log(capsulehost.LevelInfo, "and so on")
			}
		}
		return supervisortest.JSON(deed)
	}
	s.System = supervisortest.Start(t, supervisor.Config{
		Registerer: s.registry, CallTimeout: time.Minute,
		Log: slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, supervisortest.Func("a", "*.t", act), supervisortest.Func("b", "b.t", act), supervisortest.Func("c", "all.*", act))
	return s
}

func (s *story) step(step string) {
	verb, id, _ := strings.Cut(step, " ")
	ctx := context.Background()
	switch verb {
	case "kill":
		_ = s.Kill(ctx, id) // it is refused if the capsule is down
	case "restart":
		_ = s.Restart(ctx, id)
	case "stop":
		_ = s.Stop(ctx, id)
	case "start":
		_ = s.Start(ctx, id)
	case "pass":
		pass(map[string]time.Duration{"": time.Second, "long": 2 * time.Minute}[id])
	case "registry", "hook-router":
		s.FailActor(verb)
	case "all":
		s.trigger("all.t", "fine", time.Second)
	case "nobody":
		s.trigger("nobody.wants.this", "fine", time.Second)
	case "hang":
		limit := time.Second // the trigger's
		if id == "long" {
			limit = time.Hour // the capsule's
		}
		s.trigger("a.t", step, limit)
	default:
		s.trigger("a.t", step, time.Second)
	}
}

func (s *story) trigger(topic, deed string, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	payload, _ := json.Marshal(deed)
	reply, err := s.Trigger(ctx, supervisor.TriggerRequest{Topic: topic, Payload: payload})
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, leg := range reply.Legs {
		s.legs[leg.Outcome.String()]++
	}
}

// check compares all views of the current state.
func (s *story) check(rt *rapid.T) {
	tree := s.Snapshot()
	s.checkEvents(rt, tree)
	s.checkCounts(rt, tree)
	s.checkMetrics(rt, tree)
	s.checkLog(rt, tree)
}

// checkEvents compares a snapshot with the state that the events alone imply.
func (s *story) checkEvents(rt *rapid.T, tree *messages.Tree) {
	type told struct {
		state                string
		generation, restarts uint64
		crashes              map[string]uint64
		suppressed           uint64
	}
	byPath := map[string]*told{}
	for _, c := range tree.Capsules {
		byPath[c.Path] = &told{state: "loading", crashes: map[string]uint64{}}
	}
	actors := map[string]uint64{}
	for e := range s.Events(context.Background(), 0) {
		c := byPath[e.Path]
		switch d := e.Detail.(type) {
		case messages.ActorRestarted:
			actors[e.Path]++
		case messages.CapsuleLoading:
			c.state = "loading"
		case messages.CapsuleReady, messages.CapsuleUpgraded:
			c.state = "ready"
		case messages.CapsuleCrashed:
			c.state = "crashed"
			c.crashes[d.Failure.Kind]++
		case messages.RestartScheduled:
			if d.Cause != "an operator's command" {
				c.restarts++
			}
		case messages.CapsuleFailed:
			c.state = "failed"
		case messages.CapsuleStopping:
			c.state = "stopping"
		case messages.CapsuleStopped:
			c.state = "stopped"
		case messages.LogSuppressed:
			if c.suppressed += d.Lines; c.suppressed != d.Total {
				rt.Errorf("%s: events tell of %d lines suppressed, and %d in all", e.Path, c.suppressed, d.Total)
			}
		case messages.EventsLost:
			rt.Fatalf("events were lost: the test can't be compared")
		}
		if c != nil {
			c.generation = max(c.generation, e.Generation)
		}
		if e.Sequence == tree.Sequence {
			break
		}
	}
	for _, c := range tree.Capsules {
		e := byPath[c.Path]
		if c.State.String() != e.state || c.Generation != e.generation || c.Restarts != e.restarts ||
			!maps.Equal(c.Crashes, e.crashes) || c.LogSuppressed < e.suppressed {
			rt.Errorf("%s: the events tell of %+v, the snapshot shows %v", c.Path, *e, c)
		}
	}
	if !maps.Equal(tree.SystemRestarts, actors) {
		rt.Errorf("actors were restarted %v times by the events, %v by the snapshot", actors, tree.SystemRestarts)
	}
}

// checkCounts compares a snapshot's figures with each other, and with the answers.
func (s *story) checkCounts(rt *rapid.T, tree *messages.Tree) {
	s.mu.Lock()
	defer s.mu.Unlock()
	legs := map[string]uint64{}
	for outcome, n := range tree.Legs {
		legs[outcome.String()] = n
	}
	for outcome, n := range s.legs { // nested triggers add to these
		if legs[outcome] < n {
			rt.Errorf("%d legs were answered %q, %d are counted", n, outcome, legs[outcome])
		}
	}
	if tree.OpenTriggers != 0 || tree.WaitEdges != 0 {
		rt.Errorf("nobody waits, and the snapshot shows %d open triggers, %d edges", tree.OpenTriggers, tree.WaitEdges)
	}
	if got := tree.TriggerDuration.Count(); got != tree.Triggers {
		rt.Errorf("%d triggers, and %d of them timed", tree.Triggers, got)
	}
	if got := tree.NestedTriggerDuration.Count(); got > tree.NestedTriggers {
		rt.Errorf("%d nested triggers, and %d of them timed", tree.NestedTriggers, got)
	}
	for _, c := range tree.Capsules {
		detail, err := s.Supervisor.Capsule(c.ID)
		if err != nil {
			rt.Fatal(err)
		}
		var crashes, restarts uint64
		for _, n := range c.Crashes {
			crashes += n
		}
		for kind, n := range c.RestartsByKind {
			if kind != "operator" {
				restarts += n
			}
		}
		switch {
		case c.CallDuration.Count() != c.Calls:
			rt.Errorf("%s: %d calls, and %d of them timed", c.ID, c.Calls, c.CallDuration.Count())
		case c.QueueWait.Count() < c.Calls:
			rt.Errorf("%s: %d calls, and %d waits", c.ID, c.Calls, c.QueueWait.Count())
		case c.Busy != 0:
			rt.Errorf("%s is idle, and busy for %v", c.ID, c.Busy)
		case restarts != c.Restarts:
			rt.Errorf("%s: %d restarts, and by kind %v", c.ID, c.Restarts, c.RestartsByKind)
		case uint64(len(detail.Failures)) != min(16, crashes):
			rt.Errorf("%s: %d crashes, and %d kept", c.ID, crashes, len(detail.Failures))
		case uint64(len(detail.RecentCalls)) != min(32, c.Calls):
			rt.Errorf("%s: %d calls, and %d kept", c.ID, c.Calls, len(detail.RecentCalls))
		}
	}
}

// checkMetrics compares the metrics with a snapshot of the same moment.
func (s *story) checkMetrics(rt *rapid.T, tree *messages.Tree) {
	families, err := s.registry.Gather()
	if err != nil {
		rt.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "astrid_actors_")
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = valueOf(m)
		}
	}
	want := map[string]float64{
		"triggers_total outside": float64(tree.Triggers), "triggers_total capsule": float64(tree.NestedTriggers),
		"events_total": float64(tree.Sequence), "trigger_duration_seconds outside": float64(tree.TriggerDuration.Count()),
		"log_lines_suppressed_total": float64(tree.LogSuppressed),
	}
	for outcome, n := range tree.Legs {
		want["trigger_legs_total "+outcome.String()] = float64(n)
	}
	for _, c := range tree.Capsules {
		id := c.ID
		want["capsule_state "+id+" "+c.State.String()] = 1
		want["capsule_generation "+id] = float64(c.Generation)
		want["capsule_restart_budget_spent "+id] = float64(c.BudgetSpent)
		want["capsule_calls_total "+id] = float64(c.Calls)
		want["capsule_call_duration_seconds "+id] = float64(c.Calls)
		want["calls_total"] += float64(c.Calls)
		want["call_duration_seconds"] += float64(c.Calls)
		want["capsules "+c.State.String()]++
		for kind, n := range c.Crashes {
			want["capsule_crashes_total "+id+" "+kind] = float64(n)
			want["crashes_total "+kind] += float64(n)
		}
		for kind, n := range c.RestartsByKind {
			want["capsule_restarts_total "+id+" "+kind] = float64(n)
		}
	}
	for name, v := range want {
		if got[name] != v {
			rt.Errorf("the metric %q is %v, the snapshot has %v", name, got[name], v)
		}
	}
}

func valueOf(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	default:
		return float64(m.Histogram.GetSampleCount())
	}
}

// checkLog checks that the log has every event once, unchanged.
func (s *story) checkLog(rt *rapid.T, tree *messages.Tree) {
	logged := map[uint64]string{}
	for _, line := range s.log.lines() {
		var l struct {
			Event      uint64 `json:"event"`
			Path       string `json:"path"`
			Generation uint64 `json:"generation"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Event == 0 {
			continue
		}
		if logged[l.Event] != "" {
			rt.Errorf("event %d is in the log twice", l.Event)
		}
		logged[l.Event] = fmt.Sprintf("%s#%d", l.Path, l.Generation)
	}
	for e := range s.Events(context.Background(), 0) {
		if got, want := logged[e.Sequence], fmt.Sprintf("%s#%d", e.Path, e.Generation); got != want {
			rt.Errorf("event %d is about %s, the log says %q", e.Sequence, want, got)
		}
		if e.Sequence == tree.Sequence {
			break
		}
	}
}
