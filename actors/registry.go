package actors

import (
	"fmt"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// CapabilityPromptInjection is the one capability that capsules can ask about.
const CapabilityPromptInjection = "allow_prompt_injection"

// RegistryConfig describes the registry.
type RegistryConfig struct {
	System *system.System
	Log    *slog.Logger
}

// RegistryProps describes the registry: it answers which capsule has an id or holds
// a session UUID, and which capabilities it has. In doubt the answer is no. Its
// parent is the root.
//
// A restart loses the entries. The supervisor then announces every capsule again,
// until resyncDone; questions are held until then.
func RegistryProps(cfg RegistryConfig) *actor.Props {
	restarted := false
	return cfg.System.DirectProps(func() actor.Actor {
		r := &registry{RegistryConfig: cfg, byName: map[string]*entry{}, bySession: map[string]*entry{}, resyncing: restarted}
		restarted = true
		return r
	}, system.NewMailbox(0, nil))
}

// registry is one run of the registry.
type registry struct {
	RegistryConfig
	byName    map[string]*entry // one for each instance of a pool
	bySession map[string]*entry // only sessions that are valid now
	resyncing bool
	held      []question // during a resync; each asker waits, so there are few
	warnings  warnings
}

// entry is a capsule as the registry knows it.
type entry struct {
	lastSeen
	id    string
	up    *CapsuleUp // the last announcement; a zero one before the first
	state messages.CapsuleState
}

// question is a message that waits for an answer.
type question struct {
	message any
	sender  *actor.PID
}

// Receive handles one message.
func (r *registry) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *messages.FindCapsule, *messages.CheckCapability:
		r.question(question{m, ctx.Sender()})
	case *CapsuleUp:
		r.up(m)
	case *CapsuleDown:
		r.down(m)
	case *CapsuleGone:
		r.gone(m)
	case *resyncDone:
		r.resyncDone()
	case *actor.Stopping, *actor.Restarting:
		r.giveUp()
	case *actor.Started, *actor.Stopped:
	default:
		r.Log.Error("registry: message not understood", "message", fmt.Sprintf("%T", m))
	}
}

// question answers, or keeps the question until the answer is known again.
func (r *registry) question(q question) {
	if r.resyncing {
		r.held = append(r.held, q)
		return
	}
	if q.sender == nil {
		return
	}
	switch m := q.message.(type) {
	case *messages.FindCapsule:
		r.System.Send(q.sender, r.find(m))
	case *messages.CheckCapability:
		r.System.Send(q.sender, r.check(m))
	}
}

func (r *registry) find(m *messages.FindCapsule) *messages.CapsuleFound {
	e := r.byName[m.ID]
	if m.Session != "" {
		e = r.bySession[m.Session]
	}
	if e == nil {
		return &messages.CapsuleFound{}
	}
	found := &messages.CapsuleFound{Found: true, ID: e.id, Generation: e.generation, Version: e.up.Version, State: e.state}
	if !e.over {
		found.Session = e.up.Session
	}
	return found
}

func (r *registry) check(m *messages.CheckCapability) *messages.CapabilityChecked {
	e := r.bySession[m.SourceUUID]
	switch {
	case e == nil:
		return &messages.CapabilityChecked{Reason: "no capsule has this session now"}
	case m.Capability != CapabilityPromptInjection:
		r.warnings.warn(r.Log, e.id, "unknown capability asked for: denied", "capsule", e.id, "capability", m.Capability)
		return &messages.CapabilityChecked{Reason: "unknown capability"}
	case !e.up.AllowPromptInjection:
		return &messages.CapabilityChecked{Reason: "not granted by the manifest"}
	default:
		return &messages.CapabilityChecked{Allowed: true}
	}
}

// up makes a session valid; it replaces the capsule's last one.
func (r *registry) up(m *CapsuleUp) {
	e := r.entry(m.Ref)
	signalled := e.state == messages.StateReady && e.up.Generation == m.Generation
	if !e.lastSeen.up(m.Generation) || signalled {
		return
	}
	delete(r.bySession, e.up.Session)
	e.up, e.state = m, m.State
	r.bySession[m.Session] = e
}

// down ends a session.
func (r *registry) down(m *CapsuleDown) {
	if e := r.entry(m.Ref); e.lastSeen.down(m.Generation) {
		delete(r.bySession, e.up.Session)
		e.state = m.State
	}
}

// gone forgets a capsule.
func (r *registry) gone(m *CapsuleGone) {
	name := m.Ref.Name()
	if e := r.byName[name]; e != nil {
		delete(r.bySession, e.up.Session)
		delete(r.byName, name)
	}
}

// resyncDone: every capsule is known again.
func (r *registry) resyncDone() {
	held := r.held
	r.resyncing, r.held = false, nil
	for _, q := range held {
		r.question(q)
	}
}

// giveUp tells those whose questions this run holds that it will not answer.
func (r *registry) giveUp() {
	for _, q := range r.held {
		if q.sender != nil {
			r.System.Send(q.sender, &system.Undelivered{Message: q.message, Why: system.Closed})
		}
	}
}

// entry returns the entry for a capsule, a new one if it is not known.
func (r *registry) entry(ref *CapsuleRef) *entry {
	name := ref.Name()
	e := r.byName[name]
	if e == nil {
		e = &entry{id: ref.ID(), up: &CapsuleUp{}}
		r.byName[name] = e
	}
	return e
}
