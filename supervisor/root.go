package supervisor

import (
	"fmt"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// The names in the tree: a capsule is root/capsules/<id>.
const (
	rootPath     = "root"
	registryName = "registry"
	routerName   = actors.RouterName

	registryPath = rootPath + "/" + registryName
	routerPath   = rootPath + "/" + routerName
	capsulesPath = rootPath + "/" + actors.CapsulesPath
)

// capsuleID is the id in an event's path, "" where it is about no capsule.
func capsuleID(path string) string {
	id, _ := strings.CutPrefix(path, actors.CapsulesPath+"/")
	if id == path {
		return ""
	}
	return id
}

// root is the one top-level actor. It heals the system's own actors, and never
// escalates: a failure that reached the library's guardian would end the
// process. The registry and the router are restarted, with what they lost told
// again; the capsules supervisor is resumed with its state, so that no healthy
// capsule dies of its bug.
type root struct {
	log      zerolog.Logger
	observe  func(*messages.Event)
	registry *actor.Props
	router   *actor.Props
	capsules *actor.Props
}

// Receive handles one message.
func (r *root) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		r.spawn(ctx, registryName, r.registry)
		r.spawn(ctx, routerName, r.router)
		r.spawn(ctx, actors.CapsulesPath, r.capsules)
	case *actor.Stopping, *actor.Stopped, *actor.Restarting, *actor.Terminated:
	default:
		r.log.Error().Type("message", m).Msg("root: message not understood")
	}
}

func (r *root) spawn(ctx actor.Context, name string, props *actor.Props) {
	if _, err := ctx.SpawnNamed(props, name); err != nil {
		r.log.Error().Err(err).Str("actor", name).Msg("actor not started")
	}
}

// HandleFailure heals one of the three children.
func (r *root) HandleFailure(sys *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	decision := "restarted"
	if child.GetId() == capsulesPath {
		decision = "resumed with its state"
	}
	r.observe(&messages.Event{
		Path: strings.TrimPrefix(child.GetId(), rootPath+"/"),
		What: &messages.Event_ActorRestarted{ActorRestarted: &messages.ActorRestarted{
			Cause: fmt.Sprint(reason), Decision: decision,
		}},
	})
	if child.GetId() == capsulesPath {
		supervisor.ResumeChildren(child)
		sys.Root.Send(child, &lookAgain{})
		return
	}
	supervisor.RestartChildren(child)
	sys.Root.Send(sys.NewLocalPID(capsulesPath), &announce{to: child})
}

// rootProps describes the root.
func rootProps(sys *system.System, r *root) *actor.Props {
	return sys.Props(func() actor.Actor { return r }, system.NewMailbox(0, nil))
}
