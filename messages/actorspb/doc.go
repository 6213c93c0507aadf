// Package actorspb is the protobuf form of what leaves the process: the control
// API, events and snapshots. Its messages are generated from the .proto files of
// the package astrid.actors.v1 (make generate); the functions beside them convert
// from and to the structs of package messages.
package actorspb
