package actors

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
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

// tree is a registry, a router and scripted capsules, below a supervisor that
// restarts them at once, unless the test holds it back.
type tree struct {
	tb     testing.TB
	sys    *system.System
	router *Router
	bus    *Bus
	kernel *fakeKernel
	root   *actor.PID

	mu      sync.Mutex
	events  []string
	reasons []any // of failures, of capsules and others
	held    map[string]bool
	handles map[string]*CapsuleRef
	open    map[string]int    // instances that live, by capsule
	ready   map[string]uint64 // the last generation that was Ready
	logged  []string
	observe func(messages.Event)
	silent  bool // a restarted registry or router is told nothing by itself
}

func newTree(tb testing.TB) *tree {
	tb.Helper()
	w := &tree{
		tb: tb, sys: system.New(slog.New(slog.DiscardHandler)), held: map[string]bool{}, handles: map[string]*CapsuleRef{},
		open: map[string]int{}, ready: map[string]uint64{}, observe: func(messages.Event) {},
	}
	w.router = NewRouter(nil, nil)
	w.bus, w.kernel = NewBus(BusConfig{System: w.sys, Router: w.router, Stats: &BusStats{Observe: w.note}}), &fakeKernel{}
	ready := make(chan struct{})
	root := &keeper{tree: w, start: func(ctx actor.Context) {
		spawn := func(name string, props *actor.Props) {
			if _, err := ctx.SpawnNamed(props, name); err != nil {
				tb.Error(err)
			}
		}
		spawn("registry", RegistryProps(RegistryConfig{System: w.sys, Log: logTo(w)}))
		spawn("hook-router", w.router.Props(w.sys, slog.New(slog.DiscardHandler)))
		spawn(BusName, w.bus.Props(w.kernel, logTo(w)))
		spawn("capsules", w.sys.Props(func() actor.Actor { return &keeper{tree: w} }, system.NewMailbox(0, nil)))
		close(ready)
	}}
	var err error
	if w.root, err = w.sys.Spawn("root", w.sys.Props(func() actor.Actor { return root }, system.NewMailbox(0, nil))); err != nil {
		tb.Fatal(err)
	}
	<-ready
	w.sys.Send(w.sys.PID(RouterPath), &resyncDone{})
	return w
}

// keeper supervises: it runs what the test sends it, and restarts what fails.
type keeper struct {
	tree  *tree
	start func(actor.Context)
}

func (k *keeper) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		if k.start != nil {
			k.start(ctx)
		}
	case func(actor.Context):
		m(ctx)
	}
}

func (k *keeper) HandleFailure(_ *actor.ActorSystem, s actor.Supervisor, pid *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	k.tree.mu.Lock()
	k.tree.reasons = append(k.tree.reasons, reason)
	held := k.tree.held[pid.Id[strings.LastIndexByte(pid.Id, '/')+1:]]
	k.tree.mu.Unlock()
	if !held {
		s.RestartChildren(pid)
	}
	if k.start != nil && !k.tree.silent {
		k.tree.announce(pid)
	}
}

// announce tells a restarted registry or router what there is.
func (w *tree) announce(to *actor.PID) {
	w.mu.Lock()
	handles := slices.Collect(maps.Values(w.handles))
	w.mu.Unlock()
	for _, h := range handles {
		if up := h.Announced(); up != nil {
			w.sys.Send(to, up)
		}
	}
	w.sys.Send(to, &resyncDone{})
}

// do runs f on the goroutine of the capsules' supervisor.
func (w *tree) do(f func(actor.Context)) {
	done := make(chan struct{})
	w.sys.Send(w.sys.PID("root/capsules"), func(ctx actor.Context) { f(ctx); close(done) })
	<-done
}

// handle makes a capsule that wants the topic of its name, not started yet.
func (w *tree) handle(id string, act action, edit ...func(*CapsuleConfig)) *CapsuleRef {
	loads := 0
	cfg := CapsuleConfig{
		ID: id, TriggerTimeout: 30 * time.Second,
		Version: &Version{
			Number: "1.0.0", Interceptors: wants(id), CallTimeout: time.Minute, Queue: 256,
			Config: func(key string) string { return "value of " + key },
		},
		System: w.sys, Registry: w.sys.PID(RegistryPath), HookRouter: w.sys.PID(RouterPath), Router: w.router,
		Bus: w.bus, Principal: "own",
		Observe: func(e messages.Event) {
			w.note(e)
			w.observe(e)
		},
		Log: slog.New(slog.DiscardHandler), Lines: lines{w},
	}
	cfg.Version.Load = func(_ context.Context, s capsulehost.HostAPI) (Guest, error) {
		loads++
		w.count(id, 1)
		return &script{HostAPI: s, generation: loads, act: act, closed: func() { w.count(id, -1) }}, nil
	}
	for _, e := range edit {
		e(&cfg)
	}
	h := NewCapsuleRef(cfg)
	w.mu.Lock()
	w.handles[id] = h
	w.mu.Unlock()
	return h
}

func (w *tree) spawn(h *CapsuleRef) {
	w.do(func(ctx actor.Context) {
		if _, err := ctx.SpawnNamed(h.Props(), h.cfg.ID); err != nil {
			w.tb.Error(err)
		}
	})
}

// start makes and starts a capsule.
func (w *tree) start(id string, act action, edit ...func(*CapsuleConfig)) *CapsuleRef {
	h := w.handle(id, act, edit...)
	w.spawn(h)
	return h
}

// hold keeps what fails from being restarted; release restarts it.
func (w *tree) hold(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[id] = true
}

func (w *tree) release(id string) {
	w.mu.Lock()
	delete(w.held, id)
	w.mu.Unlock()
	w.restart(id)
}

func (w *tree) restart(id string) {
	w.do(func(ctx actor.Context) { ctx.(actor.Supervisor).RestartChildren(w.sys.PID("root/" + CapsulePath(id))) })
}

// close begins a capsule's end, as its supervisor does.
func (w *tree) close(h *CapsuleRef) {
	h.Close()
	w.do(func(ctx actor.Context) { ctx.Stop(w.sys.PID("root/" + CapsulePath(h.cfg.ID))) })
}

// trigger asks for a topic, for no caller, within 10 s.
func (w *tree) trigger(topic string) []messages.Leg {
	w.tb.Helper()
	legs, err := w.triggerWithin(10*time.Second, TriggerRequest{Topic: topic, Payload: []byte("null")})
	if err != nil {
		w.tb.Errorf("trigger %s: %v", topic, err)
	}
	return legs
}

func (w *tree) triggerWithin(limit time.Duration, m TriggerRequest) ([]messages.Leg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	reply, err := w.router.Trigger(ctx, m)
	if err != nil {
		return nil, err
	}
	return reply.Legs, nil
}

// later triggers on a goroutine of its own, and hands over the legs.
func (w *tree) later(topic string) <-chan []messages.Leg {
	out := make(chan []messages.Leg, 1)
	go func() { out <- w.trigger(topic) }()
	return out
}

// allowed asks the registry about a session.
func (w *tree) allowed(session string) bool {
	w.tb.Helper()
	answer, err := w.sys.Ask(context.Background(), w.sys.PID("root/registry"), &messages.CheckCapability{
		SourceUUID: session, Capability: CapabilityPromptInjection,
	})
	if err != nil {
		w.tb.Error(err)
		return false
	}
	return answer.(*messages.CapabilityChecked).Allowed
}

// find asks the registry for a capsule.
func (w *tree) find(id string) *messages.CapsuleFound {
	w.tb.Helper()
	answer, err := w.sys.Ask(context.Background(), w.sys.PID("root/registry"), &messages.FindCapsule{ID: id})
	if err != nil {
		w.tb.Error(err)
		return nil
	}
	return answer.(*messages.CapsuleFound)
}

// stop ends all, and checks that nothing is left behind.
func (w *tree) stop() {
	w.tb.Helper()
	if err := w.sys.AwaitStopped(context.Background(), w.root); err != nil {
		w.tb.Error(err)
	}
	w.sys.Close()
	if n := w.router.Open(); n != 0 {
		w.tb.Errorf("%d triggers are open at the end", n)
	}
	if n := w.router.Awaited(); n != 0 {
		w.tb.Errorf("%d legs are awaited by capsules at the end", n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, n := range w.open {
		if n != 0 {
			w.tb.Errorf("%d instances of %s live at the end", n, id)
		}
	}
}

func (w *tree) count(id string, by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open[id] += by; w.open[id] > 1 {
		w.tb.Errorf("%d instances of %s live at once", w.open[id], id)
	}
}

// note keeps an event as one line: "c/2 crashed call".
func (w *tree) note(e messages.Event) {
	line := fmt.Sprintf("%s/%d ", strings.TrimPrefix(e.Path, "capsules/"), e.Generation)
	switch what := e.Detail.(type) {
	case messages.CapsuleLoading:
		line += "loading"
	case messages.CapsuleStarting:
		line += "starting"
	case messages.CapsuleReady:
		line += "ready"
	case messages.CapsuleCrashed:
		line += "crashed " + what.During + " " + what.Failure.Kind
	default:
		line += fmt.Sprintf("%T", what)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, line)
	if _, ok := e.Detail.(messages.CapsuleReady); ok {
		w.ready[strings.TrimPrefix(e.Path, "capsules/")] = e.Generation
	}
}

// awaitReady waits until a generation of a capsule, or a later one, is Ready: for
// tests that are not in a bubble.
func (w *tree) awaitReady(id string, generation uint64) {
	w.tb.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; {
		w.mu.Lock()
		ready := w.ready[id] >= generation
		w.mu.Unlock()
		if ready {
			return
		}
		runtime.Gosched()
	}
	w.tb.Fatalf("%s/%d is not Ready after a minute", id, generation)
}

// seen returns the events so far, and forgets them.
func (w *tree) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.events
	w.events = nil
	return out
}

// failures are why actors have failed so far.
func (w *tree) failures() []any {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.reasons)
}

// crash returns the only failure, which is a capsule's.
func (w *tree) crash() *Crash {
	w.tb.Helper()
	failures := w.failures()
	if len(failures) != 1 {
		w.tb.Fatalf("these have failed: %v", failures)
	}
	crash, ok := failures[0].(*Crash)
	if !ok {
		w.tb.Fatalf("the failure is no crash: %v", failures[0])
	}
	return crash
}

// living is how many instances of a capsule live.
func (w *tree) living(id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open[id]
}

// log is what was logged so far.
func (w *tree) log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.logged)
}

// Write is where guests and the registry log.
func (w *tree) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logged = append(w.logged, string(line))
	return len(line), nil
}

// lines is where guests log: "principal: message".
type lines struct{ *tree }

func (l lines) Write(_ capsulehost.LogLevel, principal, message string) {
	_, _ = l.tree.Write([]byte(principal + ": " + message))
}

// refOf is a reference to a capsule whose queue is closed.
func refOf(id string) *CapsuleRef {
	r := NewCapsuleRef(CapsuleConfig{ID: id, Version: &Version{}})
	r.Close()
	return r
}

// logTo returns a logger that writes a JSON object a line to w, without the time.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(untimed{zerolog.NewSlogHandler(zerolog.New(w))})
}

type untimed struct{ slog.Handler }

func (h untimed) Handle(ctx context.Context, r slog.Record) error {
	r.Time = time.Time{}
	return h.Handler.Handle(ctx, r)
}

func (h untimed) WithAttrs(attrs []slog.Attr) slog.Handler {
	return untimed{h.Handler.WithAttrs(attrs)}
}
