package actors

import "github.com/astrid-actors/astrid-actors/messages"

// ErrHalted is why a call is interrupted that its capsule's group has waited for in
// vain. To the capsule it is a restart: its calls wait for the next instance.
var ErrHalted error = haltedError{}

type haltedError struct{}

func (haltedError) Error() string { return "restarted with its supervisor before it had answered" }

// Is makes it an ErrRestarting.
func (haltedError) Is(target error) bool { return target == ErrRestarting }

// halt tells a capsule to give up its instance and to wait, suspended, until its
// supervisor restarts it. It overtakes the calls that wait.
type halt struct{ turn uint64 }

// Urgent makes it overtake.
func (*halt) Urgent() {}

// Halt begins a halt, and returns its number. It is the supervisor's.
func (r *CapsuleRef) Halt() uint64 {
	r.halts++
	r.halting.Store(r.halts)
	return r.halts
}

// Go ends a halt, also one that has not reached the capsule yet.
func (r *CapsuleRef) Go() { r.halting.Store(0) }

// halt ends the instance. It does not return: its actor is suspended by failing.
func (c *capsule) halt(m *halt) {
	if c.halting.Load() != m.turn {
		return // it died before, and its supervisor has restarted it since
	}
	c.giveUpInstance()
}

// giveUpInstance ends the instance, if there is one, and the actor's activation.
func (c *capsule) giveUpInstance() {
	crash := &Crash{Generation: c.Generation(), halted: true, Uptime: c.Uptime()}
	c.discard(messages.StateLoading)
	panic(crash)
}
