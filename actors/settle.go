package actors

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

// This file is about the durable state in an upgrade. The instance that is prepared may use
// it while it loads, but the current one goes on writing. So what the next one writes is a
// draft, until the exchange makes it true. If what it has read has changed by then, it has
// been prepared from what is past: another one is loaded while the current one waits.

// Settler is the State of an instance that is prepared beside the current one.
type Settler interface {
	// Settle makes what the instance has written durable, and the instance the only one
	// that writes, at one moment. Its error matches ErrOutdated if what the instance has
	// read has changed since, which can't be if it is alone. After an error nothing has
	// changed. It returns when ctx ends.
	Settle(ctx context.Context) error
}

// ErrOutdated says that what an instance has read of its state has changed since.
var ErrOutdated = errors.New("what it has read of its state has changed since")

// settled reports whether there is an offered instance, and settles its state. If that
// fails, it withdraws the offer and tells the supervisor. Without a current instance none
// is loaded anew: nothing could interrupt that.
func (c *capsule) settled(ctx actor.Context) bool {
	next := c.offered()
	if next == nil {
		return false
	}
	offered := next.generation
	defer c.attend(nil)
	err := c.settle(next)
	if c.current != nil && errors.Is(err, ErrOutdated) {
		c.withdraw().close(c.cfg.Log)
		if next, err = c.loadAlone(next.version); err == nil {
			c.reoffer(next)
			err = c.settle(next)
		}
	}
	if err == nil {
		return true
	}
	if next := c.withdraw(); next != nil {
		next.close(c.cfg.Log)
	}
	c.decline(ctx, offered, err)
	return false
}

// settle settles the state of an instance, within the limit of a load.
func (c *capsule) settle(i *instance) error {
	s, ok := i.api.services.State.(Settler)
	if !ok {
		return nil
	}
	c.attend(i)
	var limit callContext
	limit.begin(i.ctx, monotime.Now(), i.version.LoadTimeout, monotime.None)
	defer limit.release()
	return limit.explain(s.Settle(&limit))
}

// loadAlone loads an instance of a version while the current one has no call.
func (c *capsule) loadAlone(v *Version) (*instance, error) {
	i := c.newInstance(v, c.reserve())
	i.beside, i.alone = true, true
	c.attend(i)
	var patience time.Duration // see supervisor.prepare
	if up := c.Announced(); up == nil || !up.RunLoop {
		patience = v.LoadTimeout
	}
	done := make(chan error, 1)
	go func() { // a guest may end its goroutine
		err := error(errExited)
		defer func() { done <- err }()
		err = i.loadBeside(i.ctx, patience)
	}()
	return i, <-done
}

// attend has an interrupt of the current instance end another one, too, for which the actor
// waits.
func (r *CapsuleRef) attend(i *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settling = nil
	if i != nil {
		r.settling = i.end
	}
}

// reoffer puts an instance in the place of the one that was offered.
func (r *CapsuleRef) reoffer(i *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = i
}

// declined is an offer that did not lead to an exchange. The capsule goes on as it was.
type declined struct {
	generation uint64 // of the instance that was offered
	err        error
}

// offerDeclined tells the supervisor to look at CapsuleRef.declined.
type offerDeclined struct{ ref *CapsuleRef }

// decline tells the supervisor about an offer that was withdrawn.
func (c *capsule) decline(ctx actor.Context, generation uint64, err error) {
	c.mu.Lock()
	c.declined = &declined{generation, err}
	c.mu.Unlock()
	ctx.Send(ctx.Parent(), &offerDeclined{c.CapsuleRef})
}

// takeDeclined returns the offer that was declined since the last call; nil without one.
func (r *CapsuleRef) takeDeclined() *declined {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.declined
	r.declined = nil
	return d
}

// offerDeclined ends a child's upgrade whose instance did not take over, or has it prepared
// again.
func (s *supervisor) offerDeclined(c *child) {
	d := c.Ref.takeDeclined()
	if d == nil || c.upgrade == nil || c.upgrade.generation != d.generation {
		return
	}
	c.stopTimer()
	if errors.Is(d.err, ErrOutdated) { // the one that changed it has died
		c.upgrade.generation = 0
		s.prepare(c, c.upgrade, nil)
		return
	}
	s.upgradeFailed(c, d.err)
}
