package supervisortest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/faults"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// TB is the part of *testing.T and *testing.B that this package uses.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(f func())
	TempDir() string
}

// System is a Supervisor that serves until its test ends. Methods that wait fail the
// test if the wait fails, so call them on the test's goroutine; Trigger, Inject and the
// Supervisor's own methods may be called from any.
type System struct {
	*supervisor.Supervisor
	// Patience limits how long the methods below wait, in addition to the configured
	// timeouts; inside a synctest bubble in the bubble's time. 0 means a minute.
	Patience time.Duration

	tb             TB
	triggerTimeout time.Duration
	stopTimeout    time.Duration

	way    faults.Way         // to the system's own actors
	stop   context.CancelFunc // nil before Launch
	served chan error         // the error of Serve
	result error              // the same, once stopped

	mu       sync.Mutex
	capsules map[string]*watched // also those that were removed
	stopped  bool
	pending  sync.WaitGroup // calls of Trigger; added to under mu, until stopped
	answered uint64         // triggers that were accepted and answered
}

// Start runs a system of these capsules in addition to those of the configuration. It
// returns when the first start of each has a result: it is Ready, or Failed. If Home is
// empty, the test gets a directory of its own.
func Start(tb TB, cfg supervisor.Config, capsules ...supervisor.Capsule) *System {
	tb.Helper()
	s := New(tb, cfg, capsules...)
	s.Launch()
	ctx, cancel := context.WithTimeout(context.Background(), s.patience())
	defer cancel()
	if s.AwaitStarted(ctx) != nil {
		tb.Fatalf("the system has not started after %v; its capsules are%s", s.patience(), s.states())
	}
	return s
}

// New prepares a system that does not run yet, so that faults can be injected into the
// first start of its capsules. Call Launch to run it. Without a Store in the configuration,
// state is kept in memory.
func New(tb TB, cfg supervisor.Config, capsules ...supervisor.Capsule) *System {
	tb.Helper()
	if cfg.Home == "" {
		cfg.Home = tb.TempDir()
	}
	if cfg.Store == nil {
		cfg.Store = store.NewMemory()
	}
	cfg.Capsules = append(slices.Clone(cfg.Capsules), capsules...)
	s := &System{
		tb: tb, capsules: map[string]*watched{}, served: make(chan error, 1),
		triggerTimeout: cmp.Or(cfg.TriggerTimeout, 30*time.Second), stopTimeout: cmp.Or(cfg.StopTimeout, 10*time.Second),
	}
	outer := cfg.WrapLoad
	cfg.WrapLoad = func(id string, load supervisor.LoadFunc) supervisor.LoadFunc {
		if outer != nil {
			load = outer(id, load)
		}
		return s.watch(id).wrap(load)
	}
	var err error
	if s.Supervisor, err = supervisor.New(cfg); err != nil {
		tb.Fatalf("supervisor.New: %v", err)
	}
	for _, c := range s.Snapshot().Capsules {
		s.watch(c.ID)
	}
	return s
}

// all returns the states of all capsules, by id.
func (s *System) all() map[string]*watched {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.capsules)
}

// watch returns the state of a capsule, also of one that is added while the system runs.
func (s *System) watch(id string) *watched {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.capsules[id] == nil {
		s.capsules[id] = &watched{plan: plan{capsule: id}, broken: s.tb.Errorf, most: func() int64 {
			if c := find(s.Snapshot(), id); c != nil {
				return max(1, int64(c.InstancesMax), int64(len(c.Instances))) // an upgrade may want fewer
			}
			return 1
		}}
	}
	return s.capsules[id]
}

// Launch begins to serve, and does not wait for any capsule. Call it once.
func (s *System) Launch() {
	s.tb.Helper()
	if s.stop != nil {
		s.tb.Fatalf("a System is launched once")
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	s.tb.Cleanup(func() {
		s.tb.Helper()
		if s.isStopped() {
			return
		}
		if err := s.Close(); err != nil {
			s.tb.Errorf("%v", err)
		}
	})
	before := s.Snapshot().Sequence
	begun, ended := context.WithCancel(context.Background())
	go func() {
		defer ended()
		s.served <- s.Serve(s.way.With(ctx))
	}()
	for range s.Events(begun, before) {
		break // it serves: events arrive even without capsules
	}
}

// Close stops the system, makes the checks that the package comment describes, and
// returns the error of Serve. If it was not called, the end of the test calls it, and an
// error of Serve fails the test.
func (s *System) Close() error {
	s.tb.Helper()
	if s.stop == nil {
		s.tb.Fatalf("Close: the System was not launched")
	}
	if s.isStopped() {
		return s.result
	}
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.stop()
	patience := monotime.AddDurations(s.patience(), s.stopTimeout)
	select {
	case s.result = <-s.served:
	case <-time.After(patience):
		s.tb.Fatalf("Serve has not returned %v after it was told to; its capsules are%s", patience, s.states())
	}
	s.checkEnd()
	return s.result
}

func (s *System) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

func (s *System) patience() time.Duration { return cmp.Or(s.Patience, time.Minute) }

// Inject makes a fault strike a capsule. If several would strike at once, the one that
// was injected first does.
func (s *System) Inject(capsule string, f Fault) *Injection {
	s.tb.Helper()
	w := s.watched("Inject", capsule)
	if f.At == "" {
		f.At = BeforeCall
	}
	if !slices.Contains(Points(), f.At) {
		s.tb.Fatalf("Inject: there is no point %q, but %q", f.At, Points())
	}
	if f.Do == nil {
		f.Do = Crash
	}
	return w.add(s, f)
}

// FailActor makes an actor of the system itself fail, as a bug in it would: "registry",
// "hook-router" or "capsules"; or "capsules/<id>", the actor of a capsule, without its
// guest. It works while Serve runs.
func (s *System) FailActor(path string) {
	s.tb.Helper()
	s.failActor(path, false)
}

// FailActorNext makes the actor fail on the next message that it handles. That message
// is lost.
func (s *System) FailActorNext(path string) {
	s.tb.Helper()
	s.failActor(path, true)
}

func (s *System) failActor(path string, next bool) {
	s.tb.Helper()
	if id, ok := strings.CutPrefix(path, "capsules/"); ok {
		s.watched("FailActor", id)
	} else if !slices.Contains([]string{"registry", "hook-router", "capsules"}, path) {
		s.tb.Fatalf("FailActor: there is no actor %q", path)
	}
	if !s.way.Send(path, "injected", next) {
		s.tb.Fatalf("FailActor: the System does not serve")
	}
}

// watched returns the capsule with that id. It fails the test, in the caller's name, if
// there is none.
func (s *System) watched(caller, capsule string) *watched {
	s.tb.Helper()
	s.mu.Lock()
	w := s.capsules[capsule]
	s.mu.Unlock()
	if w == nil {
		s.tb.Fatalf("%s: there is no capsule %q", caller, capsule)
	}
	return w
}
