package actors

import (
	"testing"
	"testing/synctest"

	"github.com/astrid-actors/astrid-actors/messages"
)

// A child that is added to the running supervisor serves; once removed, it is known to
// nobody: no trigger asks it, the registry has no session of it, and its id is free.
func TestAddAndRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervise(t, func(messages.Event) {}, map[string]action{"a": says("1")})
		expect(t, "before", s.legs(t, "b"))

		removed := false
		spec := s.child("b", says("2"))
		spec.Removed = func() { removed = true }
		if done := s.command(t, &AddCapsule{Spec: spec}); done.Result != messages.CommandSucceeded {
			t.Fatal(done)
		}
		expect(t, "added", s.legs(t, "b"), "b/1 on-b continue 2")
		if done := s.command(t, &AddCapsule{Spec: spec}); done.Result != messages.CommandRefused {
			t.Errorf("a second one with the same id: %v", done)
		}

		if done := s.command(t, &messages.RemoveCapsule{ID: "b"}); done.Result != messages.CommandSucceeded {
			t.Fatal(done)
		}
		expect(t, "removed", s.legs(t, "b"))
		if !removed {
			t.Error("Removed was not called")
		}
		found, err := s.sys.Ask(t.Context(), s.sys.PID(RegistryPath), &messages.FindCapsule{ID: "b"})
		if got, ok := found.(*messages.CapsuleFound); err != nil || !ok || got.Found {
			t.Errorf("the registry has it: %v, %v", found, err)
		}
		expect(t, "events", s.about("b"),
			"capsule_added 0", "capsule_loading 1", "capsule_ready 1", "capsule_stopping 1", "capsule_stopped 1", "capsule_removed 1")
		if done := s.command(t, &messages.RemoveCapsule{ID: "b"}); done.Result != messages.CommandNotFound {
			t.Errorf("removed twice: %v", done)
		}

		if done := s.command(t, &AddCapsule{Spec: s.child("b", says("3"))}); done.Result != messages.CommandSucceeded {
			t.Fatal(done)
		}
		expect(t, "added again", s.legs(t, "b"), "b/1 on-b continue 3")
		expect(t, "the other one", s.legs(t, "a"), "a/1 on-a continue 1")
		expect(t, "events of the other one", s.about("a"), "capsule_loading 1", "capsule_ready 1")
	})
}

// A capsule can be removed in every state. Calls that wait for it are answered, and
// those that import from it go on.
func TestRemoveInEveryState(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, s *supervised, spec *ChildSpec){
		"waiting for another": func(t *testing.T, s *supervised, spec *ChildSpec) {
			slow := s.child("slow", says("1"), loads(hangingLoad))
			s.send(&AddCapsule{Spec: slow})
			spec.WaitsFor = []string{"slow", "unknown", "x"}
			s.send(&AddCapsule{Spec: *spec})
		},
		"loading": func(_ *testing.T, s *supervised, spec *ChildSpec) {
			*spec = s.child("x", hangs, loads(hangingLoad))
			s.send(&AddCapsule{Spec: *spec})
		},
		"ready": func(_ *testing.T, s *supervised, spec *ChildSpec) { s.send(&AddCapsule{Spec: *spec}) },
		"busy": func(t *testing.T, s *supervised, spec *ChildSpec) {
			s.send(&AddCapsule{Spec: *spec})
			synctest.Wait()
			for range 2 {
				go s.forget("x")
			}
		},
		"stopped": func(t *testing.T, s *supervised, spec *ChildSpec) {
			s.send(&AddCapsule{Spec: *spec})
			s.command(t, &messages.StopCapsule{ID: "x"})
		},
		"stopping": func(t *testing.T, s *supervised, spec *ChildSpec) {
			s.send(&AddCapsule{Spec: *spec})
			synctest.Wait()
			go s.forget("x")
			synctest.Wait()
			s.send(&messages.StopCapsule{ID: "x"})
		},
		"failed": func(_ *testing.T, s *supervised, spec *ChildSpec) {
			*spec = s.child("x", hangs, loads(badModule))
			s.send(&AddCapsule{Spec: *spec})
		},
		"backing off": func(t *testing.T, s *supervised, spec *ChildSpec) {
			spec.Restart.EagerBackoff = true
			s.send(&AddCapsule{Spec: *spec})
			s.command(t, &messages.KillCapsule{ID: "x"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := supervise(t, func(messages.Event) {}, nil)
				spec := s.child("x", hangs)
				prepare(t, s, &spec)
				synctest.Wait()
				importer := s.child("importer", says("1"))
				importer.WaitsFor = []string{"x"}
				s.send(&AddCapsule{Spec: importer})
				synctest.Wait()

				if done := s.command(t, &messages.RemoveCapsule{ID: "x"}); done.Result != messages.CommandSucceeded {
					t.Fatal(done)
				}
				events := s.about("x")
				if last := events[len(events)-1]; last != "capsule_removed 1" && last != "capsule_removed 0" {
					t.Errorf("the last event is %s", last)
				}
				expect(t, "removed", s.legs(t, "x"))
				synctest.Wait()
				expect(t, "what imports from it", s.legs(t, "importer"), "importer/1 on-importer continue 1")
				if n := s.router.Open(); n != 0 {
					t.Errorf("%d triggers are open", n)
				}
			})
		})
	}
}

// Who has added a capsule that still waits for another is told when the system stops.
func TestTheEndAnswersWhoAdds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervise(t, func(messages.Event) {}, nil)
		s.send(&AddCapsule{Spec: s.child("slow", says("1"), loads(hangingLoad))})
		spec := s.child("a", says("1"))
		spec.WaitsFor = []string{"slow"}
		done := make(chan messages.CommandDone, 1)
		go func() { done <- s.command(t, &AddCapsule{Spec: spec}) }()
		synctest.Wait()
		if err := s.sys.AwaitStopped(t.Context(), s.sys.PID(SupervisorPath)); err != nil {
			t.Error(err)
		}
		if got := <-done; got.Result != messages.CommandFailed || got.Reason != reasonStopping {
			t.Errorf("%+v", got)
		}
	})
}
