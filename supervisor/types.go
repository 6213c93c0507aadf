package supervisor

import (
	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost/files"
	"github.com/astrid-actors/astrid-actors/messages"
)

// The types that a Supervisor returns are plain data, owned by the caller: they share
// nothing with the system or with other readers.
type (
	// Reply is the one answer to a trigger.
	Reply = messages.Reply
	// Leg is one interceptor's part in a reply.
	Leg = messages.Leg
	// Outcome is the result of a leg: its String is "continue", "crashed" ...
	Outcome = messages.Outcome
	// Caller is the party on whose behalf a trigger is sent.
	Caller = messages.Caller

	// Tree is a snapshot of the whole system.
	Tree = messages.Tree
	// CapsuleStatus is one capsule in a snapshot.
	CapsuleStatus = messages.Capsule
	// CapsuleState is its state: its String is "ready", "crashed" ...
	CapsuleState = messages.CapsuleState
	// CapsuleDetail is one capsule with all details.
	CapsuleDetail = messages.CapsuleDetail
	// Failure is the reason of an instance's death.
	Failure = messages.Failure
	// LogLine is a line of a capsule's log.
	LogLine = messages.LogLine

	// Trace is one trigger or message, with all that followed from it.
	Trace = messages.Trace
	// TraceSpan is one trigger or message in a trace.
	TraceSpan = messages.TraceSpan
	// TraceCall is one call in a trace.
	TraceCall = messages.TraceCall

	// Change is what an installation or a reload did to one capsule.
	Change = messages.Change
	// SettingChange is a setting that a ReloadConfig found changed.
	SettingChange = messages.SettingChange

	// Event is something that happened. The types of its Detail are in package
	// messages.
	Event = messages.Event
)

// RestartMode decides after which ends a capsule is restarted, in OTP's words.
type RestartMode = actors.RestartMode

// The restart modes.
const (
	Permanent = actors.Permanent
	Transient = actors.Transient
	Temporary = actors.Temporary
)

// FileQuota limits what capsules store in files.
type FileQuota = files.Quota

// RestartPolicy decides whether and when a dead capsule is restarted.
type RestartPolicy = actors.RestartPolicy

// ReferencePolicy has the numbers of astrid-capsule 0.5.0: the first retry after
// 2 s, doubling up to 120 s, 5 attempts.
func ReferencePolicy() RestartPolicy { return actors.ReferencePolicy() }
