package supervisortest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// Point is a moment in a capsule's life at which a fault can strike.
type Point string

// The points. The last seven are the guest's system calls, before they are
// carried out.
const (
	AtLoad       Point = "load"
	BeforeCall   Point = "before a call"
	AfterCall    Point = "after a call" // the guest has answered, and nobody knows yet
	BeforeRun    Point = "before run"
	AtLog        Point = "astrid_log"
	AtConfig     Point = "astrid_get_config"
	AtCaller     Point = "astrid_get_caller"
	AtReady      Point = "astrid_signal_ready"
	AtClock      Point = "astrid_clock_ms"
	AtTrigger    Point = "astrid_trigger_hook"
	AtCapability Point = "astrid_check_capsule_capability"
)

// Points are all points.
func Points() []Point {
	return []Point{AtLoad, BeforeCall, AfterCall, BeforeRun, AtLog, AtConfig, AtCaller, AtReady, AtClock, AtTrigger, AtCapability}
}

// Fault is something that goes wrong in a capsule. The zero value crashes the
// next call of its guest.
type Fault struct {
	// At is where it strikes; "" means BeforeCall.
	At Point
	// Do is what happens there; nil means Crash. It runs on the capsule's
	// goroutine; ctx is that of the load, the call or the loop. After nil all goes
	// on as if nothing had been; a *capsulehost.Failure kills the instance; another
	// error is the guest's own report, but kills it too at a load or in a system call.
	Do func(ctx context.Context, v Visit) error
	// When, where it is set, says at which visits of the point the fault strikes.
	// It must not call the System.
	When func(v Visit) bool
	// Times is how often it strikes: 0 means once, a negative number every time.
	Times int
}

// Visit is one capsule at one point.
type Visit struct {
	Capsule string
	Point   Point
	Number  int // counts the capsule's visits of the point, from 1
	Load    int // counts the capsule's loads, from 1: as generations do while Serve runs
	// Action and Payload are those of the call, but in a load and in a run loop.
	Action  string
	Payload []byte
	// Topic is the hook's, AtTrigger.
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

// Fail has the guest report an error. Its instance lives on.
func Fail(text string) func(context.Context, Visit) error {
	return func(context.Context, Visit) error { return errors.New(text) }
}

// Delay holds the guest up, but not past the end of its time.
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

// Hang holds the guest until it is interrupted: by its limit, a deadline, an operator.
func Hang(ctx context.Context, _ Visit) error {
	<-ctx.Done()
	return failure(ctx, capsulehost.KindTrap, "", ctx.Err())
}

// Injection is a fault that was injected. Its methods may be called from any
// goroutine, but for Await.
type Injection struct {
	fault  Fault
	system *System
	plan   *plan

	// Guarded by plan.mu.
	left   int           // strikes; negative is any number
	done   int           // strikes so far
	struck chan struct{} // closed at the next strike
}

// Struck is how often the fault has struck.
func (i *Injection) Struck() int {
	i.plan.mu.Lock()
	defer i.plan.mu.Unlock()
	return i.done
}

// Await waits until the fault has struck so many times: what it does may have
// just begun. It belongs to the test's goroutine.
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

// Withdraw ends the fault: it strikes no more.
func (i *Injection) Withdraw() {
	i.plan.mu.Lock()
	defer i.plan.mu.Unlock()
	i.left = 0
}

// plan is what is to happen to one capsule.
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

// visit has the first fault strike that is meant.
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
