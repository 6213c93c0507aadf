package supervisor_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// Very large limits mean no limit: a sum with one does not overflow, so the limit does
// not expire at once.
func TestForever(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for name, test := range map[string]struct {
		cfg      supervisor.Config
		deadline time.Time // of the trigger
	}{
		"CallTimeout":              {cfg: supervisor.Config{CallTimeout: forever}},
		"TriggerTimeout":           {cfg: supervisor.Config{TriggerTimeout: forever}},
		"ReadyTimeout":             {cfg: supervisor.Config{ReadyTimeout: forever}},
		"StopTimeout":              {cfg: supervisor.Config{StopTimeout: forever}},
		"nearly forever":           {cfg: supervisor.Config{CallTimeout: forever - 1, TriggerTimeout: forever - 1, StopTimeout: forever - 1}},
		"a context's year 9999":    {deadline: time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)},
		"a context's century":      {deadline: time.Now().Add(100 * 365 * 24 * time.Hour)},
		"a context's longest time": {deadline: time.Now().Add(forever)},
	} {
		t.Run(name, func(t *testing.T) {
			test.cfg.CapsuleDirs = capsules("ping", "pong")
			s := supervisortest.Start(t, test.cfg)
			ctx := t.Context()
			if !test.deadline.IsZero() {
				var cancel context.CancelFunc
				ctx, cancel = context.WithDeadline(ctx, test.deadline)
				defer cancel()
			}
			// Ping triggers pong, which triggers ping: triggers from capsules count,
			// too.
			reply, err := s.Trigger(ctx, supervisor.TriggerRequest{Topic: "test.ping"})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := string(reply.Responses), `[{"ping":[{"pong":[]}]}]`; got != want {
				t.Errorf("responses %s, want %s: %v", got, want, reply.Legs)
			}
			if err := s.Restart(t.Context(), "pong"); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
