package supervisor_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// ReloadConfig replaces the settings of capsules, and makes new instances of those whose
// settings have changed. A configuration that is invalid, or contradicts the groups,
// changes nothing.
func TestReloadConfig(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "1.0.0", "a", "fixed")
	put(t, dir, "b", "1.0.0", "b", "fixed")
	var next supervisor.Configuration
	var wrong error
	adopted := 0
	s := supervisortest.Start(t, supervisor.Config{
		CapsuleDirs: []string{dir}, AllowUnverified: true,
		CapsuleSettings: map[string]supervisor.CapsuleSettings{"a": {Supervision: manifest.Supervision{Restart: "transient"}}},
		Supervisors:     []supervisor.Group{{Name: "g", Children: []string{"a"}, Significant: []string{"a"}}},
		ReadConfig:      func() (supervisor.Configuration, error) { return next, wrong },
	})
	reload := func(fails error, want ...string) {
		t.Helper()
		before := adopted
		next.Adopted = func() { adopted++ }
		settings, changes, err := s.ReloadConfig(t.Context())
		if !errors.Is(err, fails) {
			t.Fatalf("got %v, want %v", err, fails)
		}
		if err == nil && (adopted != before+1 || len(settings) != 1) || err != nil && adopted != before {
			t.Errorf("adopted %d times, %v", adopted-before, settings)
		}
		diff(t, append([]string{}, want...), lines(changes))
	}
	queue := func(n int) supervisor.CapsuleSettings {
		return supervisor.CapsuleSettings{Supervision: manifest.Supervision{Restart: "transient", Queue: &n}}
	}
	next.Changes = []supervisor.SettingChange{{Key: "k"}}
	next.CapsuleSettings = map[string]supervisor.CapsuleSettings{"a": queue(7)}
	reload(nil, "upgraded a 1.0.0 -> 1.0.0", "unchanged b")
	reload(nil, "unchanged a", "unchanged b")
	next.CapsuleSettings["b"] = supervisor.CapsuleSettings{Env: map[string]string{"k": "v"}}
	reload(nil, "unchanged a", "upgraded b 1.0.0 -> 1.0.0")

	for what, settings := range map[string]map[string]supervisor.CapsuleSettings{
		"an invalid value":                 {"a": queue(-1)},
		"a significant child that is none": {},
	} {
		t.Run(what, func(*testing.T) {
			next.CapsuleSettings = settings
			reload(supervisor.ErrConfig)
		})
	}
	wrong = errors.New("no file")
	reload(supervisor.ErrConfig)
	reload(wrong)
	if changes, err := s.Reload(t.Context()); err != nil || len(changes) != 2 || changes[0].Change != "unchanged" || changes[1].Change != "unchanged" {
		t.Errorf("after configurations that were refused: %v, %v", changes, err)
	}

	if _, _, err := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{dir}}).ReloadConfig(t.Context()); !errors.Is(err, supervisor.ErrConfig) {
		t.Errorf("without ReadConfig: %v", err)
	}
}

// ReloadConfig replaces the topics: those that are durable now, and what they keep. What
// one has kept is delivered also if it is not durable any more.
func TestReloadConfigReplacesTheTopics(t *testing.T) {
	d := newDiary()
	capsule := consumer(func(_ context.Context, c *supervisortest.Call) error {
		d.note(string(c.Payload))
		return nil
	})
	var next supervisor.Configuration
	s := supervisortest.Start(t, supervisor.Config{
		ReadConfig: func() (supervisor.Configuration, error) { return next, nil },
	}, capsule)
	reload := func(fails error, topics ...supervisor.Topic) {
		t.Helper()
		next.Topics = topics
		if _, _, err := s.ReloadConfig(t.Context()); !errors.Is(err, fails) {
			t.Fatalf("got %v, want %v", err, fails)
		}
	}
	publish(t, s, `"before it was durable"`) // an ordinary message, as the topic is an ordinary one
	d.await(t, `"before it was durable"`)
	reload(nil, durableOrders...)
	publish(t, s, `"delivered"`)
	d.await(t, `"delivered"`)
	if err := s.Stop(t.Context(), "consumer"); err != nil {
		t.Fatal(err)
	}
	publish(t, s, `"kept"`)
	reload(nil, supervisor.Topic{Name: "orders", Durable: true, Bytes: 12_345})
	if topic := s.Snapshot().Bus.Durable[1]; topic.Name != "orders" || topic.KeepBytes != 12_345 {
		t.Errorf("%+v", topic)
	}
	reload(supervisor.ErrConfig, durableOrders[0], durableOrders[0])
	reload(nil)
	publish(t, s, `"not durable any more"`)
	if err := s.Start(t.Context(), "consumer"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(d.await(t, `"kept"`), ", "); got != `"before it was durable", "delivered", "kept"` {
		t.Errorf("delivered: %s", got)
	}
}
