package supervisor_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// A pool in a group starts as one child, and fails as one.
func TestPoolInGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{Supervisors: []supervisor.Group{
			{Name: "g", Strategy: supervisor.RestForOne, Children: []string{"db", "w", "web"}},
		}}, worker("db"), pooled("instances = 2", "budget = 1"), worker("web"))
		want := "db ready, w ready, w ready, web ready"
		if got := strings.Join(order(s, 0), ", "); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		if got := strings.Join(killIn(t, s, "w#2"), ", "); got != "w crashed, w ready" {
			t.Errorf("one instance: %s", got)
		}
		want = "w crashed, w failed, g failed, web stopped, w stopped, db stopped, db ready, w ready, w ready, web ready"
		if got := strings.Join(killIn(t, s, "w#1"), ", "); got != want {
			t.Errorf("over the budget: got %s\nwant %s", got, want)
		}
		want = "db crashed, web stopped, w stopped, w stopped, db ready, w ready, w ready, web ready"
		if got := strings.Join(killIn(t, s, "db"), ", "); got != want {
			t.Errorf("rest_for_one: got %s\nwant %s", got, want)
		}
		if got := askAll(s, 4); got["continue"] != 4 {
			t.Error(got)
		}
		if path := s.Capsule("w").Instances[1].Path; path != "capsules/g/w#2" {
			t.Error(path)
		}
		if err := s.Stop(t.Context(), "g"); err != nil {
			t.Error(err)
		}
		wantDown(t, s, "an operator stopped its supervisor")
		if err := s.Start(t.Context(), "g"); err != nil {
			t.Error(err)
		}
		if got := askAll(s, 4); got["continue"] != 4 {
			t.Error(got)
		}
	})
}

// The instances of a pool in a group start beside each other, and what comes after them
// waits for all.
func TestPoolInGroupStartsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{Supervisors: []supervisor.Group{
			{Name: "g", Children: []string{"w", "web"}},
		}}, pooled("instances = 3"), worker("web"))
		s.Inject("w", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Delay(time.Second), Times: -1})
		began := time.Now()
		if err := s.Restart(t.Context(), "g"); err != nil {
			t.Error(err)
		}
		diff(t, time.Second, time.Since(began))
	})
}

// A pool may be significant to its group: while it lives the group does not shut down.
func TestSignificantPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startPool(t, supervisor.Config{Supervisors: []supervisor.Group{{
			Name: "g", Children: []string{"w", "a", "b"},
			Significant: []string{"w", "a"}, AutoShutdown: supervisor.ShutdownAll,
		}}}, pooled("instances = 2", `restart = "transient"`), worker("a", `restart = "temporary"`), worker("b"))
		killIn(t, s, "a")
		wantState(t, s, "a", "failed")
		wantState(t, s, "b", "ready")
		if err := s.Stop(t.Context(), "w"); err != nil {
			t.Error(err)
		}
		wantState(t, s, "b", "ready")
	})
}
