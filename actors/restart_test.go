package actors

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRestarts(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	type death struct {
		up    time.Duration
		clean bool
		want  time.Duration // -1: no restart
	}
	for name, test := range map[string]struct {
		policy RestartPolicy
		deaths []death
	}{
		"defaults: at once, then doubling, five in a window": {RestartPolicy{}, []death{
			{0, false, 0}, {0, false, 100 * ms}, {0, false, 200 * ms}, {0, false, 400 * ms}, {0, false, 800 * ms}, {0, false, -1},
		}},
		"a stable uptime starts afresh": {RestartPolicy{Budget: 2, Window: 10 * s}, []death{
			{0, false, 0}, {9 * s, false, 100 * ms}, {10 * s, false, 0}, {0, false, 100 * ms}, {0, false, -1},
		}},
		"the window slides over time that it was up": {RestartPolicy{Budget: 2, Window: 10 * s, InitialBackoff: -1}, []death{
			{0, false, 0}, {6 * s, false, 0}, {6 * s, false, 0}, {6 * s, false, 0}, {1 * s, false, -1},
		}},
		"no budget":  {RestartPolicy{Budget: -1}, []death{{time.Hour, false, -1}}},
		"budget one": {RestartPolicy{Budget: 1}, []death{{0, false, 0}, {0, false, -1}}},
		"backoff stops at its maximum": {RestartPolicy{Budget: 9, InitialBackoff: s, MaxBackoff: 3 * s}, []death{
			{0, false, 0}, {0, false, s}, {0, false, 2 * s}, {0, false, 3 * s}, {0, false, 3 * s},
		}},
		"reference": {ReferencePolicy(), []death{
			{0, false, 2 * s}, {0, false, 4 * s}, {0, false, 8 * s}, {0, false, 16 * s}, {0, false, 32 * s}, {0, false, -1},
		}},
		"permanent restarts after a clean end": {RestartPolicy{}, []death{{0, true, 0}}},
		"transient does not":                   {RestartPolicy{Mode: Transient}, []death{{0, false, 0}, {0, true, -1}}},
		"temporary never does":                 {RestartPolicy{Mode: Temporary}, []death{{0, false, -1}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := restarts{policy: test.policy.WithDefaults()}
			for i, d := range test.deaths {
				v := r.died(d.up, d.clean, 0)
				got := v.delay
				if !v.restart {
					got = -1
				}
				if got != d.want {
					t.Errorf("death %d: delay %v, want %v", i+1, got, d.want)
				}
			}
		})
	}
}

func TestRestartsAfterAnOperator(t *testing.T) {
	r := restarts{policy: RestartPolicy{Budget: 1}.WithDefaults()}
	r.died(0, false, 0)
	r.reset()
	if v := r.died(0, false, 0); !v.restart || v.delay != 0 {
		t.Errorf("after a reset: %+v, want a restart at once", v)
	}
}

// Uptime that a caller's deadline ended counts as healthy.
func TestUptimeThatEndsWithoutBlame(t *testing.T) {
	r := restarts{policy: RestartPolicy{Budget: 1, Window: time.Minute}.WithDefaults()}
	r.died(0, false, 0)
	r.ran(time.Minute)
	if v := r.died(0, false, 0); !v.restart || v.attempt != 1 {
		t.Errorf("after a stable uptime: %+v, want a restart at once", v)
	}
}

// Never more restarts in a window than the budget, measured in time up and so
// in any time; delays don't shrink before a stable uptime; and a policy that
// restarts at all goes on restarting a capsule that stays up for a window.
func TestRestartInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := restarts{policy: RestartPolicy{
			Budget: rapid.IntRange(1, 6).Draw(t, "budget"),
			Window: time.Duration(rapid.IntRange(1, 100).Draw(t, "window")) * time.Second,
		}.WithDefaults()}
		var at []time.Duration // of restarts, in time up
		var up, last time.Duration
		for range rapid.IntRange(1, 40).Draw(t, "deaths") {
			uptime := time.Duration(rapid.IntRange(0, 120).Draw(t, "uptime")) * time.Second
			up += uptime
			v := r.died(uptime, false, rapid.Float64Range(0, 0.999).Draw(t, "jitter"))
			if uptime >= r.policy.Window {
				last = 0
				if !v.restart || v.delay != 0 {
					t.Fatalf("after a stable uptime of %v: %+v", uptime, v)
				}
			}
			if !v.restart {
				continue
			}
			if v.delay < last {
				t.Fatalf("delay shrank from %v to %v", last, v.delay)
			}
			if v.delay > r.policy.MaxBackoff {
				t.Fatalf("delay %v over the maximum", v.delay)
			}
			last = v.delay
			if v.delay == r.policy.MaxBackoff || v.delay*5 >= r.policy.MaxBackoff*4 {
				last = r.policy.MaxBackoff * 4 / 5 // only jitter moves it from here on
			}
			at = append(at, up)
			inWindow := 0
			for _, a := range at {
				if up-a < r.policy.Window {
					inWindow++
				}
			}
			if inWindow > r.policy.Budget {
				t.Fatalf("%d restarts within %v, budget %d", inWindow, r.policy.Window, r.policy.Budget)
			}
		}
	})
}

// Where there is to be no delay there is none, however long it goes on.
func TestNoBackoffStaysNone(t *testing.T) {
	r := restarts{policy: RestartPolicy{InitialBackoff: -1, Budget: 1000}.WithDefaults()}
	for n := range 200 {
		if v := r.died(0, false, 0.5); !v.restart || v.delay != 0 {
			t.Fatalf("restart %d: %+v", n+1, v)
		}
	}
}
