package supervisortest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/faults"
)

// TB is what this package needs of a test: *testing.T and *testing.B have it.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(f func())
	TempDir() string
}

// System is a Supervisor that serves until its test ends. Methods that wait for
// something fail the test where it does not come, and so belong to the test's
// goroutine; Trigger, Inject and what is the Supervisor's own may be called from
// any.
type System struct {
	*supervisor.Supervisor
	// Patience is how long the methods below wait, beyond what the configuration's
	// time-outs allow for; inside a synctest bubble in its time. 0 means a minute.
	Patience time.Duration

	tb             TB
	capsules       map[string]*watched // never changed
	triggerTimeout time.Duration
	stopTimeout    time.Duration

	way    faults.Way         // to the system's own actors
	stop   context.CancelFunc // nil before Launch
	served chan error         // what Serve returned
	result error              // the same, once stopped

	mu       sync.Mutex
	stopped  bool
	pending  sync.WaitGroup // calls of Trigger; added to under mu, until stopped
	answered uint64         // triggers that were accepted, and are answered
}

// Start runs a system of these capsules besides those of the configuration, and
// returns when the first start of each has been decided: it is Ready, or Failed.
// Home, where it is not set, is a directory of the test's own.
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

// New prepares a system that does not run yet, so that faults can be injected into
// the first start of its capsules. Launch it.
func New(tb TB, cfg supervisor.Config, capsules ...supervisor.Capsule) *System {
	tb.Helper()
	if cfg.Home == "" {
		cfg.Home = tb.TempDir()
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
		return s.capsules[id].wrap(load)
	}
	var err error
	if s.Supervisor, err = supervisor.New(cfg); err != nil {
		tb.Fatalf("supervisor.New: %v", err)
	}
	for _, c := range s.Snapshot().Capsules {
		s.capsules[c.ID] = &watched{plan: plan{capsule: c.ID}, broken: tb.Errorf}
	}
	return s
}

// Launch begins to serve, and waits for no capsule. It is called once.
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
		break // it serves: something happens even where there are no capsules
	}
}

// Close ends the system, checks what is said of the end in the package's comment,
// and returns what Serve has returned. At the end of the test it is called where
// it has not been, and Serve's error is then the test's.
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

// Inject has a fault strike a capsule. Where several would strike at once, the
// one that was injected first does.
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

// FailActor has an actor of the system itself fail, as a bug of its own would:
// "registry", "hook-router" or "capsules"; or "capsules/<id>", which is a
// capsule's, apart from its guest. It works while Serve runs.
func (s *System) FailActor(path string) {
	s.tb.Helper()
	s.failActor(path, false)
}

// FailActorNext is FailActor over the next message that the actor handles, which
// is lost with it.
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

// watched finds a capsule that the caller names.
func (s *System) watched(caller, capsule string) *watched {
	s.tb.Helper()
	w := s.capsules[capsule]
	if w == nil {
		s.tb.Fatalf("%s: there is no capsule %q", caller, capsule)
	}
	return w
}
