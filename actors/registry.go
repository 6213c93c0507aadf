package actors

import (
	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// CapabilityPromptInjection is the one capability that capsules can ask about.
const CapabilityPromptInjection = "allow_prompt_injection"

// RegistryConfig is what the registry is made of.
type RegistryConfig struct {
	System *system.System
	Log    zerolog.Logger
}

// RegistryProps describes the registry: it answers who a capsule, or the holder
// of a session UUID, is, and what it may do. Doubt is no. Its parent is the
// root. A restart loses the entries; the `capsules` supervisor then announces
// every capsule again.
func RegistryProps(cfg RegistryConfig) *actor.Props {
	return cfg.System.Props(func() actor.Actor {
		return &registry{RegistryConfig: cfg, byID: map[string]*entry{}, bySession: map[string]*entry{}}
	}, system.NewMailbox(0, nil))
}

// registry is one incarnation of the registry.
type registry struct {
	RegistryConfig
	byID      map[string]*entry
	bySession map[string]*entry // only sessions that are valid now
}

type entry struct {
	up    *messages.CapsuleUp // the last announcement; bare where it never was up
	state messages.CapsuleState
}

// Receive handles one message.
func (r *registry) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *messages.FindCapsule:
		ctx.Respond(r.find(m))
	case *messages.CheckCapability:
		ctx.Respond(r.check(m))
	case *messages.CapsuleUp:
		r.up(m)
	case *messages.CapsuleDown:
		r.down(m)
	case *actor.Started, *actor.Restarting, *actor.Stopping, *actor.Stopped:
	default:
		r.Log.Error().Type("message", m).Msg("registry: message not understood")
	}
}

func (r *registry) find(m *messages.FindCapsule) *messages.CapsuleFound {
	e := r.byID[m.GetId()]
	if m.GetSession() != "" {
		e = r.bySession[m.GetSession()]
	}
	if e == nil {
		return &messages.CapsuleFound{}
	}
	found := &messages.CapsuleFound{
		Found: true, Capsule: e.up.GetCapsule(), Generation: e.up.GetGeneration(),
		Version: e.up.GetVersion(), State: e.state,
	}
	if r.bySession[e.up.GetSession()] == e {
		found.Session = e.up.GetSession()
	}
	return found
}

func (r *registry) check(m *messages.CheckCapability) *messages.CapabilityChecked {
	e := r.bySession[m.GetSourceUuid()]
	switch {
	case e == nil:
		return &messages.CapabilityChecked{Reason: "no capsule has this session now"}
	case m.GetCapability() != CapabilityPromptInjection:
		r.Log.Warn().Str("capsule", e.up.GetCapsule()).Str("capability", m.GetCapability()).
			Msg("unknown capability asked for: denied")
		return &messages.CapabilityChecked{Reason: "unknown capability"}
	case !e.up.GetAllowPromptInjection():
		return &messages.CapabilityChecked{Reason: "not granted by the manifest"}
	default:
		return &messages.CapabilityChecked{Allowed: true}
	}
}

func (r *registry) up(m *messages.CapsuleUp) {
	if old := r.byID[m.GetCapsule()]; old != nil {
		delete(r.bySession, old.up.GetSession())
	}
	e := &entry{up: m, state: m.GetState()}
	r.byID[m.GetCapsule()], r.bySession[m.GetSession()] = e, e
}

// down ends a session. News of an older generation come too late to matter.
func (r *registry) down(m *messages.CapsuleDown) {
	e := r.byID[m.GetCapsule()]
	if e == nil {
		e = &entry{up: &messages.CapsuleUp{Capsule: m.GetCapsule(), Generation: m.GetGeneration()}}
		r.byID[m.GetCapsule()] = e
	}
	if e.up.GetGeneration() <= m.GetGeneration() {
		delete(r.bySession, e.up.GetSession())
		e.state = m.GetState()
	}
}
