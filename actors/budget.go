package actors

import (
	"errors"
	"fmt"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// metered is a guest whose reductions are counted, as those of a
// capsulehost.Instance are. One goroutine at a time calls it.
type metered interface {
	SetBudget(b capsulehost.Budget)
	Reductions() uint64
	BudgetLeft() (left uint64, bounded bool)
	Charge(n uint64)
}

// ability returns the guest, or the first that it wraps (Unwrap() Guest), that
// implements T; nil if none does.
func ability[T any](guest Guest) (found T) {
	for guest != nil {
		if able, ok := guest.(T); ok {
			return able
		}
		wrapper, ok := guest.(interface{ Unwrap() Guest })
		if !ok {
			break
		}
		guest = wrapper.Unwrap()
	}
	return found
}

// triggerBudgetSpent is why a call ended that spent its trigger's budget, not its
// capsule's.
type triggerBudgetSpent uint64

func (e triggerBudgetSpent) Error() string {
	return fmt.Sprintf("the trigger's budget of %d reductions is spent", uint64(e))
}

// grant sets the budget of the call that follows: the smaller of its trigger's and
// its capsule's.
func (a *hostAPI) grant(trigger uint64) {
	if a.metered == nil {
		return
	}
	a.metered.SetBudget(capsulehost.Budget{Reductions: least(trigger, a.budget.Reductions), Rate: a.budget.Rate})
	a.before = a.metered.Reductions()
}

// spent returns the reductions since grant, with those of legs that the call has paid for.
func (a *hostAPI) spent() uint64 {
	if a.metered == nil {
		return 0
	}
	return a.metered.Reductions() - a.before
}

// explain adds to a guest's failure that its trigger's budget ended it, if that is
// so.
func (a *hostAPI) explain(err error, trigger uint64) error {
	own := a.budget.Reductions
	failure, ok := errors.AsType[*capsulehost.Failure](err)
	if !ok || failure.Kind != capsulehost.KindBudget || trigger == 0 || (own != 0 && own <= trigger) {
		return err
	}
	return errors.Join(failure, triggerBudgetSpent(trigger))
}

// inherited returns the budget of each leg of a trigger that the guest makes now: no
// more than is left to the guest itself, so that no chain of triggers outspends the
// first.
func (a *hostAPI) inherited() uint64 {
	own := a.instance.ref.cfg.TriggerReductions
	if a.metered == nil {
		return own
	}
	left, bounded := a.metered.BudgetLeft()
	if !bounded {
		return own
	}
	return least(own, max(left, 1))
}

// pay charges the guest for the reductions of its trigger's legs, if it has a budget.
// Without one nothing is inherited, and each capsule's count is its own.
func (a *hostAPI) pay(legs []messages.Leg) {
	if a.metered == nil {
		return
	}
	if _, bounded := a.metered.BudgetLeft(); !bounded {
		return
	}
	for n := range legs {
		a.metered.Charge(legs[n].Reductions)
	}
}

// least returns the smaller of two bounds; 0 is no bound.
func least(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
