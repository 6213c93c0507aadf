package supervisor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/faults"
)

// stopMargin is how much longer than the longest stop time-out a shutdown may
// take: an interrupted guest still has to notice.
const stopMargin = 2 * time.Second

// tree is what runs during one Serve: the actors, and the host of their guests.
type tree struct {
	cfg      Config
	record   *record
	sys      *system.System
	host     *capsulehost.Host
	triggers *actors.Triggers
	modules  *modules
	children []*child // in start order
	byID     map[string]*child
	sources  []*source

	mu       sync.Mutex
	stopping bool
	open     sync.WaitGroup // triggers from outside; added to under mu
}

// newTree prepares everything, and starts nothing.
func newTree(ctx context.Context, s *Supervisor) (*tree, error) {
	host, err := capsulehost.New(ctx, capsulehost.Config{
		MemoryLimitPages: s.cfg.MemoryLimitPages, CacheDir: s.home.CacheDir(),
	})
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	t := &tree{
		cfg: s.cfg, record: s.record, host: host, modules: newModules(host),
		sys: system.New(s.cfg.Log), byID: map[string]*child{},
	}
	t.triggers = actors.NewTriggers(t.sys, t.sys.PID(routerPath))
	t.triggers.CountIn(&t.record.traffic)
	if provider := s.cfg.TracerProvider; provider != nil {
		t.triggers.TraceWith(provider.Tracer("github.com/astrid-actors/astrid-actors/supervisor"))
	}
	for _, f := range s.found {
		t.add(s, f)
	}
	for i, f := range s.found {
		for _, on := range f.waitsFor {
			t.children[on].dependents = append(t.children[on].dependents, t.children[i])
			t.children[i].imports++
		}
	}
	return t, nil
}

// add makes a child of a capsule that was found.
func (t *tree) add(s *Supervisor, f *found) {
	m := f.manifest
	src := newSource(s, t.modules, f)
	t.sources = append(t.sources, src)
	load := src.load
	if s.cfg.WrapLoad != nil {
		load = s.cfg.WrapLoad(m.ID(), load)
	}
	settings := s.cfg.forCapsule(m)
	generation := t.record.generation(m.ID())
	handle := actors.NewHandle(actors.CapsuleConfig{
		ID: m.ID(), Version: m.Package.Version, Interceptors: f.interceptors,
		AllowPromptInjection: m.Capabilities.AllowPromptInjection,
		Load:                 load, LoadTimeout: s.cfg.CallTimeout, CallTimeout: settings.callTimeout,
		CallReductions: settings.call, TriggerReductions: s.cfg.TriggerReductions, Rate: rate(settings.perSecond),
		TriggerTimeout: s.cfg.TriggerTimeout, Queue: settings.queue,
		System: t.sys, Registry: t.sys.PID(registryPath), Triggers: t.triggers, Activity: t.record.activity(m.ID()),
		Generation: generation,
		Observe:    t.record.observe, Lines: src.lines, Config: src.configuration, Log: s.cfg.Log,
	})
	c := &child{
		id: m.ID(), handle: handle, reload: src.readAgain, interceptors: f.interceptors,
		readyTimeout: s.cfg.ReadyTimeout, stopTimeout: settings.stopTimeout,
		restarts: restarts{policy: settings.restart}, over: generation,
	}
	t.children, t.byID[c.id] = append(t.children, c), c
}

// rate bounds what a capsule spends in a second; nil where nothing does.
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
		t.sys.Send(t.sys.PID(rootPath+"/"+path), &system.Fault{Cause: cause, Next: next})
	})
	supervisor := &capsules{
		sys: t.sys, log: t.cfg.Log, observe: t.record.observe,
		children: t.children, byID: t.byID, places: 2 * runtime.GOMAXPROCS(0),
	}
	pid, err := t.sys.Spawn(rootPath, rootProps(t.sys, &root{
		log: t.cfg.Log, observe: t.record.observe,
		registry: actors.RegistryProps(actors.RegistryConfig{System: t.sys, Log: t.cfg.Log}),
		router:   actors.RouterProps(actors.RouterConfig{System: t.sys, Triggers: t.triggers, Log: t.cfg.Log}),
		capsules: t.sys.Props(func() actor.Actor { return supervisor }, system.NewMailbox(0, nil)),
	}))
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	<-ctx.Done()
	return t.stop(ctx, pid)
}

// stop ends the capsules first, so that their answers still find their way, and
// then the rest.
func (t *tree) stop(ctx context.Context, root *actor.PID) error {
	t.mu.Lock()
	t.stopping = true
	t.mu.Unlock()
	t.record.observe(&messages.Event{What: &messages.Event_SystemStopping{
		SystemStopping: &messages.SystemStopping{Cause: context.Cause(ctx).Error()},
	}})
	longest := t.cfg.StopTimeout
	for _, c := range t.children {
		longest = max(longest, c.stopTimeout)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), monotime.AddDurations(longest, stopMargin))
	defer cancel()
	err := t.sys.AwaitStopped(grace, t.sys.PID(capsulesPath))
	if err == nil {
		if err = t.sys.AwaitStopped(grace, root); err == nil {
			t.open.Wait() // nobody is left to wait for, so every trigger is about to be answered
		}
	}
	var left []string
	for _, c := range t.record.snapshot().GetCapsules() {
		if c.GetState() == messages.CapsuleState_CAPSULE_STATE_STOPPING {
			left = append(left, c.GetPath())
		}
	}
	t.record.observe(&messages.Event{What: &messages.Event_SystemStopped{
		SystemStopped: &messages.SystemStopped{LeftRunning: left},
	}})
	if err != nil {
		return fmt.Errorf("serve: these would not stop: %v: %w", left, err)
	}
	return nil
}

// discard frees what a tree holds outside its actors.
func (t *tree) discard() {
	t.sys.Close()
	for _, src := range t.sources {
		src.close()
	}
	if err := t.host.Close(context.Background()); err != nil {
		t.cfg.Log.Warn().Err(err).Msg("closing the WebAssembly runtime failed")
	}
}

// trigger routes one trigger from outside.
func (t *tree) trigger(ctx context.Context, m *messages.RouteTrigger) (*messages.TriggerReply, error) {
	if err := t.enter(); err != nil {
		return nil, fmt.Errorf("trigger %q: %w", m.GetTopic(), err)
	}
	defer t.leave()
	if m.GetReductions() == 0 {
		m.Reductions = t.cfg.TriggerReductions
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.cfg.TriggerTimeout)
		defer cancel()
	}
	reply, err := t.triggers.Route(ctx, m)
	if err != nil {
		return nil, err
	}
	t.triggers.WarnOfLegs(&t.cfg.Log, m, reply.GetLegs())
	return reply, nil
}

// enter and leave frame a trigger from outside.
func (t *tree) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopping {
		return ErrStopping
	}
	if t.record.openTrigger(int64(t.cfg.OpenTriggers)) {
		return ErrOverloaded
	}
	t.open.Add(1)
	return nil
}

func (t *tree) leave() {
	t.record.closeTrigger()
	t.open.Done()
}

// command asks the capsules supervisor and waits until it is done.
func (t *tree) command(ctx context.Context, m any) error {
	if t.isStopping() {
		return ErrStopping
	}
	answer, err := t.sys.Ask(ctx, t.sys.PID(capsulesPath), m)
	if err != nil {
		switch {
		case errors.Is(err, system.ErrNoActor) && t.isStopping():
			return ErrStopping
		case errors.Is(err, system.ErrNoActor):
			return ErrNotServing // Serve has only just been called
		}
		return err
	}
	done, _ := answer.(*messages.CommandDone)
	switch done.GetResult() {
	case messages.CommandDone_RESULT_DONE:
		return nil
	case messages.CommandDone_RESULT_NOT_FOUND:
		return ErrNotFound
	case messages.CommandDone_RESULT_FAILED:
		return fmt.Errorf("%w: %s", ErrNotUp, done.GetReason())
	default:
		return fmt.Errorf("%w: %s", ErrRefused, done.GetReason())
	}
}

func (t *tree) isStopping() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopping
}

// queue is how many calls wait at a capsule.
func (t *tree) queue(id string) int {
	if child := t.byID[id]; child != nil {
		return child.handle.Queue()
	}
	return 0
}

// awaited is how many legs capsules wait for.
func (t *tree) awaited() int { return t.triggers.Awaited() }
