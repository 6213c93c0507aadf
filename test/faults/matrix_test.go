package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

var update = flag.Bool("update", false, "write testdata anew")

func TestMain(m *testing.M) {
	if compiles() {
		return
	}
	goleak.VerifyTestMain(summed{m})
}

// summed runs the tests and prints their summary with -v.
type summed struct{ *testing.M }

func (m summed) Run() int {
	defer held.print()
	return m.M.Run()
}

// held is the summary of a run: how many rows of the matrix and how many attacks on a
// stop had the expected outcome, and the slowest of the latter.
var held summary

type summary struct {
	mu            sync.Mutex
	rows, attacks int
	groups        int // rows of the matrix of groups
	worst         time.Duration
}

func (s *summary) row() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows++
}

func (s *summary) groupRows(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups += n
}

func (s *summary) attack(late time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attacks++
	s.worst = max(s.worst, late)
}

func (s *summary) print() {
	fmt.Fprintf(os.Stdout, "%d rows of the matrix of groups held\n", s.groups)
	fmt.Fprintf(os.Stdout, "%d rows of the matrix and %d attacks on a stop held; the slowest stop was %v late\n", s.rows, s.attacks, s.worst)
}

// TestMatrix runs every row, and compares the outcome with the way's file.
func TestMatrix(t *testing.T) {
	cache := t.TempDir() // shared, so that the rows compile each module once
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			var text strings.Builder
			for _, m := range moments() {
				fmt.Fprintf(&text, "== %s\n", m.name)
				if why := impossible(w, m); why != "" {
					fmt.Fprintf(&text, "impossible: %s\n\n", why)
					continue
				}
				text.WriteString(underAllSettings(t, w, m, cache))
			}
			path := filepath.Join("testdata", w.name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), text.String()); d != "" {
				t.Errorf("%s (-want +got):\n%s", path, d)
			}
		})
	}
}

// TestFiles checks testdata against the table of ways.
func TestFiles(t *testing.T) {
	want := map[string]bool{}
	for _, w := range ways() {
		want[w.name+".txt"] = true
	}
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !want[f.Name()] {
			t.Errorf("testdata/%s: there is no such way", f.Name())
		}
	}
}

// underAllSettings runs a way's rows of one moment. Settings with the same outcome are
// shown together.
func underAllSettings(t *testing.T, w way, m moment, cache string) string {
	t.Helper()
	names, order := map[string][]string{}, []string{}
	for _, s := range settings() {
		if w.dear && s.name != "default" && s.name != "budget 1" {
			continue
		}
		t.Run(m.name+"/"+s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRow(t, w, s, cache)
				m.do(r)
				got := r.end()
				if names[got] == nil {
					order = append(order, got)
				}
				names[got] = append(names[got], s.name)
				held.row()
			})
		})
	}
	var text strings.Builder
	for _, got := range order {
		fmt.Fprintf(&text, "-- %s\n%s\n", strings.Join(names[got], ", "), got)
	}
	return text.String()
}

// row is one run of the matrix. It belongs to its test's goroutine.
type row struct {
	t       *testing.T
	way     way
	setting setting
	id      string
	topic   string
	script  *script
	sys     *supervisortest.System
	dir     string // of the capsule
	module  []byte
	text    strings.Builder
	closed  bool
	last    string // the last recorded state
}

// callReductions returns the limit of one call's reductions.
func (w way) callReductions() int {
	if w.deep {
		return 20_000_000 // the stack overflows before that
	}
	return 200_000
}

func newRow(t *testing.T, w way, s setting, cache string) *row {
	t.Helper()
	r := &row{t: t, way: w, setting: s, id: "faulty"}
	if w.loop {
		r.id = "faulty-loop"
	}
	r.topic, r.script = "test."+r.id, newScript(w, r.id)
	home := t.TempDir()
	if err := os.Symlink(cache, filepath.Join(home, "cache")); err != nil {
		t.Fatal(err)
	}
	r.dir = filepath.Join(home, r.id)
	if err := os.CopyFS(r.dir, os.DirFS(fixture(r.id))); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.module, err = os.ReadFile(r.file()); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(r.dir, "Capsule.toml")
	text, err := os.ReadFile(manifest)
	if err == nil {
		err = os.WriteFile(manifest, fmt.Appendf(text, "[supervision]\ncall_reductions = %d\n", r.way.callReductions()), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.sys = supervisortest.New(t, supervisor.Config{
		Home: home, CapsuleDirs: []string{r.dir, fixture("counter"), fixture("fan-out")},
		WrapLoad: r.script.wrap, CallTimeout: limit, LoadTimeout: limit, MemoryLimitPages: 32, Restart: s.policy,
	}, supervisortest.Func("deep", "test.deep", func(ctx context.Context, _ *supervisortest.Call) (capsulehost.Result, error) {
		<-ctx.Done() // it never answers
		return capsulehost.Result{}, ctx.Err()
	}))
	return r
}

func fixture(name string) string { return filepath.Join("..", "capsules", name) }

func (r *row) file() string { return filepath.Join(r.dir, r.id+".wasm") }

// launch starts the system, and waits until it is idle.
func (r *row) launch() {
	r.sys.Launch()
	synctest.Wait()
	r.bystander(1)
}

// bystander invokes an unrelated capsule, for the n-th time.
func (r *row) bystander(n int) {
	r.t.Helper()
	r.sys.AwaitReady("counter", 1)
	r.sys.Expect("test.counter", "", fmt.Sprintf(`counter continue {"calls":%d}`, n))
}

// strike makes the guest misbehave in its next call, if it is alive.
func (r *row) strike(how, topic string) {
	r.script.next("call")
	r.ask(how, topic)
}

// strikeLoop makes the run loop misbehave at its current point.
func (r *row) strikeLoop() {
	r.script.next("call")
	select {
	case <-r.script.hit:
		r.state("misbehaved")
	case <-time.After(time.Minute): // it checks every ten seconds
		r.state("does not live")
	}
}

// damage and mend change the module's file, if the way needs it.
func (r *row) damage() {
	if r.way.file != nil {
		r.write(r.way.file(bytes.Clone(r.module)))
	}
}

func (r *row) mend() {
	if r.way.file != nil {
		r.write(r.module)
		r.note("mended, and started: %s", r.command(r.startAgain)())
	}
}

func (r *row) startAgain(ctx context.Context, id string) error {
	if r.sys.Capsule(id).State == messages.StateFailed {
		return r.sys.Supervisor.Start(ctx, id)
	}
	return r.sys.Restart(ctx, id)
}

func (r *row) write(module []byte) {
	err := os.Remove(r.file())
	if err == nil && module != nil {
		err = os.WriteFile(r.file(), module, 0o600)
	}
	if os.IsNotExist(err) {
		err = os.WriteFile(r.file(), module, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// settles advances the time until the capsule has been restarted, if it is.
func (r *row) settles() {
	r.state("at once")
	pass(r.setting.settle)
	r.state("settled")
}

// end records the outcome for the capsule, makes it misbehave once more, and stops the
// system.
func (r *row) end() string {
	r.t.Helper()
	if !r.closed {
		r.aftermath()
		r.close()
	}
	if !r.script.hasStruck() && r.way.letter != 0 {
		r.t.Error("the guest has not misbehaved")
	}
	r.note("timeline:")
	for _, line := range r.sys.Timeline(r.id) {
		r.note("  %s", line)
	}
	for _, id := range []string{"counter", "fan-out"} {
		want := []string{"loading 1", "ready 1", "stopping: the system stops", "stopped: the system stops"}
		if d := cmp.Diff(want, r.sys.Timeline(id)); d != "" {
			r.t.Errorf("%s was harmed (-want +got):\n%s", id, d)
		}
	}
	return r.text.String()
}

func (r *row) aftermath() {
	r.t.Helper()
	synctest.Wait()
	again := r.way.letter != 0 && !r.way.deep
	switch {
	case r.way.loop && again:
		r.settles()
		r.strikeLoop()
		r.settles()
	case r.way.loop:
		r.settles()
	default:
		r.ask("next", r.topic)
		r.settles()
		if again {
			r.strike("again", r.topic)
			r.ask("next", r.topic)
			r.settles()
		}
		r.ask("last", r.topic)
	}
	r.bystander(2)
}

// close stops the system; supervisortest checks that nothing is left.
func (r *row) close() {
	r.t.Helper()
	r.closed = true
	if err := r.sys.Close(); err != nil {
		r.t.Errorf("Serve: %v", err)
	}
}

func (r *row) deadline() time.Duration {
	if r.way.deadline != 0 {
		return r.way.deadline
	}
	return time.Hour
}

// begin sends a trigger, on a goroutine of its own.
func (r *row) begin(topic string, deadline time.Duration) (answer func() *messages.Reply) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	payload := json.RawMessage(fmt.Sprintf(`{"hook":%q,"payload":1}`, r.topic))
	var reply *messages.Reply
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		reply, err = r.sys.Trigger(ctx, supervisor.TriggerRequest{Topic: topic, Payload: payload})
	}()
	return func() *messages.Reply {
		<-done
		if err != nil {
			r.t.Errorf("trigger %s: %v", topic, err)
		}
		return reply
	}
}

func (r *row) ask(how, topic string) {
	r.say(how, r.begin(topic, r.deadline())())
	synctest.Wait()
}

// say records an answer.
func (r *row) say(how string, reply *messages.Reply) {
	r.note("%s: %s", how, strings.Join(supervisortest.Legs(reply), ", "))
}

// state records the capsule's state, if it has changed.
func (r *row) state(how string) {
	synctest.Wait()
	c := r.sys.Capsule(r.id)
	if now := fmt.Sprintf("%s, generation %d", c.State.String(), c.Generation); now != r.last {
		r.last = now
		r.note("%s: %s", how, now)
	}
}

func (r *row) note(format string, args ...any) { fmt.Fprintf(&r.text, format+"\n", args...) }

// pass advances the time, and runs everything that is due until then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
