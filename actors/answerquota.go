package actors

import (
	"fmt"
	"sync/atomic"

	"github.com/astrid-actors/astrid-actors/messages"
)

// maxAnswersHeld is how many bytes of one capsule's answers all open triggers
// may hold together: as many as a guest may have memory. They stay in the host
// until the last leg of their trigger has answered, and so a capsule that answers
// much while others are slow could otherwise fill it.
const maxAnswersHeld = 64 << 20

// freeAnswer is the size below which an answer is not charged: it takes little
// more than the leg itself.
const freeAnswer = 4 << 10

// answerQuota is how many bytes of a capsule's answers open triggers hold.
type answerQuota struct{ held atomic.Int64 }

// charge counts an answer against the quota until it is returned, or replaces it
// by one that says that the quota is full.
func (q *answerQuota) charge(leg *messages.Leg) {
	n := chargedBytes(leg)
	if n == 0 {
		return
	}
	if all := q.held.Add(n); all > maxAnswersHeld {
		q.held.Add(-n)
		leg.Outcome, leg.Value = messages.OutcomeOverloaded, nil
		leg.Reason = fmt.Sprintf("open triggers would hold %d bytes of the capsule's answers with this one, over the limit of %d", all, maxAnswersHeld)
	}
}

// refund returns bytes to the quota; a nil quota has none.
func (q *answerQuota) refund(n int64) {
	if q != nil {
		q.held.Add(-n)
	}
}

// chargedBytes is how much of an answer is charged to the quota.
func chargedBytes(leg *messages.Leg) int64 {
	if len(leg.Value) < freeAnswer {
		return 0
	}
	return int64(len(leg.Value))
}
