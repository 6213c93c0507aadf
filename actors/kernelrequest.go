package actors

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

// Kernel answers what capsules ask on astrid.v1.request.*. Its methods run on the
// event-bus actor, and must not block.
type Kernel interface {
	// Capsules returns the ids of the capsules that are loaded, sorted.
	Capsules() []string
	// Commands returns the commands that manifests declare.
	Commands() []KernelCommand
	// Interceptors returns the patterns of each capsule's interceptors.
	Interceptors() []KernelCapsule
	// Status describes the daemon.
	Status() KernelStatus
	// Reload reads the capsules' files again, applies what has changed, and starts those
	// that have failed again. It calls done when that is over.
	Reload(done func(error))
	// Shutdown ends the system.
	Shutdown(reason string)
}

// KernelCommand is a command of a capsule, as the kernel's answers show it.
type KernelCommand struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Capsule     string `json:"provider_capsule"`
}

// KernelCapsule is a capsule, as the kernel's answers show it.
type KernelCapsule struct {
	Name         string   `json:"name"`
	Interceptors []string `json:"interceptor_events"`
}

// KernelStatus is the daemon, as the kernel's answers show it.
type KernelStatus struct {
	PID       int      `json:"pid"`
	Uptime    uint64   `json:"uptime_secs"`
	Version   string   `json:"version"`
	Ephemeral bool     `json:"ephemeral"`
	Clients   uint32   `json:"connected_clients"`
	Capsules  []string `json:"loaded_capsules"`
}

// kernelRequest is a request to the kernel.
type kernelRequest struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// kernelResponse is the kernel's answer: a status, and what belongs to it.
type kernelResponse struct {
	Status string `json:"status"`
	Data   any    `json:"data"`
}

// requestsPerMinute limits the requests that change something.
func requestsPerMinute(method string) (limit int, limited bool) {
	switch method {
	case "ReloadCapsules":
		return 5, true
	case "InstallCapsule", "ApproveCapability":
		return 10, true
	case "Shutdown":
		return 1, true
	}
	return 0, false
}

// requestLimits remembers the requests of the last minute, by method.
type requestLimits map[string][]monotime.Time

func (l *requestLimits) take(method string, limit int) bool {
	if *l == nil {
		*l = requestLimits{}
	}
	now := monotime.Now()
	recent := (*l)[method]
	for len(recent) > 0 && now.Sub(recent[0]) >= time.Minute {
		recent = recent[1:]
	}
	ok := len(recent) < limit
	if ok {
		recent = append(recent, now)
	}
	(*l)[method] = recent
	return ok
}

// answerRequests answers the requests that wait.
func (e *eventBus) answerRequests() {
	for m, _ := e.requests.Next(); m != nil; m, _ = e.requests.Next() {
		e.request(m)
	}
}

// request answers one, on the topic that belongs to the request's. Only a payload of kind
// raw_json is one.
func (e *eventBus) request(m *capsulehost.Message) {
	text, isRaw := m.Payload.Raw()
	if !isRaw {
		return
	}
	var q kernelRequest
	if err := json.Unmarshal(text, &q); err != nil || q.Method == "" {
		e.log.Warn("request to the kernel not understood", "topic", m.Topic, "source", m.SourceID)
		return
	}
	topic := responsePrefix + strings.TrimPrefix(m.Topic, requestPrefix)
	answer := func(status string, data any) {
		e.bus.kernel(topic, raw(kernelResponse{status, data}), KernelSource)
	}
	if limit, limited := requestsPerMinute(q.Method); limited && !e.limits.take(q.Method, limit) {
		answer("Error", fmt.Sprintf("Rate limited: max %d %s requests per minute", limit, q.Method))
		return
	}
	switch q.Method {
	case "ListCapsules":
		answer("Success", e.kernel.Capsules())
	case "GetCommands":
		answer("Commands", e.kernel.Commands())
	case "GetCapsuleMetadata":
		answer("CapsuleMetadata", e.kernel.Interceptors())
	case "GetStatus":
		answer("Status", e.kernel.Status())
	case "ReloadCapsules":
		e.kernel.Reload(func(err error) {
			if err != nil {
				answer("Error", err.Error())
				return
			}
			e.bus.cfg.System.Send(e.bus.self, &SystemReady{})
			answer("Success", map[string]string{"status": "reloaded"})
		})
	case "Shutdown":
		var params struct {
			Reason *string `json:"reason"`
		}
		reason := ""
		if json.Unmarshal(q.Params, &params) == nil && params.Reason != nil {
			reason = *params.Reason
		}
		answer("Success", map[string]string{"status": "shutting_down"})
		e.kernel.Shutdown(reason)
	case "InstallCapsule", "ApproveCapability":
		answer("Error", q.Method+" is for an operator, and not for a capsule")
	default:
		e.log.Warn("request to the kernel not understood", "topic", m.Topic, "source", m.SourceID, "method", q.Method)
	}
}

// encode returns a value of the kernel's as JSON.
func encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil { // never: they are plain structs
		return []byte("null")
	}
	return text
}
