package sim

import (
	"context"
	"math/rand/v2"

	"github.com/astrid-actors/astrid-actors/messages"
)

// session is what one session UUID stands for.
type session struct {
	of         *account
	generation uint64
	over       bool
}

// open and close begin and end the session of a capsule.
func (a *audit) open(c *account, id string) {
	if id == "" || a.sessions[id] != nil {
		a.w.fail("%v has the session %q, which is not new", c, id)
	}
	c.session = id
	a.sessions[id] = &session{of: c, generation: c.generation}
	a.all = append(a.all, id)
}

func (a *audit) close(c *account) {
	if s := a.sessions[c.session]; s != nil {
		s.over = true
	}
	c.session = ""
}

// anySession returns one of the sessions that there ever were, and whose it was.
func (a *audit) anySession(r *rand.Rand) (string, *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	if len(a.all) == 0 {
		return "", nil
	}
	id := a.all[max(0, len(a.all)-1-r.IntN(6))]
	return id, a.sessions[id].of
}

// holds says whether a session has not ended.
func (a *audit) holds(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	return !a.sessions[id].over
}

// lives says whether a session has not ended, and is not about to.
func (a *audit) lives(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	s := a.sessions[id]
	return !s.over && s.of.state != messages.CapsuleState_CAPSULE_STATE_STOPPING
}

// checkSessions has the registry asked for the last sessions, when nothing
// changes: it agrees with the events.
func (a *audit) checkSessions(ctx context.Context, g *guest) {
	a.mu.Lock()
	a.catchUpLocked()
	want := map[string]bool{}
	for _, id := range a.all[max(0, len(a.all)-12):] {
		want[id] = !a.sessions[id].over && a.sessions[id].of.grants
	}
	a.mu.Unlock()
	for id, allowed := range want {
		if got := g.world.Peers().CheckCapability(ctx, id, "allow_prompt_injection"); got != allowed {
			a.w.fail("all is calm: the registry says %v of a session of %v, the events %v", got, a.sessions[id].of, allowed)
		}
	}
}
