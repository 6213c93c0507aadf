package actors

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

// grove is a tree of supervisors whose capsules start and halt at once, or when the test
// says so. It writes down what it is told: "+a" starts a, "-a" halts it.
type grove struct {
	t     testing.TB
	top   *group
	slots []*slot
	live  map[*slot]bool // has an instance
	slow  bool           // starts and halts end when the test says so
	now   monotime.Time
	holds []*hold
	log   []string
}

// plant makes a tree from a text: "a g:rest_for_one[b h:one_for_all[c d]]". Behind a
// capsule's name, ? makes it transient, ~ temporary, ! significant; behind a strategy,
// /any or /all sets its automatic shutdown.
func plant(t testing.TB, text string, policy RestartPolicy) *grove {
	w := &grove{t: t, live: map[*slot]bool{}, now: 1}
	policy = policy.WithDefaults()
	w.top = newGroup("", nil, OneForOne, policy)
	at := w.top
	for word := range strings.FieldsSeq(strings.NewReplacer("[", " [ ", "]", " ] ").Replace(text)) {
		name, strategy, isGroup := strings.Cut(word, ":")
		switch {
		case word == "[":
			at = at.members[len(at.members)-1].(*group)
		case word == "]":
			at = at.parent
		case isGroup:
			strategy, auto, _ := strings.Cut(strategy, "/")
			g := newGroup(strings.TrimRight(name, "!"), at, Strategy(strategy), policy)
			g.auto, g.significant = AutoShutdown(auto), strings.HasSuffix(name, "!")
		default:
			s := &slot{node: node{name: strings.TrimRight(name, "!?~"), parent: at, significant: strings.Contains(name, "!")}}
			s.restarts.policy = policy
			s.restarts.policy.Budget = 1000 // the group's is what the tests are about
			if strings.Contains(name, "?") {
				s.restarts.policy.Mode = Transient
			} else if strings.Contains(name, "~") {
				s.restarts.policy.Mode = Temporary
			}
			at.members = append(at.members, s)
			w.slots = append(w.slots, s)
		}
	}
	for _, s := range w.slots {
		s.await(false)
	}
	return w
}

func (w *grove) slot(name string) *slot {
	return w.slots[slices.IndexFunc(w.slots, func(s *slot) bool { return s.name == name })]
}

func (w *grove) group(name string) *group {
	var found *group
	var look func(*group)
	look = func(g *group) {
		if g.name == name {
			found = g
		}
		for _, m := range g.members {
			if sub, ok := m.(*group); ok {
				look(sub)
			}
		}
	}
	look(w.top)
	return found
}

// pump does what is to be done.
func (w *grove) pump() {
	for again := true; again; {
		again = false
		for _, m := range w.top.members {
			out := next(m, w.now)
			for _, s := range out.halt {
				w.halt(s)
			}
			for _, s := range out.start {
				w.start(s)
			}
			again = again || len(out.halt)+len(out.start) > 0 && !w.slow
		}
	}
}

func (w *grove) start(s *slot) {
	if w.live[s] {
		w.t.Fatalf("%s starts, and has an instance already", s.path())
	}
	w.live[s] = true
	w.log = append(w.log, "+"+s.name)
	if !w.slow {
		s.serves()
	}
}

func (w *grove) halt(s *slot) {
	if !w.live[s] {
		w.t.Fatalf("%s is halted, and has no instance", s.path())
	}
	w.log = append(w.log, "-"+s.name)
	if !w.slow {
		w.live[s] = false
		s.halted()
	}
}

// die has a capsule die, and writes down the decision.
func (w *grove) die(name string, d death) *decision {
	s := w.slot(name)
	if !w.live[s] {
		w.t.Fatalf("%s dies, and has no instance", name)
	}
	w.live[s] = false
	d.now = w.now
	out := s.died(d)
	for _, f := range out.failed {
		w.log = append(w.log, f.group.name+" fails")
	}
	for _, g := range out.shutdown {
		w.log = append(w.log, g.name+" shuts down")
	}
	switch {
	case out.exit:
		w.log = append(w.log, "exit")
	case out.absorbed:
		w.log = append(w.log, "absorbed")
	case !out.restart && !out.ended:
		w.log = append(w.log, out.child.base().name+" has failed")
	}
	if out.hold != nil {
		w.holds = append(w.holds, out.hold)
		w.log = append(w.log, fmt.Sprintf("wait %v", out.hold.delay))
	}
	w.pump()
	return out
}

// wait ends the backoffs.
func (w *grove) wait() {
	for _, h := range w.holds {
		w.now = max(w.now, h.due)
		h.over(w.top)
	}
	w.holds = nil
	w.pump()
}

// do runs a script: "a" is a crash of a, "a." its clean end, "a!" a death that no
// restart helps, "a?" one without blame, "wait" ends the backoffs, "+1m" lets time pass.
func (w *grove) do(script string) string {
	for word := range strings.FieldsSeq(script) {
		name := strings.TrimRight(word, ".!?")
		switch {
		case word == "wait":
			w.wait()
		case word[0] == '+':
			d, err := time.ParseDuration(word[1:])
			if err != nil {
				w.t.Fatal(err)
			}
			w.now = w.now.Add(d)
		default:
			w.die(name, death{
				clean: strings.HasSuffix(word, "."), permanent: strings.HasSuffix(word, "!"), blameless: strings.HasSuffix(word, "?"),
			})
		}
	}
	return strings.Join(w.log, ", ")
}

// The cases of OTP's supervisor_SUITE about strategies, by name. Each script begins
// with everything started, which is not written down.
func TestStrategies(t *testing.T) {
	now := RestartPolicy{InitialBackoff: -1, Budget: 2} // restarts at once
	waits := RestartPolicy{Budget: 1, InitialBackoff: time.Second, EagerBackoff: true}
	none := RestartPolicy{InitialBackoff: -1, Budget: -1}
	for name, test := range map[string]struct {
		tree, script, want string
		policy             RestartPolicy
	}{
		"one_for_one":                               {"g:one_for_one[a b c]", "b", "+b", now},
		"one_for_one at the top":                    {"a b c", "b b b b", "+b, +b, +b, +b", now},
		"one_for_one_escalation":                    {"g:one_for_one[a b c] x", "b b a", "+b, +b, g fails, -c, -b, +a, +b, +c", now},
		"one_for_one_escalation, kept at last":      {"g:one_for_one[a b c] x", "b", "g fails, g has failed, -c, -a", none},
		"one_for_all":                               {"g:one_for_all[a b c] x", "b", "-c, -a, +a, +b, +c", now},
		"one_for_all_escalation":                    {"g:one_for_all[a b] x", "b a b", "-a, +a, +b, -b, +a, +b, g fails, -a, +a, +b", now},
		"one_for_all, temporary ones stay away":     {"g:one_for_all[a b~ c]", "a", "-c, -b, +a, +c", now},
		"one_for_all, transient ones come back":     {"g:one_for_all[a b? c]", "b. a", "-c, +a, +b, +c", now},
		"rest_for_one":                              {"g:rest_for_one[a b c d] x", "b", "-d, -c, +b, +c, +d", now},
		"rest_for_one, the first":                   {"g:rest_for_one[a b c]", "a", "-c, -b, +a, +b, +c", now},
		"rest_for_one, the last":                    {"g:rest_for_one[a b c]", "c", "+c", now},
		"rest_for_one_escalation":                   {"g:rest_for_one[a b] x", "b b b", "+b, +b, g fails, -a, +a, +b", now},
		"a clean end of a permanent child":          {"g:one_for_all[a b]", "a.", "-b, +a, +b", now},
		"permanent_normal, in a chain":              {"g:rest_for_one[a b]", "a.", "-b, +a, +b", now},
		"temporary_bystander, one_for_all":          {"g:one_for_all[a~ b]", "a b", "+b", now},
		"temporary_bystander, rest_for_one":         {"g:rest_for_one[a~ b]", "a", "", now},
		"backoff: halts at once, starts after it":   {"g:one_for_all[a b c]", "b wait", "wait 1s, -c, -a, +a, +b, +c", waits},
		"backoff: escalation waits for the parent":  {"g:one_for_one[a b]", "a wait a wait", "wait 1s, +a, g fails, wait 1s, -b, +a, +b", waits},
		"no restart helps: all above fail at once":  {"g:one_for_one[a h:one_for_all[b c] d]", "c!", "h fails, g fails, g has failed, -d, -b, -a", now},
		"no restart helps, at the top":              {"a b", "a!", "a has failed", now},
		"without blame: together, and not counted":  {"g:one_for_all[a b]", "a? a? a? a?", strings.Repeat("-b, +a, +b, ", 3) + "-b, +a, +b", now},
		"deaths are forgotten after the window":     {"g:one_for_one[a b]", "a b +1m a b", "+a, +b, +a, +b", now},
		"nested one_for_all":                        {"g:one_for_all[a h:rest_for_one[b c] d]", "a", "-d, -c, -b, +a, +b, +c, +d", now},
		"nested: a death stays in its group":        {"g:one_for_all[a h:rest_for_one[b c] d]", "b", "-c, +b, +c", now},
		"nested: a group's failure is a death":      {"g:rest_for_one[a h:one_for_one[b c] d]", "c c c", "+c, +c, h fails, -d, -b, +b, +c, +d", now},
		"nested: a group made anew has its budget":  {"g:rest_for_one[h:one_for_one[b] d]", "b b b b b", "+b, +b, h fails, -d, +b, +d, +b, +b", now},
		"nested: its temporary ones are back, too":  {"g:one_for_all[a h:one_for_one[b~ c]]", "b a", "-c, +a, +b, +c", now},
		"nested escalation to the top":              {"g:one_for_one[h:one_for_one[a b]] x", "a", "h fails, g fails, g has failed, -b", none},
		"nonsignificant_temporary":                  {"g:one_for_one/any[a! b~]", "b", "", now},
		"nonsignificant_transient":                  {"g:one_for_one/any[a! b?]", "b.", "", now},
		"significant_temporary, any":                {"g:one_for_one/any[a b~! c]", "b", "g shuts down, -c, -a", now},
		"significant_transient, any":                {"g:one_for_one/any[a b?! c]", "b b.", "+b, g shuts down, -c, -a", now},
		"significant_transient, all":                {"g:one_for_one/all[a?! b?! c]", "b. a.", "g shuts down, -c", now},
		"significant_transient, never":              {"g:one_for_one/never[a?! b]", "a.", "", now},
		"significant_bystander":                     {"g:one_for_one/any[a?! b] h:one_for_one[c]", "a. c", "g shuts down, -b, +c", now},
		"significant_escalation":                    {"g:one_for_one/any[h!:one_for_one/any[a?! b] c]", "a.", "h shuts down, g shuts down, -c, -b", now},
		"significant_escalation, all":               {"g:one_for_one/all[h!:one_for_one/any[a?! b] c?! d]", "a. c.", "h shuts down, -b, g shuts down, -d", now},
		"auto_shutdown: back with the group around": {"g:one_for_all[h:one_for_one/any[a?! b] c]", "a. c", "h shuts down, -b, +a, +b, +c", now},
	} {
		t.Run(name, func(t *testing.T) {
			w := plant(t, test.tree, test.policy)
			w.pump()
			w.log = nil
			if got := w.do(test.script); got != test.want {
				t.Errorf("%s, deaths %q:\n got %s\nwant %s", test.tree, test.script, got, test.want)
			}
		})
	}
}

// The first start is in order, and a child that does not serve yet holds up those after
// it, in a group whose strategy ties them.
func TestFirstStartInOrder(t *testing.T) {
	w := plant(t, "x g:rest_for_one[a h:one_for_all[b c] d] y", RestartPolicy{InitialBackoff: -1})
	w.slow = true
	w.pump()
	if got := strings.Join(w.log, ", "); got != "+x, +a, +y" {
		t.Fatalf("first: %s", got)
	}
	for _, name := range []string{"a", "b", "c"} {
		w.slot(name).serves()
		w.pump()
	}
	if got := strings.Join(w.log[3:], ", "); got != "+b, +c, +d" {
		t.Errorf("then: %s", got)
	}
}

// one_for_all_other_child_fails_restart, and the same for rest_for_one: a child dies
// while its group is restarted because of another.
func TestOtherChildFailsRestart(t *testing.T) {
	for strategy, want := range map[Strategy]string{
		OneForAll:  "-c, -b, +a, +b, -a, +a, +b, +c",
		RestForOne: "-c, -b, +a, +b, +b, +c",
	} {
		w := plant(t, "g:"+string(strategy)+"[a b c]", RestartPolicy{InitialBackoff: -1})
		w.pump()
		w.log, w.slow = nil, true
		w.do("a")
		for _, name := range []string{"c", "b"} {
			w.live[w.slot(name)] = false
			w.slot(name).halted()
			w.pump()
		}
		w.slot("a").serves()
		w.pump() // b starts
		w.slow = false
		if got := w.do("b"); got != want {
			t.Errorf("%s: got %s, want %s", strategy, got, want)
		}
	}
}

// A child that dies while it is being halted has ended, as it was to.
func TestDeathWhileHalted(t *testing.T) {
	w := plant(t, "g:one_for_all[a b c]", RestartPolicy{InitialBackoff: -1})
	w.pump()
	w.log, w.slow = nil, true
	w.do("a") // c is told to halt; b waits for its turn
	w.do("b c")
	w.slow = false
	w.slot("a").serves()
	w.pump()
	w.slot("b").serves()
	w.pump()
	if got, want := strings.Join(w.log, ", "), "-c, absorbed, absorbed, +a, +b, +c"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	g := w.group("g")
	g.deaths.ran(g.elapsed(w.now))
	if spent := len(g.deaths.spent); spent != 1 {
		t.Errorf("%d deaths count, want 1", spent)
	}
}

// A system that is to end with its children does so when one fails for good.
func TestExitAtTheTop(t *testing.T) {
	w := plant(t, "g:one_for_one[h:rest_for_one[a b]] x", RestartPolicy{InitialBackoff: -1, Budget: -1})
	w.top.exits = true
	w.pump()
	out := w.die("a", death{})
	if !out.exit || len(out.failed) != 2 {
		t.Errorf("exit %v after %d failures, want true after 2", out.exit, len(out.failed))
	}
}

// Strategies that restart children together also wait for the group's own backoff.
func TestGroupBackoff(t *testing.T) {
	for strategy, want := range map[Strategy]string{
		OneForAll: "wait 1s, -b, +a, +b", RestForOne: "wait 1s, -b, +a, +b", OneForOne: "+a",
	} {
		w := plant(t, "g:"+string(strategy)+"[a b]", RestartPolicy{InitialBackoff: time.Second, EagerBackoff: true})
		w.pump()
		w.log = nil
		w.slot("a").restarts.policy.InitialBackoff = 0
		if got := w.do("a wait"); got != want {
			t.Errorf("%s: got %s, want %s", strategy, got, want)
		}
	}
}

// A narrower sweep inside a wider one does not give up the wider one's order.
func TestOverlappingSweeps(t *testing.T) {
	w := plant(t, "g:one_for_all[h:one_for_one[a] i:one_for_one[b]]", RestartPolicy{})
	w.slow = true
	w.pump()
	w.group("i").restartAll()
	w.group("h").restartAll()
	w.pump()
	if got := strings.Join(w.log, ", "); got != "+a, -a" {
		t.Errorf("got %s: b must wait for a", got)
	}
}

// What an operator has stopped stays so, until an operator starts it.
func TestStoppedStaysStopped(t *testing.T) {
	w := plant(t, "g:one_for_all[a b c]", RestartPolicy{InitialBackoff: -1})
	w.pump()
	b := w.slot("b")
	b.end(nil)
	b.stays = true
	w.pump()
	w.log = nil
	if got := w.do("a"); got != "-c, +a, +c" {
		t.Errorf("after an operator's stop of b: %s", got)
	}
}
