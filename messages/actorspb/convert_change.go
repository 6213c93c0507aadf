package actorspb

import "github.com/astrid-actors/astrid-actors/messages"

// FromChanges converts the changes of a reload.
func FromChanges(changes []messages.Change) *ReloadReply {
	out := &ReloadReply{}
	for _, c := range changes {
		out.Changes = append(out.Changes, &Change{
			Id: c.ID, Change: string(c.Change), Version: c.Version, Previous: c.Previous, Reason: c.Reason,
		})
	}
	return out
}

// ToChanges converts the changes of a reload.
func ToChanges(r *ReloadReply) []messages.Change {
	out := []messages.Change{}
	for _, c := range r.GetChanges() {
		out = append(out, messages.Change{
			ID: c.GetId(), Change: messages.ChangeKind(c.GetChange()), Version: c.GetVersion(),
			Previous: c.GetPrevious(), Reason: c.GetReason(),
		})
	}
	return out
}
