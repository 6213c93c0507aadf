package actors

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// RestartMode says after which ends a capsule is restarted: OTP's words.
type RestartMode string

// The restart modes.
const (
	Permanent RestartMode = "permanent" // always
	Transient RestartMode = "transient" // not after a clean end
	Temporary RestartMode = "temporary" // never
)

// RestartPolicy says whether and when a dead capsule comes back. The first
// restart after a stable uptime is immediate; later ones wait InitialBackoff,
// then twice as long each time, up to MaxBackoff. Each field's zero value means
// its default.
type RestartPolicy struct {
	Mode RestartMode // "" means Permanent
	// Budget is how many restarts are allowed in Window; the next death is the
	// last. 0 means 5, a negative number none at all.
	Budget int
	// Window is the time over which restarts are counted. Only time in which the
	// capsule was up counts, or a long backoff would outwait its own budget. An
	// uptime of Window without a death also makes the next restart immediate
	// again. 0 means 60 s.
	Window time.Duration
	// InitialBackoff is the delay of the second restart; 0 means 100 ms, a
	// negative one no delay ever.
	InitialBackoff time.Duration
	// MaxBackoff bounds the delay; 0 means 30 s.
	MaxBackoff time.Duration
	// EagerBackoff makes the first restart wait for InitialBackoff as well.
	EagerBackoff bool
}

// ReferencePolicy has the numbers of astrid-capsule 0.5.0: the first retry
// after 2 s, doubling up to 120 s, 5 attempts.
func ReferencePolicy() RestartPolicy {
	return RestartPolicy{
		Mode: Permanent, Budget: 5, Window: time.Hour,
		InitialBackoff: 2 * time.Second, MaxBackoff: 120 * time.Second, EagerBackoff: true,
	}
}

// WithDefaults replaces zero values by their defaults, and negative ones by 0.
func (p RestartPolicy) WithDefaults() RestartPolicy {
	if p.Mode == "" {
		p.Mode = Permanent
	}
	switch {
	case p.Budget == 0:
		p.Budget = 5
	case p.Budget < 0:
		p.Budget = 0
	}
	if p.Window == 0 {
		p.Window = time.Minute
	}
	switch {
	case p.InitialBackoff == 0:
		p.InitialBackoff = 100 * time.Millisecond
	case p.InitialBackoff < 0:
		p.InitialBackoff = 0
	}
	if p.MaxBackoff == 0 {
		p.MaxBackoff = 30 * time.Second
	}
	p.MaxBackoff = max(p.MaxBackoff, p.InitialBackoff)
	return p
}

// Problems returns an error for each field that makes no sense, of a policy before
// WithDefaults.
func (p RestartPolicy) Problems() []error {
	var found []error
	switch p.Mode {
	case "", Permanent, Transient, Temporary:
	default:
		found = append(found, fmt.Errorf("config: Restart.Mode is %q: it is one of %s, %s, %s", p.Mode, Permanent, Transient, Temporary))
	}
	if p.Window < 0 {
		found = append(found, fmt.Errorf("config: Restart.Window is %v: it can't be negative", p.Window))
	}
	if p.MaxBackoff < 0 {
		found = append(found, fmt.Errorf("config: Restart.MaxBackoff is %v: it can't be negative", p.MaxBackoff))
	}
	return found
}

// unlimited is the budget of the instances of a pool, which has one for all of them.
const unlimited = math.MaxInt

// restarts is the account of one capsule's restarts under a policy with its
// defaults filled in. It knows the time only through its arguments.
type restarts struct {
	policy RestartPolicy
	// spent holds the restarts in the window, each as the capsule's total time
	// up at that moment, oldest first; never more than the budget.
	spent []time.Duration
	// attempt counts the restarts since the capsule was last stable.
	attempt int
	// up is the total time that the capsule was up.
	up time.Duration
}

// verdict is the decision on one death.
type verdict struct {
	restart bool
	attempt int           // 1 for the first restart since the capsule was stable
	delay   time.Duration // before the restart
}

// died accounts for a death after that uptime, and decides.
// Clean says that the capsule ended by itself without an error. jitter is in
// [0, 1) and moves a delay within its upper fifth.
func (r *restarts) died(uptime time.Duration, clean bool, jitter float64) verdict {
	r.ran(uptime)
	if r.policy.Mode == Temporary || (r.policy.Mode == Transient && clean) {
		return verdict{}
	}
	if r.policy.Budget != unlimited {
		if len(r.spent) >= r.policy.Budget {
			return verdict{}
		}
		r.spent = append(r.spent, r.up)
	}
	r.attempt++
	return verdict{restart: true, attempt: r.attempt, delay: r.delay(jitter)}
}

// ran accounts for an uptime, whatever ended it.
func (r *restarts) ran(uptime time.Duration) {
	r.up += uptime
	for len(r.spent) > 0 && r.up-r.spent[0] >= r.policy.Window {
		r.spent = r.spent[1:]
	}
	if uptime >= r.policy.Window {
		r.attempt = 0
	}
}

// delay is the backoff before the present attempt. Jitter only shortens, by at
// most a fifth, so that delays never shrink from one attempt to the next while
// they double.
func (r *restarts) delay(jitter float64) time.Duration {
	step := r.attempt - 2
	if r.policy.EagerBackoff {
		step++
	}
	if step < 0 || r.policy.InitialBackoff == 0 {
		return 0
	}
	d := r.policy.MaxBackoff
	if step < 62 {
		if doubled := r.policy.InitialBackoff << step; doubled>>step == r.policy.InitialBackoff {
			d = min(d, doubled)
		}
	}
	return d - time.Duration(float64(d)*jitter/5)
}

// reset forgets every death: an operator has taken charge.
func (r *restarts) reset() { r.spent, r.attempt = nil, 0 }

// jitter returns a number in [0, 1) for one backoff of a capsule. It depends on nothing but
// the capsule and the time, so that a simulation, which has its own time, can be repeated.
func jitter(id string, now time.Time) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return rand.New(rand.NewPCG(h.Sum64(), uint64(now.UnixNano()))).Float64() //nolint:gosec // spreads restarts, guards no secret
}
