// Package actors holds the actors of a capsule system, one file for each kind:
//
//	capsule.go    runs one wasm instance, one call at a time (runloop.go: in the background;
//	              crash.go: how it ends; limit.go: how long a call may take)
//	registry.go   answers who a capsule is and what it may do
//	router.go     fans a trigger out to the capsules that want its topic
//
// Beside the actors stand two things that outlive their restarts, and that any
// goroutine may use: a capsule's Handle, by which others interrupt a busy guest,
// and Triggers, where the answers to each open trigger are gathered (collector.go).
// What decides for them is plain Go: topics.go, the index of what subscribes to a
// topic; waits.go, the graph of who waits for whom; news.go, which of the news of
// a capsule are still true.
//
// Two rules keep every question answered. An actor that stops, fails or is full
// has its mailbox answer in its place. And whoever sends a leg's call owes the
// trigger an answer for it, at the latest at the deadline.
//
// The messages between them are those of package messages. Who restarts whom,
// and when, is package supervisor's business; protoactor-go is set up in package
// actors/system.
//
// It is not meant to be used alone: package supervisor is the front door.
package actors
