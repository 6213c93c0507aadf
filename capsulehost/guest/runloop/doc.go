// Package runloop makes a run-loop capsule of a capsule: one that runs in the
// background from its start to its end. Such a capsule's handlers are never
// called.
//
//	func init() {
//		runloop.Handle(func() error {
//			guest.SignalReady()
//			for range time.Tick(time.Second) {
//				guest.Infof("tick")
//			}
//			return nil
//		})
//	}
//
// It is a package of its own because importing it adds the export `run` to the
// module, by which the host tells a run-loop capsule from others.
package runloop

var loop func() error

// Handle registers the run loop; call it from an init function. The loop says
// guest.SignalReady when it is up, and is interrupted, without a word, when the
// capsule is stopped. To return nil is a clean end, to return an error a failure;
// what follows is up to `restart` in the manifest. Handle panics where there is a
// loop already.
func Handle(f func() error) {
	if loop != nil {
		panic("runloop: two loops in one capsule")
	}
	loop = f
}

// Invoke runs the loop as the host would. It is meant for tests.
func Invoke() error { return loop() }
