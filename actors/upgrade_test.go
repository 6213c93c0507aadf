package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// loopVersion describes a version whose guests are run loops.
func (s *supervised) loopVersion(number string, interceptors []messages.Interceptor, loop func(context.Context, *script) error) *Version {
	v := s.version(number, interceptors, nil)
	load := v.Load
	v.Load = func(ctx context.Context, api capsulehost.HostAPI) (Guest, error) {
		guest, err := load(ctx, api)
		guest.(*script).loop = loop
		return guest, err
	}
	return v
}

// untilEnd is the end of a run loop that ends when it is told to.
func untilEnd(ctx context.Context) error {
	<-ctx.Done()
	return interruption(ctx)
}

// instances returns how many live.
func (s *supervised) instances() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// allowed asks the registry about a session.
func (s *supervised) allowed(t *testing.T, session string) bool {
	t.Helper()
	answer, err := s.sys.Ask(t.Context(), s.sys.PID(RegistryPath), &messages.CheckCapability{SourceUUID: session, Capability: CapabilityPromptInjection})
	if err != nil {
		t.Fatal(err)
	}
	return answer.(*messages.CapabilityChecked).Allowed
}

// The old instance crashes while the new one is prepared, and its restart takes a newer
// generation. What was prepared is stale then: it never takes over, and is made again.
func TestAStaleInstanceIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervise(t, func(messages.Event) {}, map[string]action{"a": trapsOn})
		v := s.version("2.0.0", wants("a"), says("2"))
		load, loads, release := v.Load, 0, make(chan struct{})
		v.Load = func(ctx context.Context, api capsulehost.HostAPI) (Guest, error) {
			loads++
			<-release
			return load(ctx, api)
		}
		done := make(chan messages.CommandDone, 1)
		go func() { done <- s.upgrade(t, Reload, v) }()
		synctest.Wait()
		if got := s.ask(t, "a", `"trap"`); got != messages.OutcomeCrashed {
			t.Errorf("the call that kills it is %s", got)
		}
		synctest.Wait()
		expect(t, "the old version goes on", s.legs(t, "a"), "a/3 on-a continue 1")
		close(release)
		if got := <-done; got.Result != messages.CommandSucceeded {
			t.Errorf("the upgrade: %+v", got)
		}
		expect(t, "the new version", s.legs(t, "a"), "a/4 on-a continue 2")
		expect(t, "events", s.about("a"), "capsule_loading 1", "capsule_ready 1", "capsule_crashed 1", "restart_scheduled 1",
			"capsule_loading 3", "capsule_ready 3", "capsule_upgraded 4")
		if n := s.instances(); loads != 2 || n != 1 {
			t.Errorf("%d loads of the new version, %d instances", loads, n)
		}
		expect(t, "released", s.released, "1.0.0")
	})
}

// What the replaced instance has sent, and what was meant for it, does not count for its
// successor: an interruption, the end of its run loop, its signal, its session.
func TestLateMessagesOfAReplacedInstance(t *testing.T) {
	t.Run("interruption", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			s := supervise(t, func(messages.Event) {}, map[string]action{"a": func(context.Context, *script, string) (capsulehost.Result, error) {
				<-release // whatever its context says
				return capsulehost.Result{Data: []byte("1")}, nil
			}})
			go s.forget("a")
			synctest.Wait()
			done := make(chan messages.CommandDone, 1)
			go func() { done <- s.upgrade(t, Reload, s.version("2.0.0", wants("a"), says("2"))) }()
			synctest.Wait() // the new instance is to take over after the call
			if !s.refs["a"].Interrupt(1, ErrKilled) {
				t.Error("generation 1 does not run any more")
			}
			close(release)
			if got := <-done; got.Result != messages.CommandSucceeded {
				t.Errorf("the upgrade: %+v", got)
			}
			synctest.Wait()
			expect(t, "events", s.about("a"), "capsule_loading 1", "capsule_ready 1", "capsule_upgraded 2")
			expect(t, "the successor", s.legs(t, "a"), "a/2 on-a continue 2")
		})
	})
	t.Run("run loop", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := supervise(t, func(messages.Event) {}, nil)
			spec := s.child("a", nil, func(c *CapsuleConfig) {
				c.Version = s.loopVersion("1.0.0", nil, func(ctx context.Context, g *script) error {
					<-ctx.Done()
					g.SignalReady() // too late
					return errors.New("and it fails")
				})
			})
			s.send(&AddCapsule{Spec: spec})
			time.Sleep(2 * time.Second) // it does not signal in time
			before := s.refs["a"].Announced().Session
			if done := s.upgrade(t, Reload, s.loopVersion("2.0.0", nil, func(ctx context.Context, _ *script) error { return untilEnd(ctx) })); done.Result != messages.CommandSucceeded {
				t.Errorf("the upgrade: %+v", done)
			}
			synctest.Wait()
			expect(t, "events", s.about("a"), "capsule_added 0", "capsule_loading 1", "capsule_starting 1", "readiness_timed_out 1",
				"capsule_upgraded 2", "capsule_starting 2")
			up := s.refs["a"].Announced()
			if up == nil || up.Generation != 2 || up.State != messages.StateStarting {
				t.Errorf("announced: %+v", up)
			}
			if s.allowed(t, before) || !s.allowed(t, up.Session) {
				t.Error("the session of the replaced instance is valid, or that of its successor is not")
			}
		})
	})
}

// A run loop is replaced once its successor has signalled, and never by one that has not:
// that fails, or hangs, beside the one that runs.
func TestAnUpgradeOfARunLoop(t *testing.T) {
	for name, test := range map[string]struct {
		loop   func(context.Context, *script) error
		result messages.CommandResult
		events []string
	}{
		"signals": {func(ctx context.Context, g *script) error {
			time.Sleep(3 * time.Second)
			g.SignalReady()
			return untilEnd(ctx)
		}, messages.CommandSucceeded, []string{"capsule_upgraded 2"}},
		"ends":  {func(context.Context, *script) error { return nil }, messages.CommandKept, []string{"upgrade_failed 1"}},
		"traps": {func(context.Context, *script) error { return trap }, messages.CommandKept, []string{"upgrade_failed 1"}},
		"hangs": {func(ctx context.Context, _ *script) error { return untilEnd(ctx) }, messages.CommandKept, []string{"upgrade_failed 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := supervise(t, func(messages.Event) {}, nil)
				var ended time.Duration
				began := time.Now()
				spec := s.child("a", nil, func(c *CapsuleConfig) {
					c.Version = s.loopVersion("1.0.0", nil, func(ctx context.Context, g *script) error {
						g.SignalReady()
						<-ctx.Done()
						ended = time.Since(began)
						return interruption(ctx)
					})
				})
				s.command(t, &AddCapsule{Spec: spec})
				v := s.loopVersion("2.0.0", nil, test.loop)
				v.LoadTimeout = 10 * time.Second
				if done := s.upgrade(t, Reload, v); done.Result != test.result || (done.Reason == "") != (test.result == messages.CommandSucceeded) {
					t.Errorf("the upgrade: %+v", done)
				}
				synctest.Wait()
				if replaced := test.result == messages.CommandSucceeded; replaced && ended != 3*time.Second || !replaced && ended != 0 {
					t.Errorf("the old loop has ended after %v", ended)
				}
				events := s.about("a")
				expect(t, "events", events[len(events)-len(test.events):], test.events...)
				if n := s.instances(); n != 1 {
					t.Errorf("%d instances", n)
				}
			})
		})
	}
}

// Calls that wait are served by the old instance if the new one is a run loop, which
// serves none, or lacks their action.
func TestAnUpgradeServesWhatItsSuccessorCannot(t *testing.T) {
	for name, next := range map[string]func(*supervised) *Version{
		"run loop": func(s *supervised) *Version {
			return s.loopVersion("2.0.0", wants("a"), func(ctx context.Context, g *script) error {
				g.SignalReady()
				return untilEnd(ctx)
			})
		},
		"no such action": func(s *supervised) *Version { return s.version("2.0.0", wants("b"), says("2")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				s := supervise(t, func(messages.Event) {}, map[string]action{"a": func(context.Context, *script, string) (capsulehost.Result, error) {
					<-release
					return capsulehost.Result{Data: []byte("1")}, nil
				}})
				answers := make(chan []string)
				for range 3 {
					go func() { answers <- s.legs(t, "a") }()
					synctest.Wait()
				}
				done := make(chan messages.CommandDone, 1)
				go func() { done <- s.upgrade(t, Reload, next(s)) }()
				synctest.Wait()
				close(release)
				for range 3 {
					expect(t, "an answer", <-answers, "a/1 on-a continue 1")
				}
				if got := <-done; got.Result != messages.CommandSucceeded {
					t.Errorf("the upgrade: %+v", got)
				}
			})
		})
	}
}

// A message reaches exactly one of the two run loops of an upgrade, in order: the old one
// until it ends, and what that has not read its successor, by the interceptors of the
// manifest and by subscriptions of the guest's own.
func TestAnUpgradeLosesNoMessageOfARunLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervise(t, func(messages.Event) {}, nil)
		bus := NewBus(BusConfig{System: s.sys, Router: s.router})
		var heard journal
		reader := func(version int) func(context.Context, *script) error {
			return func(ctx context.Context, g *script) error {
				own, err := g.Services().Bus.Subscribe("own.*")
				if err != nil {
					return err
				}
				time.Sleep(20 * time.Millisecond) // meanwhile the other one reads
				g.SignalReady()
				for ctx.Err() == nil {
					for _, handle := range []uint64{g.Services().Bus.Interceptors()[0].Handle, own} {
						batch, err := g.Services().Bus.Receive(ctx, handle, 5*time.Millisecond)
						if err != nil {
							return err
						}
						for _, m := range batch.Messages {
							heard.note("%s %s", m.Topic, m.Payload.Bytes())
						}
					}
					time.Sleep(time.Duration(version%7) * time.Millisecond) // messages wait
				}
				return interruption(ctx)
			}
		}
		spec := s.child("a", nil, func(c *CapsuleConfig) {
			c.Bus, c.Version = bus, s.loopVersion("1.0.0", wants("a"), reader(0))
		})
		s.command(t, &AddCapsule{Spec: spec})
		const upgrades, messagesEach = 20, 1500
		published := make(chan struct{})
		go func() {
			defer close(published)
			for n := range messagesEach {
				for _, topic := range []string{"a", "own.x"} {
					publishOn(t, bus, Publication{Topic: topic, Payload: payload(t, fmt.Sprint(n))})
				}
				time.Sleep(time.Millisecond)
			}
		}()
		for n := range upgrades {
			if done := s.upgrade(t, Reload, s.loopVersion(fmt.Sprintf("2.%d.0", n), wants("a"), reader(n))); done.Result != messages.CommandSucceeded {
				t.Fatalf("upgrade %d: %+v", n, done)
			}
			time.Sleep(13 * time.Millisecond)
		}
		<-published
		time.Sleep(time.Second)
		var byTopic [2][]string
		for _, line := range heard.take() {
			at := 0
			if line[0] == 'o' {
				at = 1
			}
			byTopic[at] = append(byTopic[at], line)
		}
		for at, topic := range []string{"a", "own.x"} {
			var want []string
			for n := range messagesEach {
				want = append(want, fmt.Sprintf("%s %d", topic, n))
			}
			if !slices.Equal(want, byTopic[at]) {
				expect(t, topic, byTopic[at], want...)
			}
		}
		if up := s.refs["a"].Announced(); up.Generation != upgrades+1 {
			t.Errorf("generation %d", up.Generation)
		}
		if n := bus.subscriptions.count; n != 2 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}

// A version that fails beside the running one has taken no message from it, and a
// subscription that no successor has ends with its instance.
func TestAFailedUpgradeTakesNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervise(t, func(messages.Event) {}, nil)
		bus := NewBus(BusConfig{System: s.sys, Router: s.router})
		var heard journal
		spec := s.child("a", nil, func(c *CapsuleConfig) {
			c.Bus, c.Version = bus, s.loopVersion("1.0.0", nil, func(ctx context.Context, g *script) error {
				handle, err := g.Services().Bus.Subscribe("t")
				if err != nil {
					return err
				}
				g.SignalReady()
				for ctx.Err() == nil {
					batch, err := g.Services().Bus.Receive(ctx, handle, time.Hour)
					if err != nil {
						return err
					}
					for _, m := range batch.Messages {
						heard.note("%s", m.Payload.Bytes())
					}
				}
				return interruption(ctx)
			})
		})
		s.command(t, &AddCapsule{Spec: spec})
		bad := s.loopVersion("2.0.0", nil, func(_ context.Context, g *script) error {
			if _, err := g.Services().Bus.Subscribe("t"); err != nil {
				return err
			}
			time.Sleep(time.Minute)
			return errors.New("no")
		})
		done := make(chan messages.CommandDone, 1)
		go func() { done <- s.upgrade(t, Reload, bad) }()
		time.Sleep(time.Second)
		publishOn(t, bus, Publication{Topic: "t", Payload: payload(t, "1")})
		if got := <-done; got.Result != messages.CommandKept {
			t.Errorf("the upgrade: %+v", got)
		}
		publishOn(t, bus, Publication{Topic: "t", Payload: payload(t, "2")})
		synctest.Wait()
		expect(t, "heard", heard.take(), "1", "2")
		if n := bus.subscriptions.count; n != 1 {
			t.Errorf("%d subscriptions", n)
		}
		if got := s.upgrade(t, Reload, s.version("3.0.0", wants("a"), says("3"))); got.Result != messages.CommandSucceeded {
			t.Errorf("the upgrade to an ordinary capsule: %+v", got)
		}
		if n := bus.subscriptions.count; n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}
