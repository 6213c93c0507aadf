package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// takeOver is a message to a capsule's actor: an instance that was prepared beside the
// current one is to take its place. It overtakes the calls that wait, which the new
// instance serves.
type takeOver struct{}

// Urgent makes it overtake.
func (*takeOver) Urgent() {}

// reserve returns the generation of an instance that is to be prepared.
func (r *CapsuleRef) reserve() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loads.Add(1)
}

// offer hands a prepared instance over to the capsule's actor, which owns it from then
// on: it takes over between two calls, or at the actor's next start. offer returns false
// if a newer generation has begun, or, with running, if the actor is to end.
func (r *CapsuleRef) offer(next *instance, running bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	mailbox := r.mailbox.Load()
	if next.generation <= r.generation.Load() || running && mailbox.Closed() {
		return false
	}
	r.next = next
	if running {
		mailbox.PostUserMessage(&takeOver{})
	}
	return true
}

// offered returns the instance that is to take over; nil without one.
func (r *CapsuleRef) offered() *instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// withdraw returns the instance that was offered, which is not to take over any more;
// nil if there is none.
func (r *CapsuleRef) withdraw() *instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.next
	r.next = nil
	return i
}

// accept makes the instance that was offered the current one, and returns it; nil if
// there is none.
func (r *CapsuleRef) accept() *instance {
	r.mu.Lock()
	i := r.next
	if i != nil {
		r.next = nil
		r.becomeCurrentLocked(i)
	}
	r.mu.Unlock()
	if i != nil {
		r.setVersion(i.version)
	}
	return i
}

// setVersion makes a version that of the next load.
func (r *CapsuleRef) setVersion(v *Version) {
	v.hold()
	old := r.version.Swap(v)
	if old != v && v.Adopted != nil {
		v.Adopted()
	}
	old.drop()
}

// takeOver replaces the current instance by the one that was offered.
func (c *capsule) takeOver(ctx actor.Context) {
	next := c.offered()
	if next == nil {
		return // a restart has been faster
	}
	from, old := c.Version(), c.current
	if old != nil {
		c.serveDropped(next)
	}
	if !c.settled(ctx) {
		if c.own.Closed() {
			c.discard(messages.StateStopped)
		}
		return
	}
	if old != nil {
		c.stats.died()
		old.endGuest(c.cfg.Log)
		if c.own.Closed() { // it has been told to stop meanwhile
			c.discard(messages.StateStopped)
			return
		}
	}
	c.current = c.accept()
	c.current.receive(old)
	c.tookOver(ctx, from, old)
}

// serveDropped has the current instance serve the calls that wait for an action which
// the next one does not serve.
func (c *capsule) serveDropped(next *instance) {
	calls := c.own.Extract(func(message any) bool {
		call, ok := message.(*invocation)
		return ok && (next.runLoop || !next.version.has(call.action))
	})
	defer func() { // if the instance dies of one
		for _, call := range calls {
			c.refuse(call, nil, system.Closed)
		}
	}()
	for len(calls) > 0 {
		call, _ := calls[0].(*invocation)
		calls = calls[1:]
		c.invoke(call)
	}
}

// tookOver announces the current instance, which was prepared beside another one, and
// frees what is left of that; nil if it had died.
func (c *capsule) tookOver(ctx actor.Context, from *Version, old *instance) {
	i := c.current
	c.likely.Store(0)
	c.stats.born(i.guest)
	c.own.SetCapacity(i.version.Queue)
	c.dropped = nil
	for n := range from.Interceptors {
		if action := from.Interceptors[n].Action; !i.version.has(action) {
			if c.dropped == nil {
				c.dropped = map[string]bool{}
			}
			c.dropped[action] = true
		}
	}
	upgraded := messages.CapsuleUpgraded{
		From: from.Number, To: i.version.Number, Session: i.session, Took: monotime.Now().Sub(i.began), ModuleHash: i.version.hash(),
	}
	if i.runLoop && !i.api.hasSignalled() {
		c.up(ctx, messages.StateStarting, upgraded, messages.CapsuleStarting{Session: i.session})
	} else {
		c.up(ctx, messages.StateReady, upgraded)
	}
	if old != nil {
		old.close(c.cfg.Log)
	}
	if !i.runLoop {
		c.afterRestart()
		return
	}
	select {
	case <-i.loop.ended: // before its end could be reported to this actor
		c.loopEnded(&loopEnded{generation: i.generation, err: i.loop.err})
	default:
	}
}
