// Package actors holds every actor of the system, one file for each kind:
//
//	root.go        the one top-level actor: heals the three below
//	registry.go    answers which capsule holds a session, and what it may do
//	router.go      keeps the routing table; makes triggers
//	dispatch.go    says on which goroutine each call of a trigger runs
//	supervisor.go  starts, restarts and stops capsules (commands.go, reconcile.go)
//	capsule.go     one guest: loads it, calls it, lets it crash (crash.go, runloop.go)
//
// Three things are shared between actors and goroutines, each behind a lock of its
// own: a [CapsuleRef], the part of a capsule that outlives its instances; the
// [Router] with its routing table and the graph of waits; and an open trigger
// (trigger.go), which collects the outcomes of its legs.
//
// Decisions are plain Go without an actor: restart.go (budget and backoff),
// topics.go (which interceptors match), waits.go (who waits for whom),
// answerquota.go, triggerstats.go, callstats.go.
//
// Every call is answered once, whatever becomes of its capsule: the capsule answers
// before it dies of a call, and its mailbox answers the calls that it will never
// run. A trigger answers for legs that have not, at its deadline.
package actors
