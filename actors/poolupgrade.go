package actors

import (
	"context"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/messages"
)

// This file upgrades, restarts and starts a pool: the instances that run one after the
// other, so that the others serve meanwhile.

// rolling is an upgrade of all instances.
type rolling struct {
	UpgradeCapsule
	asker  *actor.PID // nil if nobody waits for it
	cancel context.CancelFunc
	result atomic.Pointer[messages.CommandDone] // nil before the end
}

// upgradePool begins an upgrade or a restart of all instances, one after the other, or
// starts a pool that does not run.
func (s *supervisor) upgradePool(ctx actor.Context, g *group, m *UpgradeCapsule) {
	respond := func(result messages.CommandResult, reason string) {
		ctx.Respond(&messages.CommandDone{Result: result, Reason: reason})
	}
	switch {
	case s.stopping:
		respond(messages.CommandRefused, reasonStopping)
	case g.crew.removed != nil:
		respond(messages.CommandRefused, "it is being removed")
	case g.crew.rolling != nil:
		respond(messages.CommandRefused, "another upgrade of it is under way")
	case g.crew.off && !isDown(g):
		respond(messages.CommandRefused, "it is stopping")
	case m.How == Start && !g.crew.off && isUp(g):
		respond(messages.CommandSucceeded, "")
	case g.crew.off || isDown(g) && !g.crew.elastic() || m.How == Start:
		s.startPool(ctx, g, m)
	case len(g.members) == 0:
		s.adoptPool(ctx, g, m)
		respond(messages.CommandSucceeded, "")
	default:
		s.roll(g, m, ctx.Sender())
	}
}

// startPool gives a pool a version, and starts the instances that have ended, if that is
// wanted.
func (s *supervisor) startPool(ctx actor.Context, g *group, m *UpgradeCapsule) {
	stays := g.crew.off && m.How == Reload && !g.crew.failed
	if g.crew.off || isDown(g) {
		s.adoptPool(ctx, g, m)
		for _, c := range s.instances(g) {
			s.adopt(c, m.Version, m.Spec)
		}
	}
	if stays || len(g.members) == 0 && g.crew.Size().Min == 0 {
		if !stays {
			s.openPool(g)
			s.Observe(messages.Event{Path: groupPath(g), Detail: messages.PoolScaled{Cause: "started"}})
		}
		ctx.Respond(&messages.CommandDone{Result: messages.CommandSucceeded})
		return
	}
	s.openPool(g)
	s.groupWaiters[g] = append(s.groupWaiters[g], waiter{pid: ctx.Sender(), up: true})
	for _, c := range s.instances(g) {
		if c.phase == ended {
			s.scheduled(c, verdict{}, messages.CauseOperator, nil, nil)
		}
	}
	g.startAll()
	s.advanceAll(ctx, outermostOf(g))
}

// adoptPool makes a version that of instances to come, with its settings and size.
func (s *supervisor) adoptPool(ctx actor.Context, g *group, m *UpgradeCapsule) {
	spec := m.Spec
	spec.Pool, spec.Removed = g.crew.Pool, g.crew.spec.Removed
	g.crew.spec = spec
	g.crew.setVersion(m.Version)
	g.policy, g.deaths.policy = spec.Restart, spec.Restart
	g.policy.Mode, g.deaths.policy.Mode = Permanent, Permanent
	g.crew.resize(spec.Size)
	s.refit(ctx, g)
}

// roll upgrades the instances one after the other. If one can't be upgraded, those before
// it get their old version back, so that all agree.
func (s *supervisor) roll(g *group, m *UpgradeCapsule, asker *actor.PID) {
	r := &rolling{UpgradeCapsule: *m, asker: asker}
	var rollCtx context.Context
	rollCtx, r.cancel = context.WithCancel(context.Background())
	g.crew.rolling = r
	g.crew.mix(true)
	m.Version.hold()
	before, old := g.crew.Version(), g.crew.spec
	before.hold()
	var names []string
	for _, c := range s.instances(g) {
		if m.How != Reload || c.Ref.Version() != m.Version {
			names = append(names, c.id)
		}
	}
	upgrade := func(name string, v *Version, spec ChildSpec, how How) *messages.CommandDone {
		answer, err := s.System.Ask(rollCtx, s.self, &UpgradeCapsule{ID: name, Version: v, Spec: spec, How: how, Same: m.Same})
		done, ok := answer.(*messages.CommandDone)
		if err != nil || !ok {
			return &messages.CommandDone{Result: messages.CommandFailed, Reason: "it was given up"}
		}
		return done
	}
	s.Preparations.start(groupPath(g), func() {
		defer before.drop()
		defer m.Version.drop()
		result := &messages.CommandDone{}
		for at, name := range names {
			done := upgrade(name, m.Version, m.Spec, m.How)
			if done.Result == messages.CommandSucceeded || done.Result == messages.CommandNotFound {
				continue
			}
			result = done
			for _, earlier := range names[:at] {
				if m.Version != before {
					upgrade(earlier, before, old, Reload)
				}
			}
			break
		}
		r.result.Store(result)
		s.System.Send(s.self, &rolled{g, r})
	})
}

// rolled ends a rolling upgrade.
func (s *supervisor) rolled(ctx actor.Context, m *rolled) {
	g, result := m.group, m.by.result.Load()
	if g.crew.rolling != m.by || result == nil {
		return // it was cancelled, and answered
	}
	m.by.cancel()
	g.crew.rolling = nil
	g.crew.mix(false)
	if result.Result == messages.CommandSucceeded {
		g.deaths.reset()
		s.adoptPool(ctx, g, &m.by.UpgradeCapsule)
	}
	m.by.tell(s, result)
	s.watchIdle(g, g.crew.Size().Idle)
}

// cancelRolling gives a rolling upgrade up.
func (s *supervisor) cancelRolling(g *group, reason string) {
	r := g.crew.rolling
	if r == nil {
		return
	}
	g.crew.rolling = nil
	g.crew.mix(false)
	r.cancel()
	r.tell(s, &messages.CommandDone{Result: messages.CommandFailed, Reason: reason})
}

// tell answers who asked for an upgrade.
func (r *rolling) tell(s *supervisor, result *messages.CommandDone) {
	if r.asker != nil {
		s.System.Send(r.asker, result)
	}
}

// rollPoolBack gives all instances the version before an upgrade, after one of them was
// rolled back.
func (s *supervisor) rollPoolBack(c *child, v *Version, spec ChildSpec) {
	g := c.pool
	if g == nil || g.crew.rolling != nil && g.crew.rolling.Version == v {
		return
	}
	s.cancelRolling(g, "an instance of the new version has crashed, and it was rolled back")
	g.crew.spec = spec
	if g.crew.Version() != v {
		g.crew.setVersion(v)
	}
	s.roll(g, &UpgradeCapsule{ID: g.name, Version: v, Spec: spec, How: Reload}, nil)
}
