package faults

import (
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

// setting is a restart policy, and the time after which a capsule that is restarted
// under it is up again, for any jitter and any number of earlier restarts.
type setting struct {
	name   string
	policy supervisor.RestartPolicy
	settle time.Duration
}

func settings() []setting {
	return []setting{
		{"default", supervisor.RestartPolicy{}, time.Second},
		{"reference", supervisor.ReferencePolicy(), 4400 * time.Millisecond},
		{"budget 0", supervisor.RestartPolicy{Budget: -1}, time.Second},
		{"budget 1", supervisor.RestartPolicy{Budget: 1}, time.Second},
		{"no backoff", supervisor.RestartPolicy{InitialBackoff: -1}, time.Second},
		{"long backoff", supervisor.RestartPolicy{
			InitialBackoff: time.Hour, MaxBackoff: 2 * time.Hour, Window: 24 * time.Hour, EagerBackoff: true,
		}, 130 * time.Minute},
	}
}
