package supervisortest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// Point is a point in an instance's run at which a fault can strike.
type Point string

// The points. The last seven are the guest's system calls, before they are executed.
const (
	AtLoad       Point = "load"
	BeforeCall   Point = "before a call"
	AfterCall    Point = "after a call" // the guest has returned, but its caller has no answer yet
	BeforeRun    Point = "before run"
	AtLog        Point = "astrid_log"
	AtConfig     Point = "astrid_get_config"
	AtCaller     Point = "astrid_get_caller"
	AtReady      Point = "astrid_signal_ready"
	AtClock      Point = "astrid_clock_ms"
	AtTrigger    Point = "astrid_trigger_hook"
	AtCapability Point = "astrid_check_capsule_capability"
)

// Points returns all points.
func Points() []Point {
	return []Point{AtLoad, BeforeCall, AfterCall, BeforeRun, AtLog, AtConfig, AtCaller, AtReady, AtClock, AtTrigger, AtCapability}
}

// Fault is a failure to inject into a capsule. The zero value crashes the next call of
// its guest.
type Fault struct {
	// At is the point at which it strikes; "" means BeforeCall.
	At Point
	// Do is the effect; nil means Crash. It runs on the capsule's goroutine; ctx is that
	// of the load, the call or the loop. If it returns nil, the guest continues
	// normally. A *capsulehost.Failure kills the instance. Any other error is reported
	// by the guest; at a load or in a system call it kills the instance, too.
	Do func(ctx context.Context, v Visit) error
	// When, if not nil, reports whether the fault strikes at a visit of the point. It
	// must not call the System.
	When func(v Visit) bool
	// Times is how often it strikes: 0 means once, a negative number every time.
	Times int
}

// Visit is one capsule at one point.
type Visit struct {
	Capsule string
	Point   Point
	Number  int // counts the capsule's visits of the point, from 1
	Load    int // counts the capsule's loads, from 1; while Serve runs it equals the generation
	// Action and Payload are those of the call; both are empty in a load and in a run
	// loop.
	Action  string
	Payload []byte
	// Topic is the hook's, at AtTrigger.
	Topic string
}

// Crash kills the instance, as a trap does.
func Crash(_ context.Context, v Visit) error {
	return &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: fmt.Sprintf("injected at %q", v.Point)}
}

// Exit ends the instance as proc_exit does. Code 0 is a clean end: transient
// capsules are not restarted after it.
func Exit(code uint32) func(context.Context, Visit) error {
	return func(context.Context, Visit) error {
		return &capsulehost.Failure{Kind: capsulehost.KindExit, ExitCode: code, Message: fmt.Sprintf("the guest exited with code %d", code)}
	}
}

// Fail makes the guest report an error. The instance survives.
func Fail(text string) func(context.Context, Visit) error {
	return func(context.Context, Visit) error { return errors.New(text) }
}

// Delay delays the guest, but not after its context has ended.
func Delay(d time.Duration) func(context.Context, Visit) error {
	return func(ctx context.Context, v Visit) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return Hang(ctx, v)
		}
	}
}

// Hang blocks the guest until it is interrupted: by its limit, a deadline, or an
// operator.
func Hang(ctx context.Context, _ Visit) error {
	<-ctx.Done()
	return failure(ctx, capsulehost.KindTrap, "", ctx.Err())
}

// Injection is an injected fault. Its methods may be called from any goroutine, except
// for Await.
type Injection struct {
	fault  Fault
	system *System
	plan   *plan

	// Guarded by plan.mu.
	left   int           // strikes left; a negative number means no limit
	done   int           // strikes so far
	struck chan struct{} // closed at the next strike
}

// Struck returns how often the fault has struck.
func (i *Injection) Struck() int {
	i.plan.mu.Lock()
	defer i.plan.mu.Unlock()
	return i.done
}

// Await waits until the fault has struck that many times; the effect may have just
// begun. Call it on the test's goroutine.
func (i *Injection) Await(times int) {
	i.system.tb.Helper()
	patience := time.After(i.system.patience())
	for {
		i.plan.mu.Lock()
		done, struck := i.done, i.struck
		i.plan.mu.Unlock()
		if done >= times {
			return
		}
		select {
		case <-struck:
		case <-patience:
			i.system.tb.Fatalf("the fault %q of capsule %q has struck %d times after %v, not %d; what happened to it:%s",
				i.fault.At, i.plan.capsule, done, i.system.patience(), times, i.system.latest(i.plan.capsule))
			return
		}
	}
}

// Withdraw ends the fault: it does not strike again.
func (i *Injection) Withdraw() {
	i.plan.mu.Lock()
	defer i.plan.mu.Unlock()
	i.left = 0
}

// plan holds the faults of one capsule.
type plan struct {
	capsule string

	mu     sync.Mutex
	visits map[Point]int
	faults []*Injection
}

func (p *plan) add(s *System, f Fault) *Injection {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := &Injection{fault: f, system: s, plan: p, left: f.Times, struck: make(chan struct{})}
	if f.Times == 0 {
		i.left = 1
	}
	p.faults = append(p.faults, i)
	return i
}

// visit runs the first fault that matches the visit.
func (p *plan) visit(ctx context.Context, v Visit) error {
	if do := p.next(&v); do != nil {
		return do(ctx, v)
	}
	return nil
}

func (p *plan) next(v *Visit) func(context.Context, Visit) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.visits == nil {
		p.visits = map[Point]int{}
	}
	p.visits[v.Point]++
	v.Number = p.visits[v.Point]
	for _, i := range p.faults {
		if i.left == 0 || i.fault.At != v.Point || (i.fault.When != nil && !i.fault.When(*v)) {
			continue
		}
		i.done++
		i.left = max(i.left-1, -1)
		close(i.struck)
		i.struck = make(chan struct{})
		return i.fault.Do
	}
	return nil
}
