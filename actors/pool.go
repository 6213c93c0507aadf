package actors

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
	"github.com/astrid-actors/astrid-actors/messages"
)

// PoolSize says how many instances a pool has.
type PoolSize struct {
	// Min is how many it starts with, and keeps; Max how many it may grow to while calls
	// wait. A Min of 0 means that the first call starts one.
	Min, Max int
	// Idle is how long an instance beyond Min has nothing to do before it is stopped.
	Idle time.Duration
}

// Pool is a capsule of which several instances run, each with an actor, a generation and
// a session of its own. It chooses the instance for each call, and is what outlives all
// of them, as a CapsuleRef outlives those of one. Its methods may be called from any
// goroutine.
//
// To the supervisor a pool is a group of its own, one for one, with one budget: OTP's
// simple_one_for_one (poolgroup.go).
type Pool struct {
	cfg   CapsuleConfig
	loads atomic.Uint64 // generations, of all instances
	grow  func()        // asks the supervisor for another instance

	first *CapsuleRef   // instance 1, which also stands for the pool
	refs  []*CapsuleRef // of all instances that there ever were, by number; the supervisor's

	mu      sync.Mutex
	version *Version // of instances to come
	size    PoolSize
	seats   []*seat       // those that take calls, by number
	scratch []*seat       // of candidatesLocked
	waiting []*invocation // for the first instance
	growing bool          // the supervisor was asked for one more
	mixed   bool          // instances of two versions run
	down    string        // why it takes no calls; "" if it does
}

// seat is the place of an instance that takes calls, or will when it is restarted.
type seat struct {
	ref  *CapsuleRef
	held string // why it takes none: its backoff; "" if it does
	load int    // calls that it has and that have not ended
	idle monotime.Time
}

// NewPool prepares a pool, of which nothing runs before its supervisor starts it. The
// Stats of the configuration are not used: see instanceStats.
func NewPool(cfg CapsuleConfig, size PoolSize) *Pool {
	p := &Pool{cfg: cfg, size: size, version: cfg.Version}
	p.loads.Store(cfg.Generation)
	cfg.Version.hold()
	p.first = p.instance(1)
	return p
}

func instanceName(capsule string, number int) string { return capsule + "#" + strconv.Itoa(number) }

// ID returns the capsule's id.
func (p *Pool) ID() string { return p.cfg.ID }

// Size returns how many instances it may have.
func (p *Pool) Size() PoolSize {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

// Version returns the version of instances to come.
func (p *Pool) Version() *Version {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.version
}

// setVersion makes a version that of instances to come.
func (p *Pool) setVersion(v *Version) {
	v.hold()
	p.mu.Lock()
	old := p.version
	p.version = v
	p.mu.Unlock()
	old.drop()
}

// Queue returns how many calls wait.
func (p *Pool) Queue() int {
	p.mu.Lock()
	n, seats := len(p.waiting), slices.Clone(p.seats)
	p.mu.Unlock()
	for _, s := range seats {
		n += s.ref.Queue()
	}
	return n
}

// QueueOf returns how many calls wait at one instance.
func (p *Pool) QueueOf(number int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.seats {
		if s.ref.number == number {
			return s.ref.Queue()
		}
	}
	return 0
}

// instance returns the part of an instance that outlives its generations. It is the
// supervisor's.
func (p *Pool) instance(number int) *CapsuleRef {
	version := p.Version() // no callback of it, or of the configuration, runs under the lock
	for len(p.refs) < number {
		cfg := p.cfg
		cfg.Version, cfg.Stats = version, nil
		if cfg.InstanceStats != nil {
			cfg.Stats = cfg.InstanceStats(len(p.refs) + 1)
		}
		ref := NewCapsuleRef(cfg)
		ref.pool, ref.number, ref.loads = p, len(p.refs)+1, &p.loads
		p.refs = append(p.refs, ref)
	}
	return p.refs[number-1]
}

// release gives up the versions that the pool holds. It is the supervisor's.
func (p *Pool) release() {
	for _, ref := range p.refs {
		ref.Version().drop()
	}
	p.refs = nil
	p.Version().drop()
}

// join gives an instance a seat: it has been started, or is about to be restarted. Calls
// that wait for an instance get it.
func (p *Pool) join(ref *CapsuleRef) {
	p.mu.Lock()
	at, found := p.findLocked(ref)
	if found {
		p.seats[at].held = ""
	} else {
		p.seats = slices.Insert(p.seats, at, &seat{ref: ref, idle: monotime.Now()})
	}
	waiting := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	for _, c := range waiting {
		p.place(c)
	}
}

// findLocked returns where the seat of an instance is, or belongs.
func (p *Pool) findLocked(ref *CapsuleRef) (int, bool) {
	return slices.BinarySearchFunc(p.seats, ref.number, func(s *seat, n int) int { return cmp.Compare(s.ref.number, n) })
}

// growLocked asks for another instance, if there may be one.
func (p *Pool) growLocked() {
	if p.growing || p.grow == nil || len(p.seats) >= p.size.Max {
		return
	}
	p.growing = true
	p.grow()
}

func (p *Pool) isGrowing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.growing
}

// grown records that an instance is up, or will not be: the pool may grow further.
func (p *Pool) grown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.growing = false
}

// hold keeps calls from an instance that is not restarted soon.
func (p *Pool) hold(ref *CapsuleRef, why string) {
	p.mu.Lock()
	if at, found := p.findLocked(ref); found {
		p.seats[at].held = why
	}
	p.growing = false
	p.mu.Unlock()
}

// leave takes the seat of an instance that is about to end. It gets no calls any more.
func (p *Pool) leave(ref *CapsuleRef) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, found := p.findLocked(ref); found {
		p.seats = slices.Delete(p.seats, at, at+1)
	}
	p.growing = false
}

// retire takes the seats of instances beyond the minimum that have been idle for long
// enough, highest number first, and returns these. Next is when the next one may be.
func (p *Pool) retire(now monotime.Time) (idle []*CapsuleRef, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next = p.size.Idle
	for at := len(p.seats) - 1; at >= 0 && len(p.seats) > p.size.Min; at-- {
		s := p.seats[at]
		if s.load > 0 || s.held != "" || s.ref.Announced() == nil {
			continue
		}
		if left := p.size.Idle - now.Sub(s.idle); left > 0 {
			next = min(next, left)
			continue
		}
		p.seats = slices.Delete(p.seats, at, at+1)
		idle = append(idle, s.ref)
	}
	return idle, next
}

// shut has the pool take no calls any more, and answers those that wait.
func (p *Pool) shut(reason string) {
	p.mu.Lock()
	waiting := p.waiting
	p.waiting, p.down, p.growing = nil, reason, false
	p.mu.Unlock()
	for _, c := range waiting {
		c.trigger.answer(c.leg, &messages.Leg{Outcome: messages.OutcomeUnavailable, Reason: reason}, nil)
	}
}

// open has it take calls again.
func (p *Pool) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = ""
}

// resize changes how many instances it may have.
func (p *Pool) resize(size PoolSize) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size = size
}

// mix says whether instances of two versions run: a call then goes to one that has its
// action.
func (p *Pool) mix(mixed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mixed = mixed
}
