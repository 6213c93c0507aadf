package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.opentelemetry.io/otel/trace"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/capsulelog"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/capsulehost/sockets"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/approvals"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/catalog"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/faults"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/identity"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/journal"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/secrets"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/state"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/topiclog"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/uplinks"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// stopMargin is added to the longest stop timeout to limit a shutdown: an interrupted
// guest needs time to notice.
const stopMargin = 2 * time.Second

// tree runs during one Serve: the actors, and the host of their guests.
type tree struct {
	owner   *Supervisor
	cfg     Config
	journal *journal.Journal
	sys     *system.System
	host    *capsulehost.Host
	router  *actors.Router
	bus     *actors.Bus
	specs   []actors.ChildSpec // of the first capsules, in start order
	state   *state.Keeper
	// identities and topics are in the same store as state.
	identities *identity.Book
	topics     *topiclog.Log
	declaring  sync.Mutex // of topics
	approvals  *approvals.Desk
	secrets    *secrets.Box
	uplinks    *uplinks.Hub
	door       *sockets.Door
	clients    atomic.Int64 // of the door, whom capsules have accepted
	opened     *store.Bolt  // the store of state, unless the configuration brought one
	commits    commits      // of opened
	// sourceConfig is shared by the sources of all versions.
	sourceConfig catalog.Config

	groups *groups
	// preparations are the instances that upgrades are preparing.
	preparations actors.Preparations

	ended chan struct{} // closed by discard

	mu       sync.Mutex
	capsules map[string]*running // by id
	stopping atomic.Bool         // set under mu, so that open is not added to afterwards
	open     sync.WaitGroup      // triggers from outside; added to under mu
}

// newTree creates everything, and starts nothing.
func newTree(ctx context.Context, s *Supervisor) (*tree, error) {
	host, err := capsulehost.New(ctx, s.hostConfig())
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	var tracer trace.Tracer
	if provider := s.cfg.TracerProvider; provider != nil {
		tracer = provider.Tracer("github.com/astrid-actors/astrid-actors/supervisor")
	}
	t := &tree{
		owner: s, groups: s.groups,
		cfg: s.cfg, journal: s.journal, host: host, sys: system.New(s.cfg.Log),
		router:   actors.NewRouter(&s.journal.Triggers, tracer),
		capsules: map[string]*running{}, ended: make(chan struct{}),
		uplinks: uplinks.New(),
		door:    sockets.New(sockets.Config{Path: s.home.ClientSocketPath(), TokenPath: s.home.ClientTokenPath(), Version: manifest.HostVersion, Log: s.cfg.Log}),
		sourceConfig: catalog.Config{
			Home: s.home, Principal: s.principal, SocketPath: s.cfg.SocketPath, AllowUnverified: s.cfg.AllowUnverified,
			Env: s.cfg.overrides.env, Host: host, Log: s.cfg.Log,
		},
	}
	t.sourceConfig.Stored = t.storedValue
	if err := t.openState(ctx, s.home.StatePath()); err != nil {
		t.discard()
		return nil, fmt.Errorf("serve: %w", err)
	}
	t.bus = actors.NewBus(actors.BusConfig{System: t.sys, Router: t.router, Stats: &s.journal.Bus, Durable: t.topics})
	for _, e := range s.entriesNow() {
		t.specs = append(t.specs, t.add(s, e))
	}
	t.declareTopics()
	return t, nil
}

// hostConfig configures the host of the guests.
func (s *Supervisor) hostConfig() capsulehost.Config {
	return capsulehost.Config{
		MemoryLimitPages: s.cfg.MemoryLimitPages, CacheDir: cmp.Or(s.cfg.CacheDir, s.home.CacheDir()), Log: s.cfg.Log,
		CompileCommand: s.cfg.CompileCommand, CompileWorkers: s.cfg.CompileWorkers, HostFunctions: s.cfg.HostFunctions,
	}
}

// running is a capsule in the tree.
type running struct {
	ref     *actors.CapsuleRef // nil for a pool
	pool    *actors.Pool       // nil without one
	version *version           // guarded by the tree's lock
	lines   *capsulelog.Writer
	turn    chan struct{} // holds the one upgrade of it that is under way
}

// add creates the child spec of a discovered capsule.
func (t *tree) add(s *Supervisor, e *catalog.Entry) actors.ChildSpec {
	id := e.Manifest.ID()
	lines := capsulelog.New(capsulelog.Config{
		Home: s.home, Principal: s.principal, Capsule: id, Files: s.logFiles, Log: s.cfg.Log,
		Written:    t.journal.LogTail(id).Add,
		Suppressed: func(lines uint64) { t.journal.Suppressed(id, lines) },
	})
	v := t.newVersion(s, e, true)
	cfg := actors.CapsuleConfig{
		ID: id, Path: s.groups.path(id), Version: v.actor,
		TriggerReductions: s.cfg.TriggerReductions, TriggerTimeout: s.cfg.TriggerTimeout,
		System: t.sys, Registry: t.sys.PID(actors.RegistryPath), HookRouter: t.sys.PID(actors.RouterPath), Router: t.router,
		Bus: t.bus, Principal: s.cfg.Principal,
		Stats: t.journal.CallStats(id), Generation: t.journal.Generation(id),
		InstanceStats: func(number int) *actors.CallStats { return t.journal.InstanceStats(id, number) },
		Observe:       logged(lines, t.observe), Lines: lines, Log: s.cfg.Log,
	}
	spec := v.spec
	if spec.Size != (actors.PoolSize{}) {
		spec.Pool = actors.NewPool(cfg, spec.Size)
	} else {
		spec.Ref = actors.NewCapsuleRef(cfg)
	}
	t.mu.Lock()
	t.capsules[id] = &running{ref: spec.Ref, pool: spec.Pool, version: v, lines: lines, turn: make(chan struct{}, 1)}
	t.mu.Unlock()
	spec.Removed = func() {
		t.mu.Lock()
		delete(t.capsules, id)
		t.mu.Unlock()
		s.forgetEntry(id)
		t.declareTopics()
		t.closeLog(lines)
	}
	return spec
}

// logged returns observe, preceded by a line in the capsule's log if the capsule crashed:
// why, and one for each frame of its stack.
func logged(lines *capsulelog.Writer, observe func(messages.Event)) func(messages.Event) {
	return func(e messages.Event) {
		if crash, ok := e.Detail.(messages.CapsuleCrashed); ok {
			how := "crashed in " + crash.During
			if crash.During == "killed" { // the message says by whom
				how = "died"
			}
			lines.WriteHost(capsulehost.LevelError, fmt.Sprintf("host: generation %d %s: %s", e.Generation, how, crash.Failure.Message))
			for _, frame := range crash.Failure.WasmStack {
				lines.WriteHost(capsulehost.LevelError, "host:   at "+frame)
			}
		}
		observe(e)
	}
}

func (t *tree) closeLog(lines *capsulelog.Writer) {
	if err := lines.Close(); err != nil {
		t.cfg.Log.Warn("closing a capsule's log failed", "err", err)
	}
}

// version returns a capsule's current version; nil if there is no such capsule.
func (t *tree) version(id string) *version {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.capsules[id]; c != nil {
		return c.version
	}
	return nil
}

// commands returns the slash commands that a capsule's manifest declares.
func (t *tree) commands(id string) []manifest.Command {
	if v := t.version(id); v != nil {
		return v.source.Commands()
	}
	return nil
}

func (t *tree) setVersion(id string, v *version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.capsules[id]; c != nil {
		c.version = v
	}
}

// inTurn runs f when no other upgrade of a capsule is under way.
func (t *tree) inTurn(ctx context.Context, id string, f func() error) error {
	t.mu.Lock()
	c := t.capsules[id]
	t.mu.Unlock()
	if c == nil {
		return ErrNotFound
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
		return f()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// upgrade gives a capsule a version, and waits until it has taken over or failed. Unless
// same is nil, the two have the same content. It must be the capsule's turn.
func (t *tree) upgrade(ctx context.Context, s *Supervisor, e *catalog.Entry, how actors.How, same *actors.Version) error {
	id := e.Manifest.ID()
	pooled := s.cfg.forCapsule(e.Manifest).instances != (actors.PoolSize{})
	if old := t.unlessPooled(id, pooled); old != nil {
		reason := fmt.Sprintf("a change between one instance and several needs `remove %s --keep-files`, and then `reload`", id)
		s.upgradeRejected(old, reason)
		return fmt.Errorf("%w: %s", ErrUpgradeFailed, reason)
	}
	v := t.newVersion(s, e, false)
	return t.command(ctx, &actors.UpgradeCapsule{
		ID: id, Version: v.actor, Spec: v.spec, How: how, Same: same,
	})
}

// unlessPooled returns the version of a capsule that runs as a pool but should not, or should
// but does not; else nil.
func (t *tree) unlessPooled(id string, pooled bool) *version {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.capsules[id]; r != nil && (r.pool != nil) != pooled {
		return r.version
	}
	return nil
}

// run starts the actors, waits until ctx ends, and stops them.
func (t *tree) run(ctx context.Context) error {
	defer t.discard()
	ctx, shutdown := context.WithCancelCause(ctx)
	defer shutdown(nil)
	faults.From(ctx).Open(func(path, cause string, next bool) {
		t.sys.Send(t.sys.PID(actors.RootPath+"/"+path), &system.Fault{Cause: cause, Next: next})
	})
	answers := t.bus.Subscribe(approvalAnswers + "*")
	defer answers.Close()
	pid, err := t.sys.Spawn(actors.RootPath, actors.RootProps(actors.RootConfig{
		System: t.sys, Log: t.cfg.Log, Observe: t.journal.Observe,
		Registry:   actors.RegistryProps(actors.RegistryConfig{System: t.sys, Log: t.cfg.Log}),
		HookRouter: t.router.Props(t.sys, t.cfg.Log),
		EventBus:   t.bus.Props(&kernel{tree: t, shutdown: shutdown}, t.cfg.Log),
		Supervisor: actors.SupervisorProps(actors.SupervisorConfig{
			System: t.sys, Log: t.cfg.Log, Observe: t.observe,
			Supervisors: t.groups.specs(), Restart: t.cfg.Restart, Escalate: t.escalation(shutdown),
			Children: t.specs, StartSlots: max(4, 2*runtime.GOMAXPROCS(0)), Preparations: &t.preparations,
		}),
	}))
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	t.answerApprovals(ctx, answers)
	err = t.stop(ctx, pid)
	if cause := context.Cause(ctx); errors.Is(cause, ErrEscalated) {
		err = errors.Join(fmt.Errorf("serve: %w", cause), err)
	}
	return err
}

// escalation returns what ends the system if a child of its top fails for good; nil if
// nothing does.
func (t *tree) escalation(shutdown context.CancelCauseFunc) func(cause string) {
	if t.cfg.OnFailure != Exit {
		return nil
	}
	return func(cause string) { shutdown(fmt.Errorf("%w: %s", ErrEscalated, cause)) }
}

// stop stops the capsules first, so that their answers still arrive, and then the rest.
func (t *tree) stop(ctx context.Context, root *actor.PID) error {
	t.mu.Lock()
	t.stopping.Store(true)
	t.mu.Unlock()
	t.journal.Observe(messages.Event{Detail: messages.SystemStopping{Cause: context.Cause(ctx).Error()}})
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), monotime.AddDurations(t.longestStop(), stopMargin))
	defer cancel()
	t.stopGroups(grace)
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
	left = append(left, t.preparations.Paths()...) // a capsule whose instance runs, or that is gone
	slices.Sort(left)
	left = slices.Compact(left)
	t.journal.Observe(messages.Event{Detail: messages.SystemStopped{LeftRunning: left}})
	if err != nil {
		return fmt.Errorf("serve: these would not stop: %v: %w", left, err)
	}
	return nil
}

// longestStop returns how long the capsules may take to stop: those of a group do so one
// after the other.
func (t *tree) longestStop() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	longest := t.cfg.StopTimeout
	for _, c := range t.capsules {
		longest = max(longest, c.version.spec.StopTimeout)
	}
	for _, g := range t.groups.outermost() {
		var sum time.Duration
		for _, id := range t.groups.capsules(g) {
			if c := t.capsules[id]; c != nil {
				sum = monotime.AddDurations(sum, c.version.spec.StopTimeout)
			}
		}
		longest = max(longest, sum)
	}
	return longest
}

// stopGroups stops the capsules of groups in order: each before those that it was started
// after. Groups do so beside each other.
func (t *tree) stopGroups(ctx context.Context) {
	var stops sync.WaitGroup
	for _, g := range t.groups.outermost() {
		stops.Go(func() { // if it fails, the end of their supervisor stops them all the same
			_, _ = t.sys.Ask(ctx, t.sys.PID(actors.SupervisorPath), &messages.StopCapsule{ID: g.Name, Cause: actors.CauseShutdown})
		})
	}
	stops.Wait()
}

// discard frees the resources of a tree that are not its actors'.
func (t *tree) discard() {
	close(t.ended)
	if t.bus != nil {
		t.bus.End()
	}
	t.sys.Close()
	for _, c := range t.capsules {
		t.closeLog(c.lines)
	}
	t.closeState()
	if err := t.host.Close(context.Background()); err != nil {
		t.cfg.Log.Warn("closing the WebAssembly runtime failed", "err", err)
	}
}
