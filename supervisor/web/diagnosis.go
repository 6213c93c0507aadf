package web

import (
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// Trouble describes the problem of one capsule. The terminal shows it in the same words.
type Trouble struct {
	// Rank orders troubles: lower is worse.
	Rank int
	// What is a short name: "crash loop".
	What string
	// Bad is true if the capsule does not serve, or soon will not.
	Bad bool
	// Cause, Decision and Next are sentences. Part of Cause comes from the guest.
	Cause, Decision, Next string
	// Due is the time of Next; zero if there is none.
	Due time.Time
}

// Diagnose describes the trouble of a capsule in a current snapshot; nil if it has none.
// The limits are those in detail, or the system's if detail is nil.
func Diagnose(c *messages.Capsule, detail *messages.CapsuleDetail, s messages.Settings, now time.Time) *Trouble {
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
	return &Trouble{
		Rank: a.rank, What: a.Trouble, Bad: a.Grade == "bad", Cause: a.Cause, Decision: a.Decision, Next: a.Next, Due: a.Due,
	}
}
