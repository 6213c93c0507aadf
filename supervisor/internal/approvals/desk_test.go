package approvals

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// office is a desk with what it has told.
type office struct {
	*Desk
	mu     sync.Mutex
	events []messages.Detail
}

func newOffice(s store.Store) *office {
	o := &office{}
	o.Desk = New(Config{Store: s, Principal: "owner", Observe: func(e messages.Event) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.events = append(o.events, e.Detail)
	}})
	return o
}

// ask sends a request and returns its answer, which comes later.
func (o *office) ask(ctx context.Context, capsule string, r capsulehost.ApprovalRequest) <-chan capsulehost.Approval {
	answer := make(chan capsulehost.Approval, 1)
	go func() {
		a, err := o.For(capsule, "capsules/"+capsule, 1).RequestApproval(ctx, r)
		if err != nil {
			a.Decision = err.Error()
		}
		answer <- a
	}()
	return answer
}

func (o *office) mustDecide(t *testing.T, d Decision) {
	t.Helper()
	synctest.Wait()
	waiting, _ := o.Waiting()
	if len(waiting) != 1 {
		t.Fatalf("these wait: %+v", waiting)
	}
	if err := o.Decide(t.Context(), waiting[0].ID, d); err != nil {
		t.Fatal(err)
	}
	if err := o.Decide(t.Context(), waiting[0].ID, d); !errors.Is(err, ErrNotFound) {
		t.Errorf("a second decision: %v", err)
	}
}

var push = capsulehost.ApprovalRequest{Action: "git push", Resource: "git push origin main", Risk: "high"}

func TestADecisionEndsTheWait(t *testing.T) {
	for _, d := range []Decision{Once, Deny} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(store.NewMemory())
			for range 2 { // neither is remembered
				answer := o.ask(t.Context(), "one", push)
				o.mustDecide(t, d)
				if got := <-answer; got != (capsulehost.Approval{Approved: d == Once, Decision: string(d)}) {
					t.Errorf("%+v", got)
				}
			}
			synctest.Wait()
			if waiting, _ := o.Waiting(); len(waiting) > 0 || len(o.events) != 4 {
				t.Errorf("these wait: %v; the events are %v", waiting, o.events)
			}
		})
	}
}

// An answer of whom the caller does not accept changes nothing; the event says whose the
// decision was. A request is announced when it can be answered.
func TestWhoMayAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(store.NewMemory())
		announced := make(chan messages.Approval, 1)
		o.cfg.Announce = func(a messages.Approval) { announced <- a }
		answer := o.ask(t.Context(), "one", push)
		a := <-announced
		no := errors.New("not from there")
		may := func(messages.Approval) error { return no }
		if err := o.Answer(t.Context(), a.ID, Once, "nobody", may); !errors.Is(err, no) {
			t.Errorf("an answer that may not be: %v", err)
		}
		if err := o.Answer(t.Context(), "other", Deny, "nobody", may); !errors.Is(err, ErrNotFound) {
			t.Errorf("an answer to nothing: %v", err)
		}
		seen := func(waiting messages.Approval) error {
			if waiting != a {
				t.Errorf("%+v waits, and %+v was announced", waiting, a)
			}
			return nil
		}
		if err := o.Answer(t.Context(), a.ID, Once, "ada", seen); err != nil {
			t.Error(err)
		}
		if got := <-answer; !got.Approved {
			t.Errorf("%+v", got)
		}
		synctest.Wait()
		if d := o.events[1].(messages.ApprovalDecided); d.Cause != "ada" {
			t.Errorf("%+v", d)
		}
	})
}

func TestNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, began := newOffice(store.NewMemory()), time.Now()
		if got := <-o.ask(t.Context(), "one", push); got.Approved || got.Decision != "deny" || time.Since(began) != time.Minute {
			t.Errorf("%+v after %v", got, time.Since(began))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		answer := o.ask(ctx, "one", push)
		synctest.Wait()
		cancel(errors.New("stopped"))
		if got := <-answer; got.Approved || got.Decision != "stopped" {
			t.Errorf("%+v", got)
		}
		if d := o.events[3].(messages.ApprovalDecided); d.Decision != "deny" || d.Cause != byEnd {
			t.Errorf("%+v", d)
		}
		if waiting, _ := o.Waiting(); len(waiting) > 0 {
			t.Errorf("these wait: %v", waiting)
		}
	})
}

// A request is shown to wait no longer than its call has time.
func TestADeadlineIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, began := newOffice(store.NewMemory()), time.Now()
		for patience, want := range map[time.Duration]time.Duration{30 * time.Second: 30 * time.Second, time.Hour: time.Minute} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			answer := o.ask(ctx, "one", push)
			synctest.Wait()
			waiting, _ := o.Waiting()
			if got := waiting[0].Expires.Sub(began); got != want {
				t.Errorf("with %v: it expires after %v", patience, got)
			}
			cancel()
			<-answer
			synctest.Wait()
		}
	})
}

// What is remembered covers requests of the same capsule, principal and action.
func TestWhatIsRemembered(t *testing.T) {
	for _, d := range []Decision{Session, Always} {
		synctest.Test(t, func(t *testing.T) {
			s := store.NewMemory()
			o := newOffice(s)
			answer := o.ask(t.Context(), "one", push)
			o.mustDecide(t, d)
			if got := <-answer; !got.Approved || got.Decision != string(d) {
				t.Fatalf("%+v", got)
			}
			again := newOffice(s)
			again.session = o.session
			for _, tt := range []struct {
				capsule string
				request capsulehost.ApprovalRequest
				covered bool
			}{
				{"one", push, true},
				{"one", capsulehost.ApprovalRequest{Action: "git push", Resource: "git push fork", Principal: "owner"}, true},
				{"two", push, false},
				{"one", capsulehost.ApprovalRequest{Action: "git push", Resource: push.Resource, Principal: "ada"}, false},
				{"one", capsulehost.ApprovalRequest{Action: "git pull", Resource: "git push origin main"}, false},
				{"one", capsulehost.ApprovalRequest{Action: "git push", Resource: "git pushover"}, false},
				{"one", capsulehost.ApprovalRequest{Action: "git push", Resource: "rm -rf /"}, false},
				{"one", capsulehost.ApprovalRequest{Action: "git push", Resource: "git push origin; rm -rf /"}, false},
				{"one", capsulehost.ApprovalRequest{Action: "git push", Resource: "git push $(rm -rf /)"}, false},
				{"one", capsulehost.ApprovalRequest{Action: "git push", Resource: "git push & rm -rf /"}, false},
			} {
				ctx, cancel := context.WithCancel(t.Context())
				answer := again.ask(ctx, tt.capsule, tt.request)
				synctest.Wait()
				select {
				case got := <-answer:
					if !tt.covered || got != (capsulehost.Approval{Approved: true, Decision: "allowance"}) {
						t.Errorf("%s: %s %+v: %+v", d, tt.capsule, tt.request, got)
					}
					cancel()
				default:
					if tt.covered {
						t.Errorf("%s: %s %+v waits", d, tt.capsule, tt.request)
					}
					cancel()
					<-answer
				}
			}
			grants, err := again.Grants(t.Context())
			if err != nil || len(grants) != 1 || grants[0].Decision != string(d) || grants[0].Resource != push.Resource {
				t.Fatalf("remembered: %+v, %v", grants, err)
			}
			if err := again.Decide(t.Context(), grants[0].ID, Once); !errors.Is(err, ErrNotFound) {
				t.Errorf("approving what is remembered: %v", err)
			}
			if err := again.Decide(t.Context(), grants[0].ID, Deny); err != nil {
				t.Error(err)
			}
			if grants, err := again.Grants(t.Context()); err != nil || len(grants) > 0 {
				t.Errorf("after it was taken back: %+v, %v", grants, err)
			}
		})
	}
}

// A new system remembers what is for always, and nothing else.
func TestOnlyAlwaysIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		for n, d := range []Decision{Session, Always} {
			o := newOffice(s)
			answer := o.ask(t.Context(), "one", push)
			o.mustDecide(t, d)
			<-answer
			grants, err := newOffice(s).Grants(t.Context())
			if err != nil || len(grants) != n {
				t.Errorf("%s: %+v, %v", d, grants, err)
			}
		}
	})
}

// If the decision can't be kept, the request waits on.
func TestADecisionThatIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &broken{Store: store.NewMemory()}
		o := newOffice(s)
		answer := o.ask(t.Context(), "one", push)
		synctest.Wait()
		waiting, changed := o.Waiting()
		s.err = errors.New("the disk is full")
		if err := o.Decide(t.Context(), waiting[0].ID, Always); !errors.Is(err, s.err) {
			t.Errorf("%v", err)
		}
		<-changed
		s.err = nil
		o.mustDecide(t, Always)
		if got := <-answer; !got.Approved {
			t.Errorf("%+v", got)
		}
	})
}

// It does not wait again if its call has ended meanwhile.
func TestADecisionThatIsNotKeptInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &broken{Store: store.NewMemory(), err: errors.New("the disk is full")}
		o := newOffice(s)
		ctx, cancel := context.WithCancel(t.Context())
		answer := o.ask(ctx, "one", push)
		synctest.Wait()
		waiting, _ := o.Waiting()
		s.before = func() {
			cancel()
			<-answer
		}
		if err := o.Decide(t.Context(), waiting[0].ID, Always); !errors.Is(err, s.err) {
			t.Errorf("%v", err)
		}
		if waiting, _ := o.Waiting(); len(waiting) > 0 {
			t.Errorf("these wait: %v", waiting)
		}
	})
}

type broken struct {
	store.Store
	err    error
	before func() // if not nil, called before it fails
}

func (b *broken) Txn(ctx context.Context, f store.Fence, c []store.Compare, w []store.Write) (uint64, error) {
	if b.err != nil {
		if b.before != nil {
			b.before()
		}
		return 0, b.err
	}
	return b.Store.Txn(ctx, f, c, w)
}
