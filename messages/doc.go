// Package messages is the vocabulary that the actors, the supervisor and its
// observers share: plain Go structs, with no methods beyond their text forms.
//
// A message is immutable once it has been sent. No pointer, slice or map in one
// points into an actor's state. What leaves the process is converted to
// protobuf, in package messages/actorspb, and nowhere else.
package messages
