package metrics

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astrid-actors/astrid-actors/messages"
)

// Where triggers come from.
const (
	outside = "outside"
	capsule = "capsule"
)

// systemMetrics are of the whole system.
func systemMetrics() []metric[*messages.Tree] {
	type from = *messages.Tree
	return []metric[from]{
		named("start_time_seconds", "When the system began to serve, in seconds since 1970; 0 before it has.", nil, func(t from, o *output) {
			if t.GetStarted() == nil {
				o.gauge(0)
				return
			}
			o.gauge(seconds(t.GetStarted().AsTime()))
		}),
		named("capsules", "How many capsules are in a state.", []string{"state"}, func(t from, o *output) {
			in := map[messages.CapsuleState]int{}
			for _, c := range t.GetCapsules() {
				in[c.GetState()]++
			}
			for s := messages.CapsuleState_CAPSULE_STATE_LOADING; s <= messages.CapsuleState_CAPSULE_STATE_STOPPED; s++ {
				o.gauge(float64(in[s]), s.Word())
			}
		}),
		named("capsules_undecided", "How many capsules' first start is not decided yet.", nil, func(t from, o *output) {
			n := 0
			for _, c := range t.GetCapsules() {
				if !c.GetDecided() {
					n++
				}
			}
			o.gauge(float64(n))
		}),

		named("triggers_total", "Triggers that were accepted, from outside or from capsules.", []string{"origin"}, func(t from, o *output) {
			o.counter(float64(t.GetTriggers()), outside)
			o.counter(float64(t.GetNestedTriggers()), capsule)
		}),
		named("triggers_open", "Triggers from outside that have no answer yet.", nil, func(t from, o *output) {
			o.gauge(float64(t.GetOpenTriggers()))
		}),
		named("trigger_duration_seconds", "Time from a trigger to its answer.", []string{"origin"}, func(t from, o *output) {
			o.histogram(t.GetTriggerDuration(), outside)
			o.histogram(t.GetNestedTriggerDuration(), capsule)
		}),
		named("trigger_legs_total", "Legs of answered triggers, by what became of them.", []string{"outcome"}, func(t from, o *output) {
			n := map[messages.Outcome]uint64{}
			for _, l := range t.GetLegs() {
				n[l.GetOutcome()] = l.GetCount()
			}
			for outcome := messages.Outcome_OUTCOME_CONTINUE; outcome <= messages.Outcome_OUTCOME_UNAVAILABLE; outcome++ {
				o.counter(float64(n[outcome]), outcome.Word())
			}
		}),
		named("wait_edges", "Legs that capsules wait for, inside their guests.", nil, func(t from, o *output) {
			o.gauge(float64(t.GetWaitEdges()))
		}),

		named("calls_total", "Guest calls, of all capsules.", nil, func(t from, o *output) {
			o.counter(float64(sum(t, (*messages.Capsule).GetCalls)))
		}),
		named("call_duration_seconds", "Time that guest calls took, of all capsules.", nil, func(t from, o *output) {
			o.histogram(merged(t, (*messages.Capsule).GetCallDuration))
		}),
		named("queue_wait_seconds", "Time between a trigger and the turn of its call, of all capsules.", nil, func(t from, o *output) {
			o.histogram(merged(t, (*messages.Capsule).GetQueueWait))
		}),
		named("queue_depth", "Calls that wait, of all capsules.", nil, func(t from, o *output) {
			o.gauge(float64(sum(t, func(c *messages.Capsule) uint64 { return uint64(c.GetQueue()) })))
		}),
		named("memory_bytes", "What the memories of living guests take.", nil, func(t from, o *output) {
			o.gauge(float64(sum(t, (*messages.Capsule).GetMemoryBytes)))
		}),
		named("reductions_total", "Function entries and loop iterations of guests. What one has another do counts for both.", nil, func(t from, o *output) {
			o.counter(float64(sum(t, (*messages.Capsule).GetReductions)))
		}),
		named("kernel_bytes_total", "Bytes copied to and from the memories that guests share with the host.", nil, func(t from, o *output) {
			o.counter(float64(sum(t, (*messages.Capsule).GetKernelBytes)))
		}),
		named("crashes_total", "Deaths of capsules, by the kind of failure.", []string{"kind"}, func(t from, o *output) {
			byKind(t, (*messages.Capsule).GetCrashes, o)
		}),
		named("restarts_total", "Restarts of capsules, by the kind of the failure before; an operator's are of the kind operator.", []string{"kind"}, func(t from, o *output) {
			byKind(t, (*messages.Capsule).GetRestartsByKind, o)
		}),
		named("actor_restarts_total", "Restarts of the system's own actors.", []string{"actor"}, func(t from, o *output) {
			for _, actor := range []string{"registry", "hook-router", "capsules"} {
				o.counter(float64(t.GetSystemRestarts()[actor]), actor)
			}
		}),

		named("events_total", "Events that were recorded.", nil, func(t from, o *output) {
			o.counter(float64(t.GetSequence()))
		}),
		named("events_lost_total", "Events that readers came too late for.", nil, func(t from, o *output) {
			o.counter(float64(t.GetEventsLost()))
		}),
		named("events_file_lost_total", "Events that are missing in the events file.", nil, func(t from, o *output) {
			o.counter(float64(t.GetEventsFileLost()))
		}),
		named("log_lines_suppressed_total", "Log lines of capsules that were kept out, because they log too fast.", nil, func(t from, o *output) {
			o.counter(float64(t.GetLogSuppressed()))
		}),
	}
}

func sum(t *messages.Tree, of func(*messages.Capsule) uint64) uint64 {
	var n uint64
	for _, c := range t.GetCapsules() {
		n += of(c)
	}
	return n
}

func byKind(t *messages.Tree, of func(*messages.Capsule) map[string]uint64, o *output) {
	all := map[string]uint64{}
	for _, c := range t.GetCapsules() {
		for kind, n := range of(c) {
			all[kind] += n
		}
	}
	for kind, n := range all {
		o.counter(float64(n), kind)
	}
}

// merged is all capsules' histograms in one.
func merged(t *messages.Tree, of func(*messages.Capsule) *messages.Histogram) *messages.Histogram {
	var buckets [messages.HistogramBuckets]uint64
	var total time.Duration
	for _, c := range t.GetCapsules() {
		h := of(c)
		for k, n := range h.GetBuckets() {
			buckets[k] += n
		}
		total += h.GetSum().AsDuration()
	}
	return &messages.Histogram{Buckets: buckets[:], Sum: durationpb.New(total)}
}
