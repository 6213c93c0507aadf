package actors

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// guestBus is the event bus as one instance sees it. Its subscriptions end with the
// instance. Its methods run on the guest's goroutine; before the guest runs, and after
// it has ended, on the actor's.
type guestBus struct {
	api           *hostAPI
	publisher     *publisher
	held          atomic.Int64 // bytes in its subscriptions
	subscriptions map[uint64]*Subscription
	interceptors  []capsulehost.InterceptorHandle
	last          uint64 // handle
}

var _ capsulehost.Bus = (*guestBus)(nil)

// guest returns the bus for a new instance.
func (b *Bus) guest(api *hostAPI) *guestBus {
	return &guestBus{api: api, publisher: b.publisher(api.instance.ref.cfg.ID), subscriptions: map[uint64]*Subscription{}}
}

func (g *guestBus) Grants() (publish, subscribe []string) {
	v := g.api.instance.version
	return v.Publish, v.Subscribe
}

// Publish gives the message the principal of the caller, or else the capsule's own.
func (g *guestBus) Publish(_ context.Context, topic string, payload capsulehost.Payload) error {
	principal := g.api.instance.ref.cfg.Principal
	if caller := g.api.caller; caller != nil && caller.Principal != nil {
		principal = *caller.Principal
	}
	g.publisher.publish(Publication{
		Topic: topic, Payload: payload, SourceID: g.api.instance.session, Principal: principal, depth: g.api.depth,
	})
	return nil
}

func (g *guestBus) Subscribe(pattern string) (uint64, error) {
	if len(g.subscriptions) >= capsulehost.MaxSubscriptions {
		return 0, fmt.Errorf("subscription to %q: the capsule has %d, which is the limit", pattern, len(g.subscriptions))
	}
	return g.subscribe(pattern), nil
}

func (g *guestBus) subscribe(pattern string) uint64 {
	g.last++
	g.subscriptions[g.last] = g.publisher.bus.subscribe(&Subscription{
		pattern: pattern, owner: g.api.instance.ref.cfg.ID, held: &g.held,
	})
	return g.last
}

// intercept subscribes to the topics of a run loop's interceptors, before it runs.
func (g *guestBus) intercept(interceptors []messages.Interceptor) {
	for _, i := range interceptors {
		g.interceptors = append(g.interceptors, capsulehost.InterceptorHandle{
			Handle: g.subscribe(i.Event), Action: i.Action, Topic: i.Event,
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
	s.Close()
	delete(g.subscriptions, handle)
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
	s := g.subscriptions[handle]
	if s == nil {
		return nil, fmt.Errorf("there is no subscription %d", handle)
	}
	return s, nil
}

// close ends all subscriptions.
func (g *guestBus) close() {
	for _, s := range g.subscriptions {
		s.Close()
	}
	clear(g.subscriptions)
}
