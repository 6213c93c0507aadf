package supervisor_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// groupScript is a case about a group g of a, b and c, beside x. "b" kills b, "b." ends
// it without an error, "wait" lets a minute pass.
type groupScript struct {
	group  supervisor.Group
	modes  map[string]string // the restart modes that are not permanent
	script string
	want   string // what happens then, in order
	apart  string // one more event, which comes at any time: the end of a child whose death ends its group
}

func (g *groupScript) run(t *testing.T) {
	g.group.Name = "g"
	if g.group.Children == nil {
		g.group.Children = []string{"a", "b", "c"}
	}
	cfg := supervisor.Config{
		CapsuleDirs: []string{t.TempDir()}, Supervisors: []supervisor.Group{g.group},
		Restart: supervisor.RestartPolicy{Budget: 100, InitialBackoff: -1},
	}
	var capsules []supervisor.Capsule
	for _, id := range []string{"x", "a", "b", "c"} {
		capsules = append(capsules, worker(id, g.modes[id]))
	}
	s := supervisortest.Start(t, cfg, capsules...)
	s.Patience = 24 * time.Hour
	since := s.Snapshot().Sequence
	for word := range strings.FieldsSeq(g.script) {
		switch id, clean := strings.CutSuffix(word, "."); {
		case word == "wait":
			pass(time.Minute)
		case clean:
			s.Inject(id, supervisortest.Fault{Do: supervisortest.Exit(0)})
			s.Ask("ask."+id, "")
		default:
			killIn(t, s, id)
		}
		synctest.Wait()
	}
	events := order(s, since)
	if at := slices.Index(events, g.apart); at >= 0 {
		events = slices.Delete(events, at, at+1)
	} else if g.apart != "" {
		t.Errorf("%s: there is no %q", g.script, g.apart)
	}
	if got := strings.Join(events, ", "); got != g.want {
		t.Errorf("%s: got\n%s\nwant\n%s", g.script, got, g.want)
	}
	s.Expect("ask.x", "", `x continue "x"`)
}

// strategyCases are those of groups.
func strategyCases() map[string]func(*testing.T) {
	once := func(s supervisor.Strategy) supervisor.Group {
		return supervisor.Group{Strategy: s, Budget: 1, InitialBackoff: -1}
	}
	significant := func(auto supervisor.AutoShutdown, ids ...string) supervisor.Group {
		return supervisor.Group{Significant: ids, AutoShutdown: auto}
	}
	modes := func(mode string, ids ...string) map[string]string {
		out := map[string]string{}
		for _, id := range ids {
			out[id] = mode
		}
		return out
	}
	scripts := map[string]groupScript{
		"one_for_all": {
			group: supervisor.Group{Strategy: supervisor.OneForAll}, script: "b",
			want: "b crashed, c stopped, a stopped, a ready, b ready, c ready",
		},
		"one_for_all_escalation": {
			group: once(supervisor.OneForAll), script: "b b",
			want: "b crashed, c stopped, a stopped, a ready, b ready, c ready, b crashed, g failed, c stopped, a stopped, a ready, b ready, c ready",
		},
		"rest_for_one": {
			group: supervisor.Group{Strategy: supervisor.RestForOne}, script: "b",
			want: "b crashed, c stopped, b ready, c ready",
		},
		"rest_for_one_escalation": {
			group: once(supervisor.RestForOne), script: "b b",
			want: "b crashed, c stopped, b ready, c ready, b crashed, g failed, c stopped, a stopped, a ready, b ready, c ready",
		},
		"significant_temporary": {
			group: significant(supervisor.ShutdownAny, "b"), modes: modes(temporary, "b"), script: "b",
			want: "b crashed, g stopped, c stopped, a stopped", apart: "b failed",
		},
		"significant_transient": {
			group: significant(supervisor.ShutdownAll, "a", "b"), modes: modes(transient, "a", "b"), script: "b a. b.",
			want: "b crashed, b ready, a crashed, a stopped, b crashed, g stopped, c stopped", apart: "b stopped",
		},
		"significant_bystander": {
			group: significant(supervisor.ShutdownAny, "b"), modes: modes(transient, "a", "b"), script: "a. c",
			want: "a crashed, a stopped, c crashed, c ready",
		},
	}
	cases := map[string]func(*testing.T){
		"significant_escalation":                 significantEscalation,
		"one_for_all_other_child_fails_restart":  func(t *testing.T) { otherChildFailsRestart(t, supervisor.OneForAll) },
		"rest_for_one_other_child_fails_restart": func(t *testing.T) { otherChildFailsRestart(t, supervisor.RestForOne) },
		"hanging_restart_loop_rest_for_one":      hangingRestartLoop,
		"count_children_supervisor":              countChildrenOfGroup,
	}
	for name, script := range scripts {
		cases[name] = script.run
	}
	return cases
}

// significant_escalation: a group that stops may be significant to the one around it.
func significantEscalation(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{
		CapsuleDirs: []string{t.TempDir()},
		Supervisors: []supervisor.Group{
			{Name: "outer", Children: []string{"inner", "b"}, Significant: []string{"inner"}},
			{Name: "inner", Children: []string{"a"}, Significant: []string{"a"}},
		},
	}, worker("a", transient), worker("b"), worker("x"))
	s.Inject("a", supervisortest.Fault{Do: supervisortest.Exit(0)})
	since := s.Snapshot().Sequence
	s.Ask("ask.a", "")
	synctest.Wait()
	want := "a crashed, inner stopped, outer stopped, a stopped, b stopped"
	if got := strings.Join(order(s, since), ", "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	untouched(t, s, "x")
}

// A child dies in its load, while its group is restarted because of another.
func otherChildFailsRestart(t *testing.T, strategy supervisor.Strategy) {
	s := grouped(t, supervisor.Group{Strategy: strategy, InitialBackoff: -1})
	s.Inject("b", supervisortest.Fault{At: supervisortest.AtLoad})
	killIn(t, s, "a")
	for _, id := range []string{"a", "b", "c"} {
		s.AwaitState(id, messages.StateReady)
		s.Expect("ask."+id, "", id+` continue "`+id+`"`)
	}
	untouched(t, s, "x")
}

// A load that hangs in a group holds up those after it, and nobody else; a command ends it.
func hangingRestartLoop(t *testing.T) {
	s := grouped(t, supervisor.Group{Strategy: supervisor.RestForOne})
	s.Inject("b", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Hang})
	killIn(t, s, "b")
	s.Expect("ask.a", "", `a continue "a"`)
	s.Expect("ask.x", "", `x continue "x"`)
	if err := s.Stop(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	synctest.Wait()
	wantState(t, s, "b", "stopped")
	wantState(t, s, "c", "ready")
}

func countChildrenOfGroup(t *testing.T) {
	s := grouped(t, supervisor.Group{Strategy: supervisor.RestForOne})
	synctest.Wait()
	g := s.Snapshot().Supervisors[0]
	if len(g.Children) != 3 || g.State != "running" {
		t.Errorf("%+v", g)
	}
}
