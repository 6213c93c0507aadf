package actors

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// guestBus is the event bus as one instance sees it. Its subscriptions end with the
// instance. Its methods run on the guest's goroutine; before the guest runs, and after
// it has ended, on the actor's, which also calls takeOver.
type guestBus struct {
	api          *hostAPI
	publisher    *publisher
	held         *atomic.Int64 // bytes in its subscriptions, which may outlive the instance
	interceptors []capsulehost.InterceptorHandle

	mu            sync.Mutex
	subscriptions map[uint64]*Subscription
	last          uint64 // handle
	waits         bool   // until the instance takes over, nothing is for its subscriptions
}

var _ capsulehost.Bus = (*guestBus)(nil)

// guest returns the bus for a new instance.
func (b *Bus) guest(api *hostAPI) *guestBus {
	i := api.instance
	return &guestBus{api: api, publisher: b.publisher(i.ref.cfg.ID), held: &atomic.Int64{}, subscriptions: map[uint64]*Subscription{}, waits: i.beside}
}

func (g *guestBus) Grants() (publish, subscribe []string) {
	v := g.api.instance.version
	return v.Publish, v.Subscribe
}

// Publish gives the message the principal of the caller, or else the capsule's own.
func (g *guestBus) Publish(ctx context.Context, topic string, payload capsulehost.Payload) error {
	principal := g.api.instance.ref.cfg.Principal
	if caller := g.api.caller; caller != nil && caller.Principal != nil {
		principal = *caller.Principal
	}
	return g.publisher.publish(ctx, &Publication{
		Topic: topic, Payload: payload, SourceID: g.api.instance.session, Principal: principal,
		depth: g.api.depth, by: g.api.call,
	})
}

func (g *guestBus) Subscribe(pattern string) (uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.subscriptions) >= capsulehost.MaxSubscriptions {
		return 0, fmt.Errorf("subscription to %q: the capsule has %d, which is the limit", pattern, len(g.subscriptions))
	}
	return g.subscribeLocked(pattern), nil
}

func (g *guestBus) subscribeLocked(pattern string) uint64 {
	s := g.publisher.bus.newSubscription(&Subscription{pattern: pattern, owner: g.api.instance.ref.cfg.ID, held: g.held})
	if !g.waits {
		g.publisher.bus.subscriptions.add(s)
	}
	g.last++
	g.subscriptions[g.last] = s
	return g.last
}

// intercept subscribes to the topics of a run loop's interceptors, before it runs.
func (g *guestBus) intercept(interceptors []messages.Interceptor) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, i := range interceptors {
		g.interceptors = append(g.interceptors, capsulehost.InterceptorHandle{
			Handle: g.subscribeLocked(i.Event), Action: i.Action, Topic: i.Event,
		})
	}
}

func (g *guestBus) Interceptors() []capsulehost.InterceptorHandle { return g.interceptors }

func (g *guestBus) Unsubscribe(handle uint64) error {
	for _, i := range g.interceptors {
		if i.Handle == handle {
			return fmt.Errorf("subscription %d stands for the interceptor %q, and can't be ended", handle, i.Action)
		}
	}
	s, err := g.find(handle)
	if err != nil {
		return err
	}
	g.mu.Lock()
	delete(g.subscriptions, handle)
	g.mu.Unlock()
	s.Close()
	return nil
}

func (g *guestBus) Receive(ctx context.Context, handle uint64, wait time.Duration) (capsulehost.Batch, error) {
	s, err := g.find(handle)
	if err != nil {
		return capsulehost.Batch{}, err
	}
	woken := false
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		woken = s.Wait(ctx, timer.C)
	}
	return s.batch(woken), nil
}

func (g *guestBus) find(handle uint64) (*Subscription, error) {
	g.mu.Lock()
	s := g.subscriptions[handle]
	g.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("there is no subscription %d", handle)
	}
	return s, nil
}

// close ends all subscriptions.
func (g *guestBus) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.subscriptions {
		s.Close()
	}
	clear(g.subscriptions)
}
