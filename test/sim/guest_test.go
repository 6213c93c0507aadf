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

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// capsule is a capsule of the world, over all its instances.
type capsule struct {
	*drawn
	w     *world
	index int
	life  life
	base  atomic.Uint64 // the last generation before it was added

	loads  atomic.Uint64
	acts   atomic.Uint64 // decisions drawn
	calls  atomic.Uint64 // guest calls that the system has seen end
	asked  atomic.Uint64 // triggers that it has sent
	inHook hooks
	inside atomic.Bool // a call runs

	mu   sync.Mutex
	last map[string]turn // the last call of each sender
}

// load creates instances, some of the time.
func (c *capsule) load(ctx context.Context, s capsulehost.HostAPI, v *version) (supervisor.Guest, error) {
	g := &guest{capsule: c, number: c.loads.Add(1), world: s, version: v}
	c.w.audit.loading(c, g.number)
	r := c.draw("load")
	if !c.w.calm.Load() {
		if err := v.load(ctx); err != nil {
			return nil, err
		}
	}
	switch what := r.IntN(100); {
	case c.w.calm.Load() || what < 80:
	case what < 88:
		c.w.sleep(ctx, r, 300*ms)
	case what < 90:
		return nil, errors.New("load fails")
	case what < 91:
		return nil, &capsulehost.Failure{Kind: capsulehost.KindLink, Message: "it will never load"}
	case what < 94:
		return nil, &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: "trap in the load"}
	case what < 95:
		panic("panic in the load")
	case what < 97:
		<-ctx.Done()
		return nil, interrupted(ctx)
	default:
		_, _ = g.trigger(ctx, r, 2) // with any result
	}
	if c.inline {
		return inlineGuest{g}, nil
	}
	return g, nil
}

func (c *capsule) draw(what string) *rand.Rand { return c.w.rng(what+c.id, c.acts.Add(1)) }

// guest is one instance.
type guest struct {
	*capsule
	number     uint64 // of its load
	world      capsulehost.HostAPI
	version    *version
	generation uint64 // 0 before the first call
	vanished   bool   // it has ended its goroutine
	knows      bool   // it was told that it was restarted
}

// isFirst reports whether the instance is the first since its capsule was added.
func (g *guest) isFirst() bool { return g.generation == g.base.Load()+1 }

// inlineGuest is a guest whose calls may run on the caller's goroutine. It never ends
// that goroutine, respects its context, and closes at once.
type inlineGuest struct{ *guest }

func (inlineGuest) Inline() {}

var _ actors.Inline = inlineGuest{}

func (g *guest) RunLoop() bool { return g.loop }

func (g *guest) MemoryBytes() uint64 { return 1 << 16 }

// slowClose is how long closing an instance takes at most.
const slowClose = 20 * ms

func (g *guest) Close(context.Context) error {
	if c := g.world.Caller(); c != nil && !g.vanished {
		g.w.fail("%s/%d: a caller outlives its call: %q", g.id, g.generation, who(c))
	}
	r := g.draw("close")
	if g.w.calm.Load() || g.inline || chance(r, 90) {
		return nil
	}
	<-time.After(between(r, 0, slowClose))
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
		if g.isFirst() || len(payload) > 0 || g.knows {
			g.w.fail("%s/%d: %s with payload %q, or again", g.id, g.generation, action, payload)
		}
		g.knows = true
		return capsulehost.Result{}, nil
	}
	if g.told && !g.isFirst() && !g.knows {
		g.w.fail("%s/%d was not told of its restart", g.id, g.generation)
	}
	if action == "hear" || action == "keep" {
		return g.message(ctx, action, payload)
	}
	var a ask
	if err := json.Unmarshal(payload, &a); err != nil {
		g.w.fail("%s: payload %q: %v", g.id, payload, err)
		return capsulehost.Result{}, nil
	}
	g.checkCall(ctx, action, a)
	out := answer{Capsule: g.id, Generation: g.generation, Version: g.version.number, Action: action, By: a.By, N: a.N, Who: who(g.world.Caller())}
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
	case g.version.fault == callsCrash && !g.w.calm.Load() && action != "probe":
		return capsulehost.Result{}, &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: callsCrash}
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
	case what < 82 && chance(r, 50) && !g.inline:
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
	case what < 92 && !g.inline: // it can't be interrupted
		<-time.After(between(r, 0, 300*ms))
	case what < 94:
		g.world.SignalReady() // outside a loop it has no effect
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

// Run is a run loop.
func (g *guest) Run(ctx context.Context) error {
	g.w.audit.running(g)
	if g.w.calm.Load() {
		g.world.SignalReady()
		<-ctx.Done()
		return interrupted(ctx)
	}
	if g.version.fault == loopCrashes {
		return &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: loopCrashes}
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

// sleep sleeps for a drawn part of most; it returns false if it was interrupted.
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

// interrupted returns the error of a guest that was interrupted.
func interrupted(ctx context.Context) error {
	kind := capsulehost.KindCancelled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = capsulehost.KindTimeout
	}
	cause := context.Cause(ctx)
	return fmt.Errorf("%w: %w", &capsulehost.Failure{Kind: kind, Message: cause.Error()}, cause)
}
