package web

import (
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// Trouble describes what is wrong with one capsule. The terminal shows it, too, in
// the same words.
type Trouble struct {
	// Rank orders troubles: lower is worse.
	Rank int
	// What is a word or two: "crash loop".
	What string
	// Bad reports that the capsule does not serve, or soon will not.
	Bad bool
	// Cause, Decision and Next are sentences. Part of Cause comes from the guest.
	Cause, Decision, Next string
	// Due is the time that Next is about; zero if there is none.
	Due time.Time
}

// Diagnose describes the trouble of a capsule, as of a snapshot taken now; nil if
// it has none. The limits are those in detail, or the system's if that is nil.
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
