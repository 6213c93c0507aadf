package actorspb

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/messages"
)

// each converts the elements of a slice; nil stays nil.
func each[From, To any](from []From, convert func(From) To) []To {
	if from == nil {
		return nil
	}
	to := make([]To, len(from))
	for n := range from {
		to[n] = convert(from[n])
	}
	return to
}

// A zero time or duration is absent on the wire.

func fromTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func toTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func fromDuration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// The enumerations have the same numbers in both forms; TestEnumerations holds
// them together.

func toOutcome(o Outcome) messages.Outcome { return messages.Outcome(o) } //nolint:gosec // the wire's other numbers are no outcomes

func toState(s CapsuleState) messages.CapsuleState { return messages.CapsuleState(s) } //nolint:gosec // the same

// FromReply converts the answer to a trigger.
func FromReply(r *messages.Reply) *TriggerReply {
	return &TriggerReply{Topic: r.Topic, Responses: string(r.Responses), Legs: each(r.Legs, fromLeg), Trace: r.Trace}
}

// ToReply converts the answer to a trigger.
func ToReply(r *TriggerReply) *messages.Reply {
	return &messages.Reply{Topic: r.GetTopic(), Responses: []byte(r.GetResponses()), Legs: each(r.GetLegs(), toLeg), Trace: r.GetTrace()}
}

func fromLeg(l messages.Leg) *Leg {
	return &Leg{
		Capsule: l.Capsule, Action: l.Action, Priority: l.Priority, Outcome: Outcome(l.Outcome), Value: string(l.Value),
		Reason: l.Reason, Generation: l.Generation, Duration: fromDuration(l.Duration), Reductions: l.Reductions,
	}
}

func toLeg(l *Leg) messages.Leg {
	out := messages.Leg{
		Capsule: l.GetCapsule(), Action: l.GetAction(), Priority: l.GetPriority(), Outcome: toOutcome(l.GetOutcome()),
		Reason: l.GetReason(), Generation: l.GetGeneration(), Duration: l.GetDuration().AsDuration(), Reductions: l.GetReductions(),
	}
	if l.GetValue() != "" {
		out.Value = []byte(l.GetValue())
	}
	return out
}

func fromInterceptor(i messages.Interceptor) *Interceptor {
	return &Interceptor{
		Event: i.Event, Action: i.Action, Priority: i.Priority, Durable: i.Durable, Attempts: i.Attempts, OrderedBy: i.OrderedBy,
	}
}

func toInterceptor(i *Interceptor) messages.Interceptor {
	return messages.Interceptor{
		Event: i.GetEvent(), Action: i.GetAction(), Priority: i.GetPriority(), Durable: i.GetDurable(), Attempts: i.GetAttempts(),
		OrderedBy: i.GetOrderedBy(),
	}
}

func fromFailure(f *messages.Failure) *CapsuleFailure {
	if f == nil {
		return nil
	}
	return &CapsuleFailure{Kind: f.Kind, Message: f.Message, WasmStack: f.WasmStack, At: fromTime(f.At), Stderr: f.Stderr}
}

func toFailure(f *CapsuleFailure) *messages.Failure {
	if f == nil {
		return nil
	}
	return &messages.Failure{
		Kind: f.GetKind(), Message: f.GetMessage(), WasmStack: f.GetWasmStack(), At: toTime(f.GetAt()), Stderr: f.GetStderr(),
	}
}

func failureOrZero(f *CapsuleFailure) messages.Failure {
	if f == nil {
		return messages.Failure{}
	}
	return *toFailure(f)
}

func fromHistogram(h messages.Histogram) *Histogram {
	if len(h.Buckets) == 0 {
		return nil
	}
	out := &Histogram{
		Bucket: make([]uint32, len(h.Buckets)), Count: make([]uint64, len(h.Buckets)), Sum: fromDuration(h.Sum),
	}
	for n, b := range h.Buckets {
		out.Bucket[n], out.Count[n] = uint32(b.Index), b.Count //nolint:gosec // fewer than 2,000 buckets
	}
	return out
}

func toHistogram(h *Histogram) messages.Histogram {
	out := messages.Histogram{Sum: h.GetSum().AsDuration()}
	for n, bucket := range h.GetBucket() {
		if n < len(h.GetCount()) {
			out.Buckets = append(out.Buckets, messages.Bucket{Index: int(bucket), Count: h.GetCount()[n]})
		}
	}
	return out
}

// FromTree converts a snapshot.
func FromTree(t *messages.Tree) *Tree {
	out := &Tree{
		At: fromTime(t.At), Started: fromTime(t.Started), Sequence: t.Sequence, Epoch: t.Epoch,
		Capsules: each(t.Capsules, fromCapsule), Triggers: t.Triggers, OpenTriggers: t.OpenTriggers,
		SystemRestarts: t.SystemRestarts, Stopping: t.Stopping, NestedTriggers: t.NestedTriggers,
		TriggerDuration: fromHistogram(t.TriggerDuration), NestedTriggerDuration: fromHistogram(t.NestedTriggerDuration),
		EventsLost: t.EventsLost, LogSuppressed: t.LogSuppressed, WaitEdges: t.WaitEdges,
		ProcessMemoryBytes: t.ProcessMemoryBytes, Goroutines: t.Goroutines, EventsFileLost: t.EventsFileLost,
		StoreBytes: t.StoreBytes, StoreCommits: fromHistogram(t.StoreCommits), StoreTransactions: t.StoreTransactions,
		Principal: t.Principal, Rejected: each(t.Rejected, fromRejected), Supervisors: each(t.Supervisors, fromSupervisor), Bus: fromBus(&t.Bus),
		Settings: &Settings{
			Strategy: t.Settings.Strategy, CallTimeout: fromDuration(t.Settings.CallTimeout),
			TriggerTimeout: fromDuration(t.Settings.TriggerTimeout), ReadyTimeout: fromDuration(t.Settings.ReadyTimeout),
			StopTimeout: fromDuration(t.Settings.StopTimeout), LoadTimeout: fromDuration(t.Settings.LoadTimeout),
			Queue: t.Settings.Queue, OpenTriggers: t.Settings.OpenTriggers,
			MemoryLimitBytes: t.Settings.MemoryLimitBytes, EventsKept: t.Settings.EventsKept,
		},
	}
	out.Legs = fromOutcomes(t.Legs)
	return out
}

func fromOutcomes(counts map[messages.Outcome]uint64) (out []*OutcomeCount) {
	for o := range messages.OutcomeCount {
		if n := counts[messages.Outcome(o)]; n > 0 {
			out = append(out, &OutcomeCount{Outcome: Outcome(o), Count: n})
		}
	}
	return out
}

func toOutcomes(counts []*OutcomeCount) (out map[messages.Outcome]uint64) {
	for _, leg := range counts {
		if out == nil {
			out = map[messages.Outcome]uint64{}
		}
		out[toOutcome(leg.GetOutcome())] += leg.GetCount()
	}
	return out
}

// ToTree converts a snapshot.
func ToTree(t *Tree) *messages.Tree {
	s := t.GetSettings()
	out := &messages.Tree{
		At: toTime(t.GetAt()), Started: toTime(t.GetStarted()), Sequence: t.GetSequence(), Epoch: t.GetEpoch(),
		Capsules: each(t.GetCapsules(), toCapsule), Triggers: t.GetTriggers(), OpenTriggers: t.GetOpenTriggers(),
		SystemRestarts: t.GetSystemRestarts(), Stopping: t.GetStopping(), NestedTriggers: t.GetNestedTriggers(),
		TriggerDuration: toHistogram(t.GetTriggerDuration()), NestedTriggerDuration: toHistogram(t.GetNestedTriggerDuration()),
		EventsLost: t.GetEventsLost(), LogSuppressed: t.GetLogSuppressed(), WaitEdges: t.GetWaitEdges(),
		ProcessMemoryBytes: t.GetProcessMemoryBytes(), Goroutines: t.GetGoroutines(), EventsFileLost: t.GetEventsFileLost(),
		StoreBytes: t.GetStoreBytes(), StoreCommits: toHistogram(t.GetStoreCommits()), StoreTransactions: t.GetStoreTransactions(),
		Principal: t.GetPrincipal(), Rejected: each(t.GetRejected(), toRejected), Supervisors: each(t.GetSupervisors(), toSupervisor), Bus: toBus(t.GetBus()),
		Settings: messages.Settings{
			Strategy: s.GetStrategy(), CallTimeout: s.GetCallTimeout().AsDuration(),
			TriggerTimeout: s.GetTriggerTimeout().AsDuration(), ReadyTimeout: s.GetReadyTimeout().AsDuration(),
			StopTimeout: s.GetStopTimeout().AsDuration(), LoadTimeout: s.GetLoadTimeout().AsDuration(),
			Queue: s.GetQueue(), OpenTriggers: s.GetOpenTriggers(),
			MemoryLimitBytes: s.GetMemoryLimitBytes(), EventsKept: s.GetEventsKept(),
		},
	}
	out.Legs = toOutcomes(t.GetLegs())
	return out
}

func fromSupervisor(s *messages.Supervisor) *Supervisor {
	return &Supervisor{
		Path: s.Path, Name: s.Name, Strategy: s.Strategy, Children: s.Children, Significant: s.Significant,
		AutoShutdown: s.AutoShutdown, Budget: s.Budget, BudgetSpent: s.BudgetSpent, Window: fromDuration(s.Window),
		State: s.State, Since: fromTime(s.Since), Reason: s.Reason, Restarts: s.Restarts,
	}
}

func toSupervisor(s *Supervisor) *messages.Supervisor {
	return &messages.Supervisor{
		Path: s.GetPath(), Name: s.GetName(), Strategy: s.GetStrategy(), Children: s.GetChildren(), Significant: s.GetSignificant(),
		AutoShutdown: s.GetAutoShutdown(), Budget: s.GetBudget(), BudgetSpent: s.GetBudgetSpent(), Window: s.GetWindow().AsDuration(),
		State: s.GetState(), Since: toTime(s.GetSince()), Reason: s.GetReason(), Restarts: s.GetRestarts(),
	}
}

func fromRejected(r messages.CapsuleRejected) *CapsuleRejected {
	return &CapsuleRejected{Id: r.ID, Directory: r.Directory, Problem: r.Problem}
}

func toRejected(r *CapsuleRejected) messages.CapsuleRejected {
	return messages.CapsuleRejected{ID: r.GetId(), Directory: r.GetDirectory(), Problem: r.GetProblem()}
}

func fromCapsule(c *messages.Capsule) *Capsule {
	return &Capsule{
		Path: c.Path, Id: c.ID, Version: c.Version, State: CapsuleState(c.State), Generation: c.Generation,
		Session: c.Session, Restarts: c.Restarts, LastFailure: fromFailure(c.LastFailure), Queue: c.Queue, Calls: c.Calls,
		Since: fromTime(c.Since), Uptime: fromDuration(c.Uptime), Interceptors: each(c.Interceptors, fromInterceptor),
		RunLoop: c.RunLoop, Restart: c.Restart, Budget: c.Budget, BudgetSpent: c.BudgetSpent, Window: fromDuration(c.Window),
		RestartAt: fromTime(c.RestartAt), Decided: c.Decided, Reason: c.Reason, Busy: fromDuration(c.Busy),
		MemoryBytes: c.MemoryBytes, MemoryPeakBytes: c.MemoryPeakBytes, MemoryLimitBytes: c.MemoryLimitBytes,
		Reductions: c.Reductions, KernelBytes: c.KernelBytes,
		CallDuration: fromHistogram(c.CallDuration), QueueWait: fromHistogram(c.QueueWait),
		Crashes: c.Crashes, RestartsByKind: c.RestartsByKind, LogSuppressed: c.LogSuppressed,
		ModuleHash: c.ModuleHash, Directory: c.Directory, StateBytes: c.StateBytes, StateQuota: c.StateQuota, Because: c.Because,
		InstancesMin: c.InstancesMin, InstancesMax: c.InstancesMax, Instances: each(c.Instances, fromInstance),
	}
}

func toCapsule(c *Capsule) *messages.Capsule {
	return &messages.Capsule{
		Path: c.GetPath(), ID: c.GetId(), Version: c.GetVersion(), State: toState(c.GetState()), Generation: c.GetGeneration(),
		Session: c.GetSession(), Restarts: c.GetRestarts(), LastFailure: toFailure(c.GetLastFailure()), Queue: c.GetQueue(), Calls: c.GetCalls(),
		Since: toTime(c.GetSince()), Uptime: c.GetUptime().AsDuration(), Interceptors: each(c.GetInterceptors(), toInterceptor),
		RunLoop: c.GetRunLoop(), Restart: c.GetRestart(), Budget: c.GetBudget(), BudgetSpent: c.GetBudgetSpent(), Window: c.GetWindow().AsDuration(),
		RestartAt: toTime(c.GetRestartAt()), Decided: c.GetDecided(), Reason: c.GetReason(), Busy: c.GetBusy().AsDuration(),
		MemoryBytes: c.GetMemoryBytes(), MemoryPeakBytes: c.GetMemoryPeakBytes(), MemoryLimitBytes: c.GetMemoryLimitBytes(),
		Reductions: c.GetReductions(), KernelBytes: c.GetKernelBytes(),
		CallDuration: toHistogram(c.GetCallDuration()), QueueWait: toHistogram(c.GetQueueWait()),
		Crashes: c.GetCrashes(), RestartsByKind: c.GetRestartsByKind(), LogSuppressed: c.GetLogSuppressed(),
		ModuleHash: c.GetModuleHash(), Directory: c.GetDirectory(), StateBytes: c.GetStateBytes(), StateQuota: c.GetStateQuota(), Because: c.GetBecause(),
		InstancesMin: c.GetInstancesMin(), InstancesMax: c.GetInstancesMax(), Instances: each(c.GetInstances(), toInstance),
	}
}

func fromInstance(i messages.Instance) *Instance {
	return &Instance{
		Number: i.Number, Path: i.Path, State: CapsuleState(i.State), Generation: i.Generation, Session: i.Session,
		Since: fromTime(i.Since), Reason: i.Reason, Queue: i.Queue, Calls: i.Calls, Busy: fromDuration(i.Busy),
		MemoryBytes: i.MemoryBytes, RestartAt: fromTime(i.RestartAt),
	}
}

func toInstance(i *Instance) messages.Instance {
	return messages.Instance{
		Number: i.GetNumber(), Path: i.GetPath(), State: toState(i.GetState()), Generation: i.GetGeneration(), Session: i.GetSession(),
		Since: toTime(i.GetSince()), Reason: i.GetReason(), Queue: i.GetQueue(), Calls: i.GetCalls(), Busy: i.GetBusy().AsDuration(),
		MemoryBytes: i.GetMemoryBytes(), RestartAt: toTime(i.GetRestartAt()),
	}
}

// FromCapsuleDetail converts one capsule's page.
func FromCapsuleDetail(d *messages.CapsuleDetail) *CapsuleDetail {
	return &CapsuleDetail{
		Capsule: fromCapsule(d.Capsule), Description: d.Description, Capabilities: d.Capabilities,
		Imports: each(d.Imports, fromInterface), Exports: each(d.Exports, fromInterface),
		Env: each(d.Env, func(e messages.EnvVariable) *EnvVariable {
			return &EnvVariable{Name: e.Name, Type: e.Type, Description: e.Description, Set: e.Set, Value: e.Value}
		}),
		CallTimeout: fromDuration(d.CallTimeout), StopTimeout: fromDuration(d.StopTimeout), QueueLimit: d.QueueLimit,
		BackoffInitial: fromDuration(d.BackoffInitial), BackoffMax: fromDuration(d.BackoffMax),
		Failures: each(d.Failures, func(r messages.FailureRecord) *FailureRecord {
			return &FailureRecord{Generation: r.Generation, Failure: fromFailure(&r.Failure), During: r.During, Decision: r.Decision}
		}),
		RecentCalls: each(d.RecentCalls, func(c messages.RecentCall) *RecentCall {
			return &RecentCall{
				At: fromTime(c.At), Topic: c.Topic, Action: c.Action, Outcome: Outcome(c.Outcome), Duration: fromDuration(c.Duration),
				QueueWait: fromDuration(c.QueueWait), Generation: c.Generation, Reason: c.Reason, FromCapsule: c.FromCapsule,
			}
		}),
		Log: each(d.Log, FromLogLine), Module: d.Module, Manifest: d.Manifest, LoadTimeout: fromDuration(d.LoadTimeout),
		CallReductions: d.CallReductions, ReductionsPerSecond: d.ReductionsPerSecond,
		Http: fromHTTPLimits(d.HTTP), Versions: each(d.Versions, fromVersionRecord),
	}
}

// ToCapsuleDetail converts one capsule's page.
func ToCapsuleDetail(d *CapsuleDetail) *messages.CapsuleDetail {
	return &messages.CapsuleDetail{
		Capsule: toCapsule(d.GetCapsule()), Description: d.GetDescription(), Capabilities: d.GetCapabilities(),
		Imports: each(d.GetImports(), toInterface), Exports: each(d.GetExports(), toInterface),
		Env: each(d.GetEnv(), func(e *EnvVariable) messages.EnvVariable {
			return messages.EnvVariable{Name: e.GetName(), Type: e.GetType(), Description: e.GetDescription(), Set: e.GetSet(), Value: e.GetValue()}
		}),
		CallTimeout: d.GetCallTimeout().AsDuration(), StopTimeout: d.GetStopTimeout().AsDuration(), QueueLimit: d.GetQueueLimit(),
		BackoffInitial: d.GetBackoffInitial().AsDuration(), BackoffMax: d.GetBackoffMax().AsDuration(),
		Failures: each(d.GetFailures(), func(r *FailureRecord) messages.FailureRecord {
			return messages.FailureRecord{
				Generation: r.GetGeneration(), Failure: failureOrZero(r.GetFailure()), During: r.GetDuring(), Decision: r.GetDecision(),
			}
		}),
		RecentCalls: each(d.GetRecentCalls(), func(c *RecentCall) messages.RecentCall {
			return messages.RecentCall{
				At: toTime(c.GetAt()), Topic: c.GetTopic(), Action: c.GetAction(), Outcome: toOutcome(c.GetOutcome()),
				Duration: c.GetDuration().AsDuration(), QueueWait: c.GetQueueWait().AsDuration(), Generation: c.GetGeneration(),
				Reason: c.GetReason(), FromCapsule: c.GetFromCapsule(),
			}
		}),
		Log: each(d.GetLog(), ToLogLine), Module: d.GetModule(), Manifest: d.GetManifest(), LoadTimeout: d.GetLoadTimeout().AsDuration(),
		CallReductions: d.GetCallReductions(), ReductionsPerSecond: d.GetReductionsPerSecond(),
		HTTP: toHTTPLimits(d.GetHttp()), Versions: each(d.GetVersions(), toVersionRecord),
	}
}

func fromHTTPLimits(l *messages.HTTPLimits) *HTTPLimits {
	if l == nil {
		return nil
	}
	return &HTTPLimits{
		Requests: l.Requests, Streams: l.Streams, Redirects: l.Redirects, RequestBytes: l.RequestBytes, ResponseBytes: l.ResponseBytes,
	}
}

func toHTTPLimits(l *HTTPLimits) *messages.HTTPLimits {
	if l == nil {
		return nil
	}
	return &messages.HTTPLimits{
		Requests: l.GetRequests(), Streams: l.GetStreams(), Redirects: l.GetRedirects(),
		RequestBytes: l.GetRequestBytes(), ResponseBytes: l.GetResponseBytes(),
	}
}

func fromVersionRecord(r messages.VersionRecord) *VersionRecord {
	return &VersionRecord{
		At: fromTime(r.At), Change: r.Change, Version: r.Version, Previous: r.Previous, ModuleHash: r.ModuleHash, Reason: r.Reason,
	}
}

func toVersionRecord(r *VersionRecord) messages.VersionRecord {
	return messages.VersionRecord{
		At: toTime(r.GetAt()), Change: r.GetChange(), Version: r.GetVersion(), Previous: r.GetPrevious(),
		ModuleHash: r.GetModuleHash(), Reason: r.GetReason(),
	}
}

func fromInterface(i messages.Interface) *Interface {
	return &Interface{Namespace: i.Namespace, Name: i.Name, Version: i.Version, Optional: i.Optional}
}

func toInterface(i *Interface) messages.Interface {
	return messages.Interface{Namespace: i.GetNamespace(), Name: i.GetName(), Version: i.GetVersion(), Optional: i.GetOptional()}
}

// FromLogLine converts a line of a capsule's log.
func FromLogLine(l messages.LogLine) *LogLine {
	return &LogLine{
		Sequence: l.Sequence, At: fromTime(l.At), Level: l.Level, Principal: l.Principal, Message: l.Message, Lost: l.Lost,
	}
}

// ToLogLine converts a line of a capsule's log.
func ToLogLine(l *LogLine) messages.LogLine {
	return messages.LogLine{
		Sequence: l.GetSequence(), At: toTime(l.GetAt()), Level: l.GetLevel(), Principal: l.GetPrincipal(),
		Message: l.GetMessage(), Lost: l.GetLost(),
	}
}
