package journal

import (
	"fmt"
	"slices"
	"time"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/messages"
)

// failuresKept is how many of each capsule's last failures are kept.
const failuresKept = 16

// suppressedEvery is how often at most one capsule makes an event of suppressed
// log lines: it could else drive all other events out of what is kept.
const suppressedEvery = time.Minute

// kindOperator is the kind under which an operator's restarts are counted.
const kindOperator = "operator"

// crashed records a death, with the journal's lock held, as the methods below.
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

// restartDecision is a scheduled restart as a sentence.
func restartDecision(s messages.RestartScheduled) string {
	when := "restarted at once"
	if d := s.Delay; d > 0 {
		when = fmt.Sprintf("restarted after %v", d.Round(time.Millisecond))
	}
	if s.Cause != messages.CauseCrash {
		return fmt.Sprintf("%s, not counted: the cause was %s", when, s.Cause)
	}
	return fmt.Sprintf("%s; %d of %d restarts in %v spent", when, s.BudgetSpent, s.Budget, s.Window)
}

// count adds one to what may be the first entry of a map.
func count(m *map[string]uint64, key string) {
	if *m == nil {
		*m = map[string]uint64{}
	}
	(*m)[key]++
}

// Suppressed counts log lines that a capsule's limit kept out, on any goroutine.
func (j *Journal) Suppressed(id string, lines uint64) {
	j.mu.Lock()
	c := j.capsules[id]
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

// Hashed records the hash of the module that a capsule's next instance is made of.
func (j *Journal) Hashed(id, hash string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.capsules[id].shown.ModuleHash = hash
}

// Generation is that of a known capsule's last load, in whichever Serve; 0 before
// the first.
func (j *Journal) Generation(id string) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.capsules[id].shown.Generation
}

// CallStats is where a known capsule's calls are counted.
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

// endLogsLocked tells those who follow a log whether more lines may come.
func (j *Journal) endLogsLocked() {
	for _, c := range j.capsules {
		c.log.end(j.ended)
	}
}

// Detail copies the entry of one capsule; nil if there is no such capsule.
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
	d.RecentCalls = c.stats.RecentCalls()
	return d
}
