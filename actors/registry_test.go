package actors

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/actors/system"
	"github.com/astrid-actors/astrid-actors/messages"
)

const (
	loading  = messages.StateLoading
	starting = messages.StateStarting
	ready    = messages.StateReady
	crashed  = messages.StateCrashed
	stopped  = messages.StateStopped
)

func up(generation uint64, state messages.CapsuleState) *CapsuleUp {
	return &CapsuleUp{
		Ref: refOf("c"), Generation: generation, Session: session(generation), Version: "1.0.0", State: state, AllowPromptInjection: true,
	}
}

func down(generation uint64, state messages.CapsuleState) *CapsuleDown {
	return &CapsuleDown{Ref: refOf("c"), Generation: generation, State: state, Reason: "down"}
}

func session(generation uint64) string { return "session-" + string('0'+rune(generation)) }

// Whatever order the news come in, the latest generation counts, and what has
// ended does not come back.
func TestRegistryNews(t *testing.T) {
	found := func(generation uint64, state messages.CapsuleState, session, version string) *messages.CapsuleFound {
		return &messages.CapsuleFound{Found: true, ID: "c", Generation: generation, State: state, Session: session, Version: version}
	}
	for name, test := range map[string]struct {
		news []any
		want *messages.CapsuleFound
	}{
		"nothing":                 {nil, &messages.CapsuleFound{}},
		"up":                      {[]any{up(1, ready)}, found(1, ready, session(1), "1.0.0")},
		"signalled":               {[]any{up(1, starting), up(1, ready)}, found(1, ready, session(1), "1.0.0")},
		"signalled, told late":    {[]any{up(1, ready), up(1, starting)}, found(1, ready, session(1), "1.0.0")},
		"crashed":                 {[]any{up(1, ready), down(1, crashed)}, found(1, crashed, "", "1.0.0")},
		"crashed, up told late":   {[]any{down(1, crashed), up(1, ready)}, found(1, crashed, "", "")},
		"crashed, then failed":    {[]any{up(1, ready), down(1, crashed), down(1, stopped)}, found(1, stopped, "", "1.0.0")},
		"back":                    {[]any{up(1, ready), down(1, crashed), up(2, ready)}, found(2, ready, session(2), "1.0.0")},
		"back, down told late":    {[]any{up(1, ready), up(2, ready), down(1, crashed)}, found(2, ready, session(2), "1.0.0")},
		"back, up told late":      {[]any{up(2, ready), up(1, ready)}, found(2, ready, session(2), "1.0.0")},
		"never up":                {[]any{down(3, crashed)}, found(3, crashed, "", "")},
		"announced twice":         {[]any{up(2, ready), up(2, ready)}, found(2, ready, session(2), "1.0.0")},
		"loading since a restart": {[]any{down(0, loading), up(4, ready)}, found(4, ready, session(4), "1.0.0")},
	} {
		t.Run(name, func(t *testing.T) {
			inTree(t, func(t *testing.T, w *tree) {
				for _, m := range test.news {
					w.sys.Send(w.sys.PID("root/registry"), m)
				}
				if diff := cmp.Diff(test.want, w.find("c")); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
				for generation := range uint64(5) {
					if want := generation > 0 && test.want.Session == session(generation); w.allowed(session(generation)) != want {
						t.Errorf("session of generation %d: allowed is %v", generation, !want)
					}
				}
			})
		})
	}
}

func TestRegistryChecks(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		poor := up(1, ready)
		poor.Ref, poor.Session, poor.AllowPromptInjection = refOf("poor"), "poor-session", false
		for _, m := range []any{up(1, ready), poor} {
			w.sys.Send(w.sys.PID("root/registry"), m)
		}
		for _, test := range []struct {
			session, capability string
			want                *messages.CapabilityChecked
		}{
			{session(1), CapabilityPromptInjection, &messages.CapabilityChecked{Allowed: true}},
			{"poor-session", CapabilityPromptInjection, &messages.CapabilityChecked{Reason: "not granted by the manifest"}},
			{"nobody's", CapabilityPromptInjection, &messages.CapabilityChecked{Reason: "no capsule has this session now"}},
			{"", CapabilityPromptInjection, &messages.CapabilityChecked{Reason: "no capsule has this session now"}},
			{session(1), "fly", &messages.CapabilityChecked{Reason: "unknown capability"}},
			{session(1), "", &messages.CapabilityChecked{Reason: "unknown capability"}},
		} {
			answer, err := w.sys.Ask(t.Context(), w.sys.PID("root/registry"), &messages.CheckCapability{
				SourceUUID: test.session, Capability: test.capability,
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, answer.(*messages.CapabilityChecked)); diff != "" {
				t.Errorf("%q of %q: -want +got\n%s", test.capability, test.session, diff)
			}
		}
		warnings := strings.Join(w.log(), "")
		if strings.Count(warnings, "unknown capability") != 2 || !strings.Contains(warnings, `"capability":"fly"`) {
			t.Errorf("warnings: %s", warnings)
		}
		answer, err := w.sys.Ask(t.Context(), w.sys.PID("root/registry"), &messages.FindCapsule{Session: session(1)})
		if err != nil || answer.(*messages.CapsuleFound).ID != "c" {
			t.Errorf("found by session: %v, %v", answer, err)
		}
		w.sys.Send(w.sys.PID("root/registry"), &messages.CheckCapability{}) // nobody to answer: no harm
		w.sys.Send(w.sys.PID("root/registry"), "what is this?")
		if last := w.log()[len(w.log())-1]; !strings.Contains(last, "message not understood") {
			t.Errorf("log %q", last)
		}
	})
}

// A registry that fails answers the question that it failed on, and holds those
// that come until it knows every capsule again.
func TestARegistryThatFails(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		w.silent = true
		pid := w.sys.PID("root/registry")
		h := w.start("c", says("1"), func(c *CapsuleConfig) { c.Version.AllowPromptInjection = true })
		synctest.Wait()
		ask := func() (any, error) {
			return w.sys.Ask(context.Background(), pid, &messages.CheckCapability{
				SourceUUID: h.Announced().Session, Capability: CapabilityPromptInjection,
			})
		}
		fail := func() {
			synctest.Wait() // it is to fail on the question, and not on what was announced
			w.sys.Send(pid, &system.Fault{Cause: "a bug", Next: true})
			if answer, err := ask(); !errors.Is(err, system.ErrFailed) {
				t.Errorf("the question that it failed on: %v, %v", answer, err)
			}
		}
		fail()
		answers := make(chan any, 1)
		go func() {
			answer, _ := ask()
			answers <- answer
		}()
		synctest.Wait()
		if len(answers) > 0 {
			t.Error("it answered before it knew")
		}
		w.announce(pid)
		if answer := (<-answers).(*messages.CapabilityChecked); !answer.Allowed {
			t.Errorf("afterwards: %v", answer)
		}

		// What it holds when it fails again, or stops, is answered as well.
		for _, end := range []func(){
			func() { w.sys.Send(pid, &system.Fault{Cause: "another bug"}) },
			func() { w.sys.Stop(pid) },
		} {
			fail()
			go func() {
				_, err := ask()
				answers <- err
			}()
			synctest.Wait()
			end()
			if err, _ := (<-answers).(error); !errors.Is(err, system.ErrNoActor) {
				t.Errorf("held when it ended: %v", err)
			}
			w.announce(pid)
		}
	})
}
