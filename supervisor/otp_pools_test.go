package supervisor_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// poolCases are those of simple_one_for_one: several instances of one capsule.
func poolCases() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"simple_one_for_one": func(t *testing.T) {
			s := startPool(t, supervisor.Config{}, pooled("instances = 3"))
			before := s.Capsule("w").Instances
			killIn(t, s, "w#2")
			for n, i := range s.Capsule("w").Instances {
				if i.State != messages.StateReady || (i.Session == before[n].Session) != (n != 1) {
					t.Errorf("instance %d: %s, session %s, before %s", i.Number, i.State.String(), i.Session, before[n].Session)
				}
			}
		},
		"simple_one_for_one_shutdown": func(t *testing.T) {
			s := startPool(t, supervisor.Config{}, pooled("instances = 3"))
			since := s.Snapshot().Sequence
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(order(s, since), ", "); got != "w stopped, w stopped, w stopped" {
				t.Error(got)
			}
		},
		"simple_one_for_one_escalation": func(t *testing.T) {
			s := startPool(t, supervisor.Config{}, pooled("instances = 3", "budget = 1"), worker("x"))
			killIn(t, s, "w#1")
			if got := strings.Join(killIn(t, s, "w#3"), ", "); got != "w crashed, w failed, w failed, w stopped, w stopped" &&
				got != "w crashed, w failed, w stopped, w stopped, w failed" {
				t.Error(got)
			}
			wantState(t, s, "w", "failed")
			untouched(t, s, "x")
		},
		"simple_one_for_one_scale_many_temporary_children": func(t *testing.T) {
			const many = 100
			s := startPool(t, supervisor.Config{}, pooled(fmt.Sprintf("instances = %d", many), temporary))
			for n := range many - 1 {
				killIn(t, s, fmt.Sprintf("w#%d", n+1))
			}
			if got := askAll(s, 3); got["continue"] != 3 {
				t.Error(got)
			}
			killIn(t, s, fmt.Sprintf("w#%d", many))
			if leg := s.Ask("ask.w", "").Legs[0]; leg.Outcome != messages.OutcomeUnavailable {
				t.Error(leg.Outcome.String())
			}
		},
		// The specification of all instances changes while they run: their number, and the budget
		// of all together.
		"code_change_simple": func(t *testing.T) {
			s := startPool(t, supervisor.Config{}, pooled("instances = 3", "budget = 50"))
			killIn(t, s, "w#1")
			next := pooled("instances = 2", "budget = 1")
			next.Manifest = strings.Replace(next.Manifest, "1.0.0", "2.0.0", 1)
			if _, err := s.Add(t.Context(), next); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := instancesOf(s); got != "1 ready, 2 ready" {
				t.Error(got)
			}
			killIn(t, s, "w#1")
			if got := instancesOf(s); got != "1 ready, 2 ready" {
				t.Error(got)
			}
			killIn(t, s, "w#2")
			wantState(t, s, "w", "failed")
		},
		"hanging_restart_loop_simple": func(t *testing.T) {
			s := startPool(t, supervisor.Config{}, pooled("instances = 3"))
			s.Inject("w", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Hang})
			killIn(t, s, "w#2")
			if got := askAll(s, 6); got["continue"] != 6 {
				t.Error(got)
			}
			if err := s.Stop(t.Context(), "w#2"); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if got := instancesOf(s); got != "1 ready, 2 stopped, 3 ready" {
				t.Error(got)
			}
		},
		"which_children_simple_one_for_one": func(t *testing.T) {
			s := startPool(t, supervisor.Config{}, pooled("instances = 3"))
			if got := instancesOf(s); got != "1 ready, 2 ready, 3 ready" {
				t.Error(got)
			}
		},
	}
}
