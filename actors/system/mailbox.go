package system

import (
	"errors"
	"runtime"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// Urgent is a message that overtakes others.
type Urgent interface{ Urgent() }

// Answered is a reason to fail (panic) of an actor that has answered the message
// that it was working on.
type Answered interface{ Answered() }

// Exited is a reason to fail of an actor whose goroutine ends with it, because
// something called runtime.Goexit.
type Exited interface{ Exited() bool }

// Refusal says why a message will not be handled.
type Refusal int

// The refusals.
const (
	Full   Refusal = iota // as many messages wait as may
	Closed                // the actor has ended, or is about to
	Failed                // the actor failed while it worked on the message
)

// Refuse answers a message that will not be handled, and returns true; or
// returns false for one that it does not know. A message of the second kind is
// taken even by a full mailbox; else its sender, if it has one, is told by an
// Undelivered. Refuse runs on the sender's goroutine, on the one that closes the
// mailbox, or on the actor's.
type Refuse func(message any, sender *actor.PID, why Refusal) bool

// Handler is an actor that handles some of its messages without the library's context,
// which costs as much as a short call. Handle returns false for a message that Receive is
// to have.
type Handler interface{ Handle(message any) bool }

// errExited is why an actor failed that ended its goroutine, as t.Fatal does.
var errExited = errors.New("its goroutine was ended by runtime.Goexit")

// Mailbox is an actor's queue: bounded, never blocking a sender, dropping
// nothing in silence. Unlike the library's own it can be closed, and then
// refuses the messages that waited; it is closed at the latest when its actor
// stops. It survives restarts of its actor.
type Mailbox struct {
	// What each call needs comes first, and together.

	mu        sync.Mutex // guards all to closed
	system    fifo[any]
	urgent    fifo[any]
	user      fifo[any]
	scheduled bool // an activation runs, or is about to
	suspended bool // the actor failed and awaits its supervisor
	closed    bool

	// The activation's.
	stopped bool    // it was told to
	fault   *Fault  // strikes at the next message; nil in production
	handler Handler // the actor; nil if it is none

	// Set before the first message: messages may come while the actor is being spawned,
	// and then wait.
	dispatcher actor.Dispatcher // nil until the library knows the actor
	invoker    actor.MessageInvoker
	activate   func() // m.run, made only once

	capacity    int // 0 is unbounded; guarded by mu
	refuse      Refuse
	undelivered func(message any, sender *actor.PID, why Refusal)
}

var _ actor.Mailbox = (*Mailbox)(nil)

// NewMailbox returns an empty mailbox for one actor. A capacity of 0 is
// unbounded; refuse may be nil if an Undelivered is answer enough.
func NewMailbox(capacity int, refuse Refuse) *Mailbox {
	if refuse == nil {
		refuse = func(any, *actor.PID, Refusal) bool { return false }
	}
	return &Mailbox{capacity: capacity, refuse: refuse, undelivered: func(any, *actor.PID, Refusal) {}}
}

// PostUserMessage queues a message, or refuses it. It never blocks.
func (m *Mailbox) PostUserMessage(message any) {
	_, bare, sender := actor.UnwrapEnvelope(message)
	if bare == nil {
		return // the library would spin on it for ever
	}
	_, urgent := bare.(Urgent)

	m.mu.Lock()
	if !m.closed && !urgent && m.capacity > 0 && m.user.len() >= m.capacity {
		m.mu.Unlock()
		if m.refuse(bare, sender, Full) {
			return
		}
		m.mu.Lock()
	}
	if m.closed {
		m.mu.Unlock()
		m.decline(message, Closed)
		return
	}
	if urgent {
		m.urgent.push(message)
	} else {
		m.user.push(message)
	}
	m.scheduleLocked()
}

// PostSystemMessage queues a message of the library's own. These are never refused.
func (m *Mailbox) PostSystemMessage(message any) {
	m.mu.Lock()
	m.system.push(message)
	m.scheduleLocked()
}

// TryRun handles a message here and now, on the caller's goroutine, if the actor
// is idle; else it returns false and does nothing. Messages that arrive meanwhile
// are left to another goroutine. It must not be used for an actor whose code may
// call runtime.Goexit.
func (m *Mailbox) TryRun(message any) bool {
	if !m.Claim() {
		return false
	}
	m.RunClaimed(message)
	return true
}

// Claim takes an idle actor for the caller, who then calls RunClaimed: messages that
// arrive meanwhile come after that one. It returns false if the actor is not idle.
func (m *Mailbox) Claim() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.scheduled || m.suspended || m.closed || m.dispatcher == nil || m.system.len()+m.urgent.len()+m.user.len() > 0 {
		return false
	}
	m.scheduled = true
	return true
}

// RunClaimed handles a message on the caller's goroutine, after Claim.
func (m *Mailbox) RunClaimed(message any) {
	m.handle(message, false)

	m.mu.Lock()
	m.scheduled = false
	if m.system.len() > 0 || !m.suspended && m.urgent.len()+m.user.len() > 0 {
		m.scheduleLocked()
	} else {
		m.mu.Unlock()
	}
}

// RegisterHandlers is called by the library before the first message of its own.
func (m *Mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.invoker, m.dispatcher, m.activate = invoker, dispatcher, m.run
}

// Start is called by the library once the actor has been registered.
func (m *Mailbox) Start() {}

// UserMessageCount is how many messages wait, without the urgent ones.
func (m *Mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user.len()
}

// SetCapacity changes how many messages may wait; 0 is any number. None that wait
// already is refused.
func (m *Mailbox) SetCapacity(capacity int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = capacity
}

// Extract takes the messages that wait and that match out of the queue, oldest first,
// without the urgent ones. Those that are left keep their order.
func (m *Mailbox) Extract(match func(message any) bool) []any {
	m.mu.Lock()
	defer m.mu.Unlock()
	var taken []any
	for n := m.user.len(); n > 0; n-- {
		message := m.user.pop()
		if _, bare, _ := actor.UnwrapEnvelope(message); match(bare) {
			taken = append(taken, bare)
		} else {
			m.user.push(message)
		}
	}
	return taken
}

// Closed says whether the mailbox has been closed.
func (m *Mailbox) Closed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// Close refuses every message that waits or comes. The one that the actor is
// working on goes on. It may be called from any goroutine, more than once.
func (m *Mailbox) Close() {
	m.mu.Lock()
	m.closed = true
	waiting, urgent := m.user, m.urgent
	m.user, m.urgent = fifo[any]{}, fifo[any]{}
	m.mu.Unlock()
	for urgent.len() > 0 {
		m.decline(urgent.pop(), Closed)
	}
	for waiting.len() > 0 {
		m.decline(waiting.pop(), Closed)
	}
}

// decline tells a message's sender that it will not be handled.
func (m *Mailbox) decline(message any, why Refusal) {
	_, bare, sender := actor.UnwrapEnvelope(message)
	if p, isPing := bare.(*ping); isPing {
		p.take(ErrNoActor)
		return
	}
	if !m.refuse(bare, sender, why) && sender != nil {
		m.undelivered(bare, sender, why)
	}
}

// scheduleLocked starts an activation if none runs. It unlocks.
func (m *Mailbox) scheduleLocked() {
	start := !m.scheduled && m.dispatcher != nil && (m.system.len() > 0 || !m.suspended)
	m.scheduled = m.scheduled || start
	m.mu.Unlock()
	if start {
		m.dispatcher.Schedule(m.activate)
	}
}

// run is one activation: it handles messages until none is left that may be
// handled. Only one runs at a time.
func (m *Mailbox) run() {
	for handled := 1; ; handled++ {
		message, isSystem := m.next()
		if message == nil {
			return
		}
		m.handle(message, isSystem)
		if handled%m.dispatcher.Throughput() > 0 {
			continue
		}
		if d, ok := m.dispatcher.(direct); ok {
			d.workers.Schedule(m.activate)
			return
		}
		runtime.Gosched()
	}
}

// next takes the next message off its queue, or ends the activation.
func (m *Mailbox) next() (message any, isSystem bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.system.len() > 0 {
		switch message = m.system.pop(); message.(type) {
		case *actor.SuspendMailbox:
			m.suspended = true
		case *actor.ResumeMailbox:
			m.suspended = false
		default:
			return message, true
		}
	}
	switch {
	case m.suspended:
	case m.urgent.len() > 0:
		return m.urgent.pop(), false
	case m.user.len() > 0:
		return m.user.pop(), false
	}
	m.scheduled = false
	return nil, false
}

// handle runs the actor on one message.
func (m *Mailbox) handle(message any, isSystem bool) {
	returned := false
	defer func() {
		if !returned {
			m.failed(message, recover())
		}
	}()
	if !isSystem {
		m.handleUser(message)
		returned = true
		return
	}
	if _, stop := message.(*actor.Stop); stop {
		m.stopped = true
		m.Close()
	}
	if _, restart := message.(*actor.Restart); !restart || !m.stopped { // else it would start again
		m.invoker.InvokeSystemMessage(message)
	}
	returned = true
}

// handleUser runs the actor on a message of ours, unless a test has it fail.
func (m *Mailbox) handleUser(message any) {
	if p, isPing := message.(*ping); isPing {
		p.take(nil)
		return
	}
	fault, isFault := message.(*Fault)
	switch {
	case isFault && fault.Next:
		m.fault = fault
	case isFault:
		m.fault = nil
		panic(fault.Cause)
	case m.fault != nil:
		fault, m.fault = m.fault, nil
		panic(fault.Cause)
	default:
		if m.handler == nil || !m.handler.Handle(message) {
			m.invoker.InvokeUserMessage(message)
		}
	}
}

// failed answers the message that the actor failed on, and tells its supervisor.
func (m *Mailbox) failed(message, reason any) {
	exited, isCrash := reason.(Exited)
	if reason == nil {
		reason = errExited
	}
	if reason == errExited || isCrash && exited.Exited() { //nolint:errorlint // it is the very one
		defer m.dispatcher.Schedule(m.activate) // this goroutine ends, the activation goes on
	}
	if _, answered := reason.(Answered); !answered {
		m.decline(message, Failed)
	}
	m.invoker.EscalateFailure(reason, message)
}
