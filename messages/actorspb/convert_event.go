package actorspb

import "github.com/astrid-actors/astrid-actors/messages"

// FromEvent converts an event.
func FromEvent(e messages.Event) *Event {
	out := &Event{Sequence: e.Sequence, At: fromTime(e.At), Path: e.Path, Generation: e.Generation}
	switch d := e.Detail.(type) {
	case messages.SystemStarted:
		out.What = &Event_SystemStarted{&SystemStarted{Capsules: d.Capsules}}
	case messages.SystemStopping:
		out.What = &Event_SystemStopping{&SystemStopping{Cause: d.Cause}}
	case messages.SystemStopped:
		out.What = &Event_SystemStopped{&SystemStopped{LeftRunning: d.LeftRunning}}
	case messages.ActorRestarted:
		out.What = &Event_ActorRestarted{&ActorRestarted{Cause: d.Cause, Decision: d.Decision}}
	case messages.CapsuleRejected:
		out.What = &Event_CapsuleRejected{fromRejected(d)}
	case messages.CapsuleAdded:
		out.What = &Event_CapsuleAdded{&CapsuleAdded{Version: d.Version}}
	case messages.CapsuleRemoved:
		out.What = &Event_CapsuleRemoved{&CapsuleRemoved{Version: d.Version}}
	case messages.CapsuleUpgraded:
		out.What = &Event_CapsuleUpgraded{&CapsuleUpgraded{
			From: d.From, To: d.To, Session: d.Session, Took: fromDuration(d.Took), ModuleHash: d.ModuleHash,
		}}
	case messages.UpgradeFailed:
		out.What = &Event_UpgradeFailed{&UpgradeFailed{From: d.From, To: d.To, Failure: fromFailure(&d.Failure), ModuleHash: d.ModuleHash}}
	case messages.CapsuleRolledBack:
		out.What = &Event_CapsuleRolledBack{&CapsuleRolledBack{From: d.From, To: d.To, Failure: fromFailure(&d.Failure), ModuleHash: d.ModuleHash}}
	case messages.CapsuleLoading:
		out.What = &Event_CapsuleLoading{&CapsuleLoading{Version: d.Version}}
	case messages.CapsuleStarting:
		out.What = &Event_CapsuleStarting{&CapsuleStarting{Session: d.Session}}
	case messages.CapsuleReady:
		out.What = &Event_CapsuleReady{&CapsuleReady{Session: d.Session, Took: fromDuration(d.Took)}}
	case messages.ReadinessTimedOut:
		out.What = &Event_ReadinessTimedOut{&ReadinessTimedOut{Waited: fromDuration(d.Waited)}}
	case messages.CapsuleCrashed:
		out.What = &Event_CapsuleCrashed{&CapsuleCrashed{Failure: fromFailure(&d.Failure), During: d.During}}
	case messages.RestartScheduled:
		out.What = &Event_RestartScheduled{&RestartScheduled{
			Attempt: d.Attempt, BudgetSpent: d.BudgetSpent, Budget: d.Budget, Window: fromDuration(d.Window),
			Delay: fromDuration(d.Delay), Cause: d.Cause,
			Supervisor: d.Supervisor, Strategy: d.Strategy, CausePath: d.CausePath,
		}}
	case messages.PoolScaled:
		out.What = &Event_PoolScaled{&PoolScaled{Instance: d.Instance, Instances: d.Instances, Cause: d.Cause}}
	case messages.SupervisorStarted:
		out.What = &Event_SupervisorStarted{&SupervisorStarted{Children: d.Children}}
	case messages.SupervisorFailed:
		out.What = &Event_SupervisorFailed{&SupervisorFailed{
			Cause: d.Cause, CausePath: d.CausePath, Decision: d.Decision, Restarted: d.Restarted,
		}}
	case messages.SupervisorStopped:
		out.What = &Event_SupervisorStopped{&SupervisorStopped{Cause: d.Cause}}
	case messages.CapsuleFailed:
		out.What = &Event_CapsuleFailed{&CapsuleFailed{Failure: fromFailure(&d.Failure), Decision: d.Decision}}
	case messages.CapsuleStopping:
		out.What = &Event_CapsuleStopping{&CapsuleStopping{Cause: d.Cause}}
	case messages.CapsuleStopped:
		out.What = &Event_CapsuleStopped{&CapsuleStopped{Cause: d.Cause}}
	case messages.TriggerAnswered:
		out.What = &Event_TriggerAnswered{&TriggerAnswered{
			Topic: d.Topic, Duration: fromDuration(d.Duration), Legs: d.Legs, StandsFor: d.StandsFor, Problem: d.Problem,
		}}
	case messages.DeadLetter:
		out.What = &Event_DeadLetter{&DeadLetter{Topic: d.Topic, Publisher: d.Publisher, Reason: d.Reason, Count: d.Count}}
	case messages.LogSuppressed:
		out.What = &Event_LogSuppressed{&LogSuppressed{Lines: d.Lines, Total: d.Total}}
	case messages.ApprovalRequested:
		out.What = &Event_ApprovalRequested{&ApprovalRequested{
			Id: d.ID, Principal: d.Principal, Action: d.Action, Resource: d.Resource, Risk: d.Risk,
		}}
	case messages.ApprovalDecided:
		out.What = &Event_ApprovalDecided{&ApprovalDecided{
			Id: d.ID, Action: d.Action, Resource: d.Resource, Decision: d.Decision, Cause: d.Cause,
		}}
	case messages.EventsLost:
		out.What = &Event_EventsLost{&EventsLost{Count: d.Count}}
	case messages.EpochChanged:
		out.What = &Event_EpochChanged{&EpochChanged{Epoch: d.Epoch}}
	}
	return out
}

// ToEvent converts an event. One of a kind that this program does not know has
// no detail.
func ToEvent(e *Event) messages.Event {
	return messages.Event{
		Sequence: e.GetSequence(), At: toTime(e.GetAt()), Path: e.GetPath(), Generation: e.GetGeneration(), Detail: toDetail(e),
	}
}

func toDetail(e *Event) messages.Detail {
	switch what := e.GetWhat().(type) {
	case *Event_SystemStarted:
		return messages.SystemStarted{Capsules: what.SystemStarted.GetCapsules()}
	case *Event_SystemStopping:
		return messages.SystemStopping{Cause: what.SystemStopping.GetCause()}
	case *Event_SystemStopped:
		return messages.SystemStopped{LeftRunning: what.SystemStopped.GetLeftRunning()}
	case *Event_ActorRestarted:
		return messages.ActorRestarted{Cause: what.ActorRestarted.GetCause(), Decision: what.ActorRestarted.GetDecision()}
	case *Event_CapsuleRejected:
		return toRejected(what.CapsuleRejected)
	case *Event_CapsuleAdded:
		return messages.CapsuleAdded{Version: what.CapsuleAdded.GetVersion()}
	case *Event_CapsuleRemoved:
		return messages.CapsuleRemoved{Version: what.CapsuleRemoved.GetVersion()}
	case *Event_CapsuleUpgraded:
		u := what.CapsuleUpgraded
		return messages.CapsuleUpgraded{
			From: u.GetFrom(), To: u.GetTo(), Session: u.GetSession(), Took: u.GetTook().AsDuration(), ModuleHash: u.GetModuleHash(),
		}
	case *Event_UpgradeFailed:
		u := what.UpgradeFailed
		return messages.UpgradeFailed{From: u.GetFrom(), To: u.GetTo(), Failure: failureOrZero(u.GetFailure()), ModuleHash: u.GetModuleHash()}
	case *Event_CapsuleRolledBack:
		b := what.CapsuleRolledBack
		return messages.CapsuleRolledBack{From: b.GetFrom(), To: b.GetTo(), Failure: failureOrZero(b.GetFailure()), ModuleHash: b.GetModuleHash()}
	case *Event_CapsuleLoading:
		return messages.CapsuleLoading{Version: what.CapsuleLoading.GetVersion()}
	case *Event_CapsuleStarting:
		return messages.CapsuleStarting{Session: what.CapsuleStarting.GetSession()}
	case *Event_CapsuleReady:
		return messages.CapsuleReady{Session: what.CapsuleReady.GetSession(), Took: what.CapsuleReady.GetTook().AsDuration()}
	case *Event_ReadinessTimedOut:
		return messages.ReadinessTimedOut{Waited: what.ReadinessTimedOut.GetWaited().AsDuration()}
	case *Event_CapsuleCrashed:
		return messages.CapsuleCrashed{Failure: failureOrZero(what.CapsuleCrashed.GetFailure()), During: what.CapsuleCrashed.GetDuring()}
	case *Event_RestartScheduled:
		s := what.RestartScheduled
		return messages.RestartScheduled{
			Attempt: s.GetAttempt(), BudgetSpent: s.GetBudgetSpent(), Budget: s.GetBudget(), Window: s.GetWindow().AsDuration(),
			Delay: s.GetDelay().AsDuration(), Cause: s.GetCause(),
			Supervisor: s.GetSupervisor(), Strategy: s.GetStrategy(), CausePath: s.GetCausePath(),
		}
	case *Event_PoolScaled:
		d := what.PoolScaled
		return messages.PoolScaled{Instance: d.GetInstance(), Instances: d.GetInstances(), Cause: d.GetCause()}
	case *Event_SupervisorStarted:
		return messages.SupervisorStarted{Children: what.SupervisorStarted.GetChildren()}
	case *Event_SupervisorFailed:
		f := what.SupervisorFailed
		return messages.SupervisorFailed{
			Cause: f.GetCause(), CausePath: f.GetCausePath(), Decision: f.GetDecision(), Restarted: f.GetRestarted(),
		}
	case *Event_SupervisorStopped:
		return messages.SupervisorStopped{Cause: what.SupervisorStopped.GetCause()}
	case *Event_CapsuleFailed:
		return messages.CapsuleFailed{Failure: failureOrZero(what.CapsuleFailed.GetFailure()), Decision: what.CapsuleFailed.GetDecision()}
	case *Event_CapsuleStopping:
		return messages.CapsuleStopping{Cause: what.CapsuleStopping.GetCause()}
	case *Event_CapsuleStopped:
		return messages.CapsuleStopped{Cause: what.CapsuleStopped.GetCause()}
	case *Event_TriggerAnswered:
		a := what.TriggerAnswered
		return messages.TriggerAnswered{
			Topic: a.GetTopic(), Duration: a.GetDuration().AsDuration(), Legs: a.GetLegs(), StandsFor: a.GetStandsFor(), Problem: a.GetProblem(),
		}
	case *Event_DeadLetter:
		d := what.DeadLetter
		return messages.DeadLetter{Topic: d.GetTopic(), Publisher: d.GetPublisher(), Reason: d.GetReason(), Count: d.GetCount()}
	case *Event_LogSuppressed:
		return messages.LogSuppressed{Lines: what.LogSuppressed.GetLines(), Total: what.LogSuppressed.GetTotal()}
	case *Event_ApprovalRequested:
		d := what.ApprovalRequested
		return messages.ApprovalRequested{
			ID: d.GetId(), Principal: d.GetPrincipal(), Action: d.GetAction(), Resource: d.GetResource(), Risk: d.GetRisk(),
		}
	case *Event_ApprovalDecided:
		d := what.ApprovalDecided
		return messages.ApprovalDecided{
			ID: d.GetId(), Action: d.GetAction(), Resource: d.GetResource(), Decision: d.GetDecision(), Cause: d.GetCause(),
		}
	case *Event_EventsLost:
		return messages.EventsLost{Count: what.EventsLost.GetCount()}
	case *Event_EpochChanged:
		return messages.EpochChanged{Epoch: what.EpochChanged.GetEpoch()}
	default:
		return nil
	}
}
