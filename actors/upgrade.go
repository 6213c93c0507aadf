package actors

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// UpgradeCapsule gives a capsule a version, prepared beside the instance that runs. It
// is answered by one CommandDone: when an instance of the version has taken over; or
// with CommandKept when it could not, and the capsule goes on as it was.
type UpgradeCapsule struct {
	ID      string
	Version *Version
	// Spec holds the version's settings. Its Ref and Removed are ignored.
	Spec ChildSpec
	How  How
	// Same is the version that has the same content, or nil. If the capsule has that when
	// the new one takes over, it only gets a fresh instance: what it may be rolled back to
	// stays.
	Same *Version
}

// changes reports whether the version differs from the one that it replaces.
func (m *UpgradeCapsule) changes(from *Version) bool { return m.Same == nil || m.Same != from }

// How is what an upgrade is for.
type How int

// The ways to upgrade.
const (
	// Reload: the capsule's files have changed. Running calls go on to their end, and a
	// capsule that is stopped stays so: its next start is with this version.
	Reload How = iota
	// Restart: an operator wants a fresh instance. A running call gets the stop time-out.
	Restart
	// Start: an operator wants a capsule to run that has stopped or failed.
	Start
)

// upgrade is an upgrade in progress. What is not under mu belongs to the supervisor.
type upgrade struct {
	UpgradeCapsule
	asker      *actor.PID
	from       *Version        // that it replaces
	ctx        context.Context // of the preparation
	cancel     context.CancelCauseFunc
	next       *instance // prepared, and not offered to the capsule yet; else nil
	generation uint64    // that of the instance that was offered; 0 before

	mu       sync.Mutex
	unwanted bool // nobody wants the result
	done     bool // there is a result that the supervisor has not taken
	result   *instance
	err      error
}

// previous is what a child is rolled back to if its new version crashes soon.
type previous struct {
	version *Version
	spec    ChildSpec
	until   monotime.Time // after it, the new version is stable
	timer   *time.Timer   // for stable
}

// upgradeCapsule begins an upgrade.
func (s *supervisor) upgradeCapsule(ctx actor.Context, m *UpgradeCapsule) {
	c := s.byID[m.ID]
	if g := s.groups[m.ID]; g != nil && g.crew != nil {
		s.upgradePool(ctx, g, m)
		return
	}
	if c == nil { // or a group, about which UpgradeCapsule says nothing
		ctx.Respond(&messages.CommandDone{Result: messages.CommandNotFound})
		return
	}
	if refusal := s.mayUpgrade(c, m.How); refusal != "" {
		ctx.Respond(&messages.CommandDone{Result: messages.CommandRefused, Reason: refusal})
		return
	}
	if c.phase == running && m.How == Start {
		// What runs already is done at once, and what is being started when that is decided.
		c.waiters = append(c.waiters, waiter{pid: ctx.Sender(), up: true})
		if up := c.up; up != nil && up.Generation > c.over && (up.State == messages.StateReady || c.due == monotime.None) {
			s.answer(c, true, "")
		}
		return
	}
	if !c.withGroup() && (c.phase == running || c.phase == backoff) {
		u := &upgrade{UpgradeCapsule: *m, asker: ctx.Sender(), from: c.Ref.Version()}
		u.ctx, u.cancel = context.WithCancelCause(context.Background())
		u.Version.hold()
		u.from.hold()
		c.upgrade = u
		s.prepare(c, u, nil)
		return
	}
	if m.changes(c.Ref.Version()) {
		s.forgetPrevious(c)
	}
	s.adopt(c, m.Version, m.Spec)
	if c.withGroup() { // its next instance is of this version
		c.restarts.reset()
		c.waiters = append(c.waiters, waiter{pid: ctx.Sender(), up: true})
		return
	}
	if c.phase == waiting || m.How == Reload && c.down.State != messages.StateFailed {
		ctx.Respond(&messages.CommandDone{Result: messages.CommandSucceeded})
		return
	}
	c.restarts.reset()
	c.waiters = append(c.waiters, waiter{pid: ctx.Sender(), up: true})
	s.scheduled(c, verdict{}, messages.CauseOperator, nil, nil)
	s.spawn(ctx, c)
}

// mayUpgrade returns why an upgrade is refused; "" if it is not.
func (s *supervisor) mayUpgrade(c *child, how How) string {
	switch {
	case s.stopping:
		return reasonStopping
	case c.phase == stopping:
		return "it is stopping"
	case c.withGroup() && c.then == slotEnded && c.phase != backoff:
		return "its group stops it"
	case c.phase == waiting && how == Start:
		return "it starts as soon as the capsules that it imports from, and those before it in its group, have"
	case c.phase == waiting && how == Restart:
		return notStarted
	case c.upgrade != nil && (how != Start || c.phase != running):
		return "another upgrade of it is under way"
	default:
		return ""
	}
}

// withGroup reports whether the child is being restarted, or stopped, with its group.
func (c *child) withGroup() bool {
	return c.doomed || c.phase == halting || c.phase == backoff && c.scope != nil
}

// adopt makes a version that of the child's next load.
func (s *supervisor) adopt(c *child, v *Version, spec ChildSpec) {
	c.Ref.setVersion(v)
	c.ReadyTimeout, c.StopTimeout, c.Rollback = spec.ReadyTimeout, spec.StopTimeout, spec.Rollback
	c.Restart, c.WaitsFor = spec.Restart, spec.WaitsFor
	c.restarts.policy = spec.Restart
	if c.pool != nil {
		c.restarts.policy.Budget = unlimited
	}
}

// prepare prepares an instance on a goroutine of its own, from which a prepared comes. It
// closes a stale one first.
func (s *supervisor) prepare(c *child, u *upgrade, stale *instance) {
	ref, patience := c.Ref, u.Spec.ReadyTimeout
	if up := ref.Announced(); up != nil && up.RunLoop && up.State == messages.StateReady {
		patience = 0 // a loop that has not signalled does not replace one that has
	}
	s.Preparations.start(ref.Path(), func() {
		var next *instance
		err := error(errExited)
		defer func() { // also if the guest ends the goroutine
			if u.put(next, err) {
				s.System.Send(s.self, &prepared{c, u})
			} else if next != nil {
				next.close(s.Log)
			}
		}()
		if stale != nil {
			stale.close(s.Log)
		}
		next, err = ref.prepare(u.ctx, u.Version, patience)
	})
}

// put keeps the result of a preparation; it returns false if nobody wants it.
func (u *upgrade) put(next *instance, err error) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.unwanted {
		return false
	}
	u.result, u.err, u.done = next, err, true
	return true
}

// take takes the result of the preparation, if there is one.
func (u *upgrade) take() (next *instance, err error, done bool) { //nolint:revive // err is part of the result
	u.mu.Lock()
	defer u.mu.Unlock()
	next, err, done = u.result, u.err, u.done
	u.result, u.done = nil, false
	return next, err, done
}

// refuse takes the result of the preparation, or that there will be none.
func (u *upgrade) refuse() *instance {
	u.mu.Lock()
	u.unwanted = true
	u.mu.Unlock()
	next, _, _ := u.take()
	return next
}

// prepared comes when a preparation has ended.
type prepared struct {
	child   *child
	upgrade *upgrade
}

// prepared hands the prepared instance over, or gives the upgrade up.
func (s *supervisor) prepared(ctx actor.Context, c *child, u *upgrade) {
	if c.upgrade != u {
		return // it was cancelled
	}
	next, err, done := u.take()
	switch {
	case !done:
	case err != nil:
		s.upgradeFailed(c, err)
	default:
		u.next = next
		s.handOver(ctx, c, u)
	}
}

// upgradeFailed ends an upgrade that has changed nothing.
func (s *supervisor) upgradeFailed(c *child, err error) {
	u, failure := c.upgrade, failureOf("load", err)
	c.Ref.During(func(generation uint64) {
		s.Observe(messages.Event{
			Path: c.Ref.Path(), Generation: generation,
			Detail: messages.UpgradeFailed{From: u.from.Number, To: u.Version.Number, Failure: failure, ModuleHash: u.Version.hash()},
		})
	})
	s.endUpgrade(c, messages.CommandKept, failure.Message)
}

// handOver offers the prepared instance to the capsule, whatever has become of that
// meanwhile.
func (s *supervisor) handOver(ctx actor.Context, c *child, u *upgrade) {
	if c.phase == stopping {
		return // it has failed for good meanwhile: terminated hands over
	}
	running, next := c.Ref.Generation(), u.next // read before the offer, which may be accepted at once
	u.next = nil
	if !c.Ref.offer(next, c.phase != ended) { // after a crash a newer generation has begun
		s.prepare(c, u, next)
		return
	}
	u.generation = next.generation
	switch {
	case c.phase == ended:
		s.replaced(c)
		s.spawn(ctx, c)
	case c.withGroup():
		// It takes over when the group starts the capsule.
	case c.phase == backoff:
		s.replaced(c)
		s.restartNow(ctx, c)
	default:
		c.stopTimer()
		if ref := c.Ref; u.How == Restart {
			c.interruptAfter(func() { ref.Interrupt(running, ErrRestarting) })
		} else if ref.Announced() == nil {
			ref.Interrupt(running, ErrRestarting) // a load, which no call waits for
		}
	}
}

// replaced reports that an instance is about to take the place of one that has died.
func (s *supervisor) replaced(c *child) {
	c.restarts.reset()
	s.scheduled(c, verdict{}, messages.CauseOperator, nil, nil)
}

// upgraded ends an upgrade, if that generation is its instance: it has taken over.
func (s *supervisor) upgraded(c *child, generation uint64) {
	s.offerDeclined(c)
	u := c.upgrade
	if u == nil || u.generation == 0 || generation < u.generation {
		return
	}
	c.stopTimer()
	if u.changes(u.from) {
		s.forgetPrevious(c)
		if u.Spec.Rollback {
			s.keepPrevious(c, u)
		}
	}
	s.adopt(c, u.Version, u.Spec)
	c.restarts.reset()
	s.endUpgrade(c, messages.CommandSucceeded, "")
}

// keepPrevious keeps the version that an upgrade has replaced, until the new one has been
// up for its window.
func (s *supervisor) keepPrevious(c *child, u *upgrade) {
	window := u.Spec.Restart.Window
	old := &previous{version: u.from, spec: c.ChildSpec, until: monotime.Now().Add(window)}
	old.version.hold()
	old.timer = time.AfterFunc(window, func() { s.System.Send(s.self, &stable{c, old}) })
	c.previous = old
}

// endUpgrade answers who asked.
func (s *supervisor) endUpgrade(c *child, result messages.CommandResult, reason string) {
	u := c.upgrade
	c.upgrade = nil
	u.cancel(nil)
	u.Version.drop()
	u.from.drop()
	s.System.Send(u.asker, &messages.CommandDone{Result: result, Reason: reason})
}

// cancelUpgrade ends a child's upgrade, because the child is to end. An instance that
// was offered already ends with the capsule's actor.
func (s *supervisor) cancelUpgrade(c *child, reason string) {
	u := c.upgrade
	if u == nil {
		return
	}
	u.cancel(errors.New(reason))
	for _, next := range []*instance{u.refuse(), u.next} {
		if next != nil {
			s.Preparations.start(c.Ref.Path(), func() { next.close(s.Log) })
		}
	}
	s.endUpgrade(c, messages.CommandFailed, reason)
}

// stable comes when a new version has been up for its window.
type stable struct {
	child    *child
	previous *previous
}

func (s *supervisor) stable(m *stable) {
	if m.child.previous == m.previous {
		s.forgetPrevious(m.child)
	}
}

// forgetPrevious gives up the version that a child could be rolled back to.
func (s *supervisor) forgetPrevious(c *child) {
	if p := c.previous; p != nil {
		c.previous = nil
		p.timer.Stop()
		p.version.drop()
	}
}

// rollBack gives a child whose new version has crashed the previous one, if there is one.
// That it has ended by itself, and is not to be restarted then, is no crash.
func (s *supervisor) rollBack(c *child, crash *Crash) bool {
	p := c.previous
	if p == nil || monotime.Now() >= p.until || crash.Blameless != "" || crash.Clean && c.restarts.policy.Mode != Permanent {
		return false
	}
	p.version.hold()
	defer p.version.drop()
	s.Observe(messages.Event{
		Path: c.Ref.Path(), Generation: crash.Generation,
		Detail: messages.CapsuleRolledBack{From: c.Ref.Version().Number, To: p.version.Number, Failure: crash.Failure, ModuleHash: p.version.hash()},
	})
	s.forgetPrevious(c)
	s.adopt(c, p.version, p.spec)
	s.rollPoolBack(c, p.version, p.spec)
	if u := c.upgrade; u != nil { // it replaces that one now
		p.version.hold()
		u.from.drop()
		u.from = p.version
	}
	return true
}

// prepare makes an instance of a version, beside the one that runs. A run loop is waited
// for until it signals: for patience, and then it is taken as it is; or, if that is 0,
// for the version's limit of a load, and then that is an error.
func (r *CapsuleRef) prepare(ctx context.Context, v *Version, patience time.Duration) (*instance, error) {
	if v.Prepare != nil {
		var limit callContext
		limit.begin(ctx, monotime.Now(), v.LoadTimeout, monotime.None)
		defer limit.release()
		_, err := guarded(func() (struct{}, error) { return struct{}{}, v.Prepare(&limit) })
		if err := limit.explain(err); err != nil {
			return nil, err
		}
	}
	i := r.newInstance(v, r.reserve())
	i.beside = true
	if err := i.loadBeside(ctx, patience); err != nil {
		return nil, err
	}
	return i, nil
}

// loadBeside loads an instance beside the current one, until ctx ends. If that fails, the
// instance is closed.
func (i *instance) loadBeside(ctx context.Context, patience time.Duration) error {
	unlink := context.AfterFunc(ctx, func() { i.end(context.Cause(ctx)) })
	ok := false
	defer func() { // also if the guest ends the goroutine
		unlink()
		if !ok {
			i.close(i.ref.cfg.Log)
		}
	}()
	err := i.load()
	if err == nil {
		err = context.Cause(i.ctx) // it may have been withdrawn, and the load not noticed
	}
	if err == nil && i.runLoop {
		err = i.awaitSignal(patience)
	}
	ok = err == nil
	return err
}
