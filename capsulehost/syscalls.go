package capsulehost

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// Limits of the system calls' arguments, in bytes.
const (
	maxLogLevel          = 64
	maxLogMessage        = 64 << 10
	maxConfigKey         = 4 << 10
	maxTriggerRequest    = 1 << 20
	maxCapabilityRequest = 1024
)

// answersShare is the divisor for the size of all answers to one trigger: together they
// may use a quarter of the memory shared with the guest.
const answersShare = 4

// systemCalls are the implemented functions of `extism:host/user`, as in astrid-capsule
// 0.5.0.
var systemCalls = []hostFunction{
	{"astrid_log", []api.ValueType{i64, i64}, nil, astridLog},
	{"astrid_get_config", []api.ValueType{i64}, []api.ValueType{i64}, astridGetConfig},
	{"astrid_get_caller", nil, []api.ValueType{i64}, astridGetCaller},
	{"astrid_signal_ready", nil, nil, astridSignalReady},
	{"astrid_clock_ms", nil, []api.ValueType{i64}, astridClockMS},
	{"astrid_trigger_hook", []api.ValueType{i64}, []api.ValueType{i64}, astridTriggerHook},
	{"astrid_check_capsule_capability", []api.ValueType{i64}, []api.ValueType{i64}, astridCheckCapsuleCapability},
}

func astridLog(_ context.Context, i *Instance, stack []uint64) error {
	level, err := i.text("level", stack[0], maxLogLevel)
	if err != nil {
		return err
	}
	message, err := i.text("message", stack[1], maxLogMessage)
	if err != nil {
		return err
	}
	i.hostAPI.Log(parseLogLevel(level), message)
	return nil
}

// parseLogLevel reads a level in upper or lower case; an unknown level is info.
func parseLogLevel(level string) LogLevel {
	switch strings.ToLower(level) {
	case "trace":
		return LevelTrace
	case "debug":
		return LevelDebug
	case "warn", "warning":
		return LevelWarn
	case "error", "err":
		return LevelError
	default:
		return LevelInfo
	}
}

func astridGetConfig(_ context.Context, i *Instance, stack []uint64) error {
	key, err := i.text("key", stack[0], maxConfigKey)
	if err != nil {
		return err
	}
	return i.answer(stack, i.hostAPI.Config(key))
}

func astridGetCaller(_ context.Context, i *Instance, stack []uint64) error {
	caller := i.hostAPI.Caller()
	if caller == nil {
		return i.answer(stack, "{}")
	}
	text := []byte(`{"principal":null`)
	if caller.Principal != nil {
		text = serdejson.AppendString([]byte(`{"principal":`), *caller.Principal)
	}
	text = serdejson.AppendString(append(text, `,"source_id":`...), caller.SourceID)
	text = serdejson.AppendString(append(text, `,"timestamp":`...), timestamp(caller.Timestamp, "+00:00"))
	return i.answer(stack, string(append(text, '}')))
}

// timestamp formats a time like the reference: with no, three, six or nine fractional
// digits, as needed. It writes UTC as "+00:00" for callers, and as "Z" in messages.
func timestamp(t time.Time, utc string) string {
	t = t.UTC()
	layout := "2006-01-02T15:04:05.000000000"
	switch ns := t.Nanosecond(); {
	case ns == 0:
		layout = "2006-01-02T15:04:05"
	case ns%1_000_000 == 0:
		layout = "2006-01-02T15:04:05.000"
	case ns%1_000 == 0:
		layout = "2006-01-02T15:04:05.000000"
	}
	return t.Format(layout) + utc
}

func astridSignalReady(_ context.Context, i *Instance, _ []uint64) error {
	i.hostAPI.SignalReady()
	return nil
}

func astridClockMS(_ context.Context, i *Instance, stack []uint64) error {
	return i.answer(stack, strconv.FormatInt(max(0, i.hostAPI.Now().UnixMilli()), 10))
}

func astridTriggerHook(_ context.Context, i *Instance, stack []uint64) error {
	request, err := i.bytes("request", stack[0], maxTriggerRequest)
	if err != nil {
		return err
	}
	peers := i.services().Peers
	if peers == nil {
		return i.answer(stack, "[]")
	}
	topic, payload, err := decodeTriggerRequest(request)
	if err != nil {
		return fmt.Errorf("invalid trigger request: %w", err)
	}
	var values []json.RawMessage
	i.outside(func() { values, err = peers.TriggerHook(i.ctx, topic, payload) })
	if err != nil {
		return err
	}
	limit := min(i.module.host.memoryLimit/answersShare, i.kernel.Room(i.module.host.memoryLimit))
	answer, leftOut := joinAnswers(values, limit)
	if leftOut > 0 {
		i.hostAPI.Log(LevelWarn, fmt.Sprintf("astrid_trigger_hook: topic %q: the largest %d of %d answers were left out: all are more than the %d bytes that there is room for",
			topic, leftOut, len(values), limit))
	}
	return i.answer(stack, answer)
}

// joinAnswers returns values as a JSON array, in order. If the array is longer than
// limit bytes, it omits the longest values until the array fits, the last of equally long
// ones first. So a capsule that answers too much neither crashes the caller nor hides
// the answers of others.
func joinAnswers(values []json.RawMessage, limit uint64) (answer string, leftOut int) {
	size := uint64(len("[]"))
	for _, v := range values {
		size += uint64(len(v) + len(","))
	}
	out := make([]bool, len(values))
	if size > limit {
		longest := make([]int, len(values))
		for n := range longest {
			longest[n] = n
		}
		slices.SortFunc(longest, func(a, b int) int { return cmp.Or(len(values[b])-len(values[a]), b-a) })
		for _, n := range longest {
			if size <= limit {
				break
			}
			out[n] = true
			leftOut++
			size -= uint64(len(values[n]) + len(","))
		}
	}
	var text strings.Builder
	text.Grow(int(size))
	text.WriteByte('[')
	for n, v := range values {
		if out[n] {
			continue
		}
		if text.Len() > 1 {
			text.WriteByte(',')
		}
		text.Write(v)
	}
	text.WriteByte(']')
	return text.String(), leftOut
}

func astridCheckCapsuleCapability(_ context.Context, i *Instance, stack []uint64) error {
	request, err := i.bytes("request", stack[0], maxCapabilityRequest)
	if err != nil {
		return err
	}
	source, capability, err := decodeCapabilityRequest(request)
	if err != nil {
		return fmt.Errorf("invalid capability check request: %w", err)
	}
	allowed := false
	if peers := i.services().Peers; peers != nil {
		if id, ok := parseUUID(source); ok {
			i.outside(func() { allowed = peers.CheckCapability(i.ctx, id, capability) })
		}
	}
	return i.answer(stack, `{"allowed":`+strconv.FormatBool(allowed)+`}`)
}

// parseUUID accepts the same forms of a UUID as the reference, in upper or lower case:
// with hyphens, also in braces or after urn:uuid:, or without hyphens. It returns the
// form with hyphens, in lower case.
func parseUUID(text string) (string, bool) {
	switch len(text) {
	case len("{}") + 36:
		if text[0] != '{' || text[37] != '}' {
			return "", false
		}
	case len("urn:uuid:") + 36:
		if !strings.HasPrefix(text, "urn:uuid:") {
			return "", false
		}
	}
	id, err := uuid.Parse(text)
	return id.String(), err == nil
}
