package guest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// What the host takes at most, in bytes; one more would kill the capsule.
const (
	maxLogLevel   = 64
	maxLogMessage = 64 << 10
	maxConfigKey  = 4 << 10
	maxTrigger    = 1 << 20
	maxCapability = 1 << 10
)

// Level is the level of a log line.
type Level string

// The levels, least severe first. The host takes any other for info.
const (
	LevelTrace Level = "trace"
	LevelDebug Level = "debug"
	LevelInfo  Level = "info"
	LevelWarn  Level = "warn"
	LevelError Level = "error"
)

// Log writes a line to the capsule's log. It never fails; what is longer than
// 64 KiB is cut.
func Log(level Level, message string) {
	abi.Log(cut(string(level), maxLogLevel), cut(message, maxLogMessage))
}

// Tracef logs at level trace, formatted as fmt.Sprintf does.
func Tracef(format string, args ...any) { Log(LevelTrace, fmt.Sprintf(format, args...)) }

// Debugf logs at level debug, formatted as fmt.Sprintf does.
func Debugf(format string, args ...any) { Log(LevelDebug, fmt.Sprintf(format, args...)) }

// Infof logs at level info, formatted as fmt.Sprintf does.
func Infof(format string, args ...any) { Log(LevelInfo, fmt.Sprintf(format, args...)) }

// Warnf logs at level warn, formatted as fmt.Sprintf does.
func Warnf(format string, args ...any) { Log(LevelWarn, fmt.Sprintf(format, args...)) }

// Errorf logs at level error, formatted as fmt.Sprintf does. It makes no error:
// that is fmt.Errorf.
func Errorf(format string, args ...any) { Log(LevelError, fmt.Sprintf(format, args...)) }

// cut returns the longest beginning of s that has at most n bytes and ends with
// a whole character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Config returns a configuration value: the text of a string, the JSON of
// anything else, and "" where there is none. The values come from [env] in
// Capsule.toml and from what the operator set over it.
func Config(key string) string {
	if len(key) > maxConfigKey {
		return "" // no key is as long
	}
	return abi.Config(key)
}

// Caller is on whose behalf the capsule is being called.
type Caller struct {
	Principal string    `json:"principal"` // "" where the message carried none
	SourceID  string    `json:"source_id"` // the session UUID of the capsule that sent it
	Timestamp time.Time `json:"timestamp"` // when it was sent
}

// CurrentCaller returns the caller of this call. There is none, and so false, in
// a call that another capsule's trigger led to.
func CurrentCaller() (Caller, bool) {
	var c Caller
	if err := json.Unmarshal([]byte(abi.Caller()), &c); err != nil || c.SourceID == "" {
		return Caller{}, false
	}
	return c, true
}

// SignalReady says that a run-loop capsule is up. The host waits for it a short
// while before it starts the capsules that come after. In any other capsule, and
// a second time, it does nothing.
func SignalReady() { abi.SignalReady() }

// Clock returns the host's wall clock, to the millisecond.
func Clock() time.Time {
	ms, err := strconv.ParseInt(abi.ClockMillis(), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("guest: the host's clock is not a number: %v", err))
	}
	return time.UnixMilli(ms)
}

// Trigger asks all other capsules that intercept topic, gives each of them
// payload as JSON, and returns what they answered: ordered by their priority,
// without those that denied, failed or had nothing to say. It returns when all
// have answered or the host's deadline has passed. A capsule that waits, directly
// or through others, for the answer of this one is not asked.
//
// The error is about the request: a payload that has no JSON, or a request of
// more than 1 MiB. To have nobody answer is none. JSON that the host does not take,
// nested deeper than 127 levels or with half a surrogate pair in a json.RawMessage,
// kills the capsule.
func Trigger(topic string, payload any) ([]json.RawMessage, error) {
	request, err := json.Marshal(struct {
		Hook    string `json:"hook"`
		Payload any    `json:"payload"`
	}{topic, payload})
	if err != nil {
		return nil, fmt.Errorf("trigger %q: %w", topic, err)
	}
	if len(request) > maxTrigger {
		return nil, fmt.Errorf("trigger %q: the request has %d bytes, the host takes %d", topic, len(request), maxTrigger)
	}
	var answers []json.RawMessage
	if err := json.Unmarshal([]byte(abi.Trigger(string(request))), &answers); err != nil {
		return nil, fmt.Errorf("trigger %q: read the answers: %w", topic, err)
	}
	return answers, nil
}

// CapabilityPromptInjection is the one capability that the host knows so far:
// the capsule may put text into prompts.
const CapabilityPromptInjection = "allow_prompt_injection"

// HasCapability says whether the capsule of the session sourceID, as in
// Caller.SourceID, was granted a capability. Whatever is in doubt is no.
func HasCapability(sourceID, capability string) bool {
	request, err := json.Marshal(struct {
		SourceUUID string `json:"source_uuid"`
		Capability string `json:"capability"`
	}{sourceID, capability})
	if err != nil || len(request) > maxCapability {
		return false
	}
	var answer struct {
		Allowed bool `json:"allowed"`
	}
	err = json.Unmarshal([]byte(abi.CheckCapability(string(request))), &answer)
	return err == nil && answer.Allowed
}
