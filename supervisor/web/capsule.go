package web

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/astrid-actors/astrid-actors/messages"
)

// capsuleHead is the part at the top of a capsule's page.
type capsuleHead struct {
	*row
	Detail  *messages.CapsuleDetail
	Actions bool
	Alarm   *alarm
	Group   string // the one that it is in; empty for none
}

// versionRow is one change of its version; the newest comes first.
type versionRow struct {
	messages.VersionRecord
	ElementID, Grade string
}

// versionWord shortens the name of an event on a capsule's own page: "rolled back".
func versionWord(event string) string {
	return strings.ReplaceAll(strings.TrimPrefix(event, "capsule_"), "_", " ")
}

// versionGrade returns the severity of a change.
func versionGrade(change string) string {
	switch change {
	case messages.CapsuleUpgraded{}.Name():
		return "ok"
	case messages.UpgradeFailed{}.Name(), messages.CapsuleRolledBack{}.Name():
		return "bad"
	}
	return ""
}

// failureRow is one death; the newest comes first.
type failureRow struct {
	messages.FailureRecord
	ElementID string
	Open      bool
}

// callRow is one completed call.
type callRow struct {
	messages.RecentCall
	ElementID, Grade string
}

func (p *page) capsule(v *view, q url.Values) error {
	id := q.Get("id")
	detail, err := p.supervisor.Capsule(id)
	if err != nil {
		return err
	}
	f, c := v.Frame, detail.Capsule
	v.Title = c.ID
	head := &capsuleHead{row: p.watch.row(f, c), Detail: detail, Actions: p.cfg.Actions}
	if a := f.trouble[id]; a != nil {
		head.Alarm = &alarm{a, p.cfg.Actions}
	}
	if i := strings.LastIndexByte(c.Path, '/'); i >= len("capsules/") {
		head.Group = c.Path[strings.LastIndexByte(c.Path[:i], '/')+1 : i]
	}
	path := c.Path
	mine := p.watch.events(f, eventRowsBack, 0, func(e messages.Event) bool {
		_, trigger := e.Detail.(messages.TriggerAnswered)
		return e.Path == path && !trigger
	})
	line := timeline(mine, detail, f.now, spanOf(q.Get("span")))
	line.mark(detail.Versions)
	line.Span = q.Get("span")
	v.Data = head
	v.Parts = append(v.Parts,
		part{"top", "capsule-top", head},
		part{"timeline", "timeline", line},
		part{"latency", "latency", latency(p.watch.curve(id), c.CallDuration)},
		part{"instances", "instances", head},
		part{"figures", "figures", head},
	)
	failures := make([]part, 0, len(detail.Failures))
	for i, r := range slices.Backward(detail.Failures) {
		key := strconv.FormatUint(r.Generation, 10) + "-" + strconv.FormatInt(r.Failure.At.UnixMicro(), 36)
		key = "f-" + key
		failures = append(failures, part{key, "failure", &failureRow{r, key, i == len(detail.Failures)-1}})
	}
	versions := make([]part, 0, len(detail.Versions))
	for _, r := range slices.Backward(detail.Versions) {
		key := "v-" + strconv.FormatInt(r.At.UnixNano(), 36)
		versions = append(versions, part{key, "version", &versionRow{r, key, versionGrade(r.Change)}})
	}
	calls := make([]part, 0, len(detail.RecentCalls))
	seen := map[string]int{}
	for _, r := range slices.Backward(detail.RecentCalls) {
		key := strconv.FormatInt(r.At.UnixNano(), 36)
		seen[key]++
		key += "-" + strconv.Itoa(seen[key])
		calls = append(calls, part{"c-" + key, "call", &callRow{r, "c-" + key, grade(r.Outcome)}})
	}
	lines := make([]part, 0, len(detail.Log))
	for _, l := range slices.Backward(detail.Log) {
		lines = append(lines, part{"l-" + strconv.FormatUint(l.Sequence, 10), "line", l})
	}
	v.Lists = append(v.Lists,
		list{"versions", versions}, list{"failures", failures}, list{"calls", calls}, list{"log", lines},
		list{"mine", happenings(mine[:min(len(mine), capsuleEvents)])},
	)
	v.Parts = append(v.Parts,
		part{"no-failures", "empty", emptyNote{"no-failures", "It has not died since the daemon started.", len(failures) == 0}},
		part{"no-calls", "empty", emptyNote{"no-calls", "No call has ended yet.", len(calls) == 0}},
		part{"no-log", "empty", emptyNote{"no-log", "It has logged nothing.", len(lines) == 0}},
	)
	return nil
}

// grade returns the severity of an outcome.
func grade(o messages.Outcome) string {
	switch o {
	case messages.OutcomeContinue, messages.OutcomeFinal, messages.OutcomeEmpty:
		return ""
	case messages.OutcomeCrashed, messages.OutcomeTimeout, messages.OutcomeDeadlock,
		messages.OutcomeOverloaded, messages.OutcomeUnavailable:
		return "bad"
	}
	return "warn"
}

// emptyNote is shown instead of an empty list.
type emptyNote struct {
	ID, Text string
	Empty    bool
}

// command returns the command line with the effect of a button.
func (p *page) command(verb, id string) string {
	return strings.TrimSpace(strings.Join([]string{p.cfg.Command, verb, id}, " "))
}
