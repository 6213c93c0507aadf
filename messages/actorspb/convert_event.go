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
		}}
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
	case messages.LogSuppressed:
		out.What = &Event_LogSuppressed{&LogSuppressed{Lines: d.Lines, Total: d.Total}}
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
		}
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
	case *Event_LogSuppressed:
		return messages.LogSuppressed{Lines: what.LogSuppressed.GetLines(), Total: what.LogSuppressed.GetTotal()}
	case *Event_EventsLost:
		return messages.EventsLost{Count: what.EventsLost.GetCount()}
	case *Event_EpochChanged:
		return messages.EpochChanged{Epoch: what.EpochChanged.GetEpoch()}
	default:
		return nil
	}
}
