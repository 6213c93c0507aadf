// Package supervisor runs a tree of WebAssembly capsules as Erlang runs its processes.
// Each capsule is an actor. It is restarted when it dies, it is invoked by triggers, and
// snapshots and events show its state to the outside. Programs that embed astrid-actors
// import this package.
//
//	sup, err := supervisor.New(supervisor.Config{CapsuleDirs: dirs, Log: log})
//	if err != nil {
//		return err // every problem at once
//	}
//	return sup.Serve(ctx) // blocks; nil after a clean stop
//
// While Serve runs, [Supervisor.Trigger] invokes the capsules, Start, Stop, Restart and
// Kill control one of them, and [Supervisor.Snapshot] and [Supervisor.Events] return the
// current state and the decisions of the supervisors. A Supervisor has no global state
// and logs nothing unless it is given a logger. Its Serve(ctx) error fits into a run
// group or another supervisor.
//
// Package capsulehost/manifest describes the layout of a capsule's directory, and
// package capsulehost the functions that a guest may call. Package supervisortest is for
// tests that make capsules misbehave; packages control, metrics, health and web show a
// Supervisor to others. This package opens no socket and installs no capsule.
package supervisor
