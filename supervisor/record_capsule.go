package supervisor

import (
	"fmt"
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

// crashed notes a death, with the record's lock held, as the methods below.
func (c *capsuleRecord) crashed(generation uint64, m *messages.CapsuleCrashed) {
	count(&c.shown.Crashes, m.GetFailure().GetKind())
	if len(c.failures) == failuresKept {
		c.failures = append(c.failures[:0:0], c.failures[1:]...)
	}
	c.failures = append(c.failures, &messages.FailureRecord{
		Generation: generation, Failure: m.GetFailure(), During: m.GetDuring(),
	})
}

// decided notes what followed from the last death.
func (c *capsuleRecord) decided(decision string) {
	n := len(c.failures)
	if n == 0 || c.failures[n-1].GetDecision() != "" {
		return
	}
	last := c.failures[n-1]
	c.failures[n-1] = &messages.FailureRecord{
		Generation: last.Generation, Failure: last.Failure, During: last.During, Decision: decision,
	}
}

// restartDecision is a scheduled restart as a sentence.
func restartDecision(s *messages.RestartScheduled) string {
	when := "restarted at once"
	if d := s.GetDelay().AsDuration(); d > 0 {
		when = fmt.Sprintf("restarted after %v", d.Round(time.Millisecond))
	}
	if s.GetCause() != causeCrash {
		return fmt.Sprintf("%s, not counted: the cause was %s", when, s.GetCause())
	}
	return fmt.Sprintf("%s; %d of %d restarts in %v spent", when, s.GetBudgetSpent(), s.GetBudget(), s.GetWindow().AsDuration())
}

// count adds one to what may be the first entry of a map.
func count(m *map[string]uint64, key string) {
	if *m == nil {
		*m = map[string]uint64{}
	}
	(*m)[key]++
}

// suppressed counts log lines that a capsule's limit kept out, on any goroutine.
func (r *record) suppressed(id string, lines uint64) {
	r.mu.Lock()
	c := r.capsules[id]
	c.shown.LogSuppressed += lines
	c.unreported += lines
	now := time.Now()
	if !c.reported.IsZero() && now.Sub(c.reported) < suppressedEvery {
		r.mu.Unlock()
		return
	}
	e := &messages.Event{
		Path: actors.CapsulePath(id), Generation: c.shown.GetGeneration(),
		What: &messages.Event_LogSuppressed{LogSuppressed: &messages.LogSuppressed{
			Lines: c.unreported, Total: c.shown.GetLogSuppressed(),
		}},
	}
	c.unreported, c.reported = 0, now
	r.mu.Unlock()
	r.observe(e)
}

// hashed notes the hash of the module that a capsule's next instance is made of.
func (r *record) hashed(id, hash string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.capsules[id].shown.ModuleHash = hash
}

// generation is that of a known capsule's last load, in whichever Serve; 0 before
// the first.
func (r *record) generation(id string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.capsules[id].shown.GetGeneration()
}

// activity is where a known capsule's calls are counted.
func (r *record) activity(id string) *actors.Activity {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &r.capsules[id].activity
}

// logTail returns the end of a capsule's log, nil where there is no such capsule.
func (r *record) logTail(id string) *logTail {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.capsules[id]; c != nil {
		return &c.log
	}
	return nil
}

// endLogsLocked tells those who follow a log whether more lines may come.
func (r *record) endLogsLocked() {
	for _, c := range r.capsules {
		c.log.end(r.ended)
	}
}

// detail copies what there is of one capsule; nil where there is no such capsule.
func (r *record) detail(id string) *messages.CapsuleDetail {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.capsules[id]
	if c == nil {
		return nil
	}
	d := &messages.CapsuleDetail{
		Capsule: r.copyLocked(c, time.Now()), Failures: append([]*messages.FailureRecord(nil), c.failures...),
	}
	d.Log, _ = c.log.after(0)
	d.RecentCalls = c.activity.RecentCalls()
	return d
}
