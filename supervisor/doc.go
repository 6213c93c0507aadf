// Package supervisor runs a tree of WebAssembly capsules, as Erlang runs its
// processes: each in an actor of its own, restarted when it dies, asked by
// triggers, and seen from outside through snapshots and events. It is the front
// door for programs that embed astrid-actors.
//
//	sup, err := supervisor.New(supervisor.Config{CapsuleDirs: dirs, Log: log})
//	if err != nil {
//		return err // every problem at once
//	}
//	return sup.Serve(ctx) // blocks; nil after a clean stop
//
// While Serve runs, [Supervisor.Trigger] asks the capsules, Start, Stop, Restart
// and Kill steer one of them, and [Supervisor.Snapshot] and [Supervisor.Events]
// show what there is and what was decided. A Supervisor has no global state, is
// silent unless it is given a logger, and with its Serve(ctx) error fits into a run
// group or another supervisor.
//
// How a capsule's directory looks is package capsulehost/manifest's business, what
// a guest may do capsulehost's. Package supervisortest is for tests that have
// capsules misbehave; packages control, metrics, health and web show a Supervisor
// to others. It opens no socket and installs no capsule.
package supervisor
