package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
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

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// capsules are the directories of capsules in test/capsules.
func capsules(names ...string) []string {
	dirs := make([]string, len(names))
	for i, name := range names {
		dirs[i] = filepath.Join("..", "test", "capsules", name)
	}
	return dirs
}

// write creates a capsule from a manifest's text and another capsule's module.
func write(t *testing.T, text, module string) string {
	t.Helper()
	dir := t.TempDir()
	if module != "" {
		wasm, err := os.ReadFile(filepath.Join("..", "test", "capsules", module, module+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "module.wasm"), wasm, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "Capsule.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// manifestOf returns the text of a manifest whose module is module.wasm.
func manifestOf(name, more string) string {
	return fmt.Sprintf("[package]\nname = %q\nversion = \"1.0.0\"\n[[component]]\nid = \"main\"\nfile = \"module.wasm\"\n%s", name, more)
}

// pass advances the time in a synctest bubble, and runs everything that is due until
// then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestATriggerAsksWhoeverWantsIt(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules(
		"echo", "fixed", "counter", "empty", "deny", "final", "empty-final", "non-json", "unknown-tag", "guest-error", "trap", "bad-utf8-reason",
	)})
	reply := s.Ask("all.things", `{"a" : 1}`)
	diff(t, []string{`fixed continue {"ok":true}`, `counter continue {"calls":1}`, `echo continue {"a":1}`}, supervisortest.Legs(reply))
	diff(t, `[{"ok":true},{"calls":1},{"a":1}]`, string(reply.Responses))

	for topic, want := range map[string]string{
		"test.empty": "empty " + "empty", "test.deny": "deny denied", "test.final": `final final {"final":true}`,
		"test.empty-final": "empty-final invalid", "test.non-json": "non-json invalid", "test.unknown-tag": `unknown-tag continue {"whole":true}`,
		"test.guest-error": "guest-error failed", "test.trap": "trap crashed", "test.bad-utf8-reason": "bad-utf8-reason denied",
	} {
		s.Expect(topic, "", want)
	}
	s.Expect("nobody.wants.this", "")
	if got := s.Ask("test.deny", "").Legs[0].Reason; got != "not today" {
		t.Errorf("the reason is %q", got)
	}
	if got := string(s.Ask("test.echo", "").Responses); got != "[null]" {
		t.Errorf("no payload is passed on as %s, want null", got)
	}
}

// Promise 3: a crash costs one leg, and the next call is served by a new instance.
func TestACrashedCapsuleComesBack(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("crash-on-x", "counter")})
	before := s.Capsule("crash-on-x")
	s.Expect("test.crash-on-x", `"x"`, "crash-on-x crashed")
	s.Expect("test.crash-on-x", `1`, `crash-on-x continue {"alive":true}`)
	after := s.Capsule("crash-on-x")
	if after.Generation != 2 || after.Session == before.Session || after.Restarts != 1 {
		t.Errorf("generation %d, session %s, %d restarts; before: session %s", after.Generation, after.Session, after.Restarts, before.Session)
	}
	if f := after.LastFailure; f.Kind != "trap" || len(f.WasmStack) == 0 || f.At.IsZero() {
		t.Errorf("last failure %v", f)
	}
	diff(t, []string{"loading 1", "ready 1", "crashed 1 in call: trap", "restart 1/5 after crash", "loading 2", "ready 2"}, s.Timeline("crash-on-x"))
	diff(t, []string{"loading 1", "ready 1"}, s.Timeline("counter"))
}

func TestCallsThatWaitBehindACrashAreServed(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{
		CapsuleDirs: capsules("crash-on-x"), Restart: supervisor.RestartPolicy{InitialBackoff: -1},
	})
	const calls = 50
	outcomes := make(chan string, calls)
	for i := range calls {
		payload := "1"
		if i%10 == 0 {
			payload = `"x"`
		}
		go func() {
			reply, err := s.Trigger(context.Background(), supervisor.TriggerRequest{Topic: "test.crash-on-x", Payload: json.RawMessage(payload)})
			if err != nil {
				outcomes <- err.Error()
				return
			}
			outcomes <- reply.Legs[0].Outcome.String()
		}()
	}
	counts := map[string]int{}
	for range calls {
		counts[<-outcomes]++
	}
	// Each x crashes one instance.
	diff(t, map[string]int{"continue": 45, "crashed": 5}, counts)
}

// Promise 4: a cycle of triggers is answered at once, and no capsule crashes.
func TestCapsulesThatTriggerEachOtherAreAnswered(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("ping", "pong")})
	began := time.Now()
	reply := s.Ask("test.ping", `1`)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	diff(t, []string{`ping continue {"ping":[{"pong":[]}]}`}, supervisortest.Legs(reply))
	for _, id := range []string{"ping", "pong"} {
		diff(t, []string{"loading 1", "ready 1"}, s.Timeline(id))
	}
}

func TestABudgetThatIsSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: capsules("crash-on-x", "echo"),
			Restart:     supervisor.RestartPolicy{Budget: 2},
		})
		for range 2 {
			s.Expect("test.crash-on-x", `"x"`, "crash-on-x crashed")
			synctest.Wait()
			pass(time.Second)
		}
		s.Expect("test.crash-on-x", `"x"`, "crash-on-x crashed")
		synctest.Wait()
		c := s.Capsule("crash-on-x")
		if c.State != messages.StateFailed || c.Session != "" {
			t.Errorf("state %s, session %q", c.State.String(), c.Session)
		}
		reply := s.Ask("test.crash-on-x", `1`)
		diff(t, []string{"crash-on-x unavailable"}, supervisortest.Legs(reply))
		if got := reply.Legs[0].Reason; got != "restart budget spent: 2 in 1m0s" {
			t.Errorf("reason %q", got)
		}
		s.Expect("test.echo", `7`, `echo continue 7`)

		// A start by an operator resets the budget.
		if err := s.Start(context.Background(), "crash-on-x"); err != nil {
			t.Fatal(err)
		}
		s.Expect("test.crash-on-x", `1`, `crash-on-x continue {"alive":true}`)
		diff(t, []string{
			"loading 1", "ready 1", "crashed 1 in call: trap", "restart 1/2 after crash",
			"loading 2", "ready 2", "crashed 2 in call: trap", "restart 2/2 after crash",
			"loading 3", "ready 3", "crashed 3 in call: trap", "failed: restart budget spent: 2 in 1m0s",
			"restart 0/2 after an operator's command", "loading 4", "ready 4",
		}, s.Timeline("crash-on-x"))
	})
}

// During a backoff no call waits, and the delay is the policy's.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.Start(t, supervisor.Config{
			CapsuleDirs: capsules("crash-on-x"),
			Restart:     supervisor.RestartPolicy{InitialBackoff: time.Minute, MaxBackoff: time.Hour, Budget: 10},
		})
		s.Ask("test.crash-on-x", `"x"`) // the first restart is immediate
		s.Ask("test.crash-on-x", `"x"`)
		synctest.Wait()
		c := s.Capsule("crash-on-x")
		if c.State != messages.StateCrashed || c.RestartAt.IsZero() {
			t.Fatalf("state %s, restart at %v", c.State.String(), c.RestartAt)
		}
		delay := time.Until(c.RestartAt)
		if delay < 48*time.Second || delay > time.Minute {
			t.Errorf("delay %v, want 48 s to 1 min", delay)
		}
		reply := s.Ask("test.crash-on-x", `1`)
		diff(t, []string{"crash-on-x unavailable"}, supervisortest.Legs(reply))
		if !strings.Contains(reply.Legs[0].Reason, "restarts in") {
			t.Errorf("reason %q", reply.Legs[0].Reason)
		}
		pass(delay - time.Millisecond)
		if got := s.Capsule("crash-on-x").Generation; got != 2 {
			t.Errorf("generation %d too early", got)
		}
		pass(time.Millisecond)
		s.Expect("test.crash-on-x", `1`, `crash-on-x continue {"alive":true}`)
	})
}

// A load that fails is tried again under the same policy.
func TestALoadThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervisortest.New(t, supervisor.Config{}, worker("late"))
		fault := s.Inject("late", supervisortest.Fault{At: supervisortest.AtLoad, Do: supervisortest.Fail("not there"), Times: -1})
		s.Launch()
		if c := s.AwaitState("late", messages.StateFailed); c.LastFailure.Message != "not there" {
			t.Errorf("last failure %q", c.LastFailure.Message)
		}
		story := s.Timeline("late")
		if n := len(story); n != 18 || story[n-1] != "failed: restart budget spent: 5 in 1m0s" {
			t.Errorf("%d events: %v", n, story)
		}
		if err := s.Start(context.Background(), "late"); !errors.Is(err, supervisor.ErrNotUp) {
			t.Errorf("Start of what does not load: %v", err)
		}
		fault.Withdraw() // while the next restart is due
		pass(time.Minute)
		s.Expect("ask.late", "", `late continue "late"`)
	})
}

// A missing or invalid module is not tried again until an operator starts the capsule: a
// restart could not fix it.
func TestALoadThatNoRestartHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := write(t, manifestOf("late", "[[interceptor]]\nevent = \"late\"\naction = \"ask\"\n"), "")
		s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{dir}, AllowUnverified: true})
		if c := s.Capsule("late"); c.State != messages.StateFailed || c.BudgetSpent != 0 || !strings.Contains(c.LastFailure.Message, "module.wasm") {
			t.Errorf("state %s, %d restarts spent, last failure %q", c.State, c.BudgetSpent, c.LastFailure.Message)
		}
		const decision = "it can't load until its files change: start it again then"
		diff(t, []string{"loading 1", "crashed 1 in load: bad_module", "failed: " + decision}, s.Timeline("late"))
		reply := s.Ask("late", "")
		diff(t, []string{"late unavailable"}, supervisortest.Legs(reply))
		diff(t, decision, reply.Legs[0].Reason)

		file := filepath.Join(dir, "module.wasm")
		if err := os.WriteFile(file, []byte("no module"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(context.Background(), "late"); !errors.Is(err, supervisor.ErrNotUp) {
			t.Errorf("Start of what does not load: %v", err)
		}
		pass(time.Hour)
		if got := s.Capsule("late").Generation; got != 2 {
			t.Errorf("generation %d of what can't load", got)
		}
		wasm, err := os.ReadFile(filepath.Join(capsules("fixed")[0], "fixed.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, wasm, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(context.Background(), "late"); err != nil {
			t.Error(err)
		}
		s.Expect("late", "", `late continue {"ok":true}`)
	})
}

func TestCommands(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("counter", "echo")})
	ctx := context.Background()
	s.Ask("test.counter", "1")
	if err := s.Restart(ctx, "counter"); err != nil {
		t.Fatal(err)
	}
	s.Expect("test.counter", "1", `counter continue {"calls":1}`)
	if err := s.Kill(ctx, "counter"); err != nil {
		t.Fatal(err)
	}
	s.AwaitReady("counter", 3)
	if err := s.Stop(ctx, "counter"); err != nil {
		t.Fatal(err)
	}
	reply := s.Ask("test.counter", "1")
	diff(t, []string{"counter unavailable"}, supervisortest.Legs(reply))
	if got := reply.Legs[0].Reason; got != "stopped by an operator" {
		t.Errorf("reason %q", got)
	}
	if err := s.Kill(ctx, "counter"); !errors.Is(err, supervisor.ErrRefused) || !strings.Contains(err.Error(), `capsule "counter"`) {
		t.Errorf("kill of a stopped capsule: %v", err)
	}
	if err := s.Stop(ctx, "counter"); err != nil {
		t.Errorf("stop of a stopped capsule: %v", err)
	}
	generation := s.Capsule("echo").Generation
	if err := s.Start(ctx, "echo"); err != nil || s.Capsule("echo").Generation != generation {
		t.Errorf("start of a running capsule: %v; generation %d", err, s.Capsule("echo").Generation)
	}
	if err := s.Start(ctx, "counter"); err != nil {
		t.Fatal(err)
	}
	s.Expect("test.counter", "1", `counter continue {"calls":1}`)
	for verb, do := range map[string]func(context.Context, string) error{"start": s.Start, "stop": s.Stop, "restart": s.Restart, "kill": s.Kill} {
		if err := do(ctx, "nobody"); !errors.Is(err, supervisor.ErrNotFound) {
			t.Errorf("%s of nobody: %v", verb, err)
		}
	}
	diff(t, []string{
		"loading 1", "ready 1", "upgraded 2: 1.0.0 -> 1.0.0",
		"crashed 2 in killed: cancelled", "restart 1/5 after crash", "loading 3", "ready 3",
		"stopping: an operator's command", "stopped: stopped by an operator",
		"restart 0/5 after an operator's command", "loading 4", "ready 4",
	}, s.Timeline("counter"))
	if got := s.Capsule("counter").Restarts; got != 1 {
		t.Errorf("%d restarts, want the one after the kill", got)
	}
}

// A spinning guest can be stopped by an operator, by the capsule's limit, and by the
// trigger's deadline.
func TestASpinningGuestIsStopped(t *testing.T) {
	slow := write(t, manifestOf("limited", "[[interceptor]]\nevent = \"limited\"\naction = \"ask\"\n[supervision]\ncall_timeout = \"50ms\"\nstop_timeout = \"20ms\"\n"), "spin")
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: append(capsules("spin", "echo"), slow), AllowUnverified: true, StopTimeout: 20 * time.Millisecond})
	ctx := context.Background()

	reply := s.Ask("limited", "")
	diff(t, []string{"limited crashed"}, supervisortest.Legs(reply))
	if got := reply.Legs[0].Reason; !strings.Contains(got, "the capsule's limit of 50ms passed") {
		t.Errorf("reason %q", got)
	}

	deadline, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	reply, err := s.Trigger(deadline, supervisor.TriggerRequest{Topic: "test.spin"})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, []string{"spin timeout"}, supervisortest.Legs(reply))
	s.AwaitReady("spin", 2)

	// One call runs and one waits. A kill crashes the first, and the next instance
	// serves the other.
	answers := askTwice(s, "spin")
	for generation := range uint64(2) {
		for s.Capsule("spin").Busy == 0 { // or the kill could arrive before its call
			runtime.Gosched()
		}
		if err := s.Kill(ctx, "spin"); err != nil {
			t.Fatal(err)
		}
		diff(t, []string{"spin crashed"}, <-answers)
		s.AwaitReady("spin", generation+3)
	}

	answers = askTwice(s, "spin")
	if err := s.Stop(ctx, "spin"); err != nil {
		t.Fatal(err)
	}
	diff(t, []string{"spin unavailable"}, <-answers)
	diff(t, []string{"spin crashed"}, <-answers)
	s.Expect("test.echo", "1", "echo continue 1")
}

// askTwice invokes a capsule twice, and returns when one call runs and the other waits.
// The channel yields the answers as they come.
func askTwice(s *supervisortest.System, id string) (answers <-chan []string) {
	both := make(chan []string, 2)
	before := s.Snapshot().OpenTriggers
	for range 2 {
		answer := s.Begin("test."+id, "")
		go func() { both <- supervisortest.Legs(answer()) }()
	}
	for s.Capsule(id).Busy == 0 || s.Capsule(id).Queue != 1 || s.Snapshot().OpenTriggers < before+2 {
		runtime.Gosched()
	}
	return both
}

func TestRunLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dirs []string
		for _, mode := range []string{"permanent", "transient", "temporary"} {
			for _, module := range []string{"run-returns", "run-traps"} {
				dirs = append(dirs, write(t, manifestOf(mode+"-"+module, fmt.Sprintf("[supervision]\nrestart = %q\nbudget = 1\n", mode)), module))
			}
		}
		s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: append(dirs, capsules("run-loop-ready", "run-silent")...), AllowUnverified: true})
		pass(time.Minute)
		states := map[string]string{}
		for _, c := range s.Snapshot().Capsules {
			states[c.ID] = fmt.Sprintf("%s, generation %d", c.State.String(), c.Generation)
		}
		diff(t, map[string]string{
			"permanent-run-returns": "failed, generation 2", "permanent-run-traps": "failed, generation 2",
			"transient-run-returns": "stopped, generation 1", "transient-run-traps": "failed, generation 2",
			"temporary-run-returns": "stopped, generation 1", "temporary-run-traps": "failed, generation 1",
			"run-loop-ready": "ready, generation 1", "run-silent": "starting, generation 1",
		}, states)
		s.Expect("test.run-loop-ready", "", "run-loop-ready unavailable")
		diff(t, []string{"loading 1", "starting 1", "not ready in time 1"}, s.Timeline("run-silent"))
		if err := s.Stop(context.Background(), "run-loop-ready"); err != nil {
			t.Error(err)
		}
	})
}

func TestStartOrder(t *testing.T) {
	var dirs []string
	for name, more := range map[string]string{
		"z-uplink": "[capabilities]\nuplink = true\n",
		"b-base":   "[exports.astrid]\nbase = \"1.2.0\"\n",
		"a-top":    "[imports.astrid]\nmiddle = \"^1\"\n",
		"c-middle": "[imports.astrid]\nbase = \"^1.1\"\n[exports.astrid]\nmiddle = \"1.0.0\"\n",
	} {
		dirs = append(dirs, write(t, manifestOf(name, more), "fixed"))
	}
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: dirs, AllowUnverified: true})
	var got []string
	last := s.Snapshot().Sequence
	for e := range s.Events(context.Background(), 0) {
		if e.Name() == "capsule_loading" || e.Name() == "capsule_ready" {
			got = append(got, strings.TrimPrefix(e.Path, "capsules/")+" "+supervisortest.Line(e))
		}
		if e.Sequence == last {
			break
		}
	}
	diff(t, []string{
		"z-uplink loading 1", "z-uplink ready 1", "b-base loading 1", "b-base ready 1",
		"c-middle loading 1", "c-middle ready 1", "a-top loading 1", "a-top ready 1",
	}, got)
}

func TestACallerIsSeenByTheLegsOnly(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("caller", "fan-out")})
	ctx := context.Background()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	reply, err := s.Trigger(ctx, supervisor.TriggerRequest{Topic: "test.caller", Caller: &supervisor.Caller{
		Principal: "ada", SourceID: "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", Timestamp: at,
	}})
	if err != nil {
		t.Fatal(err)
	}
	const ada = `{"principal":"ada","source_id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","timestamp":"2026-01-02T03:04:05+00:00"}`
	diff(t, "["+ada+"]", string(reply.Responses))
	diff(t, "[{}]", string(s.Ask("test.caller", "").Responses))
	// A trigger that a capsule sends carries no caller, even if the capsule was invoked
	// with one.
	reply, err = s.Trigger(ctx, supervisor.TriggerRequest{
		Topic: "test.fan-out", Payload: json.RawMessage(`{"hook":"test.caller","payload":1}`), Caller: &supervisor.Caller{Principal: "ada"},
	})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "[[{}]]", string(reply.Responses))
}

func TestTriggersThatAreRefused(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("echo")})
	big, _ := json.Marshal(strings.Repeat("x", supervisor.MaxPayload))
	for name, r := range map[string]supervisor.TriggerRequest{
		"the topic is empty":            {},
		"has an empty segment":          {Topic: "a..b"},
		"the payload is not JSON":       {Topic: "test.echo", Payload: json.RawMessage("{")},
		"invalid UTF-8":                 {Topic: "test.echo", Payload: json.RawMessage("\"\xff\"")},
		"over the limit of 1048576":     {Topic: "test.echo", Payload: big},
		`principal "a b" holds ' '`:     {Topic: "test.echo", Caller: &supervisor.Caller{Principal: "a b"}},
		`source id "1" is not a UUID`:   {Topic: "test.echo", Caller: &supervisor.Caller{SourceID: "1"}},
		`topic "test.echo." has an emp`: {Topic: "test.echo."},
	} {
		_, err := s.Trigger(context.Background(), r)
		if !errors.Is(err, supervisor.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
	if got := s.Capsule("echo").Calls; got != 0 {
		t.Errorf("%d calls were made", got)
	}
}

// echoGo is a guest written in Go.
type echoGo struct{ capsulehost.HostAPI }

func (g echoGo) Invoke(_ context.Context, action string, payload []byte) (capsulehost.Result, error) {
	return capsulehost.Result{Data: fmt.Appendf(nil, `{%q:%s,"greeting":%q}`, action, payload, g.Config("greeting"))}, nil
}
func (echoGo) Run(context.Context) error   { return nil }
func (echoGo) RunLoop() bool               { return false }
func (echoGo) MemoryBytes() uint64         { return 0 }
func (echoGo) Close(context.Context) error { return nil }

// alone is a host API without services.
type alone struct{ capsulehost.HostAPI }

func (alone) Services() *capsulehost.Services { return nil }

func TestCapsulesThatTheProgramBringsAlong(t *testing.T) {
	wasm, err := os.ReadFile(filepath.Join(capsules("fixed")[0], "fixed.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	const interceptor = "[[interceptor]]\nevent = \"ask\"\naction = \"tell\"\n"
	brought := []supervisor.Capsule{
		{Manifest: manifestOf("bytes", interceptor), Module: wasm},
		{Manifest: manifestOf("go", interceptor+"[env.greeting]\ntype = \"string\"\ndefault = \"hello\"\n"), Load: func(_ context.Context, s capsulehost.HostAPI) (supervisor.Guest, error) {
			return echoGo{s}, nil
		}},
		{Manifest: manifestOf("echo", interceptor), Module: wasm},
	}
	var wrapped atomic.Int64
	s := supervisortest.Start(t, supervisor.Config{
		CapsuleDirs: capsules("echo", "counter"), Capsules: brought,
		WrapLoad: func(_ string, load supervisor.LoadFunc) supervisor.LoadFunc {
			return func(ctx context.Context, s capsulehost.HostAPI) (supervisor.Guest, error) {
				wrapped.Add(1)
				return load(ctx, alone{s})
			}
		},
	})
	s.Expect("ask", "1", `bytes continue {"ok":true}`, `echo continue {"ok":true}`, `go continue {"greeting":"hello","tell":1}`)
	s.Expect("test.echo", "")
	s.Expect("test.counter", "1", `counter continue {"calls":1}`)
	if got := wrapped.Load(); got != 4 {
		t.Errorf("%d loads went through WrapLoad, want 4", got)
	}

	_, err = supervisor.New(supervisor.Config{Home: t.TempDir(), Capsules: append(brought[:1:1], brought[0], supervisor.Capsule{Manifest: "[package]\nname = \"x\"\n"})})
	for _, want := range []string{
		"Capsules[1] (bytes): another one has the same name", "Capsules[2] (x) needs either a Module or a Load", "Capsules[2]:1: package.version",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestConfigProblemsAreNamedAtOnce(t *testing.T) {
	_, err := supervisor.New(supervisor.Config{
		Home: t.TempDir(), Principal: "a b", CallTimeout: -1, Queue: -1, MemoryLimitPages: 1 << 20,
		Restart: supervisor.RestartPolicy{Mode: "always", Window: -1, MaxBackoff: -1},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`principal "a b"`, "CallTimeout", "Queue", "MemoryLimitPages", `Restart.Mode is "always"`, "Restart.Window", "Restart.MaxBackoff"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

// Shutdown refuses new triggers, answers waiting calls, and gives running ones time.
func TestShutdown(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("slow", "spin", "run-loop-ready"), StopTimeout: time.Second})
	slow, spin := askTwice(s, "slow"), askTwice(s, "spin")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got := slices.Concat(<-slow, <-slow, <-spin, <-spin)
	slices.Sort(got)
	diff(t, []string{`slow continue {"slow":true}`, "slow unavailable", "spin crashed", "spin unavailable"}, got)
	if _, err := s.Trigger(context.Background(), supervisor.TriggerRequest{Topic: "test.slow"}); !errors.Is(err, supervisor.ErrNotServing) {
		t.Errorf("a trigger after the end: %v", err)
	}
	for _, c := range s.Snapshot().Capsules {
		if c.State != messages.StateStopped {
			t.Errorf("%s is %s", c.ID, c.State.String())
		}
	}
}

func TestServeAgain(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("counter", "trap")})
	if err := s.Serve(context.Background()); err == nil || !strings.Contains(err.Error(), "serving already") {
		t.Errorf("Serve while serving: %v", err)
	}
	s.Ask("test.counter", "1")
	s.Ask("test.trap", "1")
	if spent := s.AwaitReady("trap", 2).BudgetSpent; spent != 1 {
		t.Errorf("%d of its restarts are spent, want 1", spent)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- s.Serve(ctx) }()
	for s.Capsule("counter").State != messages.StateReady {
		runtime.Gosched()
	}
	s.Expect("test.counter", "1", `counter continue {"calls":1}`)
	if spent := s.AwaitReady("trap", 3).BudgetSpent; spent != 0 {
		t.Errorf("served again, %d of its restarts are spent, and its budget is whole", spent)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestEvents(t *testing.T) {
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: capsules("counter"), EventsKept: 4})
	for range 4 {
		if err := s.Restart(context.Background(), "counter"); err != nil {
			t.Fatal(err)
		}
	}
	last := s.Snapshot().Sequence
	var got []uint64
	for e := range s.Events(context.Background(), 2) {
		got = append(got, e.Sequence)
		if lost, ok := e.Detail.(messages.EventsLost); ok && lost.Count != last-4-2 {
			t.Errorf("%d events lost, want %d", lost.Count, last-4-2)
		}
		if e.Sequence == last {
			break
		}
	}
	diff(t, []uint64{last - 4, last - 3, last - 2, last - 1, last}, got)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range s.Events(ctx, last) {
		t.Error("an event after the last one")
	}
}

// The size of the events of a capsule that crashes forever does not grow.
func TestEventsDoNotGrow(t *testing.T) {
	const crashes = 300
	s := supervisortest.Start(t, supervisor.Config{
		CapsuleDirs: capsules("trap"), Restart: supervisor.RestartPolicy{Budget: 10 * crashes, InitialBackoff: -1},
	})
	for range crashes {
		s.Ask("test.trap", "1")
	}
	s.AwaitReady("trap", crashes+1)
	last := s.Snapshot()
	if spent := s.Capsule("trap").BudgetSpent; spent != crashes {
		t.Errorf("%d of its restarts are spent, want %d", spent, crashes)
	}
	for e := range s.Events(t.Context(), 0) {
		text, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 2000 {
			t.Fatalf("event %d has %d bytes: %.200s", e.Sequence, len(text), text)
		}
		if e.Sequence >= last.Sequence {
			break
		}
	}
}
