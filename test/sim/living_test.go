package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// This file changes the set of capsules while the system runs: one operator adds capsules,
// upgrades them to other versions, good and broken, and removes them. The promise: no call
// fails of that, an answer is of the version whose generation it names, and an upgrade that
// fails leaves the old version as it was.

// version is one version of a capsule.
type version struct {
	number   string
	fault    string // what is wrong with it; "" is nothing
	rollback bool   // [supervision] rollback
}

// The faults of a version. Once the simulation is calm, versions have none.
const (
	neverLoads  = "it never loads"
	loadFails   = "its load fails"
	loadHangs   = "its load hangs"
	loadPanics  = "its load panics"
	callsCrash  = "each call crashes"
	loopCrashes = "its run loop crashes at once"
)

// drawVersion draws the n-th version of a capsule.
func (c *capsule) drawVersion(r *rand.Rand, n int) *version {
	v := &version{number: fmt.Sprintf("2.%d.0", n), rollback: chance(r, 50)}
	if chance(r, 50) {
		v.fault = pick(r, neverLoads, loadFails, loadHangs, loadPanics, callsCrash, loopCrashes)
	}
	return v
}

// of returns the capsule in a version.
func (c *capsule) of(v *version) supervisor.Capsule {
	c.life.enter(v)
	text := strings.Replace(c.manifest(c.index), `version = "1.0.0"`, fmt.Sprintf("version = %q", v.number), 1)
	return supervisor.Capsule{
		Manifest: text + fmt.Sprintf("rollback = %v\n", v.rollback), // in [supervision], which is last
		Load: func(ctx context.Context, s capsulehost.HostAPI) (supervisor.Guest, error) {
			return c.load(ctx, s, v)
		},
	}
}

// load returns how the load of the version ends, if it does not succeed.
func (v *version) load(ctx context.Context) error {
	switch v.fault {
	case neverLoads:
		return &capsulehost.Failure{Kind: capsulehost.KindLink, Message: v.fault}
	case loadFails:
		return errors.New(v.fault)
	case loadHangs:
		<-ctx.Done()
		return interrupted(ctx)
	case loadPanics:
		panic(v.fault)
	}
	return nil
}

// life is what the living operator has done to a capsule.
type life struct {
	mu       sync.Mutex
	changes  uint64 // additions and removals that have begun, and those that are done
	absent   bool   // for certain, while no change is under way
	versions map[string]*version
}

func (l *life) enter(v *version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.versions == nil {
		l.versions = map[string]*version{}
	}
	l.versions[v.number] = v
}

func (l *life) version(number string) *version {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.versions[number]
}

// begin records that the capsule is being added or removed. The returned function ends
// that.
func (l *life) begin() (end func(absent bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	return func(absent bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changes++
		l.absent = absent
	}
}

// presence is what is certain about a capsule at one moment.
type presence struct {
	changes uint64
	absent  bool
}

func (l *life) presence() presence {
	l.mu.Lock()
	defer l.mu.Unlock()
	return presence{l.changes, l.absent}
}

// presences is that of all capsules.
type presences map[*capsule]presence

func (w *world) presences() presences {
	all := presences{}
	for _, c := range w.capsules {
		all[c] = c.life.presence()
	}
	return all
}

// there reports whether a capsule has been there, or has been absent, ever since.
func (p presences) there(c *capsule) (present, absent bool) {
	before, now := p[c], c.life.presence()
	certain := before == now && now.changes%2 == 0
	return certain && !now.absent, certain && now.absent
}

// living is the operator that changes the set of capsules.
func (w *world) living() {
	r := w.rng("living", 0)
	for n := range r.IntN(14) {
		w.sleep(context.Background(), r, pick(r, 50*ms, 2*time.Second))
		if w.stopping.Load() {
			return
		}
		c := pick(r, w.capsules...)
		switch {
		case c.life.presence().absent:
			w.add(c, c.drawVersion(r, n))
		case chance(r, 75):
			w.upgrade(c, c.drawVersion(r, n))
		default:
			w.remove(c)
		}
	}
}

// lost reports whether a command was lost with the message that its actor failed over, or
// came too late.
func (w *world) lost(err error) bool {
	return w.stopping.Load() || w.harsh && strings.Contains(err.Error(), "failed over it")
}

func (w *world) add(c *capsule, v *version) {
	end := c.life.begin()
	w.audit.upgrading(c, 1)
	change, err := w.sys.Add(context.Background(), c.of(v))
	w.audit.upgrading(c, -1)
	<-time.After(ms) // the hook router has been told
	w.tally.add(fmt.Sprintf("add %v", err == nil))
	switch {
	case err == nil && change.Change == messages.ChangeAdded, errors.Is(err, supervisor.ErrNotUp):
		end(false)
		return
	case err == nil || !w.lost(err):
		w.fail("add %s: %v, %v", c.id, change, err)
	}
	end(true)
}

func (w *world) remove(c *capsule) {
	end := c.life.begin()
	err := w.sys.Remove(context.Background(), c.id)
	<-time.After(ms)
	w.tally.add(fmt.Sprintf("remove %v", err == nil))
	if err != nil && !w.lost(err) {
		w.fail("remove %s: %v", c.id, err)
	}
	end(err == nil)
}

func (w *world) upgrade(c *capsule, v *version) {
	before := w.audit.view(c)
	w.audit.upgrading(c, 1)
	change, err := w.sys.Upgrade(context.Background(), c.of(v))
	w.audit.upgrading(c, -1)
	after := w.audit.view(c)
	w.tally.add(fmt.Sprintf("upgrade to a version that is %q %v", v.fault, err == nil))
	problem := ""
	switch {
	case err == nil && change.Change != messages.ChangeUpgraded:
		problem = "that is no upgrade"
	case err == nil && before.state == messages.StateReady && after.generation == before.generation && !after.isDown(): // it may have ended by itself before
		problem = "done, but there is no new generation"
	case err == nil, w.lost(err):
	case errors.Is(err, supervisor.ErrUpgradeFailed):
		if after.versions[after.generation] == v.number {
			problem = "it has failed, and runs"
		}
	case errors.Is(err, supervisor.ErrRefused):
	case errors.Is(err, supervisor.ErrNotUp):
		if after.sequence == before.sequence {
			problem = "nothing has happened to it"
		}
	default:
		problem = "unexpected"
	}
	if problem != "" {
		w.fail("upgrade %s to %s, which is %q: %v, %v: %s; it was %v, and is %v", c.id, v.number, v.fault, change, err, problem, before, after)
	}
}

// entered is a capsule that was added: it begins anew, except for its generations.
func (a *audit) entered(c *account, sequence uint64) *account {
	fresh := newAccount(c.capsule)
	fresh.generation, fresh.base, fresh.enteredAt = c.generation, c.generation, sequence
	fresh.instances, fresh.versions, fresh.history = c.instances, c.versions, c.history
	fresh.upgrading, fresh.callsBefore = c.upgrading, c.capsule.calls.Load()
	c.capsule.base.Store(c.generation)
	a.capsules[c.id] = fresh
	return fresh
}

// becomes records that the current generation is of a version.
func (c *account) becomes(number string) {
	c.versions[c.generation] = number
	c.version = number
}

// upgraded follows an upgrade: which version may be rolled back to, and until when.
func (c *account) upgraded(d messages.CapsuleUpgraded, at time.Time, check func(bool, string, ...any)) {
	check(d.From == c.version || c.life.version(d.From) != nil, "version %s was never there", d.From)
	if d.From != d.To {
		c.previous = ""
		if v := c.life.version(d.To); v != nil && v.rollback {
			c.previous, c.rollbackUntil = d.From, at.Add(c.policy.Window)
		}
	}
	c.becomes(d.To)
}

// mayRollBack reports whether the version before the current one could take its place.
func (c *account) mayRollBack(at time.Time) bool {
	return c.previous != "" && !at.After(c.rollbackUntil)
}

// mustRollBack reports whether the death of the current version is followed by a rollback,
// and not by a restart.
func (c *account) mustRollBack(cause string) bool {
	return cause == messages.CauseCrash && c.previous != "" && c.diedAt.Before(c.rollbackUntil) &&
		!(c.ownEnd() && c.policy.Mode != supervisor.Permanent)
}

// rolledBack checks a rollback.
func (c *account) rolledBack(d messages.CapsuleRolledBack, check func(bool, string, ...any)) {
	check(c.state == messages.StateCrashed, "it has not crashed")
	check(d.From == c.version && d.To == c.previous, "it is in version %s, after %q", c.version, c.previous)
	check(c.mayRollBack(c.diedAt), "the new version was stable")
	c.previous, c.version = "", d.To
}

// checkVersion returns the problem of the version in an answer, or "".
func (a *audit) checkVersion(c *capsule, v answer) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if want := a.capsules[c.id].versions[v.Generation]; v.Version != want {
		return fmt.Sprintf("it has the value of version %s, and generation %d is of %s", v.Version, v.Generation, want)
	}
	return ""
}
