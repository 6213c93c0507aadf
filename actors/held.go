package actors

import (
	"fmt"
	"sync/atomic"

	"github.com/astrid-actors/astrid-actors/messages"
)

// maxHeld is how many bytes of one capsule's answers all open triggers may hold
// together: as much as a guest may have memory. They lie in the host until the
// last leg of their trigger is in, and a capsule that answers much, or often, while
// others are slow would otherwise be a way to fill it.
const maxHeld = 64 << 20

// heldFrom is how long an answer is at least that counts: shorter ones take little
// more than what is made for each leg anyhow.
const heldFrom = 4 << 10

// held is how many bytes of a capsule's answers open triggers hold.
type held struct{ bytes atomic.Int64 }

// take has an answer counted until it is given back, or makes it one that says why
// it is not.
func (h *held) take(a *messages.InterceptorAnswered) {
	n := counted(a)
	if n == 0 {
		return
	}
	if all := h.bytes.Add(n); all > maxHeld {
		h.bytes.Add(-n)
		a.Outcome, a.Value = messages.Outcome_OUTCOME_OVERLOADED, nil
		a.Reason = fmt.Sprintf("the capsule's answers that open triggers hold take %d bytes with this one, over the limit of %d", all, maxHeld)
	}
}

// give gives back what an answer took.
func (h *held) give(n int64) {
	if h != nil {
		h.bytes.Add(-n)
	}
}

// counted is what of an answer counts, in bytes.
func counted(a *messages.InterceptorAnswered) int64 {
	if len(a.GetValue()) < heldFrom {
		return 0
	}
	return int64(len(a.GetValue()))
}
