package messages

import "time"

// Approval is something that a capsule may do only if a person approves it: a request that
// waits, or a decision that is remembered.
type Approval struct {
	ID        string
	Capsule   string
	Principal string // for whom the capsule runs
	// Action is a short description, such as "git push"; Resource is what it is done to.
	Action, Resource string
	// Risk is the capsule's own word: "low", "medium", "high" or "critical"; "" in a
	// decision.
	Risk string
	// Asked is when the request came, or the decision was made.
	Asked time.Time
	// Expires is when the request is denied: a minute after Asked, or at the deadline of the
	// capsule's call if that is earlier. Zero for a decision.
	Expires time.Time
	// Decision is "" for a request that waits; else "approve_session", remembered until the
	// system ends, or "approve_always".
	Decision string
}
