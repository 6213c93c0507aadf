package journal

import (
	"fmt"
	"slices"
	"time"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/messages"
)

// idleReason explains why a pool without an instance is Ready.
const idleReason = "idle: the first call starts an instance"

// recentKept limits the recent calls that are shown of a pool.
const recentKept = 32

func (c *capsule) isPool() bool { return c.shown.InstancesMax > 0 }

// whole is the capsule that an instance belongs to: failures and restarts are its.
func (c *capsule) whole() *capsule {
	if c.parent != nil {
		return c.parent
	}
	return c
}

// instance returns one instance of a pool. Its events are followed as those of a capsule.
func (c *capsule) instance(number int) *capsule {
	for len(c.instances) < number {
		c.instances = append(c.instances, &capsule{parent: c, gone: true, shown: &messages.Capsule{
			Path: fmt.Sprintf("%s#%d", c.shown.Path, len(c.instances)+1), ID: c.shown.ID, State: messages.StateLoading,
		}})
	}
	return c.instances[number-1]
}

// present returns how many instances there are.
func (c *capsule) present() (n int) {
	for _, i := range c.instances {
		if !i.gone {
			n++
		}
	}
	return n
}

// InstanceStats returns the counters of one instance of a known pool.
func (j *Journal) InstanceStats(id string, number int) *actors.CallStats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &j.capsules[id].instance(number).stats
}

// scaled records that the pool has got the instance with that number, or has lost it.
func (c *capsule) scaled(number, instances int) {
	i := c.instance(number)
	if i.gone && instances > c.present() {
		i.gone, i.shown.State = false, messages.StateLoading
	} else {
		i.gone = true
	}
}

// decidePoolLocked records that the first start of a pool has a result, if those of its
// first instances have.
func (j *Journal) decidePoolLocked(c *capsule) {
	decided := uint32(0)
	for _, i := range c.instances {
		if i.shown.Decided {
			decided++
		}
	}
	if decided >= c.shown.InstancesMin {
		j.decideLocked(c)
	}
}

// idlePoolsLocked: pools that start without an instance serve now.
func (j *Journal) idlePoolsLocked(e *messages.Event, now time.Time) {
	for _, c := range j.capsules {
		if c.isPool() && c.shown.InstancesMin == 0 && c.present() == 0 && !c.rejected {
			j.moveLocked(c, messages.StateReady, idleReason, e, now)
		}
	}
}

// showPoolLocked sums up the instances of a pool.
func (j *Journal) showPoolLocked(c *capsule, out *messages.Capsule, now time.Time) {
	c.spentAt = slices.DeleteFunc(c.spentAt, func(at time.Time) bool { return now.Sub(at) >= c.shown.Window })
	out.BudgetSpent = uint32(len(c.spentAt)) //nolint:gosec // a count
	var shows *capsule
	for n, i := range c.instances {
		one := i.shown.Clone()
		i.stats.Show(one)
		out.Calls += one.Calls
		out.Reductions += one.Reductions
		out.KernelBytes += one.KernelBytes
		out.MemoryBytes += one.MemoryBytes
		out.MemoryPeakBytes = max(out.MemoryPeakBytes, one.MemoryPeakBytes)
		out.CallDuration, out.QueueWait = out.CallDuration.Plus(one.CallDuration), out.QueueWait.Plus(one.QueueWait)
		out.Busy = max(out.Busy, one.Busy)
		if i.gone {
			continue
		}
		instance := messages.Instance{
			Number: uint32(n + 1), Path: one.Path, State: one.State, Generation: one.Generation, Session: one.Session,
			Since: one.Since, Reason: one.Reason, Calls: one.Calls, Busy: one.Busy, MemoryBytes: one.MemoryBytes, RestartAt: one.RestartAt,
		}
		if j.live != nil {
			instance.Queue = uint32(j.live.InstanceQueue(out.ID, n+1)) //nolint:gosec // a count
		}
		out.Instances = append(out.Instances, instance)
		if shows == nil || standing(one.State) > standing(shows.shown.State) {
			shows = i
		}
	}
	if shows == nil || out.State == messages.StateFailed && standing(shows.shown.State) == 0 {
		return
	}
	m := shows.shown
	out.State, out.Since, out.Reason, out.Session, out.RestartAt = m.State, m.Since, m.Reason, m.Session, m.RestartAt
	if out.Uptime = 0; !shows.ready.IsZero() {
		out.Uptime = now.Sub(shows.ready)
	}
}

// standing orders states by how near they are to serving: a pool shows its best one.
func standing(s messages.CapsuleState) int {
	return slices.Index([]messages.CapsuleState{
		messages.StateCrashed, messages.StateStopping, messages.StateLoading, messages.StateStarting, messages.StateReady,
	}, s) + 1
}

// recentCalls returns the last calls, of all instances, oldest first.
func (c *capsule) recentCalls() []messages.RecentCall {
	all := c.stats.RecentCalls()
	for _, i := range c.instances {
		all = append(all, i.stats.RecentCalls()...)
	}
	if len(c.instances) > 0 {
		slices.SortStableFunc(all, func(a, b messages.RecentCall) int { return a.At.Compare(b.At) })
	}
	return all[max(0, len(all)-recentKept):]
}
