package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

const ms = time.Millisecond

// rng returns the random source of one kind of decisions; it does not depend on what
// others draw.
func (w *world) rng(who string, n uint64) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(who) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(w.seed, h+n*0x9e3779b97f4a7c15))
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// between draws a duration, in whole microseconds.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64((high-low)/time.Microsecond)+1))*time.Microsecond
}

// interceptor is one interceptor of a capsule, with the fields of its manifest.
type interceptor struct {
	event, action string
	priority      uint32
}

// drawn are the properties of a capsule that its seed determines.
type drawn struct {
	id           string
	loop         bool
	uplink       bool
	grants       bool // allow_prompt_injection
	inline       bool // its calls may run on the caller's goroutine
	spare        bool // it is not there at the start
	told         bool // has an interceptor for handle_lifecycle_restart
	hears, keeps bool // has interceptors for messages
	interceptors []interceptor
	imports      []int // indices of the capsules that it waits for

	policy      supervisor.RestartPolicy
	callTimeout time.Duration
	stopTimeout time.Duration
	queue       int
}

// The topics that clients and capsules trigger. Every capsule that is no loop also
// subscribes to `probe.all`, and to `fan.<id>`, whose handler triggers `probe.all` at
// all others.
func topics() []string {
	return []string{"t.a", "t.b", "u.a", "u.b", "t.a.deep", "nobody"}
}

func patterns() []string {
	return []string{"t.a", "t.b", "u.a", "t.*", "*.a", "*.*", "t.a.deep", "t.*.deep"}
}

// drawSystem draws the configuration, and the capsules of a system.
func (w *world) drawSystem() {
	r := w.rng("system", 0)
	w.harsh = chance(r, 25)
	w.cfg = supervisor.Config{
		TriggerTimeout: between(r, 200*ms, 5*time.Second),
		CallTimeout:    3 * time.Second, // capsules have their own
		LoadTimeout:    between(r, 200*ms, 3*time.Second),
		ReadyTimeout:   between(r, 1*ms, 500*ms),
		StopTimeout:    between(r, 1*ms, 3*time.Second),
		OpenTriggers:   pick(r, 0, 0, 0, 3),
		EventsKept:     1 << 16,
		Topics:         drawTopics(),
		Restart:        supervisor.RestartPolicy{EagerBackoff: chance(r, 25)},
	}
	for n := range 1 + r.IntN(6) {
		w.drawn = append(w.drawn, w.drawCapsule(n))
	}
	w.perm(r)
	if w.lives = chance(r, 50); w.lives {
		for _, d := range w.drawn[1:] {
			d.spare = chance(r, 20)
		}
	}
}

// perm gives the capsules names whose order differs from that of their start.
func (w *world) perm(r *rand.Rand) {
	names := []string{"ant", "bee", "cat", "dog", "elk", "fox"}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i, d := range w.drawn {
		d.id = names[i]
		if !d.loop {
			d.interceptors = append(d.interceptors, interceptor{"fan." + d.id, "fan", 100})
		}
	}
}

func (w *world) drawCapsule(n int) *drawn {
	r := w.rng("capsule", uint64(n))
	d := &drawn{
		loop: chance(r, 20), uplink: chance(r, 10), grants: chance(r, 70), told: chance(r, 20), inline: chance(r, 50),
		policy: supervisor.RestartPolicy{
			Mode:           pick(r, supervisor.Permanent, supervisor.Permanent, supervisor.Permanent, supervisor.Permanent, supervisor.Permanent, supervisor.Transient, supervisor.Transient, supervisor.Temporary),
			Budget:         pick(r, 0, 1, 2, 5, 5, 5, 5, 50, 50, 50),
			Window:         between(r, 100*ms, time.Minute),
			InitialBackoff: pick(r, 1*ms, between(r, 1*ms, 100*ms), between(r, 1*ms, 3*time.Second)),
		},
		callTimeout: between(r, 20*ms, 2*time.Second),
		stopTimeout: pick(r, between(r, 1*ms, 300*ms), between(r, 1*ms, 5*time.Second)),
		queue:       pick(r, 1, 2, 5, 256, 256, 256, 256),
	}
	if chance(r, 10) { // in a bubble they are fast
		d.policy.Window, d.policy.InitialBackoff = between(r, time.Minute, 5*time.Hour), between(r, time.Minute, 2*time.Hour)
	}
	d.policy.MaxBackoff = d.policy.InitialBackoff + between(r, 0, 8*time.Second)
	d.drawBus(w.rng("bus", uint64(n)))
	most := 4
	if d.loop {
		most = 2 // triggers don't invoke it
	}
	for i := range r.IntN(most) {
		d.interceptors = append(d.interceptors, interceptor{pick(r, patterns()...), fmt.Sprintf("act-%d", i), pick[uint32](r, 1, 100, 100, 200)})
	}
	if !d.loop {
		d.interceptors = append(d.interceptors, interceptor{"probe.all", "probe", 100})
		if d.told {
			d.interceptors = append(d.interceptors, interceptor{"restarted.never.triggered", "handle_lifecycle_restart", 100})
		}
	}
	for i := range n {
		if !d.uplink && chance(r, 15) && !w.drawn[i].uplink {
			d.imports = append(d.imports, i)
		}
	}
	return d
}

// manifest returns the text of the capsule's Capsule.toml.
func (d *drawn) manifest(n int) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("[package]\nname = %q\nversion = \"1.0.0\"\n[[component]]\nid = \"main\"\nfile = \"module.wasm\"", d.id)
	for _, i := range d.interceptors {
		say("[[interceptor]]\nevent = %q\naction = %q\npriority = %d", i.event, i.action, i.priority)
	}
	b.WriteString(d.busManifest())
	say("[capabilities]\nuplink = %v\nallow_prompt_injection = %v\n%s", d.uplink, d.grants, busGrants)
	if len(d.imports) > 0 {
		say("[imports.sim]")
		for _, i := range d.imports {
			say("part-%d = \"^1\"", i)
		}
	}
	say("[exports.sim]\npart-%d = \"1.0.0\"", n)
	p := d.policy
	say("[supervision]\nrestart = %q\nbudget = %d\nwindow = %q\nbackoff_initial = %q\nbackoff_max = %q\ncall_timeout = %q\nstop_timeout = %q\nqueue = %d",
		p.Mode, p.Budget, p.Window, p.InitialBackoff, p.MaxBackoff, d.callTimeout, d.stopTimeout, d.queue)
	return b.String()
}

// atStart returns the capsules that are there at the start.
func (w *world) atStart() []*capsule {
	return slices.DeleteFunc(slices.Clone(w.capsules), func(c *capsule) bool { return c.spare })
}

// leg is one expected leg of a trigger.
type leg struct {
	capsule *capsule
	interceptor
	place int // in the manifest
}

// legs returns those of a trigger of topic, in the specified order, by the sim's own
// implementation of matching and order.
func (w *world) legs(topic, from string) []leg {
	var out []leg
	for _, c := range w.capsules {
		for place, i := range c.interceptors {
			if c.id != from && matches(i.event, topic) {
				out = append(out, leg{c, i, place})
			}
		}
	}
	slices.SortFunc(out, func(a, b leg) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.capsule.id, b.capsule.id), cmp.Compare(a.place, b.place))
	})
	return out
}

func matches(pattern, topic string) bool {
	p, t := strings.Split(pattern, "."), strings.Split(topic, ".")
	if len(p) != len(t) {
		return false
	}
	for i := range p {
		if p[i] != "*" && p[i] != t[i] {
			return false
		}
	}
	return true
}
