package supervisor_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// A capsule that its strategy halts, and that an operator's stop of the group meets in that,
// stops once.
func TestStopMeetsHalt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := supervisor.Config{
			CapsuleDirs: []string{t.TempDir()}, StopTimeout: 2 * time.Second, TriggerTimeout: time.Minute,
			Supervisors: []supervisor.Group{{Name: "g", Strategy: supervisor.OneForAll, Children: []string{"a", "b"}}},
		}
		s := supervisortest.Start(t, cfg, worker("a"), worker("b"))
		s.Inject("b", supervisortest.Fault{Do: supervisortest.Hang})
		s.Begin("ask.b", "")
		synctest.Wait()
		killIn(t, s, "a")
		if err := s.Stop(t.Context(), "g"); err != nil {
			t.Error(err)
		}
		var got []string
		for _, line := range s.Timeline("b") {
			if strings.HasPrefix(line, "stop") {
				got = append(got, line)
			}
		}
		want := []string{"stopping: a crashed, and g is one_for_all", "stopped: an operator stopped its supervisor"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// A group that is made anew shows a full budget.
func TestRenewedBudgetIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: []string{t.TempDir()},
			Supervisors: []supervisor.Group{
				{Name: "outer", Strategy: supervisor.OneForAll, Children: []string{"a", "inner"}}, {Name: "inner", Children: []string{"b"}},
			},
		}, worker("a"), worker("b"))
		spent := func(name string) uint32 {
			all := s.Snapshot().Supervisors
			return all[slices.IndexFunc(all, func(g *messages.Supervisor) bool { return g.Name == name })].BudgetSpent
		}
		killIn(t, s, "b")
		if got := spent("inner"); got != 1 {
			t.Errorf("after a death in it: %d", got)
		}
		killIn(t, s, "a")
		if inner, outer := spent("inner"), spent("outer"); inner != 0 || outer != 1 {
			t.Errorf("after the group around it has restarted all: %d of inner, %d of outer", inner, outer)
		}
	})
}
