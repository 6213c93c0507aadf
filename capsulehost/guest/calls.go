package guest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// Maximum sizes that the host accepts, in bytes; exceeding one kills the capsule.
const (
	maxLogLevel   = 64
	maxLogMessage = 64 << 10
	maxConfigKey  = 4 << 10
	maxTrigger    = 1 << 20
	maxCapability = 1 << 10
)

// Level is the level of a log line.
type Level string

// The levels, in increasing order of severity. The host treats any other as info.
const (
	LevelTrace Level = "trace"
	LevelDebug Level = "debug"
	LevelInfo  Level = "info"
	LevelWarn  Level = "warn"
	LevelError Level = "error"
)

// Log writes a line to the capsule's log. It never fails; a message longer than 64 KiB is
// truncated.
func Log(level Level, message string) {
	abi.Log(cut(string(level), maxLogLevel), cut(message, maxLogMessage))
}

// Tracef logs at level trace, formatted like fmt.Sprintf.
func Tracef(format string, args ...any) { Log(LevelTrace, fmt.Sprintf(format, args...)) }

// Debugf logs at level debug, formatted like fmt.Sprintf.
func Debugf(format string, args ...any) { Log(LevelDebug, fmt.Sprintf(format, args...)) }

// Infof logs at level info, formatted like fmt.Sprintf.
func Infof(format string, args ...any) { Log(LevelInfo, fmt.Sprintf(format, args...)) }

// Warnf logs at level warn, formatted like fmt.Sprintf.
func Warnf(format string, args ...any) { Log(LevelWarn, fmt.Sprintf(format, args...)) }

// Errorf logs at level error, formatted like fmt.Sprintf. It does not return an error; use
// fmt.Errorf for that.
func Errorf(format string, args ...any) { Log(LevelError, fmt.Sprintf(format, args...)) }

// cut returns the longest prefix of s that has at most n bytes and ends with a whole
// character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Config returns a configuration value: a string as it is, anything else as JSON, and "" if
// there is none. The values come from [env] in Capsule.toml, and the operator can override
// them.
func Config(key string) string {
	if len(key) > maxConfigKey {
		return "" // no key is that long
	}
	return abi.Config(key)
}

// Caller identifies the sender of the current call.
type Caller struct {
	Principal string    `json:"principal"` // "" if the message carried none
	SourceID  string    `json:"source_id"` // the session UUID of the capsule that sent it
	Timestamp time.Time `json:"timestamp"` // when it was sent
}

// CurrentCaller returns the caller of the current call. It returns false if there is none,
// as in a call caused by another capsule's trigger.
func CurrentCaller() (Caller, bool) {
	var c Caller
	if err := json.Unmarshal([]byte(abi.Caller()), &c); err != nil || c.SourceID == "" {
		return Caller{}, false
	}
	return c, true
}

// SignalReady reports that a run-loop capsule is ready. The host waits for it a short
// while before it starts the capsules that depend on this one. In other capsules, and if
// called again, it has no effect.
func SignalReady() { abi.SignalReady() }

// Clock returns the host's wall clock, in whole milliseconds.
func Clock() time.Time {
	ms, err := strconv.ParseInt(abi.ClockMillis(), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("guest: the host's clock is not a number: %v", err))
	}
	return time.UnixMilli(ms)
}

// Trigger invokes all other capsules with an interceptor for topic, passes payload to each
// as JSON, and returns their answers, ordered by priority. Capsules that denied, failed or
// had no answer are left out. Trigger returns when all have answered, or at the host's
// deadline. A capsule that waits, directly or through others, for the answer of this one is
// not invoked.
//
// The error concerns the request: a payload that can't be encoded as JSON, or a request
// larger than 1 MiB. If no capsule answers, the error is nil. JSON that the host refuses
// kills the capsule: JSON nested deeper than 127 levels, or half a surrogate pair in a
// json.RawMessage.
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

// CapabilityPromptInjection is the only capability that the host checks so far: the
// capsule may put text into prompts.
const CapabilityPromptInjection = "allow_prompt_injection"

// HasCapability reports whether the capsule with the session sourceID, as in
// Caller.SourceID, was granted a capability. It returns false if in doubt.
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
