package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// fakeKernel is a kernel of which a test says what there is.
type fakeKernel struct {
	mu      sync.Mutex
	reloads int
	reason  string
}

func (*fakeKernel) Capsules() []string            { return []string{"a", "b"} }
func (*fakeKernel) Commands() []KernelCommand     { return []KernelCommand{{"/x", "No description", "a"}} }
func (*fakeKernel) Interceptors() []KernelCapsule { return []KernelCapsule{{"a", []string{"t.*"}}} }
func (*fakeKernel) Status() KernelStatus {
	return KernelStatus{PID: 7, Uptime: 9, Version: "0.5.0", Capsules: []string{"a"}}
}

func (k *fakeKernel) Reload(done func(error)) {
	k.mu.Lock()
	k.reloads++
	k.mu.Unlock()
	done(nil)
}

func (k *fakeKernel) Shutdown(reason string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reason = reason
}

// publish publishes JSON from outside.
func (w *tree) publish(topic, text string) {
	w.tb.Helper()
	publishOn(w.tb, w.bus, Publication{Topic: topic, Payload: payload(w.tb, text), SourceID: "outside", Principal: "ann"})
}

func publishOn(tb testing.TB, bus *Bus, p Publication) {
	tb.Helper()
	if err := bus.Publish(tb.Context(), &p); err != nil {
		tb.Error(err)
	}
}

func payload(tb testing.TB, text string) capsulehost.Payload {
	tb.Helper()
	p, err := capsulehost.ParsePayload([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// publishes has a guest publish.
func (s *script) publish(topic, text string) error {
	p, err := capsulehost.ParsePayload([]byte(text))
	if err != nil {
		return err
	}
	return s.Services().Bus.Publish(context.Background(), topic, p)
}

// journal is what guests note, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.lines
	j.lines = nil
	return out
}

// notes is an action that notes its payload, and answers as told.
func notes(j *journal, name string, result capsulehost.Result, err error) action {
	return func(_ context.Context, s *script, payload string) (capsulehost.Result, error) {
		j.note("%s %s", name, payload)
		return result, err
	}
}

// The chain: by priority, Continue with bytes replaces the payload, without bytes and
// failures change nothing, Final and Deny stop.
func TestChain(t *testing.T) {
	data := func(text string) capsulehost.Result { return capsulehost.Result{Data: []byte(text)} }
	for name, tt := range map[string]struct {
		second capsulehost.Result
		err    error
		want   []string
		legs   map[messages.Outcome]uint64
	}{
		"continue with bytes": {data("not JSON"), nil, []string{"a 1", "b 1", "c not JSON"}, map[messages.Outcome]uint64{messages.OutcomeContinue: 1, messages.OutcomeEmpty: 2}},
		"continue without":    {data(""), nil, []string{"a 1", "b 1", "c 1"}, map[messages.Outcome]uint64{messages.OutcomeEmpty: 3}},
		"final":               {capsulehost.Result{Action: capsulehost.Final, Data: []byte("2")}, nil, []string{"a 1", "b 1"}, map[messages.Outcome]uint64{messages.OutcomeFinal: 1, messages.OutcomeEmpty: 1}},
		"deny":                {capsulehost.Result{Action: capsulehost.Deny, Data: []byte("no")}, nil, []string{"a 1", "b 1"}, map[messages.Outcome]uint64{messages.OutcomeDenied: 1, messages.OutcomeEmpty: 1}},
		"error":               {data(""), &capsulehost.GuestError{Text: "no"}, []string{"a 1", "b 1", "c 1"}, map[messages.Outcome]uint64{messages.OutcomeFailed: 1, messages.OutcomeEmpty: 2}},
		"crash":               {data(""), trap, []string{"a 1", "b 1", "c 1"}, map[messages.Outcome]uint64{messages.OutcomeCrashed: 1, messages.OutcomeEmpty: 2}},
		"too long":            {data(strings.Repeat("x", maxAnswer+1)), nil, []string{"a 1", "b 1", "c 1"}, map[messages.Outcome]uint64{messages.OutcomeInvalid: 1, messages.OutcomeEmpty: 2}},
	} {
		for kind, edit := range map[string]func(*CapsuleConfig){"queued": func(*CapsuleConfig) {}, "inline": inline} {
			t.Run(name+" "+kind, func(t *testing.T) {
				inTree(t, func(t *testing.T, w *tree) {
					var j journal
					i := func(priority uint32) func(*CapsuleConfig) {
						return wanting(messages.Interceptor{Event: "t.*", Action: "on", Priority: priority})
					}
					w.start("c", notes(&j, "c", capsulehost.Result{}, nil), i(300), edit)
					w.start("b", notes(&j, "b", tt.second, tt.err), i(200), edit)
					w.start("a", notes(&j, "a", capsulehost.Result{}, nil), i(100), edit)
					synctest.Wait()
					for round := range 2 { // the second time, all calls are known to be short
						w.publish("t.x", "1")
						synctest.Wait()
						expect(t, fmt.Sprintf("round %d", round), j.take(), tt.want...)
					}
					got := map[messages.Outcome]uint64{}
					for outcome, n := range w.bus.stats.steps {
						if n > 0 {
							got[messages.Outcome(outcome)] = n / 2
						}
					}
					if diff := cmp.Diff(tt.legs, got); diff != "" {
						t.Errorf("outcomes: -want +got\n%s", diff)
					}
					calls := w.handles["b"].Stats().RecentCalls()
					if len(calls) != 2 || calls[0].Topic != "t.x" || calls[0].Action != "on" {
						t.Errorf("recent calls: %+v", calls)
					}
				})
			})
		}
	}
}

// A message reaches subscriptions and interceptors, with the fields of the reference; what
// an interceptor publishes has its caller's principal, and what it publishes on nobody's
// behalf the capsule's own.
func TestMessagesAndCallers(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		var callers []*capsulehost.Caller
		relay := w.start("relay", func(_ context.Context, s *script, payload string) (capsulehost.Result, error) {
			callers = append(callers, s.Caller())
			return capsulehost.Result{}, s.publish("out", payload)
		})
		synctest.Wait()
		w.start("plain", nil, wanting(), runs(func(ctx context.Context, s *script) error {
			if err := s.publish("relay", `"own"`); err != nil {
				return err
			}
			<-ctx.Done()
			return interruption(ctx)
		}))
		synctest.Wait()
		all := w.bus.Subscribe("*")
		defer all.Close()
		w.publish("relay", `{"type":"raw_json","x":1}`)
		synctest.Wait()
		var got []string
		for m, _ := all.Next(); m != nil; m, _ = all.Next() {
			got = append(got, fmt.Sprintf("%d %s %s %s", m.Sequence, m.Topic, m.Payload.Bytes(), m.Principal))
			if m.Topic == "out" && m.SourceID != relay.Announced().Session {
				t.Errorf("source %s is not the session", m.SourceID)
			}
		}
		first := callers[0]
		if len(callers) != 2 || first.Principal == nil || *first.Principal != "own" || *callers[1].Principal != "ann" || callers[1].SourceID != "outside" {
			t.Errorf("callers: %+v", callers)
		}
		expect(t, "messages", got, `3 relay {"x":1} ann`, `4 out {"x":1} ann`)
	})
}

// The order of one publisher's messages at one receiver is that of their publication, even
// if they go through chains that meet it at different places, and if steps before it take
// long.
func TestOrderOfOnePublisher(t *testing.T) {
	for kind, edit := range map[string]func(*CapsuleConfig){"queued": func(*CapsuleConfig) {}, "inline": inline} {
		t.Run(kind, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				j := map[string]*journal{}
				slow := func(name string) action {
					j[name] = &journal{}
					n := 0
					return func(_ context.Context, _ *script, payload string) (capsulehost.Result, error) {
						n++
						time.Sleep(time.Duration(n*7%5) * time.Millisecond)
						j[name].note("%s", payload)
						if n%11 == 0 {
							return capsulehost.Result{}, trap
						}
						return capsulehost.Result{}, nil
					}
				}
				on := func(topics ...string) func(*CapsuleConfig) {
					var all []messages.Interceptor
					for _, topic := range topics {
						name, priority, _ := strings.Cut(topic, "@")
						var n uint32
						_, _ = fmt.Sscan(priority, &n)
						all = append(all, messages.Interceptor{Event: name, Action: topic, Priority: n})
					}
					return wanting(all...)
				}
				w.start("a", slow("a"), on("x@1", "y@3", "z@2"), edit)
				w.start("b", slow("b"), on("x@2", "y@1", "v@1"), edit)
				w.start("c", slow("c"), on("x@3", "y@2", "z@1", "v@2"), edit)
				synctest.Wait()
				reach := map[string]string{"x": "abc", "y": "abc", "z": "ac", "v": "bc"}
				want := map[string][]string{}
				for n := range 200 {
					topic := []string{"x", "y", "z", "v", "y", "z"}[n*5%6]
					for _, name := range reach[topic] {
						want[string(name)] = append(want[string(name)], fmt.Sprint(n))
					}
					w.publish(topic, fmt.Sprint(n))
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				for name, journal := range j {
					expect(t, name, journal.take(), want[name]...)
				}
				if p := w.bus.outside; p.messages != 0 || p.bytes != 0 || len(p.due) != 0 {
					t.Errorf("under way at the end: %d messages, %d bytes, %d due", p.messages, p.bytes, len(p.due))
				}
				for id, l := range w.bus.outside.lanes {
					if len(l.chains) != 0 {
						t.Errorf("lane %s holds %d", id, len(l.chains))
					}
				}
			})
		})
	}
}

// Triggers and messages share one queue per capsule: what comes first is served first.
func TestOneQueueForTriggersAndMessages(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		var j journal
		w.start("c", func(_ context.Context, _ *script, payload string) (capsulehost.Result, error) {
			j.note("%s", payload)
			time.Sleep(time.Second)
			return capsulehost.Result{}, nil
		})
		synctest.Wait()
		for n := range 6 {
			if n%2 == 0 {
				w.publish("c", fmt.Sprint(n))
			} else {
				go func() {
					_, _ = w.triggerWithin(time.Minute, TriggerRequest{Topic: "c", Payload: []byte(fmt.Sprint(n))})
				}()
			}
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, "calls", j.take(), "0", "1", "2", "3", "4", "5")
	})
}

// A capsule that publishes what it intercepts ends after MaxDepth publications, and that
// is a dead letter. A trigger on the way does not start the count anew.
func TestDepth(t *testing.T) {
	for name, via := range map[string]string{"itself": "", "a trigger": "hop"} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				n := 0
				w.start("loop", func(ctx context.Context, s *script, payload string) (capsulehost.Result, error) {
					n++
					if via == "" {
						return capsulehost.Result{}, s.publish("loop", payload)
					}
					_, err := s.trigger(ctx, via)
					return capsulehost.Result{}, err
				})
				w.start("hop", func(_ context.Context, s *script, payload string) (capsulehost.Result, error) {
					return capsulehost.Result{}, s.publish("loop", payload)
				})
				synctest.Wait()
				w.seen()
				w.publish("loop", "1")
				synctest.Wait()
				if n != MaxDepth+1 {
					t.Errorf("called %d times", n)
				}
				expect(t, "events", w.seen(), "event-bus/0 messages.DeadLetter")
				if got := w.bus.stats.dead; len(got) != 1 || got[DeadDepth] != 1 {
					t.Errorf("dead letters: %v", got)
				}
			})
		})
	}
}

// A step that finds its capsule's queue full is a dead letter, and the chain goes on.
func TestFullQueue(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		var j journal
		w.start("busy", hangs, wanting(messages.Interceptor{Event: "t", Action: "on", Priority: 1}), func(c *CapsuleConfig) { c.Version.Queue = 2 })
		w.start("next", notes(&j, "next", capsulehost.Result{}, nil), wanting(messages.Interceptor{Event: "t", Action: "on", Priority: 2}))
		synctest.Wait()
		w.seen()
		for n := range 5 {
			w.publish("t", fmt.Sprint(n))
			synctest.Wait()
		}
		if got := j.take(); len(got) != 0 {
			t.Errorf("out of order: %v", got) // the first is still with busy
		}
		if got := w.bus.stats.dead; got[DeadFull] != 2 {
			t.Errorf("dead letters: %v", got)
		}
		expect(t, "events", w.seen(), "busy/0 messages.DeadLetter")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		expect(t, "after the time-outs", j.take(), "next 0", "next 1", "next 2", "next 3", "next 4")
	})
}

// A capsule that has ended is skipped; one that is about to be restarted serves what waits.
func TestChainOverDeaths(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		var j journal
		gone := w.start("gone", notes(&j, "gone", capsulehost.Result{}, nil), wanting(messages.Interceptor{Event: "t", Action: "on", Priority: 1}))
		n := 0
		w.start("flaky", func(_ context.Context, _ *script, payload string) (capsulehost.Result, error) {
			j.note("flaky %s", payload)
			if n++; n == 1 {
				return capsulehost.Result{}, trap
			}
			return capsulehost.Result{}, nil
		}, wanting(messages.Interceptor{Event: "t", Action: "on", Priority: 2}))
		synctest.Wait()
		w.hold("flaky")
		w.close(gone)
		synctest.Wait()
		w.publish("t", "1")
		w.publish("t", "2")
		synctest.Wait()
		expect(t, "calls", j.take(), "flaky 1")
		w.release("flaky")
		synctest.Wait()
		expect(t, "calls after the restart", j.take(), "flaky 2")
		if got := w.bus.stats.steps[messages.OutcomeUnavailable]; got != 2 {
			t.Errorf("%d steps were unavailable", got)
		}
	})
}

// A publisher that has too much under way reaches subscriptions only.
func TestBacklog(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.start("c", hangs, func(c *CapsuleConfig) { c.Version.Queue = 0 })
		all := w.bus.Subscribe("c")
		defer all.Close()
		synctest.Wait()
		for range publisherMessages + 3 {
			w.publish("c", "1")
		}
		synctest.Wait()
		if got := w.bus.stats.dead[DeadBacklog]; got != 3 {
			t.Errorf("%d dead letters", got)
		}
		if got := w.bus.outside.messages; got != publisherMessages {
			t.Errorf("%d are under way", got)
		}
		m, lost := all.Next()
		if m == nil || lost != publisherMessages+3-subscriptionMessages {
			t.Errorf("the subscription has lost %d", lost)
		}
	})
}

// Subscriptions of a guest: handles from 1, those of a run loop's interceptors first and
// not to be ended, 128 at most, and gone with the instance.
func TestGuestSubscriptions(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		var j journal
		w.start("c", nil, wanting(messages.Interceptor{Event: "a.*", Action: "one"}, messages.Interceptor{Event: "*.b.c", Action: "two"}), runs(func(ctx context.Context, s *script) error {
			bus := s.Services().Bus
			j.note("%v", bus.Interceptors())
			own, err := bus.Subscribe("own.*")
			j.note("%d %v", own, err)
			for range capsulehost.MaxSubscriptions - 3 {
				if _, err := bus.Subscribe("x"); err != nil {
					return err
				}
			}
			_, err = bus.Subscribe("x")
			j.note("%v", err)
			j.note("%v", bus.Unsubscribe(1))
			j.note("%v", bus.Unsubscribe(77))
			j.note("%v", bus.Unsubscribe(77))
			s.SignalReady()
			for {
				for _, handle := range []uint64{1, 2, own} {
					batch, err := bus.Receive(ctx, handle, time.Minute)
					if ctx.Err() != nil {
						return interruption(ctx)
					}
					j.note("%d: %d messages, %v", handle, len(batch.Messages), err)
				}
			}
		}))
		synctest.Wait()
		expect(t, "at first", j.take(), "[{1 one a.*} {2 two *.b.c}]", "3 <nil>",
			`subscription to "x": the capsule has 128, which is the limit`,
			`subscription 1 stands for the interceptor "one", and can't be ended`, "<nil>", "there is no subscription 77")
		for n := range 3 {
			w.publish("a.b.c", fmt.Sprint(n)) // both interceptors
			synctest.Wait()
		}
		expect(t, "messages", j.take(), "1: 1 messages, <nil>", "2: 1 messages, <nil>")
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, "then", j.take(), "3: 0 messages, <nil>", "1: 2 messages, <nil>", "2: 2 messages, <nil>")
		if n := w.bus.subscriptions.count; n != 1+capsulehost.MaxSubscriptions-1 { // and the kernel's
			t.Errorf("%d subscriptions", n)
		}
		w.close(w.handles["c"])
		synctest.Wait()
		if n := w.bus.subscriptions.count; n != 1 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}

// A wait ends at once at a stop, at a kill and at a restart.
func TestReceiveEnds(t *testing.T) {
	for name, cause := range map[string]error{"stop": ErrStopping, "kill": ErrKilled, "restart": ErrRestarting} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				ended := make(chan time.Time, 1)
				h := w.start("c", nil, runs(func(ctx context.Context, s *script) error {
					handle, err := s.Services().Bus.Subscribe("t")
					if err != nil || s.generation > 1 {
						<-ctx.Done()
						return interruption(ctx)
					}
					_, _ = s.Services().Bus.Receive(ctx, handle, time.Hour)
					ended <- time.Now()
					return interruption(ctx)
				}))
				synctest.Wait()
				began := time.Now()
				switch {
				case name == "restart":
					w.restart("c")
				case name == "stop":
					h.Close()
				}
				h.Interrupt(1, cause)
				if took := (<-ended).Sub(began); took > 0 {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// What the kernel publishes of itself, and its answers, as those of astrid-kernel 0.5.0.
func TestKernelTopics(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		synctest.Wait()
		all := w.bus.Subscribe("astrid.v1.*")
		defer all.Close()
		seen := func() (lines []string) {
			synctest.Wait()
			for m, _ := all.Next(); m != nil; m, _ = all.Next() {
				if strings.HasPrefix(m.Topic, "astrid.v1.request.") {
					continue
				}
				var envelope struct{ Payload json.RawMessage }
				if err := json.Unmarshal(m.AppendJSON(nil), &envelope); err != nil {
					t.Error(err)
				}
				source := "own"
				if m.SourceID == KernelSource {
					source = "kernel"
				}
				lines = append(lines, fmt.Sprintf("%s %s %s%s", m.Topic[len("astrid.v1."):], envelope.Payload, source, m.Principal))
			}
			return lines
		}
		time.Sleep(12 * time.Second)
		expect(t, "ticks", seen(),
			`watchdog.tick {"data":{},"type":"custom"} own`, `watchdog.tick {"data":{},"type":"custom"} own`)
		to := func(name string) {
			w.sys.Send(w.bus.self, map[string]any{
				"ready": &SystemReady{}, "died": &CapsuleDied{Path: "capsules/c", Reason: "<why>"},
			}[name])
		}
		to("ready")
		to("died")
		expect(t, "announcements", seen(),
			`capsules_loaded {"status":"ready","type":"raw_json"} kernel`,
			`health.failed {"data":{"capsule_id":"c","reason":"<why>"},"type":"custom"} own`)
		w.bus.lost(2)
		expect(t, "lagged", seen(), `event_bus.lagged {"data":{"lagged_count":2},"type":"custom"} own`)
		w.bus.lost(3)
		w.bus.lost(4)
		expect(t, "lagged again", seen())
		time.Sleep(10 * time.Second)
		got := slices.DeleteFunc(seen(), func(line string) bool { return strings.HasPrefix(line, "watchdog") })
		expect(t, "10 s later", got, `event_bus.lagged {"data":{"lagged_count":7},"type":"custom"} own`)

		ask := func(topic, request string) []string {
			w.publish("astrid.v1.request."+topic, request)
			return seen()
		}
		for _, tt := range []struct{ request, response string }{
			{`{"type":"raw_json","method":"ListCapsules"}`, `{"data":["a","b"],"status":"Success","type":"raw_json"}`},
			{`{"type":"raw_json","method":"GetCommands","params":null}`, `{"data":[{"description":"No description","name":"/x","provider_capsule":"a"}],"status":"Commands","type":"raw_json"}`},
			{`{"type":"raw_json","method":"GetCapsuleMetadata"}`, `{"data":[{"interceptor_events":["t.*"],"name":"a"}],"status":"CapsuleMetadata","type":"raw_json"}`},
			{
				`{"type":"raw_json","method":"GetStatus"}`,
				`{"data":{"connected_clients":0,"ephemeral":false,"loaded_capsules":["a"],"pid":7,"uptime_secs":9,"version":"0.5.0"},"status":"Status","type":"raw_json"}`,
			},
			{`{"type":"raw_json","method":"InstallCapsule","params":{"source":"x","workspace":false}}`, `{"data":"InstallCapsule is for an operator, and not for a capsule","status":"Error","type":"raw_json"}`},
			{`{"type":"raw_json","method":"Shutdown","params":{"reason":"enough"}}`, `{"data":{"status":"shutting_down"},"status":"Success","type":"raw_json"}`},
			{`{"type":"raw_json","method":"Shutdown","params":{"reason":null}}`, `{"data":"Rate limited: max 1 Shutdown requests per minute","status":"Error","type":"raw_json"}`},
		} {
			expect(t, tt.request, ask("some.thing", tt.request), "response.some.thing "+tt.response+" kernel")
		}
		if w.kernel.reason != "enough" {
			t.Errorf("shut down for %q", w.kernel.reason)
		}
		for _, no := range []string{`{"method":"ListCapsules"}`, `{"type":"raw_json","method":"Novel"}`, `{"type":"raw_json","method":7}`, `{"type":"raw_json"}`} {
			expect(t, no, ask("x", no))
		}
		for n := range 7 {
			want := []string{`response.r {"data":{"status":"reloaded"},"status":"Success","type":"raw_json"} kernel`, `capsules_loaded {"status":"ready","type":"raw_json"} kernel`}
			if n == 5 {
				want = []string{`response.r {"data":"Rate limited: max 5 ReloadCapsules requests per minute","status":"Error","type":"raw_json"} kernel`}
			}
			if n == 6 {
				time.Sleep(time.Minute)
				seen()
			}
			expect(t, "reload", ask("r", `{"type":"raw_json","method":"ReloadCapsules"}`), want...)
		}
		if w.kernel.reloads != 6 {
			t.Errorf("%d reloads", w.kernel.reloads)
		}
	})
}
