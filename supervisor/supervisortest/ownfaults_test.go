package supervisortest_test

import (
	"testing"
	"testing/synctest"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// An actor of the system that fails is restarted, and no capsule dies of it.
func TestFailActor(t *testing.T) {
	for _, path := range []string{"registry", "hook-router", "capsules"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sys := supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("a", "ask", everything))
				sys.FailActor(path)
				sys.Await(path+" restarted", func(e supervisor.Event) bool { return e.Path == path && e.Name() == "actor_restarted" })
				sys.Expect("ask", "", "a continue true")
				sys.FailActorNext(path)
				synctest.Wait()
				diff(t, []string{"loading 1", "ready 1"}, sys.Timeline("a"))
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		sys := supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("a", "ask", everything))
		sys.FailActorNext("capsules/a")
		sys.Expect("ask", "", "a crashed")
		sys.AwaitReady("a", 2)
		sys.FailActor("capsules/a")
		sys.AwaitReady("a", 3)
		sys.Expect("ask", "", "a continue true")
		diff(t, []string{
			"loading 1", "ready 1", "crashed 1 in call: panic", "restart 1/5 after crash",
			"loading 2", "ready 2", "crashed 2 in call: panic", "restart 2/5 after crash", "loading 3", "ready 3",
		}, sys.Timeline("a"))
	})
}
