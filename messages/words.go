// Package messages is the vocabulary that crosses an actor, a process or a
// language boundary: the protobuf package astrid.actors.v1, generated from the
// .proto files below astrid/ (make generate), and the words by which its
// enumerations are known outside.
//
// A message is immutable once sent, and nothing in one points into an actor's
// state.
package messages

import "strings"

// Word returns the state in lower case, as the command line and logs show it: "ready".
func (s CapsuleState) Word() string { return word(s.String(), "CAPSULE_STATE_") }

// Word returns the outcome in lower case, as the command line and logs show it: "continue".
func (o Outcome) Word() string { return word(o.String(), "OUTCOME_") }

func word(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }
