package supervisor

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/egress"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/catalog"
)

// Capsule returns the details of one capsule: its manifest, its last failures and calls,
// and the end of its log. Values of its configuration that may be secret are masked. Its
// error matches ErrNotFound. It does not block.
func (s *Supervisor) Capsule(id string) (*messages.CapsuleDetail, error) {
	detail := s.journal.Detail(id)
	if detail == nil {
		return nil, fmt.Errorf("show capsule %q: %w", id, ErrNotFound)
	}
	for _, e := range s.entriesNow() {
		if e.Manifest.ID() == id {
			s.describe(detail, e)
		}
	}
	return detail, nil
}

// Logs yields the lines that a capsule has logged after the line numbered since, as far
// back as they are kept (200 lines, 128 KiB). With follow it then yields new lines until
// ctx ends or Serve has returned. Nothing waits for the reader: one that falls behind
// misses lines, and receives their number. Its error matches ErrNotFound.
func (s *Supervisor) Logs(ctx context.Context, id string, since uint64, follow bool) (iter.Seq[messages.LogLine], error) {
	tail := s.journal.LogTail(id)
	if tail == nil {
		return nil, fmt.Errorf("show the log of capsule %q: %w", id, ErrNotFound)
	}
	return tail.Lines(ctx, since, follow), nil
}

// describe adds the contents of a capsule's manifest and its settings.
func (s *Supervisor) describe(d *messages.CapsuleDetail, e *catalog.Entry) {
	m := e.Manifest
	d.Description = m.Package.Description
	d.Capabilities = capabilitiesOf(&m.Capabilities)
	for _, i := range m.Imports {
		d.Imports = append(d.Imports, messages.Interface{
			Namespace: i.Namespace, Name: i.Name, Version: i.Requirement, Optional: i.Optional,
		})
	}
	for _, x := range m.Exports {
		d.Exports = append(d.Exports, messages.Interface{Namespace: x.Namespace, Name: x.Name, Version: x.Version})
	}
	d.Env = configuration(m, s.configured(e))
	settings := s.cfg.forCapsule(m)
	d.LoadTimeout, d.CallTimeout, d.StopTimeout = settings.loadTimeout, settings.callTimeout, settings.stopTimeout
	d.CallReductions, d.ReductionsPerSecond = settings.call, settings.perSecond
	d.QueueLimit = uint32(settings.queue) //nolint:gosec // not negative
	d.BackoffInitial = settings.restart.InitialBackoff
	d.BackoffMax = settings.restart.MaxBackoff
	if len(m.Capabilities.Net) > 0 {
		d.HTTP = &messages.HTTPLimits{
			Requests: egress.MaxRequests, Streams: capsulehost.MaxHTTPStreams, Redirects: egress.MaxRedirects,
			RequestBytes: capsulehost.MaxHTTPRequest, ResponseBytes: capsulehost.MaxHTTPBody,
		}
	}
	if e.Embedded == nil {
		d.Manifest = m.File
	}
	if e.Embedded == nil && len(m.Components) > 0 {
		d.Module = filepath.Join(m.Dir, m.Components[0].File)
		if _, err := os.Stat(d.Module); err != nil && d.Capsule.ModuleHash != "" { // install puts it into the home
			d.Module = s.home.ModulePath(d.Capsule.ModuleHash)
		}
	}
}

// masked is shown instead of a value that may be a secret.
const masked = "***"

// secretName matches names of variables whose values are likely to be secrets, whatever
// their types are.
var secretName = regexp.MustCompile(`(?i)secret|token|passw|credential|private|api_?key|_key$|^key$`)

// configuration lists the variables that a manifest declares, and other values that the
// capsule has, by name. Values that may be secrets are masked.
func configuration(m *manifest.Manifest, values map[string]string) []messages.EnvVariable {
	names := map[string]bool{}
	for name := range values {
		names[name] = name != manifest.SocketVariable
	}
	for name := range m.Env {
		names[name] = true
	}
	var out []messages.EnvVariable
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !names[name] {
			continue // the host's own
		}
		declared, ok := m.Env[name]
		value, set := values[name]
		v := messages.EnvVariable{Name: name, Type: declared.Type, Description: declared.Description, Set: set, Value: value}
		if set && (!ok || declared.Type == "secret" || secretName.MatchString(name)) {
			v.Value = masked
		}
		out = append(out, v)
	}
	return out
}

// configured returns the values of the capsule's environment, as of its last load.
func (s *Supervisor) configured(e *catalog.Entry) map[string]string {
	cfg := catalog.Config{Home: s.home, Principal: s.principal, SocketPath: s.cfg.SocketPath, Env: s.cfg.overrides.env}
	if t, err := s.serving(); err == nil {
		if v := t.version(e.Manifest.ID()); v != nil && v.source.Values() != nil {
			return v.source.Values()
		}
		cfg.Stored = t.storedValue
	}
	values, _ := catalog.Configuration(context.Background(), cfg, e)
	return values
}

// capabilitiesOf lists the capabilities that a manifest asks for.
func capabilitiesOf(c *manifest.Capabilities) []string {
	var out []string
	for _, granted := range []struct {
		name string
		yes  bool
	}{{"uplink", c.Uplink}, {"allow_prompt_injection", c.AllowPromptInjection}} {
		if granted.yes {
			out = append(out, granted.name)
		}
	}
	for _, list := range []struct {
		name   string
		values []string
	}{
		{"net", c.Net},
		{"kv", c.KV},
		{"fs_read", c.FSRead},
		{"fs_write", c.FSWrite},
		{"host_process", c.HostProcess},
		{"net_bind", c.NetBind},
		{"ipc_publish", c.IPCPublish},
		{"ipc_subscribe", c.IPCSubscribe},
		{"identity", c.Identity},
	} {
		for _, value := range list.values {
			out = append(out, list.name+": "+value)
		}
	}
	return out
}
