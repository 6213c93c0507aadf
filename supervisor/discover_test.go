package supervisor_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

func TestRejectedCapsules(t *testing.T) {
	bad := write(t, "[package]\nname = \"bad\"\nversion = \"1\"\n", "fixed")
	s := supervisortest.Start(t, supervisor.Config{CapsuleDirs: append(capsules("echo"), bad)})
	c := s.Capsule("bad")
	if c.State != messages.StateFailed || !strings.Contains(c.LastFailure.Message, "Capsule.toml:3: package.version") {
		t.Errorf("state %s, last failure %q", c.State.String(), c.LastFailure.Message)
	}
	if err := s.Start(context.Background(), "bad"); !errors.Is(err, supervisor.ErrRefused) || !strings.Contains(err.Error(), "Capsule.toml:3") {
		t.Errorf("start: %v", err)
	}
	s.Expect("test.echo", "1", "echo continue 1")
}

// A rejected directory with the name of a running capsule does not affect that capsule.
func TestRejectedNamesake(t *testing.T) {
	namesake := write(t, "[package]\nname = \"echo\"\nversion = \"1\"\n", "fixed")
	for name, start := range map[string]func() *supervisortest.System{
		"another directory's": func() *supervisortest.System {
			return supervisortest.Start(t, supervisor.Config{CapsuleDirs: append([]string{namesake}, capsules("echo")...)})
		},
		"brought along": func() *supervisortest.System {
			return supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{namesake}},
				supervisortest.Func("echo", "test.echo", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
					return supervisortest.JSON(1)
				}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start()
			s.Expect("test.echo", "1", "echo continue 1")
			if err := s.Restart(t.Context(), "echo"); err != nil {
				t.Error(err)
			}
			c := s.Capsule("echo")
			if c.State != messages.StateReady || c.LastFailure != nil {
				t.Errorf("it is %s, last failure %v", c.State.String(), c.LastFailure)
			}
		})
	}
}
