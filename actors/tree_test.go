package actors

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a Guest in Go: what a capsule does is said by its test.
type script struct {
	world capsulehost.Surroundings
	act   func(ctx context.Context, s *script, action string, payload []byte) (capsulehost.Result, error)
	loop  func(ctx context.Context, s *script) error
}

func (s *script) Invoke(ctx context.Context, action string, payload []byte) (capsulehost.Result, error) {
	return s.act(ctx, s, action, payload)
}
func (s *script) Run(ctx context.Context) error { return s.loop(ctx, s) }
func (s *script) RunLoop() bool                 { return s.loop != nil }
func (s *script) MemoryBytes() uint64           { return 1 << 16 }
func (s *script) Close(context.Context) error   { return nil }

// tree is a system of scripted capsules below a supervisor that restarts them at once.
type tree struct {
	tb       testing.TB
	sys      *system.System
	triggers *Triggers
	root     *actor.PID

	mu      sync.Mutex
	events  []*messages.Event
	handles map[string]*Handle
}

func newTree(tb testing.TB) *tree {
	w := &tree{tb: tb, sys: system.New(zerolog.Nop()), handles: map[string]*Handle{}}
	w.triggers = NewTriggers(w.sys, w.sys.PID("root/hook-router"))
	started := make(chan struct{})
	props := w.sys.Props(func() actor.Actor { return &rootActor{tree: w, started: started} }, system.NewMailbox(0, nil))
	var err error
	if w.root, err = w.sys.Spawn("root", props); err != nil {
		tb.Fatal(err)
	}
	<-started
	return w
}

type rootActor struct {
	tree    *tree
	started chan struct{}
}

func (r *rootActor) Receive(ctx actor.Context) {
	if _, ok := ctx.Message().(*actor.Started); ok {
		ctx.SpawnNamed(RegistryProps(RegistryConfig{System: r.tree.sys}), "registry")
		ctx.SpawnNamed(RouterProps(RouterConfig{System: r.tree.sys, Triggers: r.tree.triggers}), "hook-router")
		ctx.SpawnNamed(r.tree.sys.Props(func() actor.Actor { return &keeper{tree: r.tree} }, system.NewMailbox(0, nil)), "capsules")
		close(r.started)
	}
}

type keeper struct{ tree *tree }

func (k *keeper) Receive(ctx actor.Context) {
	if f, ok := ctx.Message().(func(actor.Context)); ok {
		f(ctx)
	}
}
func (k *keeper) HandleFailure(_ *actor.ActorSystem, s actor.Supervisor, pid *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	s.RestartChildren(pid)
}

func (w *tree) do(f func(actor.Context)) {
	done := make(chan struct{})
	w.sys.Send(w.sys.PID("root/capsules"), func(ctx actor.Context) { f(ctx); close(done) })
	<-done
}

func (w *tree) start(id, topic string, act func(ctx context.Context, s *script, action string, payload []byte) (capsulehost.Result, error)) {
	h := NewHandle(CapsuleConfig{
		ID: id, Interceptors: []*messages.Interceptor{{Event: topic, Action: "act", Priority: 100}},
		Load: func(_ context.Context, s capsulehost.Surroundings) (Guest, error) {
			return &script{world: s, act: act}, nil
		},
		CallTimeout: time.Minute, TriggerTimeout: 30 * time.Second, Queue: 256,
		System: w.sys, Registry: w.sys.PID("root/registry"), Triggers: w.triggers,
		Observe: func(*messages.Event) {},
	})
	w.handles[id] = h
	w.do(func(ctx actor.Context) {
		if _, err := ctx.SpawnNamed(h.Props(), id); err != nil {
			w.tb.Error(err)
		}
	})
	for h.MemoryBytes() == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Millisecond)
}

func (w *tree) trigger(ctx context.Context, topic string) *messages.TriggerReply {
	r, err := w.triggers.Route(ctx, &messages.RouteTrigger{Topic: topic, Payload: []byte("null")})
	if err != nil {
		w.tb.Fatal(err)
	}
	return r
}

func (w *tree) stop() {
	w.sys.AwaitStopped(context.Background(), w.root)
	w.sys.Close()
}

func yes(context.Context, *script, string, []byte) (capsulehost.Result, error) {
	return capsulehost.Result{Data: []byte("true")}, nil
}

var _ = json.Marshal
