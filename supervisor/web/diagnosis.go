package web

import (
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// Trouble is what is wrong with one capsule. The terminal shows it too, in the
// same words.
type Trouble struct {
	// Rank orders troubles: lower is worse.
	Rank int
	// What is a word or two: "crash loop".
	What string
	// Bad says that the capsule does not serve, or soon won't.
	Bad bool
	// Cause, Decision and Next are sentences. Some of Cause is a guest's.
	Cause, Decision, Next string
	// Due is the moment that Next is about, zero where there is none.
	Due time.Time
}

// Diagnose says what is wrong with a capsule, as of a snapshot that was taken now;
// nil where nothing is. Its detail tells the limits that are its own; without it
// they are the system's.
func Diagnose(c *messages.Capsule, detail *messages.CapsuleDetail, s *messages.Settings, now time.Time) *Trouble {
	if calm(c, now) {
		return nil
	}
	of := &facts{queue: s.Queue, call: s.CallTimeout, stop: s.StopTimeout}
	if detail != nil {
		of = &facts{
			queue: detail.QueueLimit, call: detail.CallTimeout, stop: detail.StopTimeout,
		}
	}
	a := diagnose(c, of, s, now)
	if a == nil {
		return nil
	}
	t := &Trouble{Rank: a.rank, What: a.Trouble, Bad: a.Grade == "bad", Cause: a.Cause, Decision: a.Decision, Next: a.Next}
	if !a.Due.IsZero() && a.Due.Unix() != 0 {
		t.Due = a.Due
	}
	return t
}
