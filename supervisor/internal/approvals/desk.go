package approvals

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// Patience is how long a request waits for a person.
const Patience = time.Minute

// ErrNotFound: no request waits under that id, and no decision is remembered under it.
var ErrNotFound = errors.New("no such approval")

// Decision is a person's answer. Its text is the guest's.
type Decision string

// The decisions.
const (
	Once    Decision = "approve"         // this request
	Session Decision = "approve_session" // and those like it until the system ends
	Always  Decision = "approve_always"  // and those like it from now on
	Deny    Decision = "deny"            // this request
)

// remembered is the guest's answer if an earlier decision covers its request.
const remembered = "allowance"

// Config configures a Desk.
type Config struct {
	Store store.Store
	// Principal is the one of a capsule that runs for nobody else.
	Principal string
	// Observe receives an event for each request that a person is asked about.
	Observe func(messages.Event)
	// Announce, if not nil, receives each such request when it can be answered.
	Announce func(messages.Approval)
}

// Desk keeps the requests of all capsules. Its methods may be called from any goroutine.
type Desk struct {
	cfg Config

	mu      sync.Mutex
	waiting []*request
	session []messages.Approval
	changed chan struct{} // closed at the next change of waiting
}

// request waits for a decision.
type request struct {
	messages.Approval
	decided chan decided // has room for one
	over    bool         // its call waits no longer; the desk's lock is held
}

// decided is a decision, and whose it is.
type decided struct {
	Decision
	by string
}

// New returns a desk without requests.
func New(cfg Config) *Desk { return &Desk{cfg: cfg, changed: make(chan struct{})} }

// For returns the desk as the instances of one capsule use it. path is the capsule's, for
// events.
func (d *Desk) For(capsule, path string, generation uint64) capsulehost.Approvals {
	return &asker{d, capsule, path, generation}
}

type asker struct {
	desk          *Desk
	capsule, path string
	generation    uint64
}

// RequestApproval implements capsulehost.Approvals.
func (a *asker) RequestApproval(ctx context.Context, r capsulehost.ApprovalRequest) (capsulehost.Approval, error) {
	d := a.desk
	now := time.Now()
	expires := now.Add(Patience)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(expires) { // the call's
		expires = deadline
	}
	q := &request{decided: make(chan decided, 1), Approval: messages.Approval{
		ID: strings.ToLower(rand.Text()[:8]), Capsule: a.capsule, Principal: r.Principal, Action: r.Action, Resource: r.Resource, Risk: r.Risk,
		Asked: now, Expires: expires,
	}}
	if q.Principal == "" {
		q.Principal = d.cfg.Principal
	}
	covered, err := d.covered(ctx, &q.Approval)
	if err != nil {
		return capsulehost.Approval{}, err
	}
	if covered {
		return capsulehost.Approval{Approved: true, Decision: remembered}, nil
	}
	d.add(q)
	defer d.remove(q)
	d.cfg.Observe(messages.Event{Path: a.path, Generation: a.generation, Detail: messages.ApprovalRequested{
		ID: q.ID, Principal: q.Principal, Action: q.Action, Resource: q.Resource, Risk: q.Risk,
	}})
	if d.cfg.Announce != nil {
		d.cfg.Announce(q.Approval)
	}
	decision, why := d.await(ctx, q)
	d.cfg.Observe(messages.Event{Path: a.path, Generation: a.generation, Detail: messages.ApprovalDecided{
		ID: q.ID, Action: q.Action, Resource: q.Resource, Decision: string(decision), Cause: why,
	}})
	if ctx.Err() != nil {
		return capsulehost.Approval{}, context.Cause(ctx)
	}
	return capsulehost.Approval{Approved: decision != Deny, Decision: string(decision)}, nil
}

// The causes of decisions, in messages.ApprovalDecided.
const (
	byPerson = "a person" // or, over the bus, through whom
	byNobody = "nobody answered in time"
	byEnd    = "the call has ended"
)

// await waits for a decision on a request.
func (d *Desk) await(ctx context.Context, q *request) (decision Decision, cause string) {
	late := time.NewTimer(Patience)
	defer late.Stop()
	select {
	case answer := <-q.decided:
		return answer.Decision, answer.by
	case <-late.C:
		return Deny, byNobody
	case <-ctx.Done():
		return Deny, byEnd
	}
}

// add makes a request wait, or wait again, unless its call waits no longer.
func (d *Desk) add(q *request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.over {
		return
	}
	d.waiting = append(d.waiting, q)
	d.tell()
}

func (d *Desk) remove(q *request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q.over = true
	if at := slices.Index(d.waiting, q); at >= 0 {
		d.waiting = slices.Delete(d.waiting, at, at+1)
		d.tell()
	}
}

// tell wakes those who watch. The lock is held.
func (d *Desk) tell() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Waiting returns the requests that wait, oldest first, and a channel that is closed at the
// next change.
func (d *Desk) Waiting() ([]messages.Approval, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := make([]messages.Approval, len(d.waiting))
	for n, q := range d.waiting {
		waiting[n] = q.Approval
	}
	return waiting, d.changed
}

// Decide answers the request that waits under an id, and remembers the decision if it says
// so: durably, before the capsule learns of it. Deny also forgets the decision that is
// remembered under the id. The error matches ErrNotFound if there is neither.
func (d *Desk) Decide(ctx context.Context, id string, decision Decision) error {
	err := d.Answer(ctx, id, decision, byPerson, func(messages.Approval) error { return nil })
	if errors.Is(err, ErrNotFound) && decision == Deny {
		return d.forget(ctx, id)
	}
	return err
}

// Answer answers the request that waits under an id as Decide does, unless may returns an
// error, which it returns. by says whose decision it is, for the event. The error matches
// ErrNotFound if no request waits.
func (d *Desk) Answer(ctx context.Context, id string, decision Decision, by string, may func(messages.Approval) error) error {
	q, err := d.take(id, may)
	if err != nil {
		return err
	}
	if err := d.remember(ctx, &q.Approval, decision); err != nil {
		d.add(q) // it waits on
		return err
	}
	q.decided <- decided{decision, by}
	return nil
}

// take removes a request, so that only one decision is made.
func (d *Desk) take(id string, may func(messages.Approval) error) (*request, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := slices.IndexFunc(d.waiting, func(q *request) bool { return q.ID == id })
	if at < 0 {
		return nil, ErrNotFound
	}
	q := d.waiting[at]
	if err := may(q.Approval); err != nil {
		return nil, err
	}
	d.waiting = slices.Delete(d.waiting, at, at+1)
	d.tell()
	return q, nil
}
