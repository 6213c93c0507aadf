package manifest

import (
	"math"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// SocketVariable is the configuration key that the host sets to the path of its socket.
const SocketVariable = "ASTRID_SOCKET_PATH"

// pattern checks a topic pattern: segments separated by dots, none empty.
func (r *reader) pattern(n *node) {
	for segment := range strings.SplitSeq(n.text, ".") {
		if segment == "" {
			r.wrong(n, "is %q, and a topic pattern has no empty segment", n.text)
			return
		}
	}
}

func (r *reader) env(root *node, m *Manifest) {
	all := r.table(root, "env")
	for _, name := range all.names() {
		t := r.get(all, name, unstable.Table)
		if t == nil {
			continue
		}
		v := EnvVar{
			Type: r.text(t, "type"), Request: r.text(t, "request"), Description: r.text(t, "description"),
			EnumValues: r.texts(t, "enum_values"), Placeholder: r.text(t, "placeholder"),
		}
		if n := t.keys["default"]; n != nil {
			value := n.config()
			v.Default = &value
		}
		if name == SocketVariable {
			r.warnings = append(r.warnings, r.at(t, "is ignored: the host sets it"))
			continue
		}
		if m.Env == nil {
			m.Env = map[string]EnvVar{}
		}
		m.Env[name] = v
	}
}

func (r *reader) imports(root *node, m *Manifest) {
	r.interfaces(root, "imports", func(namespace string, n *node) {
		in := Import{Namespace: namespace, Name: n.name}
		version := n
		if n.kind == unstable.Table {
			in.Optional = r.flag(n, "optional")
			version = r.required(n, "version", `a requirement such as "^1.0"`)
		} else if !r.is(n, unstable.String) {
			return
		}
		if version == nil {
			return
		}
		in.Requirement = version.text
		if _, err := parseRequirement(version.text); err != nil {
			r.wrong(version, "%v", err)
		}
		m.Imports = append(m.Imports, in)
	})
}

func (r *reader) exports(root *node, m *Manifest) {
	r.interfaces(root, "exports", func(namespace string, n *node) {
		version := n
		if n.kind == unstable.Table {
			version = r.required(n, "version", `a semantic version such as "1.0.0"`)
		} else if !r.is(n, unstable.String) {
			return
		}
		if version == nil {
			return
		}
		if _, err := parseVersion(version.text); err != nil {
			r.wrong(version, "%v", err)
		}
		m.Exports = append(m.Exports, Export{Namespace: namespace, Name: n.name, Version: version.text})
	})
}

// interfaces calls visit for each key in the tables [section.NAMESPACE], in sorted order.
func (r *reader) interfaces(root *node, section string, visit func(namespace string, n *node)) {
	namespaces := r.table(root, section)
	for _, namespace := range namespaces.names() {
		t := r.get(namespaces, namespace, unstable.Table)
		if t == nil {
			continue
		}
		r.interfaceName(t)
		for _, name := range t.names() {
			n := t.keys[name]
			r.lines[n.path()] = n.line
			r.interfaceName(n)
			visit(namespace, n)
		}
	}
}

// interfaceName checks the name of a namespace or an interface.
func (r *reader) interfaceName(n *node) {
	ok := n.name != "" && n.name[0] >= 'a' && n.name[0] <= 'z'
	for _, c := range n.name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		r.wrong(n, "the name %q is not a lower-case letter followed by a-z 0-9 -", n.name)
	}
}

// maxBudget is far more restarts than useful; it limits the memory for their times.
const maxBudget = 10_000

func (r *reader) supervision(root *node, s *Supervision) {
	t := r.table(root, "supervision")
	s.Restart = r.oneOf(t, "restart", "permanent", "transient", "temporary")
	for _, d := range []struct {
		name string
		into **time.Duration
	}{
		{"window", &s.Window}, {"backoff_initial", &s.BackoffInitial}, {"backoff_max", &s.BackoffMax},
		{"load_timeout", &s.LoadTimeout}, {"call_timeout", &s.CallTimeout}, {"stop_timeout", &s.StopTimeout},
	} {
		*d.into = r.duration(t, d.name)
	}
	if s.BackoffInitial != nil && s.BackoffMax != nil && *s.BackoffMax < *s.BackoffInitial {
		r.wrong(t.keys["backoff_max"], "is %v, and less than backoff_initial, which is %v", *s.BackoffMax, *s.BackoffInitial)
	}
	for _, i := range []struct {
		name      string
		low, high int64
		into      **int
	}{
		{"budget", 0, maxBudget, &s.Budget}, {"queue", 1, MaxQueue, &s.Queue},
	} {
		if whole := r.whole(t, i.name, i.low, i.high); whole != nil {
			n := int(*whole)
			*i.into = &n
		}
	}
	for _, u := range []struct {
		name string
		into **uint64
	}{
		{"call_reductions", &s.CallReductions}, {"reductions_per_second", &s.ReductionsPerSecond},
	} {
		if whole := r.whole(t, u.name, 0, math.MaxInt64); whole != nil {
			n := uint64(*whole) //nolint:gosec // not negative
			*u.into = &n
		}
	}
}
