package metrics

import (
	"github.com/astrid-actors/astrid-actors/messages"
)

// The origins of triggers.
const (
	outside = "outside"
	capsule = "capsule"
)

// systemMetrics returns the metrics of the whole system.
func systemMetrics() []metric[*messages.Tree] {
	type from = *messages.Tree
	return []metric[from]{
		named("start_time_seconds", "When the system began to serve, in seconds since 1970; 0 before it has.", nil, func(t from, o *output) {
			if t.Started.IsZero() {
				o.gauge(0)
				return
			}
			o.gauge(seconds(t.Started))
		}),
		named("capsules", "How many capsules are in a state.", []string{"state"}, func(t from, o *output) {
			in := map[messages.CapsuleState]int{}
			for _, c := range t.Capsules {
				in[c.State]++
			}
			for s := messages.StateLoading; s <= messages.StateStopped; s++ {
				o.gauge(float64(in[s]), s.String())
			}
		}),
		named("capsules_undecided", "How many capsules' first start is not decided yet.", nil, func(t from, o *output) {
			n := 0
			for _, c := range t.Capsules {
				if !c.Decided {
					n++
				}
			}
			o.gauge(float64(n))
		}),

		named("triggers_total", "Triggers that were accepted, from outside or from capsules.", []string{"origin"}, func(t from, o *output) {
			o.counter(float64(t.Triggers), outside)
			o.counter(float64(t.NestedTriggers), capsule)
		}),
		named("triggers_open", "Triggers from outside that have no answer yet.", nil, func(t from, o *output) {
			o.gauge(float64(t.OpenTriggers))
		}),
		named("trigger_duration_seconds", "Time from a trigger to its answer.", []string{"origin"}, func(t from, o *output) {
			o.histogram(t.TriggerDuration, outside)
			o.histogram(t.NestedTriggerDuration, capsule)
		}),
		named("trigger_legs_total", "Legs of answered triggers, by their outcome.", []string{"outcome"}, func(t from, o *output) {
			for outcome := messages.OutcomeContinue; outcome <= messages.OutcomeUnavailable; outcome++ {
				o.counter(float64(t.Legs[outcome]), outcome.String())
			}
		}),
		named("wait_edges", "Legs that capsules wait for, inside their guests.", nil, func(t from, o *output) {
			o.gauge(float64(t.WaitEdges))
		}),

		named("bus_messages_total", "Messages on the event bus, by topic: the first 100, and (other).", []string{"topic"}, func(t from, o *output) {
			for _, topic := range t.Bus.Topics {
				o.counter(float64(topic.Messages), topic.Name)
			}
		}),
		named("bus_bytes_total", "Bytes of the payloads of messages, by topic: the first 100, and (other).", []string{"topic"}, func(t from, o *output) {
			for _, topic := range t.Bus.Topics {
				o.counter(float64(topic.Bytes), topic.Name)
			}
		}),
		named("bus_delivered_total", "Messages that subscriptions have received.", nil, func(t from, o *output) {
			o.counter(float64(t.Bus.Delivered))
		}),
		named("bus_lagged_total", "Messages that subscriptions have lost because they were read too slowly.", nil, func(t from, o *output) {
			o.counter(float64(t.Bus.Lagged))
		}),
		named("bus_steps_total", "Calls of interceptors with a message, by their outcome.", []string{"outcome"}, func(t from, o *output) {
			for outcome := messages.OutcomeContinue; outcome <= messages.OutcomeUnavailable; outcome++ {
				o.counter(float64(t.Bus.Steps[outcome]), outcome.String())
			}
		}),
		named("bus_dead_letters_total", "Messages that did not reach an interceptor, by reason.", []string{"reason"}, func(t from, o *output) {
			for _, reason := range []string{"depth", "backlog", "full", "poison", "expired"} {
				o.counter(float64(t.Bus.DeadLetters[reason]), reason)
			}
		}),
		named("bus_durable_messages", "Messages that a durable topic keeps.", []string{"topic"}, func(t from, o *output) {
			for _, topic := range t.Bus.Durable {
				o.gauge(float64(topic.Messages), topic.Name)
			}
		}),
		named("bus_durable_bytes", "Bytes of the messages that a durable topic keeps.", []string{"topic"}, func(t from, o *output) {
			for _, topic := range t.Bus.Durable {
				o.gauge(float64(topic.Bytes), topic.Name)
			}
		}),
		named("bus_durable_lag", "Messages of a durable topic that an interceptor has not answered yet.", []string{"topic", "capsule", "action"}, func(t from, o *output) {
			for _, topic := range t.Bus.Durable {
				for _, s := range topic.Subscriptions {
					o.gauge(float64(s.Lag), topic.Name, s.Capsule, s.Action)
				}
			}
		}),
		named("bus_subscriptions", "Subscriptions to the event bus.", nil, func(t from, o *output) {
			o.gauge(float64(t.Bus.SubscriptionCount))
		}),
		named("bus_waiting", "Messages that wait in the subscriptions that a snapshot shows.", nil, func(t from, o *output) {
			waiting := 0
			for _, s := range t.Bus.Subscriptions {
				waiting += int(s.Waiting)
			}
			o.gauge(float64(waiting))
		}),
		named("store_bytes", "Size of the file with all durable state; 0 without one.", nil, func(t from, o *output) {
			o.gauge(float64(t.StoreBytes))
		}),
		named("store_commit_duration_seconds", "Time that commits of durable state took.", nil, func(t from, o *output) {
			o.histogram(t.StoreCommits)
		}),
		named("store_transactions_total", "Transactions that the commits made durable.", nil, func(t from, o *output) {
			o.counter(float64(t.StoreTransactions))
		}),

		named("calls_total", "Guest calls, of all capsules.", nil, func(t from, o *output) {
			o.counter(float64(sum(t, func(c *messages.Capsule) uint64 { return c.Calls })))
		}),
		named("call_duration_seconds", "Time that guest calls took, of all capsules.", nil, func(t from, o *output) {
			o.histogram(merged(t, func(c *messages.Capsule) messages.Histogram { return c.CallDuration }))
		}),
		named("queue_wait_seconds", "Time between a trigger and the start of its call, of all capsules.", nil, func(t from, o *output) {
			o.histogram(merged(t, func(c *messages.Capsule) messages.Histogram { return c.QueueWait }))
		}),
		named("queue_depth", "Calls that wait, of all capsules.", nil, func(t from, o *output) {
			o.gauge(float64(sum(t, func(c *messages.Capsule) uint64 { return uint64(c.Queue) })))
		}),
		named("memory_bytes", "Memory of all current instances.", nil, func(t from, o *output) {
			o.gauge(float64(sum(t, func(c *messages.Capsule) uint64 { return c.MemoryBytes })))
		}),
		named("reductions_total", "Function entries and loop iterations of guests. Those of a triggered guest count for both.", nil, func(t from, o *output) {
			o.counter(float64(sum(t, func(c *messages.Capsule) uint64 { return c.Reductions })))
		}),
		named("kernel_bytes_total", "Bytes copied to and from the memories that guests share with the host.", nil, func(t from, o *output) {
			o.counter(float64(sum(t, func(c *messages.Capsule) uint64 { return c.KernelBytes })))
		}),
		named("crashes_total", "Deaths of capsules, by the kind of failure.", []string{"kind"}, func(t from, o *output) {
			byKind(t, func(c *messages.Capsule) map[string]uint64 { return c.Crashes }, o)
		}),
		named("restarts_total", "Restarts of capsules, by the kind of the failure before; an operator's are of the kind operator.", []string{"kind"}, func(t from, o *output) {
			byKind(t, func(c *messages.Capsule) map[string]uint64 { return c.RestartsByKind }, o)
		}),
		named("supervisor_deaths", "Deaths of a group's children that count against its budget now.", []string{"supervisor"}, func(t from, o *output) {
			for _, g := range t.Supervisors {
				o.gauge(float64(g.BudgetSpent), g.Name)
			}
		}),
		named("supervisor_budget", "Deaths that a group allows in its window.", []string{"supervisor"}, func(t from, o *output) {
			for _, g := range t.Supervisors {
				o.gauge(float64(g.Budget), g.Name)
			}
		}),
		named("supervisor_restarts_total", "Failures of a group after which it was restarted.", []string{"supervisor"}, func(t from, o *output) {
			for _, g := range t.Supervisors {
				o.counter(float64(g.Restarts), g.Name)
			}
		}),
		named("supervisor_failed", "1 if a group has failed for good.", []string{"supervisor"}, func(t from, o *output) {
			for _, g := range t.Supervisors {
				failed := 0.0
				if g.State == messages.SupervisorHasFailed {
					failed = 1
				}
				o.gauge(failed, g.Name)
			}
		}),
		named("actor_restarts_total", "Restarts of the system's own actors.", []string{"actor"}, func(t from, o *output) {
			for _, actor := range []string{"registry", "hook-router", "event-bus", "capsules"} {
				o.counter(float64(t.SystemRestarts[actor]), actor)
			}
		}),

		named("events_total", "Events that were recorded.", nil, func(t from, o *output) {
			o.counter(float64(t.Sequence))
		}),
		named("events_lost_total", "Events that were no longer kept when a reader came to them.", nil, func(t from, o *output) {
			o.counter(float64(t.EventsLost))
		}),
		named("events_file_lost_total", "Events that are missing in the events file.", nil, func(t from, o *output) {
			o.counter(float64(t.EventsFileLost))
		}),
		named("log_lines_suppressed_total", "Log lines of capsules suppressed by the rate limit.", nil, func(t from, o *output) {
			o.counter(float64(t.LogSuppressed))
		}),
	}
}

func sum(t *messages.Tree, of func(*messages.Capsule) uint64) uint64 {
	var n uint64
	for _, c := range t.Capsules {
		n += of(c)
	}
	return n
}

func byKind(t *messages.Tree, of func(*messages.Capsule) map[string]uint64, o *output) {
	all := map[string]uint64{}
	for _, c := range t.Capsules {
		for kind, n := range of(c) {
			all[kind] += n
		}
	}
	for kind, n := range all {
		o.counter(float64(n), kind)
	}
}

// merged returns the sum of all capsules' histograms. Its buckets are not sorted.
func merged(t *messages.Tree, of func(*messages.Capsule) messages.Histogram) messages.Histogram {
	var all messages.Histogram
	for _, c := range t.Capsules {
		h := of(c)
		all.Buckets, all.Sum = append(all.Buckets, h.Buckets...), all.Sum+h.Sum
	}
	return all
}
