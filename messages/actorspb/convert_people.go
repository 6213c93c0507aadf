package actorspb

import "github.com/astrid-actors/astrid-actors/messages"

// FromApprovals converts requests that wait, and decisions that are remembered.
func FromApprovals(all []messages.Approval) *ApprovalList {
	return &ApprovalList{Approvals: each(all, func(a messages.Approval) *Approval {
		return &Approval{
			Id: a.ID, Capsule: a.Capsule, Principal: a.Principal, Action: a.Action, Resource: a.Resource, Risk: a.Risk,
			Asked: fromTime(a.Asked), Expires: fromTime(a.Expires), Decision: a.Decision,
		}
	})}
}

// ToApprovals is the inverse.
func ToApprovals(l *ApprovalList) []messages.Approval {
	return each(l.GetApprovals(), func(a *Approval) messages.Approval {
		return messages.Approval{
			ID: a.GetId(), Capsule: a.GetCapsule(), Principal: a.GetPrincipal(), Action: a.GetAction(), Resource: a.GetResource(),
			Risk: a.GetRisk(), Asked: toTime(a.GetAsked()), Expires: toTime(a.GetExpires()), Decision: a.GetDecision(),
		}
	})
}
