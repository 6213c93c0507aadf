package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.opentelemetry.io/otel/trace"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/capsulelog"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/catalog"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/faults"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/journal"
)

// stopMargin is added to the longest stop timeout to limit a shutdown: an interrupted
// guest needs time to notice.
const stopMargin = 2 * time.Second

// tree runs during one Serve: the actors, and the host of their guests.
type tree struct {
	cfg     Config
	journal *journal.Journal
	sys     *system.System
	host    *capsulehost.Host
	router  *actors.Router
	specs   []actors.ChildSpec // in start order
	refs    map[string]*actors.CapsuleRef
	sources map[string]*catalog.Source
	logs    []*capsulelog.Writer

	mu       sync.Mutex
	stopping bool
	open     sync.WaitGroup // triggers from outside; added to under mu
}

// newTree creates everything, and starts nothing.
func newTree(ctx context.Context, s *Supervisor) (*tree, error) {
	host, err := capsulehost.New(ctx, capsulehost.Config{
		MemoryLimitPages: s.cfg.MemoryLimitPages, CacheDir: cmp.Or(s.cfg.CacheDir, s.home.CacheDir()), Log: s.cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	var tracer trace.Tracer
	if provider := s.cfg.TracerProvider; provider != nil {
		tracer = provider.Tracer("github.com/astrid-actors/astrid-actors/supervisor")
	}
	t := &tree{
		cfg: s.cfg, journal: s.journal, host: host, sys: system.New(s.cfg.Log),
		router: actors.NewRouter(&s.journal.Triggers, tracer),
		refs:   map[string]*actors.CapsuleRef{}, sources: map[string]*catalog.Source{},
	}
	sources := catalog.Config{
		Home: s.home, Principal: s.principal, SocketPath: s.cfg.SocketPath, AllowUnverified: s.cfg.AllowUnverified,
		Host: host, Log: s.cfg.Log,
	}
	for i := range s.catalog.Entries {
		t.add(s, sources, &s.catalog.Entries[i])
	}
	return t, nil
}

// add creates the child spec of a discovered capsule.
func (t *tree) add(s *Supervisor, sources catalog.Config, e *catalog.Entry) {
	m, id := e.Manifest, e.Manifest.ID()
	source := catalog.NewSource(sources, e, func(hash string) { t.journal.Hashed(id, hash) })
	lines := capsulelog.New(capsulelog.Config{
		Home: s.home, Principal: s.principal, Capsule: id, Files: s.logFiles, Log: s.cfg.Log,
		Written:    t.journal.LogTail(id).Add,
		Suppressed: func(lines uint64) { t.journal.Suppressed(id, lines) },
	})
	load := source.Load
	if s.cfg.WrapLoad != nil {
		load = s.cfg.WrapLoad(id, load)
	}
	settings := s.cfg.forCapsule(m)
	ref := actors.NewCapsuleRef(actors.CapsuleConfig{
		ID: id, Version: m.Package.Version, Interceptors: e.Interceptors,
		AllowPromptInjection: m.Capabilities.AllowPromptInjection,
		Load:                 load, LoadTimeout: settings.loadTimeout, CallTimeout: settings.callTimeout,
		CallReductions: settings.call, TriggerReductions: s.cfg.TriggerReductions, Rate: rate(settings.perSecond),
		TriggerTimeout: s.cfg.TriggerTimeout, Queue: settings.queue,
		System: t.sys, Registry: t.sys.PID(actors.RegistryPath), HookRouter: t.sys.PID(actors.RouterPath), Router: t.router,
		Stats: t.journal.CallStats(id), Generation: t.journal.Generation(id),
		Observe: t.journal.Observe, Lines: lines, Config: source.Value, Log: s.cfg.Log,
	})
	t.specs = append(t.specs, actors.ChildSpec{
		Ref: ref, Reload: source.Reload, ReadyTimeout: s.cfg.ReadyTimeout, StopTimeout: settings.stopTimeout,
		Restart: settings.restart, WaitsFor: e.WaitsFor,
	})
	t.refs[id], t.sources[id], t.logs = ref, source, append(t.logs, lines)
}

// rate limits a capsule's reductions per second; it returns nil for no limit.
func rate(perSecond uint64) *capsulehost.Rate {
	if perSecond == 0 {
		return nil
	}
	return capsulehost.NewRate(perSecond)
}

// run starts the actors, waits until ctx ends, and stops them.
func (t *tree) run(ctx context.Context) error {
	defer t.discard()
	faults.From(ctx).Open(func(path, cause string, next bool) {
		t.sys.Send(t.sys.PID(actors.RootPath+"/"+path), &system.Fault{Cause: cause, Next: next})
	})
	pid, err := t.sys.Spawn(actors.RootPath, actors.RootProps(actors.RootConfig{
		System: t.sys, Log: t.cfg.Log, Observe: t.journal.Observe,
		Registry:   actors.RegistryProps(actors.RegistryConfig{System: t.sys, Log: t.cfg.Log}),
		HookRouter: t.router.Props(t.sys, t.cfg.Log),
		Supervisor: actors.SupervisorProps(actors.SupervisorConfig{
			System: t.sys, Log: t.cfg.Log, Observe: t.journal.Observe,
			Children: t.specs, StartSlots: 2 * runtime.GOMAXPROCS(0),
		}),
	}))
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	<-ctx.Done()
	return t.stop(ctx, pid)
}

// stop stops the capsules first, so that their answers still arrive, and then the rest.
func (t *tree) stop(ctx context.Context, root *actor.PID) error {
	t.mu.Lock()
	t.stopping = true
	t.mu.Unlock()
	t.journal.Observe(messages.Event{Detail: messages.SystemStopping{Cause: context.Cause(ctx).Error()}})
	longest := t.cfg.StopTimeout
	for n := range t.specs {
		longest = max(longest, t.specs[n].StopTimeout)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), monotime.AddDurations(longest, stopMargin))
	defer cancel()
	err := t.sys.AwaitStopped(grace, t.sys.PID(actors.SupervisorPath))
	if err == nil {
		if err = t.sys.AwaitStopped(grace, root); err == nil {
			t.open.Wait() // no capsule is left to wait for, so every trigger is about to be answered
		}
	}
	var left []string
	for _, c := range t.journal.Snapshot().Capsules {
		if c.State == messages.StateStopping {
			left = append(left, c.Path)
		}
	}
	t.journal.Observe(messages.Event{Detail: messages.SystemStopped{LeftRunning: left}})
	if err != nil {
		return fmt.Errorf("serve: these would not stop: %v: %w", left, err)
	}
	return nil
}

// discard frees the resources of a tree that are not its actors'.
func (t *tree) discard() {
	t.sys.Close()
	for _, lines := range t.logs {
		if err := lines.Close(); err != nil {
			t.cfg.Log.Warn("closing a capsule's log failed", "err", err)
		}
	}
	if err := t.host.Close(context.Background()); err != nil {
		t.cfg.Log.Warn("closing the WebAssembly runtime failed", "err", err)
	}
}

// trigger sends one trigger from outside.
func (t *tree) trigger(ctx context.Context, q actors.TriggerRequest) (*Reply, error) {
	if err := t.enter(); err != nil {
		return nil, fmt.Errorf("trigger %q: %w", q.Topic, err)
	}
	defer t.leave()
	if q.Reductions == 0 {
		q.Reductions = t.cfg.TriggerReductions
	}
	q.Timeout = t.cfg.TriggerTimeout
	reply, err := t.router.Trigger(ctx, q)
	switch {
	case errors.Is(err, actors.ErrNoRoutes): // Serve has only just been called
		return nil, fmt.Errorf("trigger %q: %w", q.Topic, ErrNotServing)
	case err != nil:
		return nil, err
	}
	t.router.WarnOfLegs(t.cfg.Log, "", q.Topic, reply.Legs)
	return reply, nil
}

// enter and leave bracket a trigger from outside.
func (t *tree) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopping {
		return ErrStopping
	}
	if t.journal.OpenTrigger(int64(t.cfg.OpenTriggers)) {
		return ErrOverloaded
	}
	t.open.Add(1)
	return nil
}

func (t *tree) leave() {
	t.journal.CloseTrigger()
	t.open.Done()
}

// command sends a command to the capsules supervisor and waits until it is done.
func (t *tree) command(ctx context.Context, m any) error {
	if t.isStopping() {
		return ErrStopping
	}
	answer, err := t.sys.Ask(ctx, t.sys.PID(actors.SupervisorPath), m)
	if err != nil {
		switch {
		case errors.Is(err, system.ErrNoActor) && t.isStopping():
			return ErrStopping
		case errors.Is(err, system.ErrNoActor):
			return ErrNotServing // Serve has only just been called
		}
		return err
	}
	done, ok := answer.(*messages.CommandDone)
	if !ok {
		return fmt.Errorf("%w: it was answered by %T", ErrRefused, answer)
	}
	switch done.Result {
	case messages.CommandSucceeded:
		return nil
	case messages.CommandNotFound:
		return ErrNotFound
	case messages.CommandFailed:
		return fmt.Errorf("%w: %s", ErrNotUp, done.Reason)
	default:
		return fmt.Errorf("%w: %s", ErrRefused, done.Reason)
	}
}

// findSession asks the registry which capsule holds a session.
func (t *tree) findSession(ctx context.Context, session string) (string, error) {
	if session == "" {
		return "", ErrNotFound
	}
	answer, err := t.sys.Ask(ctx, t.sys.PID(actors.RegistryPath), &messages.FindCapsule{Session: session})
	switch found, _ := answer.(*messages.CapsuleFound); {
	case errors.Is(err, system.ErrNoActor):
		return "", ErrNotServing
	case err != nil:
		return "", err
	case found == nil || !found.Found:
		return "", ErrNotFound
	default:
		return found.ID, nil
	}
}

func (t *tree) isStopping() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopping
}

// Queue returns the number of calls that wait at a capsule.
func (t *tree) Queue(id string) int {
	if ref := t.refs[id]; ref != nil {
		return ref.Queue()
	}
	return 0
}

// Awaited returns the number of legs that capsules wait for.
func (t *tree) Awaited() int { return t.router.Awaited() }
