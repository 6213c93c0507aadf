package actors

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// supervised is a whole tree under the real root and the real supervisor.
type supervised struct {
	sys     *system.System
	router  *Router
	refs    map[string]*CapsuleRef
	observe func(messages.Event) // before an event is noted
	busy    chan struct{}        // holds the hook-router actor up at a message that it does not know

	mu       sync.Mutex
	events   []string
	open     int      // instances
	released []string // versions that are not in use any more
}

// supervise starts capsules whose guests do what acts says, by id. Each has the
// topic of its id.
func supervise(t *testing.T, observe func(messages.Event), acts map[string]action) *supervised {
	t.Helper()
	silent := slog.New(slog.DiscardHandler)
	s := &supervised{sys: system.New(silent), router: NewRouter(nil, nil), refs: map[string]*CapsuleRef{}, observe: observe, busy: make(chan struct{})}
	t.Cleanup(s.sys.Close)
	var children []ChildSpec
	for id, act := range acts {
		children = append(children, s.child(id, act))
	}
	root, err := s.sys.Spawn(RootPath, RootProps(RootConfig{
		System: s.sys, Log: silent, Observe: s.note,
		Registry:   RegistryProps(RegistryConfig{System: s.sys, Log: silent}),
		HookRouter: s.router.Props(s.sys, slog.New(slog.NewTextHandler(s, nil))),
		Supervisor: SupervisorProps(SupervisorConfig{System: s.sys, Log: silent, Observe: s.note, Children: children, StartSlots: 4}),
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.sys.AwaitStopped(context.Background(), root); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return s
}

// child describes a capsule whose guests do what act says. It has the topic of its id.
func (s *supervised) child(id string, act action, edit ...func(*CapsuleConfig)) ChildSpec {
	cfg := CapsuleConfig{
		ID: id, Version: s.version("1.0.0", wants(id), act),
		System: s.sys, Registry: s.sys.PID(RegistryPath), HookRouter: s.sys.PID(RouterPath),
		Router: s.router, TriggerTimeout: time.Minute, Observe: s.note, Log: slog.New(slog.DiscardHandler),
	}
	for _, e := range edit {
		e(&cfg)
	}
	ref := NewCapsuleRef(cfg)
	s.refs[id] = ref
	return ChildSpec{Ref: ref, ReadyTimeout: time.Second, StopTimeout: time.Second, Restart: RestartPolicy{}.WithDefaults()}
}

// version describes a version of a capsule. It reports, as an event of no capsule, when
// it is released.
func (s *supervised) version(number string, interceptors []messages.Interceptor, act action) *Version {
	return &Version{
		Number: number, Interceptors: interceptors, AllowPromptInjection: true,
		Config: func(string) string { return "" },
		Load: func(_ context.Context, api capsulehost.HostAPI) (Guest, error) {
			s.count(1)
			return &script{HostAPI: api, act: act, closed: func() { s.count(-1) }}, nil
		},
		Release: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.released = append(s.released, number)
		},
	}
}

func (s *supervised) count(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += by
}

// command gives the capsules supervisor a command and returns its answer.
func (s *supervised) command(t *testing.T, m any) messages.CommandDone {
	t.Helper()
	answer, err := s.sys.Ask(context.Background(), s.sys.PID(SupervisorPath), m)
	done, ok := answer.(*messages.CommandDone)
	if err != nil || !ok {
		t.Fatalf("%T is answered by %v, %v", m, answer, err)
	}
	return *done
}

// upgrade gives the capsule a a version.
func (s *supervised) upgrade(t *testing.T, how How, v *Version) messages.CommandDone {
	t.Helper()
	spec := ChildSpec{ReadyTimeout: time.Second, StopTimeout: time.Second, Restart: RestartPolicy{}.WithDefaults()}
	return s.command(t, &UpgradeCapsule{ID: "a", Version: v, Spec: spec, How: how})
}

// legs returns the legs of a trigger.
func (s *supervised) legs(t *testing.T, topic string) []string {
	t.Helper()
	reply, err := s.router.Trigger(context.Background(), TriggerRequest{Topic: topic, Payload: []byte("null"), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return show(reply.Legs)
}

func (s *supervised) note(e messages.Event) {
	s.observe(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprintf("%s %s %d", strings.TrimPrefix(e.Path, "capsules/"), e.Name(), e.Generation)
	if d, ok := e.Detail.(messages.CapsuleFailed); ok {
		line += ": " + d.Decision
	}
	s.events = append(s.events, line)
}

// about returns the events of one capsule.
func (s *supervised) about(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, line := range s.events {
		if rest, ok := strings.CutPrefix(line, id+" "); ok {
			out = append(out, rest)
		}
	}
	return out
}

// ask returns the outcome of a trigger with one leg.
func (s *supervised) ask(t *testing.T, topic, payload string) messages.Outcome {
	t.Helper()
	reply, err := s.router.Trigger(context.Background(), TriggerRequest{Topic: topic, Payload: []byte(payload), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return reply.Legs[0].Outcome
}

// trapsOn is an action that kills its guest if the payload is "trap".
func trapsOn(_ context.Context, _ *script, payload string) (capsulehost.Result, error) {
	if payload == `"trap"` {
		return capsulehost.Result{}, trap
	}
	return capsulehost.Result{Data: []byte("1")}, nil
}

// TestADecisionThatFails: the capsules' supervisor panics in the decision on a
// death. The capsule comes back all the same; if that fails again, it is given up.
// Neither leaves its actor suspended for ever.
func TestADecisionThatFails(t *testing.T) {
	for _, test := range []struct {
		panics int
		want   []string
		then   messages.Outcome
	}{
		{1, []string{
			"capsule_loading 1", "capsule_ready 1", "capsule_crashed 1", "restart_scheduled 1", "capsule_loading 2", "capsule_ready 2",
		}, messages.OutcomeContinue},
		{2, []string{
			"capsule_loading 1", "capsule_ready 1", "capsule_crashed 1",
			"capsule_failed 1: its supervisor has failed twice to decide what follows",
		}, messages.OutcomeUnavailable},
	} {
		t.Run(fmt.Sprintf("%d times", test.panics), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				left := test.panics
				s := supervise(t, func(e messages.Event) {
					if _, ok := e.Detail.(messages.RestartScheduled); ok && left > 0 {
						left--
						panic("a bug in the decision")
					}
				}, map[string]action{"a": trapsOn, "b": trapsOn})
				if got := s.ask(t, "a", `"trap"`); got != messages.OutcomeCrashed {
					t.Errorf("the call that kills it is %s", got)
				}
				<-time.After(time.Minute)
				synctest.Wait()
				if got := s.ask(t, "a", `1`); got != test.then {
					t.Errorf("the next call is %s, not %s", got, test.then)
				}
				if got := s.ask(t, "b", `1`); got != messages.OutcomeContinue {
					t.Errorf("a call of another capsule is %s", got)
				}
				if d := cmp.Diff(test.want, s.about("a")); d != "" {
					t.Errorf("-want +got\n%s", d)
				}
				if d := cmp.Diff([]string{"capsule_loading 1", "capsule_ready 1"}, s.about("b")); d != "" {
					t.Errorf("-want +got\n%s", d)
				}
				// An operator can still do what there is to do.
				if done := s.upgrade(t, Restart, s.version("1.0.0", wants("a"), trapsOn)); done.Result != messages.CommandSucceeded {
					t.Errorf("a restart: %+v", done)
				}
				if got := s.ask(t, "a", `1`); got != messages.OutcomeContinue {
					t.Errorf("after it a call is %s", got)
				}
			})
		})
	}
}

// TestASessionEndsBeforeTheFailureOfItsActorIsTold: a capsule's actor fails by
// itself, and its session is denied from the moment that its crash is told.
func TestASessionEndsBeforeTheFailureOfItsActorIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *supervised
		allowed := func(session string) bool {
			answer, err := s.sys.Ask(context.Background(), s.sys.PID(RegistryPath),
				&messages.CheckCapability{SourceUUID: session, Capability: CapabilityPromptInjection})
			if err != nil {
				t.Error(err)
			}
			return answer.(*messages.CapabilityChecked).Allowed
		}
		var session string
		var before, told bool
		s = supervise(t, func(e messages.Event) {
			switch d := e.Detail.(type) {
			case messages.CapsuleReady:
				if session == "" {
					session = d.Session
				}
			case messages.CapsuleCrashed:
				told = true
				if allowed(session) {
					t.Error("the session is good while its end is told")
				}
			}
		}, map[string]action{"ant": trapsOn})
		before = allowed(session)
		s.sys.Send(s.sys.PID(SupervisorPath+"/ant"), &system.Fault{Cause: "a bug"})
		synctest.Wait()
		if !before || !told {
			t.Errorf("before, the session was good: %v; the crash was told: %v", before, told)
		}
	})
}

// Write is the hook-router actor's log.
func (s *supervised) Write(line []byte) (int, error) {
	<-s.busy
	return len(line), nil
}

// TestAReadyCapsuleIsAsked: from the moment that a capsule is seen to be Ready, also
// while the hook-router actor is busy.
func TestAReadyCapsuleIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervise(t, func(messages.Event) {}, map[string]action{"a": trapsOn})
		if _, err := s.sys.Ask(t.Context(), s.sys.PID(SupervisorPath), &messages.StopCapsule{ID: "a"}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		go s.sys.Send(s.sys.PID(RouterPath), "what it does not know")
		synctest.Wait()
		if done := s.upgrade(t, Start, s.version("1.0.0", wants("a"), trapsOn)); done.Result != messages.CommandSucceeded {
			t.Error(done)
		}
		if got := s.ask(t, "a", `1`); got != messages.OutcomeContinue {
			t.Errorf("a capsule that is Ready is %s", got)
		}
		close(s.busy)
	})
}

// send gives the capsules supervisor a command and does not wait for its answer.
func (s *supervised) send(m any) { s.sys.Request(s.sys.PID(SupervisorPath), m, s.sys.PID("nobody")) }

// forget triggers, for a test that does not care about the answer.
func (s *supervised) forget(topic string) {
	_, _ = s.router.Trigger(context.Background(), TriggerRequest{Topic: topic, Payload: []byte("null"), Timeout: time.Minute})
}
