// Package runloop turns a capsule into a run-loop capsule, which runs in the
// background from its start to its end. The handlers of such a capsule are never
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
// It is a separate package because importing it adds the export `run` to the module.
// The host recognises a run-loop capsule by this export.
package runloop

var loop func() error

// Handle registers the run loop; call it from an init function. The loop must call
// guest.SignalReady once it is ready. When the capsule is stopped, the loop is
// interrupted without notice. Returning nil is a normal exit, returning an error a
// failure; `restart` in the manifest decides whether the capsule is then restarted.
// Handle panics if a loop is already registered.
func Handle(f func() error) {
	if loop != nil {
		panic("runloop: two loops in one capsule")
	}
	loop = f
}

// Invoke runs the loop as the host does. Use it in tests.
func Invoke() error { return loop() }
