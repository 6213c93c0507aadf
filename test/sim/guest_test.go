package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// capsule is a capsule of the world, all its instances together.
type capsule struct {
	*drawn
	w *world

	loads  atomic.Uint64
	acts   atomic.Uint64 // decisions drawn
	calls  atomic.Uint64 // guest calls that the system has seen the end of
	asked  atomic.Uint64 // triggers that it has made
	inHook hooks
	inside atomic.Bool // a call runs

	mu   sync.Mutex
	last map[string]turn // the last call of each sender
}

// turn is a call's place among those of one sender.
type turn struct {
	trigger uint64
	rank    int // of the leg, among the capsule's own
}

// hooks says when the capsule waited in triggers of its own, and for whom at most.
type hooks struct {
	mu  sync.Mutex
	all []hook
}

// hook is one of these triggers. Times are ticks of the world's.
type hook struct {
	began, ended uint64 // ended is 0 while it is open
	asks         []leg
}

// since returns whom the capsule may have waited for since a tick.
func (h *hooks) since(tick uint64) []leg {
	h.mu.Lock()
	defer h.mu.Unlock()
	var asks []leg
	for _, k := range h.all {
		if k.ended == 0 || k.ended > tick {
			asks = append(asks, k.asks...)
		}
	}
	return asks
}

// last is when the last one began.
func (h *hooks) last() (began uint64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.all) == 0 {
		return 0, false
	}
	return h.all[len(h.all)-1].began, true
}

// begin notes a trigger, and returns how to end it.
func (h *hooks) begin(w *world, asks []leg) (end func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.all)
	h.all = append(h.all, hook{began: w.tick.Add(1), asks: asks})
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all[n].ended = w.tick.Add(1)
	}
}

// ask is a trigger's payload: who asks, on whose behalf, and until when.
type ask struct {
	By     string `json:"by"`
	N      uint64 `json:"n"`
	Who    string `json:"who"`    // the principal; "" is none
	Source string `json:"source"` // the source id
	Until  int64  `json:"until"`  // Unix nanoseconds
	Depth  int    `json:"depth"`
}

// answer is what a guest answers.
type answer struct {
	Capsule    string            `json:"capsule"`
	Generation uint64            `json:"generation"`
	Action     string            `json:"action"`
	By         string            `json:"by"`
	N          uint64            `json:"n"`
	Who        string            `json:"who"` // whom the guest saw as its caller
	Kids       []json.RawMessage `json:"kids,omitempty"`
}

// load makes instances, some of the time.
func (c *capsule) load(ctx context.Context, s capsulehost.Surroundings) (supervisor.Guest, error) {
	g := &guest{capsule: c, world: s, generation: c.loads.Add(1)}
	c.w.audit.loading(c, g.generation)
	r := c.draw("load")
	switch what := r.IntN(100); {
	case c.w.calm.Load() || what < 80:
	case what < 88:
		c.w.sleep(ctx, r, 300*ms)
	case what < 91:
		return nil, errors.New("load fails")
	case what < 94:
		return nil, &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: "trap in the load"}
	case what < 95:
		panic("panic in the load")
	case what < 97:
		<-ctx.Done()
		return nil, interrupted(ctx)
	default:
		_, _ = g.trigger(ctx, r, 2) // whatever it says
	}
	return g, nil
}

func (c *capsule) draw(what string) *rand.Rand { return c.w.rng(what+c.id, c.acts.Add(1)) }

// guest is one instance.
type guest struct {
	*capsule
	world      capsulehost.Surroundings
	generation uint64
	vanished   bool // it has ended its goroutine
	knows      bool // it was told that it was restarted
}

func (g *guest) RunLoop() bool       { return g.loop }
func (g *guest) MemoryBytes() uint64 { return 1 << 16 }

func (g *guest) Close(context.Context) error {
	if c := g.world.Caller(); c != nil && !g.vanished {
		g.w.fail("%s/%d: a caller outlives its call: %q", g.id, g.generation, who(c))
	}
	r := g.draw("close")
	if g.w.calm.Load() || chance(r, 90) {
		return nil
	}
	<-time.After(between(r, 0, 20*ms))
	return errors.New("close fails")
}

func (g *guest) Invoke(ctx context.Context, action string, payload []byte) (result capsulehost.Result, err error) {
	ended := true
	g.inside.Store(true)
	defer func() {
		g.inside.Store(false)
		if ended {
			g.calls.Add(1)
		}
	}()
	g.w.audit.asked(g)
	if action == "handle_lifecycle_restart" {
		if g.generation == 1 || len(payload) > 0 || g.knows {
			g.w.fail("%s/%d: %s with payload %q, or again", g.id, g.generation, action, payload)
		}
		g.knows = true
		return capsulehost.Result{}, nil
	}
	if g.told && g.generation > 1 && !g.knows {
		g.w.fail("%s/%d was not told of its restart", g.id, g.generation)
	}
	var a ask
	if err := json.Unmarshal(payload, &a); err != nil {
		g.w.fail("%s: payload %q: %v", g.id, payload, err)
		return capsulehost.Result{}, nil
	}
	g.checkCall(ctx, action, a)
	out := answer{Capsule: g.id, Generation: g.generation, Action: action, By: a.By, N: a.N, Who: who(g.world.Caller())}
	r := g.draw("call")
	what := r.IntN(100)
	if g.w.calm.Load() || action == "probe" {
		what = 0
		switch {
		case action == "fan":
			out.Kids = g.fan(ctx)
		case chance(r, 50):
			g.checkCapability(ctx, r)
		}
	}
	switch {
	case what < 30:
	case what < 45:
		if !g.w.sleep(ctx, r, pick(r, 5*ms, 100*ms, 2*time.Second)) {
			return capsulehost.Result{}, interrupted(ctx)
		}
	case what < 70 && a.Depth < 3:
		if out.Kids, err = g.trigger(ctx, r, a.Depth+1); err != nil {
			return capsulehost.Result{}, err
		}
	case what < 74:
		g.checkCapability(ctx, r)
	case what < 77:
		return capsulehost.Result{}, &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: "trap"}
	case what < 78:
		code := pick[uint32](r, 0, 3)
		return capsulehost.Result{}, &capsulehost.Failure{Kind: capsulehost.KindExit, ExitCode: code, Message: fmt.Sprintf("exit %d", code)}
	case what < 80:
		return capsulehost.Result{}, errors.New("a report")
	case what < 81:
		panic("panic in a call")
	case what < 82 && chance(r, 50):
		ended, g.vanished = false, true
		runtime.Goexit()
	case what < 84:
		return capsulehost.Result{Action: capsulehost.Deny, Data: []byte("denied")}, nil
	case what < 86:
		return capsulehost.Result{}, nil
	case what < 88:
		return capsulehost.Result{Data: []byte("not JSON")}, nil
	case what < 90:
		<-ctx.Done()
		return capsulehost.Result{}, interrupted(ctx)
	case what < 92: // it can't be interrupted
		<-time.After(between(r, 0, 300*ms))
	case what < 94:
		g.world.SignalReady() // in no loop: nothing
	case what < 96:
		g.world.Log(capsulehost.LevelInfo, "hello")
	}
	data, err := json.Marshal(out)
	if err != nil {
		g.w.fail("%s: %v", g.id, err)
	}
	if chance(r, 20) {
		return capsulehost.Result{Action: capsulehost.Final, Data: data}, nil
	}
	return capsulehost.Result{Data: data}, nil
}

// checkCall checks that a call may be made now, and for whom it is.
func (g *guest) checkCall(ctx context.Context, action string, a ask) {
	now := time.Now()
	if now.UnixNano() >= a.Until {
		g.w.fail("%s was asked %v after the deadline of %s's trigger %d", g.id, now.Sub(time.Unix(0, a.Until)), a.By, a.N)
	}
	want := min(now.Add(g.callTimeout).UnixNano(), a.Until)
	if deadline, ok := ctx.Deadline(); !ok || deadline.UnixNano() != want {
		g.w.fail("%s is given until %v, not %v: its own limit, or the deadline of %s's trigger %d", g.id, deadline, time.Unix(0, want), a.By, a.N)
	}
	caller := g.world.Caller()
	switch {
	case a.Source == "" && caller != nil:
		g.w.fail("%s sees the caller %q in %s's trigger %d, which has none", g.id, who(caller), a.By, a.N)
	case a.Source != "" && (caller == nil || caller.SourceID != a.Source || who(caller) != a.Who):
		g.w.fail("%s sees the caller %q in %s's trigger %d, which is %q's", g.id, who(caller), a.By, a.N, a.Who)
	}
	this := turn{trigger: a.N, rank: g.rank(action)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if last, ok := g.last[a.By]; ok && (this.trigger < last.trigger || (this.trigger == last.trigger && this.rank <= last.rank)) {
		g.w.fail("%s is asked for %s by %s's trigger %d after what came later: %v", g.id, action, a.By, a.N, last)
	}
	g.last[a.By] = this
}

// rank is an interceptor's place among the legs of its capsule.
func (d *drawn) rank(action string) int {
	n, mine := 0, 0
	for place, i := range d.interceptors {
		if i.action == action {
			mine = place
		}
	}
	for place, i := range d.interceptors {
		p, m := i.priority, d.interceptors[mine].priority
		if p < m || (p == m && place < mine) {
			n++
		}
	}
	return n
}

// trigger makes a nested trigger, and checks what comes of it.
func (g *guest) trigger(ctx context.Context, r *rand.Rand, depth int) ([]json.RawMessage, error) {
	return g.triggerTopic(ctx, pick(r, topics()...), depth)
}

func (g *guest) triggerTopic(ctx context.Context, topic string, depth int) ([]json.RawMessage, error) {
	w := g.w
	began, timeout := time.Now(), w.cfg.TriggerTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, deadline.Sub(began)*15/16)
	}
	a := ask{By: g.id, N: g.capsule.asked.Add(1), Until: began.Add(timeout).UnixNano(), Depth: depth}
	payload, err := json.Marshal(a)
	if err != nil {
		w.fail("%v", err)
	}
	end := g.inHook.begin(w, w.legs(topic, g.id))
	values, err := g.world.Peers().TriggerHook(ctx, topic, payload)
	end()
	if took := time.Since(began); took > max(timeout, 0) {
		w.fail("%s: a trigger of %s took %v, and had %v", g.id, topic, took, timeout)
	}
	if err != nil {
		if ctx.Err() == nil {
			w.fail("%s: a trigger of %s: %v", g.id, topic, err)
		}
		return nil, fmt.Errorf("%w: %w", &capsulehost.Failure{Kind: capsulehost.KindHostCall, Message: err.Error()}, err)
	}
	w.checkValues(fmt.Sprintf("%s's trigger %d", g.id, a.N), a, w.legs(topic, g.id), values)
	return values, nil
}

// fan asks all others, who answer at once: those that are Ready and do not wait
// themselves must.
func (g *guest) fan(ctx context.Context) []json.RawMessage {
	began := time.Now()
	values, err := g.triggerTopic(ctx, "probe.all", 9)
	if err != nil {
		g.w.fail("%s: fan: %v", g.id, err)
	}
	if took := time.Since(began); took != 0 {
		g.w.fail("%s: fan took %v, although nobody takes any time", g.id, took)
	}
	g.w.audit.checkSessions(ctx, g)
	return values
}

// checkCapability asks for somebody's session: one that is no more is denied.
func (g *guest) checkCapability(ctx context.Context, r *rand.Rand) {
	a := g.w.audit
	session, of := a.anySession(r)
	if of == nil {
		return
	}
	before := a.holds(session)
	began := time.Now()
	allowed := g.world.Peers().CheckCapability(ctx, session, "allow_prompt_injection")
	switch took := time.Since(began); {
	case took != 0:
		g.w.fail("%s has waited %v for an answer about a capability", g.id, took)
	case allowed && (!before || !of.grants):
		g.w.fail("%s is allowed a session of %s that was over (%v), or grants nothing (%v)", g.id, of.id, !before, !of.grants)
	case !allowed && before && of.grants && a.lives(session) && !g.w.harsh && ctx.Err() == nil:
		g.w.fail("%s is denied the session of %s, which grants it", g.id, of.id)
	}
	if g.world.Peers().CheckCapability(ctx, session, "fly") {
		g.w.fail("%s is allowed a capability that nobody has", g.id)
	}
}

// Run is a run loop.
func (g *guest) Run(ctx context.Context) error {
	g.w.audit.running(g)
	if g.w.calm.Load() {
		g.world.SignalReady()
		<-ctx.Done()
		return interrupted(ctx)
	}
	r := g.draw("run")
	if chance(r, 30) && !g.w.sleep(ctx, r, time.Second) {
		return interrupted(ctx)
	}
	if chance(r, 90) {
		g.world.SignalReady()
		g.world.SignalReady()
	}
	for {
		switch what := r.IntN(100); {
		case what < 50:
			if !g.w.sleep(ctx, r, time.Second) {
				return interrupted(ctx)
			}
		case what < 70:
			if _, err := g.trigger(ctx, r, 1); err != nil {
				return err
			}
		case what < 75:
			g.checkCapability(ctx, r)
		case what < 79:
			return nil
		case what < 83:
			return errors.New("the loop fails")
		case what < 87:
			return &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: "trap in the loop"}
		case what < 89:
			panic("panic in the loop")
		case what < 90:
			runtime.Goexit()
		case what < 91:
			return &capsulehost.Failure{Kind: capsulehost.KindExit, Message: "exit 0"}
		default:
			<-ctx.Done()
			return interrupted(ctx)
		}
	}
}

// sleep takes a drawn part of most; false means that it was interrupted.
func (w *world) sleep(ctx context.Context, r *rand.Rand, most time.Duration) bool {
	timer := time.NewTimer(between(r, 0, most))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// interrupted is how a guest ends that was interrupted.
func interrupted(ctx context.Context) error {
	kind := capsulehost.KindCancelled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = capsulehost.KindTimeout
	}
	cause := context.Cause(ctx)
	return fmt.Errorf("%w: %w", &capsulehost.Failure{Kind: kind, Message: cause.Error()}, cause)
}

// who is the principal of a caller, "" for none.
func who(c *capsulehost.Caller) string {
	if c == nil || c.Principal == nil {
		return ""
	}
	return *c.Principal
}
