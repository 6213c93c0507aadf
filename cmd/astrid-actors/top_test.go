package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/messages"
)

// ourEscapes matches the escapes of painter.
var ourEscapes = regexp.MustCompile(`\x1b\[(1|2|7|1;4|32|33|1;31|36)?m`)

// theDay is the time of these tests.
var theDay = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// aTree returns a tree of ready capsules, at that time after theDay.
func aTree(after time.Duration, ids ...string) *messages.Tree {
	tree := &messages.Tree{At: theDay.Add(after), Started: theDay.Add(-time.Hour), Settings: messages.Settings{Queue: 256}}
	for _, id := range ids {
		tree.Capsules = append(tree.Capsules, &messages.Capsule{
			ID: id, Path: "capsules/" + id, Version: "1.0.0", State: messages.StateReady, Generation: 1,
			Restart: "permanent", Budget: 5, Window: time.Minute, Since: theDay.Add(-time.Minute),
		})
	}
	return tree
}

// cloned returns a copy of a tree, so that its capsules can be changed.
func cloned(tree *messages.Tree) *messages.Tree {
	out := *tree
	out.Capsules = nil
	for _, c := range tree.Capsules {
		out.Capsules = append(out.Capsules, c.Clone())
	}
	return &out
}

func (m *topModel) keysPressed(keys ...string) (last topAction) {
	for _, k := range keys {
		text := k
		if len([]rune(k)) > 1 {
			text = map[string]string{"space": " "}[k]
		}
		last = m.press(k, text)
	}
	return last
}

func (m *topModel) ids() []string {
	var ids []string
	for i := range m.rows {
		ids = append(ids, m.rows[i].capsule.ID)
	}
	return ids
}

// TestTopClockSetBack checks that rates and the count of restarts continue after the
// daemon's clock was set back.
func TestTopClockSetBack(t *testing.T) {
	m := newTopModel(false, aTree(0, "a"), theDay)
	m.countRestarts([]time.Time{theDay.Add(-2 * time.Hour), theDay.Add(-time.Minute)})
	for n := range 5 {
		passed := time.Duration(n+1) * ratesOver
		tree := aTree(passed-time.Hour, "a")
		tree.Triggers, tree.Capsules[0].Calls = uint64(100*n), uint64(100*n)
		m.look(looked{tree: tree}, theDay.Add(passed))
	}
	if seconds := ratesOver.Seconds(); m.rows[0].calls != 100/seconds {
		t.Errorf("%v calls a second, want %v", m.rows[0].calls, 100/seconds)
	}
	m.countRestarts([]time.Time{m.clock()})
	if len(m.deaths) != 1 {
		t.Errorf("%d restarts in the last hour, want 1: %v", len(m.deaths), m.deaths)
	}
}

func TestTopOrders(t *testing.T) {
	tree := aTree(0, "d", "c", "b", "a")
	tree.Capsules[0].Queue, tree.Capsules[0].Calls = 7, 10
	tree.Capsules[1].MemoryBytes, tree.Capsules[1].MemoryLimitBytes = 1<<20, 1<<30
	tree.Capsules[2].State, tree.Capsules[2].Reason = messages.StateFailed, "budget spent"
	tree.Capsules[3].CallDuration = messages.Histogram{Buckets: []messages.Bucket{{Index: 300, Count: 1}}}
	m := newTopModel(false, tree, theDay)
	later := cloned(tree)
	later.At = theDay.Add(2 * time.Second)
	later.Capsules[0].Calls = 14
	later.Capsules[1].Reductions = 5000
	m.look(looked{tree: later}, theDay.Add(2*time.Second))
	if got := m.rows[slices.Index(m.ids(), "d")].calls; got != 2 {
		t.Errorf("4 calls in 2 s are %v a second", got)
	}
	for _, want := range []struct {
		by  string
		ids string
	}{
		{"trouble", "b a c d"},
		{"ID", "a b c d"}, {"GEN", "a b c d"}, {"RESTARTS", "a b c d"}, {"QUEUE", "d a b c"}, {"CALLS/S", "d a b c"},
		{"P99", "a b c d"}, {"MEMORY", "c a b d"}, {"RED/S", "c a b d"}, {"trouble", "b a c d"},
	} {
		if m.sortedBy() != want.by || strings.Join(m.ids(), " ") != want.ids {
			t.Errorf("by %s: %v, want by %s: %s", m.sortedBy(), m.ids(), want.by, want.ids)
		}
		m.keysPressed("s")
	}
	m.keysPressed("S", "S")
	if m.sortedBy() != "RED/S" {
		t.Errorf("backwards comes %s", m.sortedBy())
	}
}

func TestTopKeys(t *testing.T) {
	for _, c := range []struct {
		name   string
		keys   []string
		action topAction
		want   string // on the screen
		not    string
	}{
		{"quit", []string{"q"}, topAction{do: topQuit}, "", ""},
		{"interrupted while it asks", []string{"r", "ctrl+c"}, topAction{do: topQuit}, "", ""},
		{"down", []string{"down"}, topAction{}, "> ● ready    beta", ""},
		{"not beyond the end", []string{"end", "down", "down"}, topAction{}, "> ● ready    gamma", ""},
		{"not beyond the beginning", []string{"end", "home", "up"}, topAction{}, "> ● ready    alpha", ""},
		{"pages", []string{"pgdown", "pgup"}, topAction{}, "> ● ready    alpha", ""},
		{"filter", []string{"/", "m", "m"}, topAction{}, "/mm_", "alpha"},
		{"filter by state", []string{"/", "c", "r", "a", "s", "h", "enter"}, topAction{}, "No capsule matches \"crash\"", "alpha"},
		{"filter kept", []string{"/", "m", "m", "enter"}, topAction{}, "shown are 1 of 3: mm", "beta"},
		{"filter taken back", []string{"/", "m", "m", "esc"}, topAction{}, "beta", "/mm"},
		{"filter shortened", []string{"/", "b", "x", "backspace"}, topAction{}, "/b_", "gamma"},
		{"q is text in a filter", []string{"/", "q"}, topAction{}, "/q_", ""},
		{"filter emptied later", []string{"/", "m", "m", "enter", "esc"}, topAction{}, "beta", "shown are"},
		{"asks", []string{"down", "r"}, topAction{}, "restart beta? y/n", ""},
		{"restart", []string{"down", "r", "y"}, topAction{topRestart, "beta"}, "restart beta …", ""},
		{"asks about a reload", []string{"down", "u"}, topAction{}, "reload beta? y/n", ""},
		{"reload", []string{"down", "u", "y"}, topAction{topReload, "beta"}, "reload beta …", ""},
		{"asks about a removal", []string{"x"}, topAction{}, "remove alpha? y/n", ""},
		{"remove", []string{"x", "y"}, topAction{topRemove, "alpha"}, "remove alpha …", ""},
		{"no removal", []string{"x", "n"}, topAction{}, "not removed", ""},
		{"no restart", []string{"down", "r", "n"}, topAction{}, "not restarted", ""},
		{"any key is a no", []string{"r", "enter"}, topAction{}, "not restarted", ""},
		{"a yes without a question", []string{"y"}, topAction{}, "> ● ready    alpha", "restart alpha"},
		{"pause", []string{"space"}, topAction{do: topLook}, "paused", "connected"},
		{"go on", []string{"space", "space"}, topAction{do: topLook}, "connected", "paused"},
		{"detail", []string{"enter"}, topAction{do: topLook}, "asking the daemon", "beta"},
		{"back", []string{"enter", "esc"}, topAction{}, "beta", "asking the daemon"},
		{"restart in the detail", []string{"down", "enter", "r", "y"}, topAction{topRestart, "beta"}, "restart beta …", ""},
		{"nothing", []string{"f7"}, topAction{}, "alpha", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newTopModel(false, aTree(0, "alpha", "beta", "gamma"), theDay)
			if got := m.keysPressed(c.keys...); got != c.action {
				t.Errorf("it does %v, want %v", got, c.action)
			}
			screen := m.screen()
			if strings.Contains(screen, "\x1b") {
				t.Errorf("unpainted it is not plain: %q", screen)
			}
			if !strings.Contains(screen, c.want) || c.not != "" && strings.Contains(screen, c.not) {
				t.Errorf("want %q and not %q in\n%s", c.want, c.not, screen)
			}
		})
	}
}

func TestTopNoneToRestart(t *testing.T) {
	m := newTopModel(false, aTree(0), theDay)
	if got := m.keysPressed("r", "y"); got != (topAction{}) {
		t.Errorf("with no capsules, r and y do %v", got)
	}
	if m.keysPressed("enter"); m.open != "" {
		t.Errorf("opened %q", m.open)
	}
	if screen := m.screen(); !strings.Contains(screen, "There are no capsules.") || strings.Contains(screen, "rejected") {
		t.Error(screen)
	}
}

// TestTopRejected checks that a rejected directory has a row with its reason, from which
// it can be reloaded.
func TestTopRejected(t *testing.T) {
	tree := aTree(0, "alpha")
	tree.Rejected = []messages.CapsuleRejected{{Directory: "/a/zeta", Problem: "no name"}, {ID: "eta", Directory: "/b"}}
	m := newTopModel(false, tree, theDay)
	screen := m.screen()
	for _, want := range []string{"capsules 1  ● 1 ready  rejected 2", "> ✖ failed   eta", "✖ failed   zeta", "rejected: no name", "mend it, and reload"} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q in\n%s", want, screen)
		}
	}
	if got := m.keysPressed("down", "u", "y"); got != (topAction{topReload, "zeta"}) {
		t.Errorf("it does %v", got)
	}
	m.keysPressed("enter")
	if screen := m.screen(); !strings.Contains(screen, "zeta  /a/zeta") || !strings.Contains(screen, "rejected: no name") {
		t.Error(screen)
	}
	m.answered(acted{topAction: topAction{topReload, "zeta"}, changes: []messages.Change{{ID: "zeta", Change: messages.ChangeAdded, Version: "2"}}})
	if screen := m.screen(); !strings.Contains(screen, "added zeta 2") {
		t.Error(screen)
	}
}

// TestTopGroups checks that groups are shown with their strategy and budget, the worst
// first, and a capsule with its group and who took it down.
func TestTopGroups(t *testing.T) {
	tree := aTree(0, "alpha")
	tree.Capsules[0].Path, tree.Capsules[0].Because = "capsules/shop/alpha", "ledger crashed, rest_for_one of shop"
	tree.Supervisors = []*messages.Supervisor{
		{Name: "shop", Path: "capsules/shop", Strategy: "rest_for_one", State: messages.SupervisorRunning, Budget: 5, BudgetSpent: 1},
		{Name: "mail", Path: "capsules/mail", Strategy: "one_for_all", State: messages.SupervisorHasFailed, Budget: 2},
	}
	m := newTopModel(false, tree, theDay)
	if screen, want := m.screen(), "groups mail failed one_for_all 0/2  shop running rest_for_one 1/5"; !strings.Contains(screen, want) {
		t.Errorf("no %q in\n%s", want, screen)
	}
	m.keysPressed("enter")
	for _, want := range []string{"in group shop, rest_for_one, running, deaths 1/5", "restarted because ledger crashed, rest_for_one of shop"} {
		if screen := m.screen(); !strings.Contains(screen, want) {
			t.Errorf("no %q in\n%s", want, screen)
		}
	}
}

// TestTopSelectionStays checks that the selection follows its capsule.
func TestTopSelectionStays(t *testing.T) {
	m := newTopModel(false, aTree(0, "a", "b", "c"), theDay)
	m.keysPressed("down")
	tree := aTree(time.Second, "a", "b", "c")
	tree.Capsules[2].State = messages.StateFailed
	m.look(looked{tree: tree}, theDay.Add(time.Second))
	if m.current() != "b" || m.ids()[0] != "c" {
		t.Errorf("%s is selected of %v", m.current(), m.ids())
	}
}

func TestTopCountsDown(t *testing.T) {
	tree := aTree(0, "a")
	c := tree.Capsules[0]
	c.State, c.RestartAt = messages.StateCrashed, theDay.Add(12*time.Second)
	c.LastFailure = &messages.Failure{Kind: "trap", Message: "unreachable", At: theDay}
	m := newTopModel(false, tree, theDay)
	for _, after := range []struct {
		d    time.Duration
		want string
	}{{0, "in 12s"}, {5 * time.Second, "in 7s"}, {20 * time.Second, "starts now"}} {
		m.look(looked{err: errors.New("no answer")}, theDay.Add(after.d))
		if !strings.Contains(m.screen(), after.want) || !strings.Contains(m.screen(), "crashed: trap: unreachable") {
			t.Errorf("after %v %q is not in\n%s", after.d, after.want, m.screen())
		}
	}
	if !strings.Contains(m.screen(), "stale for 20s: no answer") {
		t.Error(m.screen())
	}
	m.look(looked{tree: aTree(21*time.Second, "a")}, theDay.Add(21*time.Second))
	if !strings.Contains(m.screen(), "connected") {
		t.Error(m.screen())
	}
}

// TestTopAsksForLimits checks that the limits of a capsule are requested if calls wait,
// once for each generation.
func TestTopAsksForLimits(t *testing.T) {
	tree := aTree(0, "a", "b")
	tree.Capsules[1].Queue = 16
	m := newTopModel(false, tree, theDay)
	if got := m.wanted(); !slices.Equal(got, []string{"b"}) || strings.Contains(m.screen(), "queue full") {
		t.Errorf("it asks for %v, and shows\n%s", got, m.screen())
	}
	m.look(looked{tree: tree, details: []*messages.CapsuleDetail{aDetail(tree.Capsules[1])}}, theDay)
	if got := m.wanted(); len(got) > 0 || !strings.Contains(m.screen(), "queue full: 16 of 16 calls wait") {
		t.Errorf("it asks for %v, and shows\n%s", got, m.screen())
	}
	tree = cloned(tree)
	tree.Capsules[1].Generation++
	m.look(looked{tree: tree}, theDay)
	if got := m.wanted(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("of the next generation it asks for %v", got)
	}
}

func TestTopPaused(t *testing.T) {
	m := newTopModel(false, aTree(0, "a"), theDay)
	m.keysPressed("space")
	m.look(looked{tree: aTree(time.Second, "b")}, theDay.Add(time.Second))
	if got := m.ids(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("paused it shows %v", got)
	}
	m.keysPressed("space")
	m.look(looked{tree: aTree(time.Second, "b")}, theDay.Add(time.Second))
	if got := m.ids(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("then it shows %v", got)
	}
}

func TestTopRestartsAnHour(t *testing.T) {
	m := newTopModel(false, aTree(0, "a"), theDay)
	at := []time.Time{theDay.Add(-61 * time.Minute), theDay.Add(-59 * time.Minute), theDay.Add(-time.Minute)}
	m.countRestarts(at)
	m.countRestarts(at) // connected again
	m.countRestarts([]time.Time{theDay})
	if !strings.Contains(m.screen(), "restarts 3/h") {
		t.Error(m.screen())
	}
}

func TestTopAnswers(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "restarted a"},
		{errors.New("no\x1b[31m daemon"), "error: no�[31m daemon"},
		{connect.NewError(connect.CodeNotFound, errors.New("no such capsule: a")), "error: no such capsule: a"},
	} {
		m := newTopModel(false, aTree(0, "a"), theDay)
		m.answered(acted{topAction: topAction{topRestart, "a"}, err: c.err})
		if diff := cmp.Diff(c.want, m.prompt()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// aDetail returns details of a capsule, whose texts try to control the terminal.
func aDetail(c *messages.Capsule) *messages.CapsuleDetail {
	const evil = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202e\nline two"
	d := &messages.CapsuleDetail{Capsule: c, QueueLimit: 16, CallTimeout: time.Minute}
	for n := range 10 {
		at := theDay.Add(-time.Duration(n) * time.Second)
		d.Failures = append(d.Failures, messages.FailureRecord{
			Generation: uint64(n), During: "call", Decision: "restart " + evil,
			Failure: messages.Failure{Kind: "trap", Message: evil, At: at, WasmStack: []string{"echo.$f" + evil}, Stderr: evil},
		})
		d.RecentCalls = append(d.RecentCalls, messages.RecentCall{
			At: at, Topic: "t" + evil, Action: evil, Outcome: messages.OutcomeDenied, Reason: evil, FromCapsule: evil,
		})
		d.Log = append(d.Log, messages.LogLine{At: at, Level: "ERROR" + evil, Principal: evil, Message: evil})
	}
	return d
}

// TestTopFitsAndObeysNoGuest checks that with any texts from guests, and at any size,
// the screen has as many lines as the terminal, none of them longer, and only our own
// escapes.
func TestTopFitsAndObeysNoGuest(t *testing.T) {
	tree := oneOfEach()
	for i := range 30 {
		c := tree.Capsules[i%7].Clone()
		c.ID += fmt.Sprint("-\x1b[31m漢字", i)
		tree.Capsules = append(tree.Capsules, c)
	}
	now := tree.At
	m := newTopModel(true, tree, now)
	m.look(looked{tree: tree, details: []*messages.CapsuleDetail{aDetail(tree.Capsules[3])}}, now)
	for _, size := range [][2]int{{80, 24}, {118, 30}, {200, 60}, {40, 10}, {20, 5}, {3, 3}, {1, 1}} {
		m.resize(size[0], size[1])
		for _, keys := range [][]string{
			nil, {"down", "down"}, {"end"}, {"home"}, {"r"}, {"n"}, {"/", "x"}, {"esc"}, {"s"}, {"S"}, {"home", "enter"}, {"pgdown"}, {"end"}, {"esc"},
		} {
			m.keysPressed(keys...)
			if m.open != "" {
				m.open = tree.Capsules[3].ID
			}
			lines := strings.Split(m.screen(), "\n")
			if len(lines) != size[1] {
				t.Fatalf("%v, after %v: %d lines:\n%s", size, keys, len(lines), m.screen())
			}
			for _, line := range lines {
				if w := ansi.StringWidth(line); w > size[0] {
					t.Fatalf("%v, after %v: a line of %d: %q", size, keys, w, line)
				}
				if left := ourEscapes.ReplaceAllString(line, ""); strings.ContainsAny(left, "\x1b\x07\u009b\u202e") {
					t.Fatalf("%v, after %v: not ours: %q", size, keys, line)
				}
			}
		}
	}
}

func TestTopDetail(t *testing.T) {
	tree := aTree(0, "a")
	m := newTopModel(false, tree, theDay)
	m.resize(100, 80)
	m.keysPressed("enter")
	d := aDetail(tree.Capsules[0])
	d.Failures[0].Failure.Message, d.Failures[0].Decision = "unreachable", "restart it"
	m.look(looked{tree: tree, details: []*messages.CapsuleDetail{d}}, theDay)
	for _, want := range []string{
		"● ready for 60s  a 1.0.0  generation 1", "permanent, restarts 0/5 in 60s", "FAILURES", "0s ago  generation 0, in call: unreachable",
		"decided: restart it", "echo.$f", "RECENT CALLS", "denied", "LOG", "ERROR",
	} {
		if !strings.Contains(m.screen(), want) {
			t.Errorf("%q is not in\n%s", want, m.screen())
		}
	}
	m.look(looked{tree: aTree(time.Second)}, theDay.Add(time.Second))
	if !strings.Contains(m.screen(), "a is gone.") {
		t.Error(m.screen())
	}
}

// TestTopDrawsWhatIsSeen checks that only visible rows are drawn: a screen costs the
// same with ten thousand capsules.
func TestTopDrawsWhatIsSeen(t *testing.T) {
	draw := func(n int) float64 {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprintf("capsule-%05d", i)
		}
		m := newTopModel(true, aTree(0, ids...), theDay)
		m.keysPressed("end")
		if !strings.Contains(m.screen(), ids[n-1]) {
			t.Fatalf("the last is not on the screen:\n%s", m.screen())
		}
		return testing.AllocsPerRun(5, func() {
			m.list(18)
			m.keysPressed("home")
			m.list(18)
			m.keysPressed("end")
		})
	}
	if few, many := draw(100), draw(10_000); many > 1.1*few {
		t.Errorf("the list of 100 takes %v allocations, of 10,000 %v", few, many)
	}
}

func TestShortNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.04: "0", 0.25: "0.2", 1: "1", 9.94: "9.9", 9.96: "10", 999.4: "999", 999.6: "1k", 1234: "1.2k", 45_000: "45k", 3.4e6: "3.4M", 1e9: "1G"} {
		if got := few(v); got != want {
			t.Errorf("few(%v) = %q, want %q", v, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 1: "1", 999: "999", 1024: "1KiB", 131072: "128KiB", 1<<20 + 1<<19: "1.5MiB", 1 << 30: "1GiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %q, want %q", n, got, want)
		}
	}
}

func BenchmarkTopLook(b *testing.B) {
	ids := make([]string, 10_000)
	for i := range ids {
		ids[i] = fmt.Sprintf("capsule-%05d", i)
	}
	tree := aTree(0, ids...)
	m := newTopModel(true, tree, theDay)
	for b.Loop() {
		m.look(looked{tree: tree}, theDay)
		m.screen()
	}
}
