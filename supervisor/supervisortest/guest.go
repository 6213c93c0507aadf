package supervisortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// watched is the state of one capsule, over all its instances: its faults, and the
// counters that must be zero at the end.
type watched struct {
	plan
	broken func(format string, args ...any) // reports a broken promise
	most   func() int64                     // how many instances the capsule may have at once

	loads  atomic.Int64
	alive  atomic.Int64 // instances
	inside atomic.Int64 // calls, and runs of a loop
	calls  atomic.Int64 // calls
	asking atomic.Int64 // triggers that it has sent and that have no answer yet
}

// wrap puts w between the guests that load creates and their callers and host.
func (w *watched) wrap(load supervisor.LoadFunc) supervisor.LoadFunc {
	return func(ctx context.Context, s capsulehost.HostAPI) (supervisor.Guest, error) {
		i := &instance{watched: w, number: int(w.loads.Add(1)), ctx: ctx}
		if n := w.alive.Add(1); n > 2 && n > 2*w.most() {
			w.broken("capsule %q: load %d began while %d instances were alive: at most one is prepared beside another", w.capsule, i.number, n-1)
		}
		loaded := false
		defer func() {
			if !loaded { // it failed, or panicked
				w.alive.Add(-1)
			}
		}()
		if err := w.visit(ctx, i.visit(AtLoad)); err != nil {
			return nil, err
		}
		var err error
		i.Guest, err = load(ctx, hostAPI{s, i})
		if err = i.verdict(err); err != nil {
			if i.Guest != nil {
				err = errors.Join(err, i.Guest.Close(ctx))
			}
			return nil, err
		}
		loaded = true
		return i, nil
	}
}

// instance is one instance of a capsule. It belongs to the goroutine that runs its
// guest.
type instance struct {
	supervisor.Guest
	*watched
	number  int
	ctx     context.Context // of the running call
	action  string          // of the running call
	payload []byte
	struck  error // the error of a fault that struck inside the guest
	running atomic.Bool
	closed  bool
}

// Unwrap returns the guest itself, for its optional methods.
func (i *instance) Unwrap() supervisor.Guest { return i.Guest }

func (i *instance) visit(at Point) Visit {
	return Visit{Capsule: i.capsule, Point: at, Load: i.number, Action: i.action, Payload: i.payload}
}

// Invoke runs one interceptor, and the faults before and after it.
func (i *instance) Invoke(ctx context.Context, action string, payload []byte) (capsulehost.Result, error) {
	i.enter(ctx, action, payload)
	defer i.leave()
	if n := i.calls.Add(1); n != 1 && n > i.most() { // also of two instances, in an upgrade
		i.broken("capsule %q: %d calls at once", i.capsule, n)
	}
	defer i.calls.Add(-1)
	if err := i.plan.visit(ctx, i.visit(BeforeCall)); err != nil {
		return capsulehost.Result{}, asReport(err)
	}
	result, err := i.Guest.Invoke(ctx, action, payload)
	if err := i.verdict(err); err != nil {
		return result, err
	}
	if err := i.plan.visit(ctx, i.visit(AfterCall)); err != nil {
		return capsulehost.Result{}, asReport(err)
	}
	return result, nil
}

// Run runs the loop.
func (i *instance) Run(ctx context.Context) error {
	i.enter(ctx, "", nil)
	defer i.leave()
	if err := i.plan.visit(ctx, i.visit(BeforeRun)); err != nil {
		return asReport(err)
	}
	return i.verdict(i.Guest.Run(ctx))
}

// Close frees the instance.
func (i *instance) Close(ctx context.Context) error {
	if i.running.Load() {
		i.broken("capsule %q: instance %d was closed while it ran", i.capsule, i.number)
	}
	if !i.closed {
		i.closed = true
		i.alive.Add(-1)
	}
	return i.Guest.Close(ctx)
}

func (i *instance) enter(ctx context.Context, action string, payload []byte) {
	i.inside.Add(1)
	if i.running.Swap(true) {
		i.broken("capsule %q: instance %d runs twice at once", i.capsule, i.number)
	}
	i.ctx, i.action, i.payload = ctx, action, payload
}

func (i *instance) leave() {
	i.ctx, i.action, i.payload = nil, "", nil
	i.running.Store(false)
	i.inside.Add(-1)
}

// verdict returns the fault that struck inside the guest, otherwise the guest's own
// error.
func (i *instance) verdict(err error) error {
	if struck := i.struck; struck != nil {
		i.struck = nil
		return struck
	}
	return err
}

// asReport converts a fault that is not a death into an error that the guest reports.
func asReport(err error) error {
	if isFailure(err) {
		return err
	}
	return &capsulehost.GuestError{Export: capsulehost.ExportInterceptor, Code: 1, Text: err.Error()}
}

// hostAPI is the host API of a guest, with the injected faults.
type hostAPI struct {
	capsulehost.HostAPI
	guest *instance
}

// at visits a point inside the guest. A fault that strikes there ends the guest.
func (s hostAPI) at(p Point) { s.strike(s.guest.visit(p)) }

func (s hostAPI) strike(v Visit) {
	i := s.guest
	if err := i.plan.visit(i.ctx, v); err != nil {
		i.struck = failure(i.ctx, capsulehost.KindHostCall, "", fmt.Errorf("%s: %w", v.Point, err))
		panic(trapped{i.struck})
	}
}

func (s hostAPI) Log(level capsulehost.LogLevel, message string) {
	s.at(AtLog)
	s.HostAPI.Log(level, message)
}

func (s hostAPI) Config(key string) string {
	s.at(AtConfig)
	return s.HostAPI.Config(key)
}

func (s hostAPI) Caller() *capsulehost.Caller {
	s.at(AtCaller)
	return s.HostAPI.Caller()
}

func (s hostAPI) SignalReady() {
	s.at(AtReady)
	s.HostAPI.SignalReady()
}

func (s hostAPI) Now() time.Time {
	s.at(AtClock)
	return s.HostAPI.Now()
}

func (s hostAPI) Services() *capsulehost.Services {
	var services capsulehost.Services
	if under := s.HostAPI.Services(); under != nil {
		services = *under
	}
	if services.Peers != nil {
		services.Peers = peers{services.Peers, s}
	}
	return &services
}

// peers are the other capsules, as the guest calls them.
type peers struct {
	capsulehost.Peers
	host hostAPI
}

func (p peers) TriggerHook(ctx context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error) {
	v := p.host.guest.visit(AtTrigger)
	v.Topic = topic
	p.host.strike(v)
	asking := &p.host.guest.asking
	asking.Add(1)
	defer asking.Add(-1)
	return p.Peers.TriggerHook(ctx, topic, payload)
}

func (p peers) CheckCapability(ctx context.Context, sourceUUID, capability string) bool {
	p.host.at(AtCapability)
	return p.Peers.CheckCapability(ctx, sourceUUID, capability)
}
