package actors

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

// The paths of the system's own actors. A capsule is root/capsules/<id>.
const (
	RootPath       = "root"
	RegistryPath   = RootPath + "/" + registryName
	RouterPath     = RootPath + "/" + RouterName
	BusPath        = RootPath + "/" + BusName
	SupervisorPath = RootPath + "/" + CapsulesPath

	registryName = "registry"
)

// RootConfig describes the root.
type RootConfig struct {
	System *system.System
	Log    *slog.Logger
	// Observe receives events. It must not block.
	Observe func(messages.Event)
	// The children.
	Registry   *actor.Props
	HookRouter *actor.Props
	EventBus   *actor.Props // nil for none
	Supervisor *actor.Props
}

// RootProps describes the one top-level actor. It heals the system's own actors,
// and never escalates: a failure that reached the library's guardian would end the
// process. The registry and the hook router are restarted, and told again what
// they lost; the capsules' supervisor is resumed with its state, so that no
// healthy capsule dies of its bug.
func RootProps(cfg RootConfig) *actor.Props {
	return cfg.System.Props(func() actor.Actor { return &root{cfg} }, system.NewMailbox(0, nil))
}

type root struct{ RootConfig }

// Receive handles one message.
func (r *root) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		r.spawn(ctx, registryName, r.Registry)
		r.spawn(ctx, RouterName, r.HookRouter)
		if r.EventBus != nil {
			r.spawn(ctx, BusName, r.EventBus)
		}
		r.spawn(ctx, CapsulesPath, r.Supervisor)
	case *actor.Stopping, *actor.Stopped, *actor.Restarting, *actor.Terminated:
	default:
		r.Log.Error("root: message not understood", "message", fmt.Sprintf("%T", m))
	}
}

func (r *root) spawn(ctx actor.Context, name string, props *actor.Props) {
	if _, err := ctx.SpawnNamed(props, name); err != nil {
		r.Log.Error("actor not started", "err", err, "actor", name)
	}
}

// reconcileAfter is how long the capsules' supervisor is left alone that has failed over a
// reconcile: it may fail over each.
const reconcileAfter = time.Second

// HandleFailure heals one of the children, which has failed over the message.
func (r *root) HandleFailure(sys *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, message any) {
	decision := "restarted"
	if child.Id == SupervisorPath {
		decision = "resumed with its state"
	}
	r.Observe(messages.Event{
		Path: strings.TrimPrefix(child.Id, RootPath+"/"),
		Detail: messages.ActorRestarted{
			Cause: fmt.Sprint(reason), Decision: decision,
		},
	})
	if child.Id == SupervisorPath {
		supervisor.ResumeChildren(child)
		if _, again := message.(*reconcile); again {
			time.AfterFunc(reconcileAfter, func() { sys.Root.Send(child, &reconcile{}) })
		} else {
			sys.Root.Send(child, &reconcile{})
		}
		return
	}
	supervisor.RestartChildren(child)
	if child.Id == BusPath {
		return // it has lost nothing
	}
	sys.Root.Send(sys.NewLocalPID(SupervisorPath), &resync{to: child})
}
