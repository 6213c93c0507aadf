package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// client sends one trigger after another.
func (w *world) client(n int) {
	name := fmt.Sprintf("client-%d", n)
	r := w.rng("client", uint64(n))
	for i := range uint64(1 + r.IntN(12)) {
		if chance(r, 60) {
			w.sleep(context.Background(), r, pick(r, 10*ms, time.Second))
		}
		w.ask(r, name, i+1, pick(r, append(topics(), "probe.all", "fan."+pick(r, w.capsules...).id)...))
	}
}

// nestedInline limits how long a call continues after its caller has given up: 50 ms for
// each call nested on the caller's goroutine.
const nestedInline = 4 * 50 * ms

// errGivenUp is the cause when clients cancel.
var errGivenUp = errors.New("the client has given up")

// ask sends one trigger, and checks its answer. If r is nil the trigger is a plain one.
func (w *world) ask(r *rand.Rand, by string, n uint64, topic string) *messages.Reply {
	ctx := context.Background()
	until := time.Now().Add(w.cfg.TriggerTimeout)
	if r != nil && chance(r, 40) {
		until = time.Now().Add(between(r, 1*ms, 4*time.Second))
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	gaveUp := until
	if r != nil && chance(r, 20) {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		after := between(r, 0, time.Second)
		gaveUp = time.Now().Add(after)
		timer := time.AfterFunc(after, func() { cancel(errGivenUp) })
		defer timer.Stop()
		defer cancel(nil)
	}
	a := ask{By: by, N: n, Until: until.UnixNano()}
	request := supervisor.TriggerRequest{Topic: topic}
	if r != nil && chance(r, 60) {
		a.Who, a.Source = pick(r, "", "ada", "bob", "eve"), uuid.UUID([]byte(fmt.Sprintf("%016d", w.tick.Add(1)))).String()
		request.Caller = &supervisor.Caller{Principal: a.Who, SourceID: a.Source}
	}
	payload, err := json.Marshal(a)
	if err != nil {
		w.fail("%v", err)
	}
	request.Payload = payload
	label := fmt.Sprintf("%s's trigger %d of %s", by, n, topic)

	there := w.presences()
	since, started := w.audit.now()
	w.inFlight.Add(1)
	reply, err := w.sys.Trigger(ctx, request)
	w.inFlight.Add(-1)
	late := time.Since(until)
	w.tally.add(fmt.Sprintf("trigger answered %v", err == nil))
	if late > 0 {
		w.fail("%s was answered %v after its deadline", label, late)
	}
	switch {
	case err == nil:
		w.answered.Add(1)
	case errors.Is(err, supervisor.ErrOverloaded):
		if w.cfg.OpenTriggers == 0 {
			w.fail("%s: %v", label, err)
		}
		return nil
	case errors.Is(err, supervisor.ErrStopping), errors.Is(err, supervisor.ErrNotServing):
		if !w.stopping.Load() {
			w.fail("%s: %v", label, err)
		}
		return nil
	case errors.Is(err, errGivenUp):
		w.answered.Add(1)
		w.tally.add("trigger given up")
		if late := time.Since(gaveUp); late > nestedInline {
			w.fail("%s returned %v after its client had given up", label, late)
		}
		return nil
	default:
		w.answered.Add(1)
		w.fail("%s: %v", label, err)
		return nil
	}
	w.checkReply(label, a, w.legs(topic, ""), reply, since, started, there)
	return reply
}

// checkReply checks an answer against the expected legs, which must be complete if the
// system had started, except for those of capsules that were not there ever since. Since is
// the last event before the trigger.
func (w *world) checkReply(label string, a ask, want []leg, reply *messages.Reply, since uint64, all bool, there presences) {
	w.audit.catchUp()
	missing := func(l leg) {
		if present, _ := there.there(l.capsule); present && all {
			w.fail("%s: there is no leg for %s of %s", label, l.action, l.capsule.id)
		}
	}
	var values []json.RawMessage
	next := 0
	for n, got := range reply.Legs {
		place := slices.IndexFunc(want[next:], func(l leg) bool { return l.capsule.id == got.Capsule && l.action == got.Action })
		if place < 0 {
			w.fail("%s: leg %d is %s of %s: not expected, or not there", label, n, got.Action, got.Capsule)
			return
		}
		for _, l := range want[next : next+place] {
			missing(l)
		}
		l := want[next+place]
		if _, absent := there.there(l.capsule); absent {
			w.fail("%s: leg %d is of %s, which is not there", label, n, got.Capsule)
		}
		next += place + 1
		if len(got.Value) > 0 {
			values = append(values, got.Value)
		}
		if problem := w.checkLeg(a, l, got, since); problem != "" {
			w.fail("%s: leg %d, %s of %s/%d, is %s (%s): %s", label, n, got.Action, got.Capsule, got.Generation, got.Outcome.String(), got.Reason, problem)
		}
	}
	for _, l := range want[next:] {
		missing(l)
	}
	w.checkValues(label, a, want, values)
}

// checkLeg returns the problem of one leg, or "".
func (w *world) checkLeg(a ask, l leg, got messages.Leg, since uint64) string {
	c := l.capsule
	w.tally.add("leg " + got.Outcome.String())
	if c.loop && got.Outcome != messages.OutcomeUnavailable {
		return "it is a run loop"
	}
	switch got.Outcome {
	case messages.OutcomeContinue, messages.OutcomeFinal:
		var v answer
		if err := json.Unmarshal(got.Value, &v); err != nil {
			return err.Error()
		}
		if v.Capsule != c.id || v.Action != l.action || v.Generation != got.Generation {
			return fmt.Sprintf("it has the value of %s of %s/%d", v.Action, v.Capsule, v.Generation)
		}
		return w.audit.checkVersion(c, v)
	case messages.OutcomeEmpty, messages.OutcomeInvalid:
	case messages.OutcomeDenied:
		if got.Reason != "denied" {
			return "that is not what the guest said"
		}
	case messages.OutcomeFailed:
		if got.Reason != "a report" {
			return "that is not what the guest said"
		}
	case messages.OutcomeCrashed:
		if !w.audit.died(c, got.Generation) && !strings.Contains(got.Reason, "actor failed") &&
			!strings.Contains(got.Reason, actors.ErrRestarting.Error()) { // its successor has not taken over yet
			return "no event says so"
		}
	case messages.OutcomeTimeout:
		if left := time.Until(time.Unix(0, a.Until)); left > 0 {
			return fmt.Sprintf("the deadline is %v away", left)
		}
		if w.audit.hadEnded(c) {
			return "it had ended long before"
		}
	case messages.OutcomeOverloaded:
		if c.queue >= 256 {
			return "its queue is far from full"
		}
	case messages.OutcomeUnavailable:
		if got.Reason == "" {
			return "it says no reason"
		}
		// That an instance replaces another one is no reason.
		if states := slices.Compact(w.audit.since(c, since)); !c.loop && states[0] == messages.StateReady && !mayBeUnavailable(got.Reason, states[1:]) &&
			(w.audit.view(c).starts == 0 || got.Reason != "it is about to be restarted") { // as a new router is told
			return fmt.Sprintf("it was Ready, and then only %v", states[1:])
		}
	default:
		return "that can't be"
	}
	return ""
}

// mayBeUnavailable reports whether a capsule that was Ready may be unavailable for a
// reason, after it has been in these states.
func mayBeUnavailable(reason string, states []messages.CapsuleState) bool {
	ending := slices.ContainsFunc(states, func(s messages.CapsuleState) bool {
		return s == messages.StateStopping || s == messages.StateStopped || s == messages.StateFailed
	})
	return ending || (len(states) > 0 && !strings.Contains(reason, "stop"))
}

// checkValues checks the values of a trigger's answer: their capsules, their principal,
// and their order.
func (w *world) checkValues(label string, a ask, want []leg, values []json.RawMessage) {
	for _, value := range values {
		var v answer
		if err := json.Unmarshal(value, &v); err != nil {
			w.fail("%s: value %q: %v", label, value, err)
			return
		}
		if v.By != a.By || v.N != a.N || v.Who != a.Who {
			w.fail("%s has a value of %s that was made for %s's trigger %d, principal %q", label, v.Capsule, v.By, v.N, v.Who)
		}
		place := slices.IndexFunc(want, func(l leg) bool { return l.capsule.id == v.Capsule && l.action == v.Action })
		if place < 0 {
			w.fail("%s: the value of %s of %s is not expected, or not there", label, v.Action, v.Capsule)
			return
		}
		want = want[place+1:]
	}
}

// operator gives commands.
func (w *world) operator() {
	r := w.rng("operator", 0)
	for range r.IntN(12) {
		w.sleep(context.Background(), r, pick(r, 50*ms, 2*time.Second))
		w.command(r)
	}
}

func (w *world) command(r *rand.Rand) {
	c := pick(r, w.capsules...)
	verb := pick(r, "start", "start", "stop", "restart", "kill", "kill")
	ctx := context.Background()
	if chance(r, 20) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, between(r, 0, time.Second))
		defer cancel()
	}
	w.audit.catchUp()
	before, there := w.audit.view(c), w.presences()
	do := map[string]func(context.Context, string) error{"start": w.sys.Start, "stop": w.sys.Stop, "restart": w.sys.Restart, "kill": w.sys.Kill}[verb]
	if verb == "restart" && chance(r, 30) { // two concurrent restarts
		var other sync.WaitGroup
		w.audit.upgrading(c, 1)
		other.Go(func() { // equivalent to the one that is checked
			_ = w.sys.Restart(context.Background(), c.id)
			w.audit.upgrading(c, -1)
		})
		defer other.Wait()
	}
	w.audit.upgrading(c, 1)
	err := do(ctx, c.id)
	if ctx.Err() == nil { // a command that its caller has given up goes on
		w.audit.upgrading(c, -1)
	}
	w.audit.catchUp()
	after := w.audit.view(c)
	changed := after.sequence > before.sequence
	problem := ""
	w.tally.add(fmt.Sprintf("command %s %v", verb, err == nil))
	switch {
	case err == nil && verb == "kill" && !changed && before.state != messages.StateCrashed, err == nil && verb == "stop" && !after.isDown():
		problem = "done, but it is not"
	case err == nil && (verb == "start" && before.isDown() || verb == "restart") && (after.generation <= before.generation):
		problem = "done, but there is no new generation"
	case err == nil, errors.Is(err, supervisor.ErrRefused), ctx.Err() != nil, w.stopping.Load():
	case errors.Is(err, supervisor.ErrNotFound):
		if present, _ := there.there(c); present {
			problem = "it is there"
		}
	case errors.Is(err, supervisor.ErrUpgradeFailed):
		if verb != "restart" && verb != "start" {
			problem = "it is no upgrade"
		}
	case errors.Is(err, supervisor.ErrNotUp):
		if verb == "kill" || verb == "stop" || !changed {
			problem = "nothing has happened to it"
		}
	case w.harsh && strings.Contains(err.Error(), "failed over it"):
	default:
		problem = "unexpected"
	}
	if problem != "" {
		w.fail("%s %s: %v: %s; it was %v, and is %v", verb, c.id, err, problem, before, after)
	}
}

// saboteur makes the system's own actors fail.
func (w *world) saboteur() {
	r := w.rng("saboteur", 0)
	for n := range pick(r, 0, 0, 1, 3, 6) {
		w.sleep(context.Background(), r, pick(r, 1*ms, 100*ms, 2*time.Second))
		path := pick(r, "registry", "hook-router", "capsules", "capsules/"+pick(r, w.atStart()...).id)
		if w.stopping.Load() {
			return
		}
		w.broken = append(w.broken, path)
		if w.harsh && chance(r, 50) {
			w.sys.FailActorNext(path)
		} else {
			w.sys.FailActor(path)
		}
		if chance(r, 50) { // during its restart
			w.ask(nil, "client-saboteur", uint64(n+1), pick(r, append(topics(), "probe.all")...))
		}
	}
}
