package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"
)

// Why a question was not answered.
var (
	ErrNoActor = errors.New("no such actor")
	ErrFailed  = errors.New("the actor failed over it")
)

// Undelivered tells the sender of a message, who may wait for an answer, that no
// actor has handled it to its end.
type Undelivered struct {
	Message any
	Why     Refusal // Closed also if no such actor exists
}

func (u *Undelivered) cause() error {
	if u.Why == Failed {
		return ErrFailed
	}
	return ErrNoActor
}

// System is one actor system. Its methods may be called from any goroutine.
type System struct {
	system     *actor.ActorSystem
	dispatcher *dispatcher
	close      sync.Once
}

// parkedWorkers is how many goroutines may be kept for the next burst.
const parkedWorkers = 256

// New returns a running, empty system. What the library itself logs at warning
// level and above goes to log.
func New(log *slog.Logger) *System {
	warnings := slog.New(atLeastWarn{log.Handler()})
	s := &System{
		system: actor.NewActorSystemWithConfig(actor.Configure(
			actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return warnings }),
		)),
		dispatcher: newDispatcher(parkedWorkers),
	}
	// The library's registry of processes is 1,024 maps of 32 shards each: 2.9 MB,
	// which every garbage collection goes through. A few of them are plenty.
	processes := s.system.ProcessRegistry.LocalPIDs
	processes.LocalPIDs = slices.Clone(processes.LocalPIDs[:32])
	s.system.ProcessRegistry.Add(s.system.DeadLetter, "deadletter")
	// The library's own dead-letter subscribers log whole payloads, and start a
	// goroutine that outlives the system. A fresh stream is without them.
	s.system.EventStream = eventstream.NewEventStream()
	s.system.EventStream.Subscribe(s.deadLetter)
	return s
}

// deadLetter answers a message to an actor that does not exist: a question with an
// Undelivered, a watch with the end of the watched actor.
func (s *System) deadLetter(event any) {
	letter, ok := event.(*actor.DeadLetterEvent)
	if !ok {
		return
	}
	if p, isPing := letter.Message.(*ping); isPing {
		p.take(ErrNoActor)
		return
	}
	if letter.Sender != nil {
		s.undelivered(letter.Message, letter.Sender, Closed)
	}
	if watch, ok := letter.Message.(*actor.Watch); ok {
		s.sendSystem(watch.Watcher, &actor.Terminated{Who: letter.PID, Why: actor.TerminatedReason_NotFound})
	}
}

func (s *System) undelivered(message any, sender *actor.PID, why Refusal) {
	s.Send(sender, &Undelivered{Message: message, Why: why})
}

func (s *System) sendSystem(pid *actor.PID, message any) {
	process, _ := s.system.ProcessRegistry.Get(pid)
	process.SendSystemMessage(pid, message)
}

// Close ends the system's goroutines. Stop the actors first: Close stops none.
// It may be called more than once.
func (s *System) Close() {
	s.close.Do(func() {
		s.system.Shutdown()
		s.dispatcher.close()
	})
}

// Props describes an actor: produce makes its state, for the first start and
// for each restart, and mailbox is its queue, which outlives restarts. Produce
// must not panic. Props with a mailbox serve one actor; spawn it once at a time.
func (s *System) Props(produce actor.Producer, mailbox *Mailbox) *actor.Props {
	return s.props(produce, mailbox, s.dispatcher)
}

// DirectProps describes an actor that never blocks. It runs on the goroutine of
// the sender, without a switch, unless it runs already. So a sender must not hold a
// lock that the actor's own messages may need.
func (s *System) DirectProps(produce actor.Producer, mailbox *Mailbox) *actor.Props {
	return s.props(produce, mailbox, direct{s.dispatcher})
}

func (s *System) props(produce actor.Producer, mailbox *Mailbox, dispatcher actor.Dispatcher) *actor.Props {
	mailbox.undelivered = s.undelivered
	return actor.PropsFromProducer(
		func() actor.Actor {
			a := produce()
			mailbox.handler, _ = a.(Handler)
			return a
		},
		actor.WithDispatcher(dispatcher),
		actor.WithMailbox(func() actor.Mailbox { return mailbox }),
	)
}

// Spawn starts a top-level actor. There should be one: a failure that reaches
// the library's own guardian ends the process.
func (s *System) Spawn(name string, props *actor.Props) (*actor.PID, error) {
	pid, err := s.system.Root.SpawnNamed(props, name)
	if err != nil {
		return nil, fmt.Errorf("spawn actor %q: %w", name, err)
	}
	return pid, nil
}

// PID is the address of the actor with that path.
func (s *System) PID(path string) *actor.PID { return s.system.NewLocalPID(path) }

// Send delivers a message without waiting for anything.
func (s *System) Send(pid *actor.PID, message any) { s.system.Root.Send(pid, message) }

// Request delivers a message whose answers go to sender.
func (s *System) Request(pid *actor.PID, message any, sender *actor.PID) {
	s.system.Root.RequestWithCustomSender(pid, message, sender)
}

// Go runs f soon, on a worker of the actors'. It may block no longer than an actor may,
// and must not call runtime.Goexit.
func (s *System) Go(f func()) { s.dispatcher.Schedule(f) }

// Stop asks an actor to stop after the message that it is working on.
func (s *System) Stop(pid *actor.PID) { s.system.Root.Stop(pid) }

// Register makes p reachable by messages, under a name of its own, until
// Unregister. Messages run on their sender's goroutine: take a lock, note, return.
func (s *System) Register(p actor.Process) *actor.PID {
	pid, _ := s.system.ProcessRegistry.Add(p, s.system.ProcessRegistry.NextId())
	return pid
}

// Unregister makes a registered process unreachable. Later messages to it are dropped.
func (s *System) Unregister(pid *actor.PID) { s.system.ProcessRegistry.Remove(pid) }

// Ask sends a question and waits for its one answer, until ctx ends. It must
// not be used by an actor to ask another that may ask it: that is a deadlock.
func (s *System) Ask(ctx context.Context, pid *actor.PID, question any) (any, error) {
	a := &waiter{answer: make(chan any, 1)}
	self := s.Register(a)
	defer s.Unregister(self)
	s.Request(pid, question, self)
	select {
	case answer := <-a.answer:
		if lost, ok := answer.(*Undelivered); ok {
			return nil, fmt.Errorf("ask %s: %w", pid.Id, lost.cause())
		}
		return answer, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("ask %s: %w", pid.Id, context.Cause(ctx))
	}
}

// AwaitStopped asks an actor to stop and waits until it has, or ctx ends. An
// actor that does not exist has stopped.
func (s *System) AwaitStopped(ctx context.Context, pid *actor.PID) error {
	a := &waiter{answer: make(chan any, 1)}
	self := s.Register(a)
	defer s.Unregister(self)
	s.sendSystem(pid, &actor.Watch{Watcher: self})
	s.Stop(pid)
	select {
	case <-a.answer:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop %s: %w", pid.Id, context.Cause(ctx))
	}
}

// waiter is the process behind one question: the first answer counts.
type waiter struct{ answer chan any }

func (a *waiter) SendUserMessage(_ *actor.PID, message any) {
	_, answer, _ := actor.UnwrapEnvelope(message)
	a.take(answer)
}

func (a *waiter) SendSystemMessage(_ *actor.PID, message any) { a.take(message) }

func (a *waiter) Stop(*actor.PID) {}

func (a *waiter) take(answer any) {
	select {
	case a.answer <- answer:
	default:
	}
}

// atLeastWarn leaves out what is less than a warning.
type atLeastWarn struct{ slog.Handler }

func (h atLeastWarn) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func (h atLeastWarn) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeastWarn{h.Handler.WithAttrs(attrs)}
}

func (h atLeastWarn) WithGroup(name string) slog.Handler {
	return atLeastWarn{h.Handler.WithGroup(name)}
}
