package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// groupWay is a way for a capsule in a group to die.
type groupWay struct {
	name     string
	do       func(context.Context, supervisortest.Visit) error
	after    bool          // after the guest has answered
	deadline time.Duration // of the trigger, if that ends it
	kill     bool          // an operator does, while the guest hangs
}

func groupWays() []groupWay {
	return []groupWay{
		{name: "trap", do: supervisortest.Crash},
		{name: "trap after the answer", do: supervisortest.Crash, after: true},
		{name: "exit 0", do: supervisortest.Exit(0)},
		{name: "exit 3", do: supervisortest.Exit(3)},
		{name: "panic in the host", do: func(context.Context, supervisortest.Visit) error { panic("in the host") }},
		{name: "limit", do: supervisortest.Hang},
		{name: "deadline", do: supervisortest.Hang, deadline: 250 * time.Millisecond},
		{name: "killed", do: supervisortest.Hang, kill: true},
	}
}

// groupRow is one row: a capsule of a group of three dies in one way at one moment.
type groupRow struct {
	t        *testing.T
	s        *supervisortest.System
	strategy supervisor.Strategy
	victim   string
	way      groupWay
	since    uint64
	answers  []func() *supervisor.Reply
}

var groupMembers = []string{"a", "b", "c"}

// groupMoment is a point at which the victim dies. It returns what must happen then, in
// order; nil if only the end is known.
type groupMoment struct {
	name string
	do   func(*groupRow) []string
}

func groupMoments() []groupMoment {
	return []groupMoment{
		{"first start", func(r *groupRow) []string {
			r.inject(supervisortest.AtLoad)
			r.s.Launch()
			r.killSoon()
			pass(time.Second)
			return r.atFirstStart()
		}},
		{"first call", func(r *groupRow) []string {
			r.launch()
			r.strike()
			return r.restarted()
		}},
		{"n-th call", func(r *groupRow) []string {
			r.launch()
			for range 3 {
				for _, id := range groupMembers {
					r.s.Expect("ask."+id, "", id+` continue "`+id+`"`)
				}
			}
			r.strike()
			return r.restarted()
		}},
		{"calls wait", func(r *groupRow) []string {
			r.launch()
			r.inject(r.point())
			r.ask()
			for range 3 {
				for _, id := range groupMembers {
					r.answers = append(r.answers, r.s.Begin("ask."+id, ""))
				}
			}
			r.killSoon()
			pass(time.Second)
			return r.restarted()
		}},
		{"upgrade", func(r *groupRow) []string {
			r.launch()
			r.s.Inject(r.victim, supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Delay(300 * time.Millisecond)})
			next := member(r.victim)
			next.Manifest = strings.Replace(next.Manifest, "1.0.0", "2.0.0", 1)
			done := make(chan error, 1)
			go func() { _, err := r.s.Add(context.Background(), next); done <- err }()
			synctest.Wait()
			r.strike()
			pass(5 * time.Second)
			if err := <-done; err != nil {
				r.t.Errorf("upgrade: %v", err)
			}
			if v := r.s.Capsule(r.victim).Version; v != "2.0.0" {
				r.t.Errorf("version %s", v)
			}
			return nil
		}},
		{"while the group restarts", func(r *groupRow) []string {
			r.launch()
			other := groupMembers[(slices.Index(groupMembers, r.victim)+2)%3] // the one before it, if there is one
			r.inject(supervisortest.AtLoad)
			go func() { _ = r.s.Restart(context.Background(), "g") }()
			synctest.Wait()
			if err := r.s.Kill(r.t.Context(), other); err != nil && r.s.Capsule(other).State == messages.StateReady {
				r.t.Errorf("kill %s: %v", other, err)
			}
			r.killSoon()
			pass(5 * time.Second)
			return nil
		}},
		{"shutdown", func(r *groupRow) []string {
			r.launch()
			late := r.way
			r.way.do = func(ctx context.Context, v supervisortest.Visit) error {
				if err := supervisortest.Delay(100*time.Millisecond)(ctx, v); err != nil {
					return err
				}
				return late.do(ctx, v)
			}
			r.inject(r.point())
			r.ask()
			if r.way.kill {
				go func() {
					<-time.After(100 * time.Millisecond)
					_ = r.s.Kill(context.Background(), r.victim) // which is refused
				}()
			}
			if err := r.s.Close(); err != nil {
				r.t.Errorf("Serve: %v", err)
			}
			return nil
		}},
	}
}

// member is a capsule whose calls take some time, so that others wait.
func member(id string) supervisor.Capsule {
	return supervisortest.Func(id, "ask."+id, func(ctx context.Context, _ *supervisortest.Call) (capsulehost.Result, error) {
		if err := supervisortest.Delay(time.Millisecond)(ctx, supervisortest.Visit{}); err != nil {
			return capsulehost.Result{}, err
		}
		return supervisortest.JSON(id)
	})
}

// TestGroupMatrix runs every row: strategies × ways to die × moments × places in the group.
// Whatever happens, the group comes back whole and in order, every call has one answer,
// and a capsule beside the group is not concerned.
func TestGroupMatrix(t *testing.T) {
	rows := 0
	for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.OneForAll, supervisor.RestForOne} {
		for _, w := range groupWays() {
			for _, m := range groupMoments() {
				for _, victim := range groupMembers[:2] {
					rows++
					t.Run(fmt.Sprintf("%s/%s/%s/%s", strategy, w.name, m.name, victim), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							r := &groupRow{t: t, strategy: strategy, victim: victim, way: w}
							r.s = supervisortest.New(t, supervisor.Config{
								CapsuleDirs: []string{t.TempDir()}, TriggerTimeout: time.Minute, StopTimeout: 2 * time.Second,
								CallTimeout: 500 * time.Millisecond, LoadTimeout: 400 * time.Millisecond,
								Supervisors: []supervisor.Group{{Name: "g", Strategy: strategy, Children: groupMembers, InitialBackoff: -1}},
							}, member("x"), member("a"), member("b"), member("c"))
							r.s.Patience = time.Hour
							r.check(m.do(r))
						})
					})
				}
			}
		}
	}
	if rows < 300 {
		t.Errorf("%d rows", rows)
	}
	held.groupRows(rows)
}

func (r *groupRow) launch() {
	r.s.Launch()
	if err := r.s.AwaitStarted(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	r.since = r.s.Snapshot().Sequence
}

func (r *groupRow) point() supervisortest.Point {
	if r.way.after {
		return supervisortest.AfterCall
	}
	return supervisortest.BeforeCall
}

func (r *groupRow) inject(at supervisortest.Point) {
	r.s.Inject(r.victim, supervisortest.Fault{At: at, Do: r.way.do})
}

// ask begins the call that kills the victim.
func (r *groupRow) ask() {
	if r.way.deadline == 0 {
		r.answers = append(r.answers, r.s.Begin("ask."+r.victim, ""))
		synctest.Wait()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.way.deadline)
	done := make(chan *supervisor.Reply, 1)
	go func() {
		defer cancel()
		reply, err := r.s.Trigger(ctx, supervisor.TriggerRequest{Topic: "ask." + r.victim})
		if err != nil {
			r.t.Errorf("trigger: %v", err)
		}
		done <- reply
	}()
	r.answers = append(r.answers, func() *supervisor.Reply { return <-done })
	synctest.Wait()
}

func (r *groupRow) strike() {
	r.inject(r.point())
	r.ask()
	r.killSoon()
	pass(time.Second)
}

// killSoon has an operator kill the victim, if that is the way, while it hangs.
func (r *groupRow) killSoon() {
	if r.way.kill {
		go func() { _ = r.s.Kill(context.Background(), r.victim) }()
	}
	synctest.Wait()
}

// taken returns the members that the strategy restarts with the victim.
func (r *groupRow) taken() []string {
	switch r.strategy {
	case supervisor.OneForAll:
		return groupMembers
	case supervisor.RestForOne:
		return groupMembers[slices.Index(groupMembers, r.victim):]
	default:
		return []string{r.victim}
	}
}

// restarted returns what follows a death while all serve.
func (r *groupRow) restarted() []string {
	out := []string{r.victim + " crashed"}
	for _, id := range slices.Backward(r.taken()) {
		if id != r.victim {
			out = append(out, id+" stopped")
		}
	}
	for _, id := range r.taken() {
		out = append(out, id+" ready")
	}
	return out
}

// atFirstStart returns what happens if the victim dies in its first load: those after it
// have not been started.
func (r *groupRow) atFirstStart() []string {
	at := slices.Index(groupMembers, r.victim)
	var out []string
	for _, id := range groupMembers[:at] {
		out = append(out, id+" ready")
	}
	out = append(out, r.victim+" crashed")
	if r.strategy == supervisor.OneForAll {
		for _, id := range slices.Backward(groupMembers[:at]) {
			out = append(out, id+" stopped")
		}
		at = 0
	}
	for _, id := range groupMembers[at:] {
		out = append(out, id+" ready")
	}
	return out
}

// check checks what has happened, and that everything serves again.
func (r *groupRow) check(want []string) {
	r.t.Helper()
	for _, answer := range r.answers {
		if reply := answer(); len(reply.Legs) != 1 || reply.Legs[0].Outcome == messages.OutcomePending {
			r.t.Errorf("answer %v", supervisortest.Legs(reply))
		}
	}
	got := r.happened()
	if at := slices.Index(want, r.victim+" crashed"); r.strategy == supervisor.OneForOne && at >= 0 && len(got) == len(want) {
		slices.Sort(got[at+1:]) // a restart of one alone keeps no order with first starts
		slices.Sort(want[at+1:])
	}
	if want != nil && !slices.Equal(got, want) {
		r.t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	if slices.Equal(r.s.Timeline("x")[2:], []string{"stopping: the system stops", "stopped: the system stops"}) { // after a shutdown
		for _, line := range r.s.Timeline(r.victim)[2:] {
			if strings.HasPrefix(line, "loading") {
				r.t.Errorf("it was restarted in the shutdown: %v", r.s.Timeline(r.victim))
			}
		}
		return
	}
	for _, id := range append([]string{"x"}, groupMembers...) {
		r.s.AwaitState(id, messages.StateReady)
		r.s.Expect("ask."+id, "", id+` continue "`+id+`"`)
	}
	if got := r.s.Timeline("x"); len(got) != 2 {
		r.t.Errorf("the capsule beside the group: %v", got)
	}
	if r.way.deadline > 0 && want != nil && r.s.Capsule(r.victim).BudgetSpent > 0 && r.s.Timeline(r.victim)[0] == "loading 1" && r.since > 0 {
		r.t.Error("a deadline that is nobody's fault was counted")
	}
}

// happened returns what has happened to the group's capsules.
func (r *groupRow) happened() []string {
	var out []string
	last := r.s.Snapshot().Sequence
	for e := range r.s.Events(context.Background(), r.since) {
		switch e.Detail.(type) {
		case messages.CapsuleReady, messages.CapsuleStopped, messages.CapsuleCrashed, messages.CapsuleFailed:
			if id := e.Child(); slices.Contains(groupMembers, id) {
				out = append(out, id+" "+strings.TrimPrefix(e.Name(), "capsule_"))
			}
		}
		if e.Sequence >= last {
			break
		}
	}
	return out
}
