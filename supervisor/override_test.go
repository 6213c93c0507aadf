package supervisor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// The operator's settings of a capsule win over its manifest, key by key.
func TestTheOperatorOverridesAManifest(t *testing.T) {
	dir := write(t, manifestOf("close", "[[interceptor]]\nevent = \"close\"\naction = \"ask\"\n"+
		"[env.KEY]\ndefault = \"manifest\"\n[supervision]\nqueue = 9\nbudget = 2\ncall_timeout = \"7s\"\n"), "trap")
	queue, none, timeout := 3, 0, 8*time.Second
	s := supervisortest.Start(t, supervisor.Config{
		CapsuleDirs: []string{dir}, AllowUnverified: true, CallTimeout: time.Second,
		CapsuleSettings: map[string]supervisor.CapsuleSettings{"close": {
			Supervision: manifest.Supervision{Queue: &queue, Budget: &none, StopTimeout: &timeout},
			Env:         map[string]string{"KEY": "operator", "UNDECLARED": "1"},
		}},
	})
	d, err := s.Supervisor.Capsule("close")
	if err != nil {
		t.Fatal(err)
	}
	if d.QueueLimit != 3 || d.StopTimeout != timeout || d.CallTimeout != 7*time.Second || d.Capsule.Budget != 0 {
		t.Errorf("queue %d, stop %v, call %v, budget %d; want 3 and 8s of the operator, 7s of the manifest, and 0",
			d.QueueLimit, d.StopTimeout, d.CallTimeout, d.Capsule.Budget)
	}
	s.Ask("close", "1")
	s.AwaitState("close", messages.StateFailed) // the first crash is the last
}

// What can't be a setting is refused, whoever makes the Config.
func TestSettingsThatAreRefused(t *testing.T) {
	negative, budget, queue := -time.Second, -1, 0
	_, err := supervisor.New(supervisor.Config{CapsuleSettings: map[string]supervisor.CapsuleSettings{"a": {
		Supervision: manifest.Supervision{CallTimeout: &negative, Budget: &budget, Queue: &queue, Restart: "often"},
		Env:         map[string]string{manifest.SocketVariable: "x"},
	}}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`CapsuleSettings["a"].Supervision.CallTimeout is -1s`, `Supervision.Budget is -1`, `Supervision.Queue is 0`,
		`Supervision.Restart is "often"`, `Env is ASTRID_SOCKET_PATH`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in:\n%v", want, err)
		}
	}
}
