// Package system is the one place where protoactor-go is set up: the actor
// system, its dispatcher, its mailboxes, and questions asked from outside an
// actor. Most of the library's defaults lose messages or block senders under
// load, so the rest of the project makes actors only through this package.
//
//	sys := system.New(log)
//	defer sys.Close()
//	pid, err := sys.Spawn("registry", sys.Props(newRegistry, system.NewMailbox(0, nil)))
//	answer, err := sys.Ask(ctx, pid, &messages.FindCapsule{...})
//
// It knows nothing of capsules, and holds no supervision strategy: an actor
// with children implements actor.SupervisorStrategy itself.
package system
