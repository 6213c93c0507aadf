package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// turn is a call's position among those of one sender.
type turn struct {
	trigger uint64
	rank    int // of the leg, among the capsule's own
}

// hooks records when the capsule waited in triggers of its own, and for which capsules
// at most.
type hooks struct {
	mu  sync.Mutex
	all []hook
}

// hook is one of these triggers. Times are ticks of the world.
type hook struct {
	began, ended uint64 // ended is 0 while it is open
	asks         []leg
}

// since returns the capsules that it may have waited for since a tick.
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

// open returns when the first one began that is open. Two instances may have one each.
func (h *hooks) open() (began uint64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.all {
		if k.ended == 0 {
			return k.began, true
		}
	}
	return 0, false
}

// begin records a trigger, and returns a function that ends it.
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

// ask is a trigger's payload: the sender, the principal, and the deadline.
type ask struct {
	By     string `json:"by"`
	N      uint64 `json:"n"`
	Load   uint64 `json:"load"`   // the sender's instance, if it is a capsule: two may exist at a time
	Who    string `json:"who"`    // the principal; "" means none
	Source string `json:"source"` // the source id
	Until  int64  `json:"until"`  // Unix nanoseconds
	Depth  int    `json:"depth"`
}

// answer is the answer of a guest.
type answer struct {
	Capsule    string            `json:"capsule"`
	Generation uint64            `json:"generation"`
	Version    string            `json:"version"`
	Action     string            `json:"action"`
	By         string            `json:"by"`
	N          uint64            `json:"n"`
	Who        string            `json:"who"` // the guest's caller, as it saw it
	Kids       []json.RawMessage `json:"kids,omitempty"`
}

// checkCall checks that a call may be made now, and by which principal.
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
	sender := fmt.Sprint(a.By, a.Load)
	if last, ok := g.last[sender]; ok && (this.trigger < last.trigger || (this.trigger == last.trigger && this.rank <= last.rank)) {
		g.w.fail("%s is asked for %s by %s's trigger %d after what came later: %v", g.id, action, a.By, a.N, last)
	}
	g.last[sender] = this
}

// rank returns an interceptor's position among the legs of its capsule.
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

// trigger sends a nested trigger, and checks the result.
func (g *guest) trigger(ctx context.Context, r *rand.Rand, depth int) ([]json.RawMessage, error) {
	return g.triggerTopic(ctx, pick(r, topics()...), depth)
}

func (g *guest) triggerTopic(ctx context.Context, topic string, depth int) ([]json.RawMessage, error) {
	w := g.w
	began, timeout := time.Now(), w.cfg.TriggerTimeout
	if deadline, ok := ctx.Deadline(); ok {
		left := deadline.Sub(began)
		timeout = min(timeout, left-left/16)
	}
	a := ask{By: g.id, N: g.capsule.asked.Add(1), Load: g.number, Until: began.Add(timeout).UnixNano(), Depth: depth}
	payload, err := json.Marshal(a)
	if err != nil {
		w.fail("%v", err)
	}
	end := g.inHook.begin(w, w.legs(topic, g.id))
	values, err := g.world.Services().Peers.TriggerHook(ctx, topic, payload)
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

// fan triggers all others, which answer at once: those that are Ready and do not wait
// themselves must answer.
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

// checkCapability asks for a session of any capsule: one that has ended is denied.
func (g *guest) checkCapability(ctx context.Context, r *rand.Rand) {
	a := g.w.audit
	session, of := a.anySession(r)
	if of == nil {
		return
	}
	before := a.holds(session)
	began := time.Now()
	allowed := g.world.Services().Peers.CheckCapability(ctx, session, "allow_prompt_injection")
	switch took := time.Since(began); {
	case took != 0:
		g.w.fail("%s has waited %v for an answer about a capability", g.id, took)
	case allowed && (!before || !of.grants):
		g.w.fail("%s is allowed a session of %s that was over (%v), or grants nothing (%v)", g.id, of.id, !before, !of.grants)
	case !allowed && before && of.grants && !g.w.harsh && ctx.Err() == nil:
		a.denied(g, session)
	}
	if g.world.Services().Peers.CheckCapability(ctx, session, "fly") {
		g.w.fail("%s is allowed a capability that nobody has", g.id)
	}
}

// who returns the principal of a caller, "" for none.
func who(c *capsulehost.Caller) string {
	if c == nil || c.Principal == nil {
		return ""
	}
	return *c.Principal
}
