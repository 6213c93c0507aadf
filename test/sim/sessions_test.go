package sim

import (
	"context"
	"math/rand/v2"
	"time"
)

// session is one session UUID.
type session struct {
	of         *account
	generation uint64
	over       bool
	endingAt   time.Time // when it ended, or its capsule was told to; zero before
}

// denial is a session that was denied to a capsule.
type denial struct {
	by *guest
	id string
	at time.Time
}

// denied records that a session was denied that had not ended. The registry may learn of
// its end a moment before the event: the event must come in the same moment.
func (a *audit) denied(by *guest, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.denials = append(a.denials, denial{by, id, time.Now()})
}

// checkDenials runs between two steps: nothing else runs.
func (a *audit) checkDenials() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	for _, d := range a.denials {
		if s := a.sessions[d.id]; s.endingAt.IsZero() || s.endingAt.After(d.at) {
			a.w.fail("%s is denied the session of %s, which grants it", d.by.id, s.of.id)
		}
	}
	a.denials = nil
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
		s.ending(a.at)
	}
	c.session = ""
}

func (s *session) ending(at time.Time) {
	if s.endingAt.IsZero() {
		s.endingAt = at
	}
}

// anySession returns one of all sessions that have ever existed, and its capsule.
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

// holds reports whether a session has not ended.
func (a *audit) holds(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUpLocked()
	return !a.sessions[id].over
}

// checkSessions asks the registry for the last sessions, when nothing changes, and
// checks that it agrees with the events.
func (a *audit) checkSessions(ctx context.Context, g *guest) {
	a.mu.Lock()
	a.catchUpLocked()
	want := map[string]bool{}
	for _, id := range a.all[max(0, len(a.all)-12):] {
		want[id] = !a.sessions[id].over && a.sessions[id].of.grants
	}
	a.mu.Unlock()
	for id, allowed := range want {
		if got := g.world.Services().Peers.CheckCapability(ctx, id, "allow_prompt_injection"); got != allowed {
			a.w.fail("all is calm: the registry says %v of a session of %v, the events %v", got, a.sessions[id].of, allowed)
		}
	}
}
