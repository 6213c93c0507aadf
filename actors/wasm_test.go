package actors

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// wasm makes a capsule's Load instantiate the module of that name in test/capsules.
func wasm(tb testing.TB, host *capsulehost.Host, name string) func(*CapsuleConfig) {
	tb.Helper()
	bytes, err := os.ReadFile(filepath.Join("..", "test", "capsules", name, name+".wasm"))
	if err != nil {
		tb.Fatal(err)
	}
	module, err := host.Compile(tb.Context(), bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return func(c *CapsuleConfig) {
		c.Version.Load = func(ctx context.Context, s capsulehost.HostAPI) (Guest, error) {
			instance, err := module.Instantiate(ctx, s)
			if err != nil {
				return nil, err
			}
			return &guest{instance, module.RunLoop()}, nil
		}
	}
}

type guest struct {
	*capsulehost.Instance
	runLoop bool
}

func (g *guest) RunLoop() bool { return g.runLoop }
func (g *guest) Inline()       {}

func newHost(tb testing.TB) *capsulehost.Host {
	tb.Helper()
	host, err := capsulehost.New(tb.Context(), capsulehost.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := host.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return host
}

// The same promises, with capsules in WebAssembly: a cycle is answered, a trap
// costs one call and one instance, and the session with it.
func TestCapsulesInWebAssembly(t *testing.T) {
	host, w := newHost(t), newTree(t)
	ping, pong := w.start("ping", nil, wasm(t, host, "ping")), w.start("pong", nil, wasm(t, host, "pong"))
	crash := w.start("crash-on-x", nil, wasm(t, host, "crash-on-x"))
	for id := range w.handles {
		w.awaitReady(id, 1)
	}
	ask := func(topic, payload string) messages.Leg {
		t.Helper()
		legs, err := w.triggerWithin(20*time.Second, TriggerRequest{Topic: topic, Payload: []byte(payload)})
		if err != nil || len(legs) != 1 {
			t.Fatal(show(legs), err)
		}
		return legs[0]
	}
	began := time.Now()
	if got := ask("ping", "1").Value; string(got) != `{"ping":[{"pong":[]}]}` {
		t.Errorf("ping: %s", got)
	}
	if got := ask("pong", "1").Value; string(got) != `{"pong":[{"ping":[]}]}` {
		t.Errorf("pong: %s", got)
	}
	for generation := range uint64(3) {
		w.awaitReady("crash-on-x", generation+1)
		session := crash.Announced().Session
		if leg := ask("crash-on-x", `"x"`); leg.Outcome != messages.OutcomeCrashed || leg.Generation != generation+1 {
			t.Errorf("leg %v", leg)
		}
		if w.allowed(session) {
			t.Error("the session outlived its instance")
		}
		if leg := ask("crash-on-x", "1"); string(leg.Value) != `{"alive":true}` || leg.Generation != generation+2 {
			t.Errorf("the next call: %v", leg)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v: something waited for its time-out", took)
	}
	if ping.Stats().MemoryBytes() == 0 || ping.Stats().Calls() != 2 || pong.Generation() != 1 {
		t.Errorf("ping: %d bytes, %d calls; pong: generation %d", ping.Stats().MemoryBytes(), ping.Stats().Calls(), pong.Generation())
	}
	w.stop()
}

// Whoever answers too much is not heard; who asked lives on, and hears the others.
func TestAnswersThatDoNotFitHarmNobody(t *testing.T) {
	host, w := newHost(t), newTree(t)
	large := `"` + strings.Repeat("x", maxAnswer-2) + `"`
	const many = 17 // more than all the memory that is shared with a guest
	for i := range many {
		w.start(fmt.Sprintf("large-%02d", i), says(large), func(c *CapsuleConfig) { c.Version.Interceptors = wants("pong") })
	}
	w.start("small", says(`"small"`), func(c *CapsuleConfig) { c.Version.Interceptors = wants("pong") })
	w.start("ping", nil, wasm(t, host, "ping"))
	for id := range w.handles {
		w.awaitReady(id, 1)
	}
	legs, err := w.triggerWithin(time.Minute, TriggerRequest{Topic: "ping", Payload: []byte("1")})
	if err != nil || len(legs) != 1 || legs[0].Outcome != messages.OutcomeInvalid && legs[0].Outcome != messages.OutcomeContinue {
		t.Errorf("%v, %v", show(legs), err)
	}
	if ready := w.find("ping"); ready.Generation != 1 || ready.State != messages.StateReady {
		t.Errorf("who asked is %v", ready)
	}
	w.stop()
}

// A guest that runs without end stops at the trigger's deadline, one that sleeps
// in the run loop when it is stopped.
func TestInterruptionsInWebAssembly(t *testing.T) {
	host, w := newHost(t), newTree(t)
	w.start("spin", nil, wasm(t, host, "spin"))
	w.start("loop", nil, wasm(t, host, "run-loop-ready"))
	w.awaitReady("spin", 1)
	legs, err := w.triggerWithin(50*time.Millisecond, TriggerRequest{Topic: "spin", Payload: []byte("1")})
	if err != nil || len(legs) != 1 || legs[0].Outcome != messages.OutcomeTimeout {
		t.Errorf("spin: %v, %v", show(legs), err)
	}
	w.awaitReady("spin", 2)
	if crash := w.crash(); crash.Blameless == "" || crash.Failure.Kind != "timeout" {
		t.Errorf("crash %+v", crash)
	}
	w.awaitReady("loop", 1)
	w.stop()
}
