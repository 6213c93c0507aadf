package web

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/messages"
)

func TestDiagnose(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const minute = time.Minute
	died := func(d time.Duration) *messages.Failure {
		return &messages.Failure{Kind: "trap", Message: "unreachable", At: ago(d)}
	}
	of := &facts{queue: 16, call: time.Minute, stop: 10 * time.Second}
	settings := messages.Settings{ReadyTimeout: 500 * time.Millisecond, Queue: 256}
	for _, test := range []struct {
		name    string
		capsule *messages.Capsule
		of      *facts
		want    *attention
	}{
		{"well", &messages.Capsule{State: ready}, of, nil},
		{"loading", &messages.Capsule{State: loading, Since: ago(time.Hour)}, of, nil},
		{"stopped", &messages.Capsule{State: stopped}, of, nil},
		{
			"failed",
			&messages.Capsule{State: failed, Reason: "restart budget spent: 5 in 1m0s", LastFailure: died(0)}, of,
			&attention{
				rank: 0, Trouble: "failed", Grade: "bad", Cause: "trap: unreachable", Decision: "give up: restart budget spent: 5 in 1m0s",
				Next: "Nothing: it stays down until it is started.",
			},
		},
		{
			"rejected",
			&messages.Capsule{State: failed, LastFailure: &messages.Failure{Kind: "bad_manifest", Message: "no name"}}, of,
			&attention{
				rank: 0, Trouble: "rejected", Grade: "bad", Cause: "bad_manifest: no name", Decision: "it is not started",
				Next: "Nothing: mend it, and reload.",
			},
		},
		{
			"waits for its restart",
			&messages.Capsule{State: crashed, Generation: 3, LastFailure: died(0), RestartAt: ago(-4 * time.Second), BudgetSpent: 2, Budget: 5, Window: minute}, of,
			&attention{
				rank: 1, Trouble: "crashed", Grade: "bad", Cause: "trap: unreachable", Decision: "restart it; 2 of 5 restarts in 1 min spent",
				Next: "Generation 4 starts", Due: now.Add(4 * time.Second),
			},
		},
		{"one crash is no loop", &messages.Capsule{State: ready, LastFailure: died(time.Second), BudgetSpent: 1, Budget: 5, Window: minute}, of, nil},
		{"a loop that is over", &messages.Capsule{State: ready, LastFailure: died(time.Minute), BudgetSpent: 4, Budget: 5, Window: minute}, of, nil},
		{
			"a loop",
			&messages.Capsule{State: ready, LastFailure: died(59 * time.Second), BudgetSpent: 2, Budget: 5, Window: minute}, of,
			&attention{
				rank: 2, Trouble: "crash loop", Grade: "warn", Cause: "trap: unreachable",
				Decision: "restarted each time; 2 of 5 restarts in 1 min spent", Next: "After the next crash it is restarted, later each time.",
			},
		},
		{
			"the last restart",
			&messages.Capsule{State: loading, LastFailure: died(time.Second), BudgetSpent: 5, Budget: 5, Window: minute}, of,
			&attention{
				rank: 2, Trouble: "crash loop", Grade: "bad", Cause: "trap: unreachable",
				Decision: "restarted each time; 5 of 5 restarts in 1 min spent", Next: "The next crash is the last: then it is failed.",
			},
		},
		{"starting, in time", &messages.Capsule{State: starting, Since: ago(400 * time.Millisecond)}, of, nil},
		{
			"starting, past its readiness",
			&messages.Capsule{State: starting, Since: ago(600 * time.Millisecond)}, of,
			&attention{
				rank: 3, Trouble: "not ready", Grade: "warn", Cause: "Its run loop has not signalled; others have waited 500 ms for it",
				Decision: "the others start without it", Next: "It is ready as soon as it signals, however late; until then no trigger reaches it.",
			},
		},
		{"stopping, in time", &messages.Capsule{State: stopping, Since: ago(9 * time.Second)}, of, nil},
		{
			"stopping for too long",
			&messages.Capsule{State: stopping, Since: ago(11 * time.Second)}, of,
			&attention{
				rank: 3, Trouble: "stopping", Grade: "warn", Cause: "It has not ended in 10 s",
				Decision: "its running call was interrupted", Next: "It is stopped when its guest returns.",
			},
		},
		{"a queue with room", &messages.Capsule{State: ready, Queue: 12}, of, nil},
		{
			"a queue that fills",
			&messages.Capsule{State: ready, Queue: 13}, of,
			&attention{
				rank: 2, Trouble: "queue filling", Grade: "warn", Cause: "13 of 16 calls wait",
				Decision: "further calls are answered “overloaded” at once",
				Next:     "The call is ended with its trigger's deadline, or as a crash after 1 min.",
			},
		},
		{
			"a full queue, behind a call without a limit",
			&messages.Capsule{State: ready, Queue: 256, Busy: 3 * time.Second}, &facts{},
			&attention{
				rank: 2, Trouble: "queue full", Grade: "bad", Cause: "256 of 256 calls wait, behind one that has run for 3 s",
				Decision: "further calls are answered “overloaded” at once", Next: "Nothing ends it: it has no limit.",
			},
		},
		{"a call", &messages.Capsule{State: ready, Busy: 9 * time.Second}, of, nil},
		{
			"a long call",
			&messages.Capsule{State: ready, Busy: 10 * time.Second, Queue: 1}, of,
			&attention{
				rank: 3, Trouble: "long call", Grade: "warn", Cause: "One call has run for 10 s; 1 waits behind it", Decision: "none yet",
				Next: "The call is ended with its trigger's deadline, or as a crash after 1 min.",
			},
		},
		{
			"little memory left",
			&messages.Capsule{State: ready, MemoryBytes: 60 << 20, MemoryLimitBytes: 64 << 20}, of,
			&attention{
				rank: 4, Trouble: "memory", Grade: "warn", Cause: "Its memory uses 60 MiB of 64 MiB", Decision: "none yet",
				Next: "An allocation beyond the limit is a crash.",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := diagnose(test.capsule, test.of, settings, now)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(attention{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if calm(test.capsule, now) && got != nil {
				t.Error("calm says that nothing is wrong")
			}
		})
	}
}
