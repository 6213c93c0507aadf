package supervisor_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// A trigger during the start has a leg for every capsule that subscribes to it.
func TestTriggersDuringTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.New(t, supervisor.Config{}, worker("slow"), worker("waits"))
		s.Inject("slow", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Delay(time.Second)})
		s.Launch()
		synctest.Wait()
		reply := s.Ask("ask.slow", "")
		diff(t, []string{"slow unavailable"}, supervisortest.Legs(reply))
		diff(t, "it has not been started yet", reply.Legs[0].Reason)
		s.AwaitReady("slow", 1)
		s.Expect("ask.slow", "", `slow continue "slow"`)

		// A capsule that dies in its first load and is restarted at once is known as
		// well.
		s = supervisortest.New(t, supervisor.Config{}, worker("dies"))
		s.Inject("dies", supervisortest.Fault{At: supervisortest.AtLoad})
		s.Inject("dies", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Delay(time.Second)})
		s.Launch()
		synctest.Wait()
		s.Expect("ask.dies", "", "dies unavailable")
	})
}

// A fault of the system's own actors refuses no call that waits for a capsule's next
// instance.
func TestCallsWaitBetweenInstances(t *testing.T) {
	for _, path := range []string{"registry", "hook-router", "capsules"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := supervisortest.Start(t, supervisor.Config{}, worker("slow"))
				s.Inject("slow", supervisortest.Fault{})
				s.Inject("slow", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Delay(time.Second)})
				s.Expect("ask.slow", "", "slow crashed")
				synctest.Wait()
				before := s.Begin("ask.slow", "")
				synctest.Wait()
				s.FailActor(path)
				synctest.Wait()
				after := s.Begin("ask.slow", "")
				for _, answer := range []func() *supervisor.Reply{before, after} {
					diff(t, []string{`slow continue "slow"`}, supervisortest.Legs(answer()))
				}
			})
		})
	}
}

// A manifest may set a longer stop timeout than the system's.
func TestShutdownWaitsForTheLongestTimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{StopTimeout: time.Second}, worker("slow", `stop_timeout = "20s"`), worker("hangs"))
		s.Inject("slow", supervisortest.Fault{Do: supervisortest.Delay(15 * time.Second)})
		s.Inject("hangs", supervisortest.Fault{Do: supervisortest.Hang})
		slow, hangs := s.Begin("ask.slow", ""), s.Begin("ask.hangs", "")
		synctest.Wait()
		began := time.Now()
		wantError(t, "close", s.Close(), nil)
		diff(t, 15*time.Second, time.Since(began))
		diff(t, []string{`slow continue "slow"`}, supervisortest.Legs(slow()))
		diff(t, []string{"hangs crashed"}, supervisortest.Legs(hangs()))
	})
}

// A healthy uptime resets the count of restarts, even if a caller's deadline ended it.
func TestUptimeThatADeadlineEndsIsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{TriggerTimeout: time.Second}, worker("a", "budget = 1", `window = "10s"`))
		wantError(t, "kill", s.Kill(t.Context(), "a"), nil)
		s.AwaitReady("a", 2)
		pass(10 * time.Second)
		s.Inject("a", supervisortest.Fault{Do: supervisortest.Hang})
		s.Expect("ask.a", "", "a timeout")
		s.AwaitReady("a", 3)
		wantError(t, "kill", s.Kill(t.Context(), "a"), nil)
		s.AwaitReady("a", 4)
	})
}
