package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// CapsuleSettings are what the operator decides about one capsule. They override the
// capsule's own files.
type CapsuleSettings struct {
	// Supervision overrides the keys of the manifest's [supervision] that it sets.
	Supervision manifest.Supervision
	// State overrides the keys of the manifest's [state] that it sets.
	State manifest.State
	// Env overrides single values of the capsule's configuration, wherever they come from:
	// the manifest's defaults, .env.json, the principal's environment file, or the
	// capsule's state. Values have
	// the form of astrid_get_config: strings raw, anything else as JSON.
	Env map[string]string
}

// problems returns the invalid settings of one capsule.
func (s *CapsuleSettings) problems(id string) []error {
	var found []error
	wrong := func(field string, value any, must string) {
		found = append(found, fmt.Errorf("config: CapsuleSettings[%q].%s is %v: it must be %s", id, field, value, must))
	}
	own := &s.Supervision
	for _, d := range []struct {
		field string
		value *time.Duration
	}{
		{"Window", own.Window}, {"BackoffInitial", own.BackoffInitial}, {"BackoffMax", own.BackoffMax},
		{"LoadTimeout", own.LoadTimeout}, {"CallTimeout", own.CallTimeout}, {"StopTimeout", own.StopTimeout},
		{"IdleTimeout", own.IdleTimeout},
	} {
		if d.value != nil && *d.value <= 0 {
			wrong("Supervision."+d.field, *d.value, "positive")
		}
	}
	if modes := []string{"", string(Permanent), string(Transient), string(Temporary)}; !slices.Contains(modes, own.Restart) {
		wrong("Supervision.Restart", fmt.Sprintf("%q", own.Restart), "permanent, transient or temporary")
	}
	if own.Budget != nil && *own.Budget < 0 {
		wrong("Supervision.Budget", *own.Budget, "at least 0")
	}
	if n := own.Instances; n != nil && *n != (manifest.Instances{}) && (n.Min < 0 || n.Max < max(n.Min, 1) || n.Max > manifest.MaxInstances) {
		wrong("Supervision.Instances", *n, fmt.Sprintf("0 to %d, and Max at least Min and 1", manifest.MaxInstances))
	}
	if own.Queue != nil && (*own.Queue < 1 || *own.Queue > manifest.MaxQueue) {
		wrong("Supervision.Queue", *own.Queue, fmt.Sprintf("1 to %d", manifest.MaxQueue))
	}
	if _, ok := s.Env[manifest.SocketVariable]; ok {
		wrong("Env", manifest.SocketVariable, "left out: the host sets it")
	}
	return found
}

// overrides are the operator's settings that can change while the system runs: those of
// all capsules, by id, and the topics. They are replaced as a whole, and may be read from
// any goroutine.
type overrides struct {
	current atomic.Pointer[map[string]CapsuleSettings]
	topics  atomic.Pointer[[]Topic]
}

func newOverrides(all map[string]CapsuleSettings, topics []Topic) *overrides {
	o := &overrides{}
	o.replace(all, topics)
	return o
}

func (o *overrides) replace(all map[string]CapsuleSettings, topics []Topic) {
	topics = slices.Clone(topics)
	o.topics.Store(&topics)
	copied := make(map[string]CapsuleSettings, len(all))
	for id, s := range all {
		s.Env = maps.Clone(s.Env)
		copied[id] = s
	}
	o.current.Store(&copied)
}

// of returns the settings of one capsule; nothing in them may be changed.
func (o *overrides) of(id string) CapsuleSettings {
	if o == nil {
		return CapsuleSettings{}
	}
	return (*o.current.Load())[id]
}

// env returns the operator's configuration values for a capsule.
func (o *overrides) env(id string) map[string]string { return o.of(id).Env }
