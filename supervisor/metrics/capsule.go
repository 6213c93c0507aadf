package metrics

import "github.com/astrid-actors/astrid-actors/messages"

// capsuleMetrics returns the metrics of each capsule.
func capsuleMetrics() []metric[*messages.Capsule] {
	type from = *messages.Capsule
	one := []string{"capsule"}
	of := func(name, help string, values func(from, *output), labels ...string) metric[from] {
		return named("capsule_"+name, help, append(one[:1:1], labels...), values)
	}
	histogram := func(name, help string, get func(from) messages.Histogram) metric[from] {
		m := of(name, help, func(c from, o *output) { o.histogram(get(c)) })
		m.histogram = true
		return m
	}
	counter := func(name, help string, get func(from) uint64) metric[from] {
		return of(name, help, func(c from, o *output) { o.counter(float64(get(c))) })
	}
	gauge := func(name, help string, get func(from) float64) metric[from] {
		return of(name, help, func(c from, o *output) { o.gauge(get(c)) })
	}
	return []metric[from]{
		of("state", "1 for the state that the capsule is in.", func(c from, o *output) { o.gauge(1, c.State.String()) }, "state"),
		gauge("generation", "How often the capsule was loaded.", func(c from) float64 { return float64(c.Generation) }),
		of("instances", "Instances of a capsule with several, by state.", func(c from, o *output) {
			states := map[string]int{}
			for _, i := range c.Instances {
				states[i.State.String()]++
			}
			for state, n := range states {
				o.gauge(float64(n), state)
			}
		}, "state"),
		gauge("uptime_seconds", "How long the current instance has been ready; 0 while none is.", func(c from) float64 {
			return c.Uptime.Seconds()
		}),
		gauge("busy_seconds", "How long the current call has been running; 0 if there is none.", func(c from) float64 {
			return c.Busy.Seconds()
		}),
		gauge("queue_depth", "Calls that wait.", func(c from) float64 { return float64(c.Queue) }),
		gauge("memory_bytes", "Memory of the current instance.", func(c from) float64 { return float64(c.MemoryBytes) }),
		gauge("memory_peak_bytes", "The most memory that any of its instances had.", func(c from) float64 { return float64(c.MemoryPeakBytes) }),
		gauge("memory_limit_bytes", "Limit of the guest's own memory.", func(c from) float64 { return float64(c.MemoryLimitBytes) }),
		gauge("state_bytes", "Durable state that it keeps: keys and values.", func(c from) float64 { return float64(c.StateBytes) }),
		gauge("state_quota_bytes", "Limit of the durable state.", func(c from) float64 { return float64(c.StateQuota) }),
		counter("calls_total", "Guest calls.", func(c *messages.Capsule) uint64 { return c.Calls }),
		counter("reductions_total", "Function entries and loop iterations of its guests, and of the guests that they triggered.", func(c *messages.Capsule) uint64 { return c.Reductions }),
		counter("kernel_bytes_total", "Bytes copied to and from the memory that the guest shares with the host.", func(c *messages.Capsule) uint64 { return c.KernelBytes }),
		counter("log_lines_suppressed_total", "Log lines suppressed by the rate limit.", func(c *messages.Capsule) uint64 { return c.LogSuppressed }),
		gauge("restart_budget", "How many restarts its policy allows in a window.", func(c from) float64 { return float64(c.Budget) }),
		gauge("restart_budget_spent", "How many of them are spent.", func(c from) float64 { return float64(c.BudgetSpent) }),
		of("crashes_total", "Deaths, by the kind of failure.", func(c from, o *output) {
			for kind, n := range c.Crashes {
				o.counter(float64(n), kind)
			}
		}, "kind"),
		of("restarts_total", "Restarts, by the kind of the failure before; an operator's are of the kind operator.", func(c from, o *output) {
			for kind, n := range c.RestartsByKind {
				o.counter(float64(n), kind)
			}
		}, "kind"),
		histogram("call_duration_seconds", "Time that guest calls took.", func(c *messages.Capsule) messages.Histogram { return c.CallDuration }),
		histogram("queue_wait_seconds", "Time between a trigger and the start of its call.", func(c *messages.Capsule) messages.Histogram { return c.QueueWait }),
	}
}
