package system

import (
	"runtime"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// Urgent is a message that overtakes those that wait.
type Urgent interface{ Urgent() }

// Refusal says why a mailbox will not take, or keep, a message.
type Refusal int

// The refusals.
const (
	Full   Refusal = iota // as many messages wait as may
	Closed                // the actor has ended, or is about to
)

// Refuse answers a message that its mailbox refuses, and returns true; or
// returns false for one that nobody waits for. A message of the second kind is
// taken even by a full mailbox, and dropped by a closed one. Refuse runs on the
// sender's goroutine, or on the one that closes the mailbox.
type Refuse func(message any, sender *actor.PID, why Refusal) bool

// Mailbox is an actor's queue: bounded, never blocking a sender, dropping
// nothing in silence. Unlike the library's own it can be closed, and then
// answers what waited. It outlives restarts of its actor.
type Mailbox struct {
	capacity   int // 0 is unbounded
	refuse     Refuse
	invoker    actor.MessageInvoker // set once, before the first message
	dispatcher actor.Dispatcher     // likewise

	mu        sync.Mutex
	system    fifo
	urgent    fifo
	user      fifo
	scheduled bool // an activation runs, or is about to
	suspended bool // the actor failed and awaits its supervisor
	closed    bool
}

var _ actor.Mailbox = (*Mailbox)(nil)

// NewMailbox returns an empty mailbox for one actor. A capacity of 0 is
// unbounded; refuse may be nil where nobody waits for answers.
func NewMailbox(capacity int, refuse Refuse) *Mailbox {
	if refuse == nil {
		refuse = func(any, *actor.PID, Refusal) bool { return false }
	}
	return &Mailbox{capacity: capacity, refuse: refuse}
}

// PostUserMessage queues a message, or refuses it. It never blocks.
func (m *Mailbox) PostUserMessage(message any) {
	_, bare, sender := actor.UnwrapEnvelope(message)
	if bare == nil {
		return // the library would spin on it for ever
	}
	_, urgent := bare.(Urgent)

	m.mu.Lock()
	full := !urgent && m.capacity > 0 && m.user.len() >= m.capacity
	if m.closed || full {
		why := Full
		if m.closed {
			why = Closed
		}
		m.mu.Unlock()
		if m.refuse(bare, sender, why) || why == Closed {
			return
		}
		m.mu.Lock()
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

// RegisterHandlers is called by the library before the first message.
func (m *Mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.invoker, m.dispatcher = invoker, dispatcher
}

// Start is called by the library once the actor has been registered.
func (m *Mailbox) Start() {}

// UserMessageCount is how many messages wait, without the urgent ones.
func (m *Mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user.len()
}

// Close refuses everything that waits, and whatever still comes. What the actor
// is working on goes on. It may be called from any goroutine, more than once.
func (m *Mailbox) Close() {
	m.mu.Lock()
	m.closed = true
	waiting := m.user
	m.user = fifo{}
	m.mu.Unlock()
	for message := waiting.pop(); message != nil; message = waiting.pop() {
		_, bare, sender := actor.UnwrapEnvelope(message)
		m.refuse(bare, sender, Closed)
	}
}

// scheduleLocked starts an activation where none runs. It unlocks.
func (m *Mailbox) scheduleLocked() {
	start := !m.scheduled && (m.system.len() > 0 || !m.suspended)
	m.scheduled = m.scheduled || start
	m.mu.Unlock()
	if start {
		m.dispatcher.Schedule(m.run)
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
		if handled%m.dispatcher.Throughput() == 0 {
			runtime.Gosched()
		}
	}
}

// next takes the next message off its queue, or ends the activation.
func (m *Mailbox) next() (message any, isSystem bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch message = m.system.pop(); message.(type) {
		case nil:
		case *actor.SuspendMailbox:
			m.suspended = true
			continue
		case *actor.ResumeMailbox:
			m.suspended = false
			continue
		default:
			return message, true
		}
		if !m.suspended {
			if message = m.urgent.pop(); message == nil {
				message = m.user.pop()
			}
		}
		m.scheduled = message != nil
		return message, false
	}
}

// handle runs the actor on one message, and reports its panic to the supervisor.
func (m *Mailbox) handle(message any, isSystem bool) {
	defer func() {
		if reason := recover(); reason != nil {
			m.invoker.EscalateFailure(reason, message)
		}
	}()
	if isSystem {
		m.invoker.InvokeSystemMessage(message)
	} else {
		m.invoker.InvokeUserMessage(message)
	}
}

// fifo is a queue in a slice; the zero value is empty. It gives its memory back
// whenever it runs empty after a burst.
type fifo struct {
	items []any
	head  int
}

func (q *fifo) len() int { return len(q.items) - q.head }

func (q *fifo) push(item any) { q.items = append(q.items, item) }

// pop returns nil where the queue is empty.
func (q *fifo) pop() any {
	if q.len() == 0 {
		return nil
	}
	item := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	switch {
	case q.head == len(q.items) && cap(q.items) > 64:
		*q = fifo{}
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
	case q.head >= 64 && q.head*2 >= len(q.items):
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return item
}
