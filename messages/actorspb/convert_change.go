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

// FromSettings converts what a reload did about the configuration.
func FromSettings(settings []messages.SettingChange) []*SettingChange {
	var out []*SettingChange
	for _, s := range settings {
		out = append(out, &SettingChange{Key: s.Key, Applied: s.Applied, Previous: s.Previous, Value: s.Value})
	}
	return out
}

// ToSettings converts what a reload did about the configuration.
func ToSettings(r *ReloadReply) []messages.SettingChange {
	out := []messages.SettingChange{}
	for _, s := range r.GetSettings() {
		out = append(out, messages.SettingChange{Key: s.GetKey(), Applied: s.GetApplied(), Previous: s.GetPrevious(), Value: s.GetValue()})
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
