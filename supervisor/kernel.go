package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
)

// kernel answers what capsules ask the kernel on the event bus. Its methods run on the
// event-bus actor.
type kernel struct {
	tree     *tree
	shutdown context.CancelCauseFunc
}

var _ actors.Kernel = (*kernel)(nil)

// loaded returns the capsules with an instance, sorted by id.
func (k *kernel) loaded() []*messages.Capsule {
	var loaded []*messages.Capsule
	for _, c := range k.tree.journal.Snapshot().Capsules {
		if c.State == messages.StateReady || c.State == messages.StateStarting {
			loaded = append(loaded, c)
		}
	}
	slices.SortFunc(loaded, func(a, b *messages.Capsule) int { return cmp.Compare(a.ID, b.ID) })
	return loaded
}

// Capsules returns the ids of the loaded capsules.
func (k *kernel) Capsules() []string {
	ids := []string{}
	for _, c := range k.loaded() {
		ids = append(ids, c.ID)
	}
	return ids
}

// Commands returns the slash commands of the loaded capsules.
func (k *kernel) Commands() []actors.KernelCommand {
	commands := []actors.KernelCommand{}
	for _, c := range k.loaded() {
		for _, command := range k.tree.commands(c.ID) {
			commands = append(commands, actors.KernelCommand{
				Name: command.Name, Description: cmp.Or(command.Description, "No description"), Capsule: c.ID,
			})
		}
	}
	return commands
}

// Interceptors returns the patterns of the loaded capsules' interceptors.
func (k *kernel) Interceptors() []actors.KernelCapsule {
	capsules := []actors.KernelCapsule{}
	for _, c := range k.loaded() {
		entry := actors.KernelCapsule{Name: c.ID, Interceptors: []string{}}
		for _, i := range c.Interceptors {
			entry.Interceptors = append(entry.Interceptors, i.Event)
		}
		capsules = append(capsules, entry)
	}
	return capsules
}

// Status describes the daemon. The clients are those of the socket that a capsule has bound.
func (k *kernel) Status() actors.KernelStatus {
	started := k.tree.journal.Snapshot().Started
	return actors.KernelStatus{
		PID: os.Getpid(), Uptime: uint64(max(0, time.Since(started)) / time.Second), Version: manifest.HostVersion,
		Clients: uint32(k.tree.clients.Load()), Capsules: k.Capsules(), //nolint:gosec // some, and never negative
	}
}

// Reload does what Supervisor.Reload does, and then starts the capsules that have failed
// again. What is wrong with one capsule is no error of the reload, as in the reference.
func (k *kernel) Reload(done func(error)) {
	go func() {
		_, err := k.tree.owner.Reload(context.Background())
		problems := []error{err}
		for _, c := range k.tree.journal.Snapshot().Capsules {
			if c.State != messages.StateFailed {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			if err := k.tree.owner.Start(ctx, c.ID); err != nil && !errors.Is(err, ErrNotUp) {
				problems = append(problems, err)
			}
			cancel()
		}
		done(errors.Join(problems...))
	}()
}

// Shutdown ends Serve as the end of its context does.
func (k *kernel) Shutdown(reason string) {
	k.shutdown(fmt.Errorf("a capsule asked for it: %s", cmp.Or(reason, "without a reason")))
}

// observe enters an event of a capsule or of the supervisor, and tells the bus of those
// that the kernel publishes.
func (t *tree) observe(e messages.Event) {
	t.journal.Observe(e)
	bus := t.sys.PID(actors.BusPath)
	changed := func(topic, reason string) {
		t.sys.Send(bus, &actors.CapsuleChanged{
			Topic: topic, Capsule: e.Child(), Instance: e.Instance(), Generation: e.Generation, Reason: reason,
		})
	}
	switch what := e.Detail.(type) {
	case messages.CapsuleCrashed:
		t.sys.Send(bus, &actors.CapsuleDied{Path: e.Path, Reason: what.Failure.Message})
		changed(actors.TopicCapsuleCrashed, what.Failure.Message)
	case messages.CapsuleReady:
		changed(actors.TopicCapsuleReady, "")
	case messages.CapsuleUpgraded:
		changed(actors.TopicCapsuleReady, "")
	case messages.CapsuleFailed:
		changed(actors.TopicCapsuleFailed, what.Decision)
	case messages.CapsuleStopped:
		changed(actors.TopicCapsuleStopped, what.Cause)
	case messages.SystemStarted:
		t.sys.Send(bus, &actors.SystemReady{})
	}
}
