package supervisor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// slowReader reads its payload only after it is told to.
type slowReader struct {
	supervisor.Guest
	began, read chan struct{}
	saw         chan string
}

func (g slowReader) Invoke(_ context.Context, _ string, payload []byte) (capsulehost.Result, error) {
	close(g.began)
	<-g.read
	g.saw <- string(payload)
	return capsulehost.Result{}, nil
}

// A caller may reuse its payload as soon as Trigger has returned, even if legs still
// run.
func TestAPayloadIsTheCallersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guest := slowReader{began: make(chan struct{}), read: make(chan struct{}), saw: make(chan string, 1)}
		s := supervisortest.Start(t, supervisor.Config{
			WrapLoad: func(_ string, load supervisor.LoadFunc) supervisor.LoadFunc {
				return func(ctx context.Context, api capsulehost.HostAPI) (supervisor.Guest, error) {
					inner, err := load(ctx, api)
					guest.Guest = inner
					return guest, err
				}
			},
		}, worker("a"))
		payload := json.RawMessage(`"before"`)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := s.Supervisor.Trigger(ctx, supervisor.TriggerRequest{Topic: "ask.a", Payload: payload})
			gone <- err
		}()
		<-guest.began
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("a trigger that is given up: %v", err)
		}
		copy(payload, `"after!"`)
		close(guest.read)
		diff(t, `"before"`, <-guest.saw)
		synctest.Wait()
	})
}

// Guests written in Go may change their payload: each leg has its own copy.
func TestGoGuestsShareNoPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []supervisor.Capsule
		var changed sync.WaitGroup
		ids := []string{"a", "b", "c"}
		changed.Add(len(ids))
		for _, id := range ids {
			all = append(all, supervisortest.Func(id, "ask", func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				copy(c.Payload[1:], id)
				changed.Done()
				changed.Wait()
				return capsulehost.Result{Data: c.Payload}, nil
			}))
		}
		s := supervisortest.Start(t, supervisor.Config{}, all...)
		s.Expect("ask", `"x"`, `a continue "a"`, `b continue "b"`, `c continue "c"`)
	})
}

// The system copies the answers and the trigger payloads of a guest written in Go.
func TestGoGuestsKeepTheirMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer, question := []byte(`{"ok":true}`), json.RawMessage(`{"q":1}`)
		began, read := make(chan struct{}), make(chan struct{})
		saw := make(chan string, 1)
		s := supervisortest.Start(t, supervisor.Config{
			WrapLoad: func(id string, load supervisor.LoadFunc) supervisor.LoadFunc {
				return func(ctx context.Context, api capsulehost.HostAPI) (supervisor.Guest, error) {
					inner, err := load(ctx, api)
					if id == "reader" {
						return slowReader{inner, began, read, saw}, err
					}
					return inner, err
				}
			},
		},
			supervisortest.Func("fixed", "fixed", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
				return capsulehost.Result{Data: answer}, nil
			}),
			supervisortest.Func("nests", "nests", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				values, err := c.Services().Peers.TriggerHook(ctx, "fixed", nil)
				if err != nil {
					return capsulehost.Result{}, err
				}
				copy(values[0], `{"no":true}`)
				return supervisortest.JSON(1)
			}),
			supervisortest.Func("asker", "asker", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				go func() { <-began; cancel() }()
				_, err := c.Services().Peers.TriggerHook(ctx, "reader", question)
				copy(question, `{"x":2}`)
				return supervisortest.JSON(fmt.Sprint(errors.Is(err, context.Canceled)))
			}),
			supervisortest.Func("reader", "reader", nil))
		reply := s.Ask("fixed", "")
		copy(reply.Legs[0].Value, `{"no":true}`)
		s.Expect("fixed", "", `fixed continue {"ok":true}`)
		s.Expect("nests", "", `nests continue 1`)
		s.Expect("fixed", "", `fixed continue {"ok":true}`)
		s.Expect("asker", "", `asker continue "true"`)
		close(read)
		diff(t, `{"q":1}`, <-saw)
		synctest.Wait()
	})
}

// A trigger of a guest written in Go waits for other capsules. It ends with the guest's
// own call.
func TestANestedTriggerEndsWithItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		s := supervisortest.Start(t, supervisor.Config{TriggerTimeout: time.Hour},
			supervisortest.Func("outer", "outer", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				return supervisortest.JSON(c.Trigger(ctx, "inner", nil))
			}),
			supervisortest.Func("inner", "inner", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
				<-free // it ignores its context
				return supervisortest.JSON(1)
			}))
		answer := s.Begin("outer", "")
		synctest.Wait()
		began := time.Now()
		wantError(t, "kill", s.Kill(t.Context(), "outer"), nil)
		diff(t, []string{"outer crashed"}, supervisortest.Legs(answer()))
		diff(t, time.Duration(0), time.Since(began))
		synctest.Wait()
		if n := s.Snapshot().WaitEdges; n != 0 {
			t.Errorf("nobody waits, and there are %d wait edges", n)
		}
		close(free)
		s.Expect("outer", "", "outer continue [1]")
	})
}

// A guest calls runtime.Goexit while an operator's restart waits for its call, or has
// interrupted it. That costs one restart, and no budget.
func TestAGoexitDuringAnOperatorsRestart(t *testing.T) {
	for name, test := range map[string]struct {
		ends  time.Duration // after the restart was requested; its stop timeout is 10 s
		story []string
	}{
		"by itself":           {time.Second, []string{"crashed 1 in call: host_call"}},
		"when it is to do so": {time.Minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("a", "ask", func(ctx context.Context, _ *supervisortest.Call) (capsulehost.Result, error) {
					select {
					case <-time.After(test.ends):
					case <-ctx.Done():
					}
					runtime.Goexit()
					return capsulehost.Result{}, nil
				}))
				answer := s.Begin("ask", "")
				synctest.Wait()
				wantError(t, "restart", s.Restart(t.Context(), "a"), nil)
				diff(t, []string{"a crashed"}, supervisortest.Legs(answer()))
				pass(time.Hour)
				diff(t, slices.Concat([]string{"loading 1", "ready 1"}, test.story,
					[]string{"restart 0/5 after an operator's command", "upgraded 2: 1.0.0 -> 1.0.0"}), s.Timeline("a"))
				if c := s.Capsule("a"); c.BudgetSpent != 0 || c.Restarts != 0 {
					t.Errorf("%d restarts, %d of the budget spent", c.Restarts, c.BudgetSpent)
				}
			})
		})
	}
}

// A reader whose number is from before a restart of the daemon is told so, and receives
// all events that are kept.
func TestEventsOfAnotherEpoch(t *testing.T) {
	s := startAll(t, worker("a"))
	for e := range s.Events(t.Context(), 0) {
		if e.Name() == "system_started" {
			break
		}
	}
	tree := s.Snapshot()
	var got []string
	for e := range s.Events(t.Context(), tree.Sequence+1000) {
		got = append(got, strings.TrimSpace(e.Name()))
		if d, ok := e.Detail.(messages.EpochChanged); ok && (d.Epoch != tree.Epoch || d.Epoch == "") {
			t.Errorf("the epoch is %q, that of the snapshot %q", d.Epoch, tree.Epoch)
		}
		if e.Sequence == tree.Sequence {
			break
		}
	}
	diff(t, []string{"epoch_changed", "capsule_loading", "capsule_ready", "system_started"}, got)
	if other := startAll(t).Snapshot().Epoch; other == tree.Epoch {
		t.Errorf("two journals have the epoch %q", other)
	}
}

// A capsule that signals during its load is ready as soon as its loop runs.
func TestSignalReadyDuringTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := supervisortest.Loop("early", func(ctx context.Context, _ *supervisortest.Call) error {
			<-ctx.Done()
			return ctx.Err()
		})
		load := c.Load
		c.Load = func(ctx context.Context, api capsulehost.HostAPI) (supervisor.Guest, error) {
			api.SignalReady()
			return load(ctx, api)
		}
		s := startAll(t, c)
		pass(time.Hour)
		diff(t, []string{"loading 1", "starting 1", "ready 1"}, s.Timeline("early"))
	})
}

// failingTracer panics in the spans of a capsule's legs while one is set.
type failingTracer struct {
	noop.TracerProvider
	capsule *string
}

func (f failingTracer) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return failingSpans{capsule: f.capsule}
}

type failingSpans struct {
	noop.Tracer
	capsule *string
}

func (f failingSpans) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	config := trace.NewSpanStartConfig(options...)
	for _, a := range config.Attributes() {
		if a.Key == "astrid.capsule" && a.Value.AsString() == *f.capsule {
			panic("a bug in the program's tracer")
		}
	}
	return f.Tracer.Start(ctx, name, options...)
}

// A panic in the middle of a trigger leaves no edge in the wait graph. Otherwise a later
// trigger would be answered as a deadlock.
func TestAPanicLeavesNoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := "second"
		s := supervisortest.Start(t, supervisor.Config{TracerProvider: failingTracer{capsule: &fails}},
			worker("first"),
			supervisortest.Func("outer", "outer", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				return supervisortest.JSON(c.Trigger(ctx, "ask.first", nil))
			}),
			supervisortest.Func("second", "ask.*", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				return supervisortest.JSON(c.Trigger(ctx, "outer", nil))
			}),
			supervisortest.Func("third", "ask.*", everyCall))
		s.Expect("outer", "", "outer crashed")
		synctest.Wait()
		if tree := s.Snapshot(); tree.WaitEdges != 0 || tree.OpenTriggers != 0 {
			t.Errorf("%d wait edges, %d open triggers", tree.WaitEdges, tree.OpenTriggers)
		}
		fails = ""
		s.AwaitReady("outer", 2)
		s.Expect("ask.first", "", `first continue "first"`, `second continue [["first",1]]`, `third continue 1`)
	})
}

func everyCall(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
	return supervisortest.JSON(1)
}

// gate is a log that blocks until it is opened.
type gate struct {
	opened chan struct{}
	locked
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.opened
	return g.locked.Write(p)
}

// A log that blocks delays no event, and its lines are in the order of the events.
func TestALogThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &gate{opened: make(chan struct{})}
		s := supervisortest.Start(t, supervisor.Config{
			Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}, worker("a"))
		began := time.Now()
		for range 50 {
			wantError(t, "restart", s.Restart(t.Context(), "a"), nil)
		}
		s.Expect("ask.a", "", `a continue "a"`)
		diff(t, time.Duration(0), time.Since(began))
		close(log.opened)
		wantError(t, "close", s.Close(), nil)
		var got, want []uint64
		for _, line := range log.lines() {
			var l struct{ Event uint64 }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			if l.Event > 0 {
				got = append(got, l.Event)
			}
		}
		for n := range s.Snapshot().Sequence {
			want = append(want, n+1)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the log has the events %v", got)
		}
		if !bytes.Contains(log.text.Bytes(), []byte("capsule upgraded")) {
			t.Error("no line tells of an upgrade")
		}
	})
}

// A system without capsules has started when its triggers are answered.
func TestASystemWithoutCapsulesStarts(t *testing.T) {
	for range 100 {
		s := startAll(t)
		s.Expect("nobody", "")
		wantError(t, "close", s.Close(), nil)
	}
}
