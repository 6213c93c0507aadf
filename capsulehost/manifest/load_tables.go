package manifest

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/astrid-actors/astrid-actors/internal/tomlfile"
)

// SocketVariable is the configuration key that the host sets to the path of its socket.
const SocketVariable = "ASTRID_SOCKET_PATH"

// pattern checks a topic pattern: segments separated by dots, none empty.
func (r *reader) pattern(n *tomlfile.Node) {
	for segment := range strings.SplitSeq(n.Text, ".") {
		if segment == "" {
			r.Wrong(n, "is %q, and a topic pattern has no empty segment", n.Text)
			return
		}
	}
}

func (r *reader) env(root *tomlfile.Node, m *Manifest) {
	all := r.Table(root, "env")
	for _, name := range all.Names() {
		t := r.Get(all, name, unstable.Table)
		if t == nil {
			continue
		}
		v := EnvVar{
			Type: r.Text(t, "type"), Request: r.Text(t, "request"), Description: r.Text(t, "description"),
			EnumValues: r.Texts(t, "enum_values"), Placeholder: r.Text(t, "placeholder"),
		}
		if n := t.Key("default"); n != nil {
			value := ConfigValue(n)
			v.Default = &value
		}
		if name == SocketVariable {
			r.Warnings = append(r.Warnings, r.At(t, "is ignored: the host sets it"))
			continue
		}
		if m.Env == nil {
			m.Env = map[string]EnvVar{}
		}
		m.Env[name] = v
	}
}

func (r *reader) imports(root *tomlfile.Node, m *Manifest) {
	r.interfaces(root, "imports", func(namespace string, n *tomlfile.Node) {
		in := Import{Namespace: namespace, Name: n.Name}
		version := n
		if n.Kind == unstable.Table {
			in.Optional = r.Flag(n, "optional")
			version = r.Required(n, "version", `a requirement such as "^1.0"`)
		} else if !r.Is(n, unstable.String) {
			return
		}
		if version == nil {
			return
		}
		in.Requirement = version.Text
		if _, err := parseRequirement(version.Text); err != nil {
			r.Wrong(version, "%v", err)
		}
		m.Imports = append(m.Imports, in)
	})
}

func (r *reader) exports(root *tomlfile.Node, m *Manifest) {
	r.interfaces(root, "exports", func(namespace string, n *tomlfile.Node) {
		version := n
		if n.Kind == unstable.Table {
			version = r.Required(n, "version", `a semantic version such as "1.0.0"`)
		} else if !r.Is(n, unstable.String) {
			return
		}
		if version == nil {
			return
		}
		if _, err := parseVersion(version.Text); err != nil {
			r.Wrong(version, "%v", err)
		}
		m.Exports = append(m.Exports, Export{Namespace: namespace, Name: n.Name, Version: version.Text})
	})
}

// interfaces calls visit for each key in the tables [section.NAMESPACE], in sorted order.
func (r *reader) interfaces(root *tomlfile.Node, section string, visit func(namespace string, n *tomlfile.Node)) {
	namespaces := r.Table(root, section)
	for _, namespace := range namespaces.Names() {
		t := r.Get(namespaces, namespace, unstable.Table)
		if t == nil {
			continue
		}
		r.interfaceName(t)
		for _, name := range t.Names() {
			n := t.Key(name)
			r.Lines[n.Path()] = n.Line
			r.interfaceName(n)
			visit(namespace, n)
		}
	}
}

// interfaceName checks the name of a namespace or an interface.
func (r *reader) interfaceName(n *tomlfile.Node) {
	ok := n.Name != "" && n.Name[0] >= 'a' && n.Name[0] <= 'z'
	for _, c := range n.Name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		r.Wrong(n, "the name %q is not a lower-case letter followed by a-z 0-9 -", n.Name)
	}
}

// maxBudget is far more restarts than useful; it limits the memory for their times.
const maxBudget = 10_000

// ReadSupervision reads the table [supervision] in parent: a manifest's, or the one with
// which the operator overrides it.
func ReadSupervision(in *tomlfile.Reader, parent *tomlfile.Node) Supervision {
	var s Supervision
	(&reader{in}).supervision(parent, &s)
	return s
}

// ReadState reads the table [state] in parent, as ReadSupervision does its own.
func ReadState(in *tomlfile.Reader, parent *tomlfile.Node) State {
	var s State
	(&reader{in}).state(parent, &s)
	return s
}

func (r *reader) state(root *tomlfile.Node, s *State) {
	if whole := r.Whole(r.Table(root, "state"), "quota", 0, math.MaxInt64); whole != nil {
		n := uint64(*whole) //nolint:gosec // not negative
		s.Quota = &n
	}
}

func (r *reader) supervision(root *tomlfile.Node, s *Supervision) {
	t := r.Table(root, "supervision")
	s.Restart = r.OneOf(t, "restart", "permanent", "transient", "temporary")
	for _, d := range []struct {
		name string
		into **time.Duration
	}{
		{"window", &s.Window}, {"backoff_initial", &s.BackoffInitial}, {"backoff_max", &s.BackoffMax},
		{"idle_timeout", &s.IdleTimeout}, {"load_timeout", &s.LoadTimeout}, {"call_timeout", &s.CallTimeout}, {"stop_timeout", &s.StopTimeout},
	} {
		*d.into = r.Duration(t, d.name)
	}
	if s.BackoffInitial != nil && s.BackoffMax != nil && *s.BackoffMax < *s.BackoffInitial {
		r.Wrong(t.Key("backoff_max"), "is %v, and less than backoff_initial, which is %v", *s.BackoffMax, *s.BackoffInitial)
	}
	for _, i := range []struct {
		name      string
		low, high int64
		into      **int
	}{
		{"budget", 0, maxBudget, &s.Budget}, {"queue", 1, MaxQueue, &s.Queue},
	} {
		if whole := r.Whole(t, i.name, i.low, i.high); whole != nil {
			n := int(*whole)
			*i.into = &n
		}
	}
	s.Instances = r.instances(t)
	if r.Get(t, "rollback", unstable.Bool) != nil {
		yes := r.Flag(t, "rollback")
		s.Rollback = &yes
	}
	for _, u := range []struct {
		name string
		into **uint64
	}{
		{"call_reductions", &s.CallReductions}, {"reductions_per_second", &s.ReductionsPerSecond},
	} {
		if whole := r.Whole(t, u.name, 0, math.MaxInt64); whole != nil {
			n := uint64(*whole) //nolint:gosec // not negative
			*u.into = &n
		}
	}
}

// instances reads how many instances run: 4, "cores", or "0-8".
func (r *reader) instances(t *tomlfile.Node) *Instances {
	n := t.Key("instances")
	if n == nil {
		return nil
	}
	r.Lines[n.Path()] = n.Line
	if n.Kind == unstable.Integer {
		whole := r.Whole(t, "instances", 1, MaxInstances)
		if whole == nil {
			return nil
		}
		return &Instances{int(*whole), int(*whole)}
	}
	if n.Text == "cores" && n.Kind == unstable.String {
		return &Instances{}
	}
	low, high, ok := strings.Cut(n.Text, "-")
	from, err := strconv.ParseUint(low, 10, 16)
	to, err2 := strconv.ParseUint(high, 10, 16)
	if n.Kind != unstable.String || !ok || err != nil || err2 != nil || from > to || to < 1 || to > MaxInstances {
		r.Wrong(n, `must be 1 to %d, "cores", or a range such as "0-8"`, MaxInstances)
		return nil
	}
	return &Instances{int(from), int(to)}
}
