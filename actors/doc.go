// Package actors holds the actors of a capsule system, one file for each kind:
//
//	capsule.go    runs one wasm instance, one call at a time (runloop.go: in the background)
//	registry.go   answers who a capsule is and what it may do
//	router.go     fans a trigger out to the capsules that want its topic
//
// and the plain Go that decides for them: topics.go, the index of what
// subscribes to a topic; waits.go, the graph of who waits for whom; collector.go,
// the answers to one trigger. Beside the actor of a capsule stands its Handle,
// which outlives restarts and is how others interrupt a busy guest.
//
// The messages between them are those of package messages. Who restarts whom,
// and when, is package supervisor's business; protoactor-go is set up in package
// actors/system.
//
// It is not meant to be used alone: package supervisor is the front door.
package actors
