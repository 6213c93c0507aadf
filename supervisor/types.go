package supervisor

import (
	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/messages"
)

// What a Supervisor shows is plain data, and belongs to whoever asked: nothing in
// it is shared with the system or with other readers.
type (
	// Reply is the one answer to a trigger.
	Reply = messages.Reply
	// Leg is one interceptor's part in it.
	Leg = messages.Leg
	// Outcome is the result of a leg: its String is "continue", "crashed" ...
	Outcome = messages.Outcome
	// Caller is the party on whose behalf a trigger is made.
	Caller = messages.Caller

	// Tree is a snapshot of the whole system.
	Tree = messages.Tree
	// CapsuleStatus is one capsule in a snapshot.
	CapsuleStatus = messages.Capsule
	// CapsuleState is its state: its String is "ready", "crashed" ...
	CapsuleState = messages.CapsuleState
	// CapsuleDetail is one capsule seen closely.
	CapsuleDetail = messages.CapsuleDetail
	// Failure is why an instance died.
	Failure = messages.Failure
	// LogLine is a line of a capsule's log.
	LogLine = messages.LogLine

	// Event is something that happened. The types of its Detail are in package
	// messages.
	Event = messages.Event
)

// RestartMode says after which ends a capsule is restarted, in OTP's words.
type RestartMode = actors.RestartMode

// The restart modes.
const (
	Permanent = actors.Permanent
	Transient = actors.Transient
	Temporary = actors.Temporary
)

// RestartPolicy says whether and when a dead capsule comes back.
type RestartPolicy = actors.RestartPolicy

// ReferencePolicy has the numbers of astrid-capsule 0.5.0: the first retry after
// 2 s, doubling up to 120 s, 5 attempts.
func ReferencePolicy() RestartPolicy { return actors.ReferencePolicy() }
