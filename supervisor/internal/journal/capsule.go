package journal

import (
	"fmt"
	"slices"
	"time"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/messages"
)

// failuresKept limits the failures that are kept of each capsule.
const failuresKept = 16

// suppressedEvery is the shortest time between two events about one capsule's suppressed
// log lines: without it they could drive all other events out of the journal.
const suppressedEvery = time.Minute

// kindOperator is the kind that counts the restarts of an operator.
const kindOperator = "operator"

// kindStrategy is the kind that counts the restarts because of another capsule's death.
const kindStrategy = "strategy"

// crashed records a death. Its caller holds the journal's lock; so do those of the
// methods below.
func (c *capsule) crashed(generation uint64, m messages.CapsuleCrashed) {
	count(&c.shown.Crashes, m.Failure.Kind)
	if len(c.failures) == failuresKept {
		c.failures = append(c.failures[:0:0], c.failures[1:]...)
	}
	c.failures = append(c.failures, messages.FailureRecord{
		Generation: generation, Failure: m.Failure, During: m.During,
	})
}

// decided records the decision on the last death.
func (c *capsule) decided(decision string) {
	n := len(c.failures)
	if n > 0 && c.failures[n-1].Decision == "" {
		c.failures[n-1].Decision = decision
	}
}

// restartDecision returns a sentence about a scheduled restart.
func restartDecision(s messages.RestartScheduled) string {
	when := "restarted at once"
	if d := s.Delay; d > 0 {
		when = fmt.Sprintf("restarted after %v", d.Round(time.Millisecond))
	}
	if s.CausePath != "" {
		when += fmt.Sprintf(" by %s, %s", s.Supervisor, s.Strategy)
	}
	if s.Cause != messages.CauseCrash {
		return fmt.Sprintf("%s, not counted: the cause was %s", when, s.Cause)
	}
	return fmt.Sprintf("%s; %d of %d restarts in %v spent", when, s.BudgetSpent, s.Budget, s.Window)
}

// count adds one to an entry of a map, and creates the map if it is nil.
func count(m *map[string]uint64, key string) {
	if *m == nil {
		*m = map[string]uint64{}
	}
	(*m)[key]++
}

// Suppressed counts log lines that a capsule's limit suppressed. It may be called on any
// goroutine.
func (j *Journal) Suppressed(id string, lines uint64) {
	j.mu.Lock()
	c := j.capsules[id]
	if c == nil { // it was removed
		j.mu.Unlock()
		return
	}
	c.shown.LogSuppressed += lines
	c.unreported += lines
	now := time.Now()
	if !c.reported.IsZero() && now.Sub(c.reported) < suppressedEvery {
		j.mu.Unlock()
		return
	}
	e := messages.Event{
		Path: actors.CapsulePath(id), Generation: c.shown.Generation,
		Detail: messages.LogSuppressed{
			Lines: c.unreported, Total: c.shown.LogSuppressed,
		},
	}
	c.unreported, c.reported = 0, now
	j.mu.Unlock()
	j.Observe(e)
}

// Hashed records the hash of the module of a capsule's next instance.
func (j *Journal) Hashed(id, hash string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.capsules[id]; c != nil {
		c.shown.ModuleHash = hash
		j.historyLocked(id).hashed(hash)
	}
}

// Generation returns the generation of a known capsule's last load, in any Serve; 0
// before the first.
func (j *Journal) Generation(id string) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.capsules[id].shown.Generation
}

// CallStats returns the counters of a known capsule's calls.
func (j *Journal) CallStats(id string) *actors.CallStats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &j.capsules[id].stats
}

// LogTail returns the end of a capsule's log, nil if there is no such capsule.
func (j *Journal) LogTail(id string) *LogTail {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.capsules[id]; c != nil {
		return &c.log
	}
	return nil
}

// endLogsLocked tells the readers of the logs whether more lines may come.
func (j *Journal) endLogsLocked() {
	for _, c := range j.capsules {
		c.log.end(j.ended)
	}
}

// Detail returns a copy of one capsule's entry; nil if there is no such capsule.
func (j *Journal) Detail(id string) *messages.CapsuleDetail {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.capsules[id]
	if c == nil {
		return nil
	}
	d := &messages.CapsuleDetail{Capsule: j.copyLocked(c, time.Now()), Failures: slices.Clone(c.failures)}
	for n := range d.Failures {
		d.Failures[n].Failure.WasmStack = slices.Clone(d.Failures[n].Failure.WasmStack)
	}
	d.Log, _ = c.log.after(0)
	d.RecentCalls = c.recentCalls()
	d.Versions = slices.Clone(j.historyLocked(id).records)
	return d
}
