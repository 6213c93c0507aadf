package manifest

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/internal/tomlfile"
)

// Load reads the manifest of the capsule in dir. An error is [Problems], with all problems
// found. If the capsule's id is known, the manifest is returned even with an error, as far
// as it could be read; otherwise it is nil.
func Load(dir string) (*Manifest, error) {
	file := filepath.Join(dir, FileName)
	text, _, err := readRegular(everywhere{}, file, maxManifest)
	if err != nil {
		message := "can't be read: " + err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			message = "there is no such file, so this is no capsule's directory"
		}
		return nil, Problems{{File: file, Message: message}}
	}
	m, problems := parse(file, text)
	if m != nil {
		m.Dir = dir
	}
	if len(problems) > 0 {
		return m, problems
	}
	return m, nil
}

// Parse reads a manifest from text, like Load from its file. name replaces the file's name
// in problems. The manifest's Dir is "".
func Parse(name string, text []byte) (*Manifest, error) {
	m, problems := parse(name, text)
	if len(problems) > 0 {
		return m, problems
	}
	return m, nil
}

// parse reads a manifest's text. The manifest is nil if it has no valid id.
func parse(file string, text []byte) (*Manifest, Problems) {
	root, syntax := tomlfile.Parse(text)
	r := newReader(file)
	m := &Manifest{File: file, Digest: hashOf(text), lines: r.Lines}
	if syntax == nil {
		r.manifest(root, m)
	} else {
		syntax.File = file
		r.Problems = Problems{*syntax}
		(&reader{&tomlfile.Reader{Lines: r.Lines}}).packageTable(root, &m.Package)
	}
	for _, list := range []Problems{r.Problems, r.Warnings} {
		slices.SortStableFunc(list, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	}
	m.Warnings = r.Warnings
	if !home.ValidCapsule(m.Package.Name) {
		m = nil
	}
	return m, r.Problems
}

// reader reads the tables of a manifest.
type reader struct{ *tomlfile.Reader }

func newReader(file string) *reader {
	return &reader{&tomlfile.Reader{File: file, Lines: map[string]int{}}}
}

// manifest reads a whole document.
func (r *reader) manifest(root *tomlfile.Node, m *Manifest) {
	r.packageTable(root, &m.Package)
	r.capabilities(root, &m.Capabilities)
	r.components(root, m)
	r.interceptors(root, m)
	r.topics(root, m)
	r.commands(root, m)
	r.env(root, m)
	r.imports(root, m)
	r.exports(root, m)
	r.supervision(root, &m.Supervision)
	r.state(root, &m.State)
	m.Build.Command = r.Text(r.Table(root, "build"), "command")
	if m.Capabilities.Uplink && len(m.Imports) > 0 {
		r.Wrong(root.Key("imports"),
			"an uplink capsule imports nothing: uplinks start first, and can't wait for others")
	}
	assets(root, m)
	ignored(root, "mcp_server", "uplink")
	r.Warnings = append(r.Warnings, r.Unknown(root)...)
}

// ignored makes keys known that are astrid-capsule's, and have no effect in this host.
func ignored(table *tomlfile.Node, names ...string) {
	for _, name := range names {
		table.Key(name)
	}
}

func (r *reader) packageTable(root *tomlfile.Node, p *Package) {
	if root.Key("package") == nil {
		r.Missing(root, "package", "is missing: a manifest has a table [package] with a name and a version")
		return
	}
	t := r.Get(root, "package", unstable.Table)
	if t == nil {
		return
	}
	if n := r.Required(t, "name", "it is the capsule's id"); n != nil {
		if p.Name = n.Text; !home.ValidCapsule(p.Name) {
			r.Wrong(n, "is %q, and a capsule's id is one or more of a-z 0-9 -", p.Name)
		}
	}
	if n := r.Required(t, "version", `a semantic version such as "1.0.0"`); n != nil {
		p.Version = n.Text
		if _, err := parseVersion(p.Version); err != nil {
			r.Wrong(n, "%v", err)
		}
	}
	p.Description = r.Text(t, "description")
	ignored(t, "authors", "repository", "homepage", "documentation", "license", "license-file",
		"readme", "keywords", "categories", "publish", "include", "exclude", "metadata")
	if n := r.Get(t, "astrid-version", unstable.String); n != nil {
		p.AstridVersion = n.Text
		wanted, err := parseRequirement(n.Text)
		if err != nil {
			r.Wrong(n, "%v", err)
		} else if host, err := parseVersion(HostVersion); err != nil || !wanted.allows(host) {
			r.Wrong(n, "the capsule needs Astrid %s, and this host is compatible with %s", n.Text, HostVersion)
		}
	}
}

func (r *reader) components(root *tomlfile.Node, m *Manifest) {
	const purpose = "a capsule has a [[component]] that names its module"
	if n := root.Key("component"); n == nil {
		r.Missing(root, "component", "is missing: %s", purpose)
	} else if n.Kind == unstable.Array && len(n.Items) == 0 {
		r.Wrong(n, "is empty: %s", purpose)
	}
	for _, t := range r.Nodes(root, "component", unstable.Table) {
		c := Component{
			ID: r.Text(t, "id"), Hash: r.componentHash(t), Type: r.OneOf(t, "type", "executable", "library"),
		}
		if n := r.componentFile(t); n != nil {
			c.File, c.Line = n.Text, n.Line
		}
		ignored(t, "link")
		r.capabilities(t, &m.Capabilities)
		m.Components = append(m.Components, c)
	}
}

// componentFile returns the path of a component's module.
func (r *reader) componentFile(t *tomlfile.Node) *tomlfile.Node {
	key := "file"
	if alias := t.Key("entrypoint"); alias != nil && t.Key("file") != nil {
		r.Wrong(alias, "is another name for component.file, which is there too")
	} else if alias != nil {
		key = "entrypoint"
	}
	n := r.Required(t, key, "it names the module, in the capsule's directory")
	if n != nil && (!filepath.IsLocal(n.Text) || filepath.Clean(n.Text) == ".") {
		r.Wrong(n, "is %q, and must be a file inside the capsule's directory", n.Text)
	}
	return n
}

func (r *reader) componentHash(t *tomlfile.Node) string {
	n := r.Get(t, "hash", unstable.String)
	if n == nil {
		return ""
	}
	if !validHash(n.Text) {
		r.Wrong(n, "is %q, and must be a BLAKE3 hash: 64 hexadecimal digits", n.Text)
	}
	return n.Text
}

func (r *reader) interceptors(root *tomlfile.Node, m *Manifest) {
	for n, t := range r.Nodes(root, "interceptor", unstable.Table) {
		if n == MaxInterceptors {
			r.Wrong(t, "is one too many: a capsule has at most %d interceptors", MaxInterceptors)
			return
		}
		in := Interceptor{Priority: DefaultPriority}
		if event := r.Required(t, "event", "it says which topics are wanted"); event != nil {
			in.Event = event.Text
			r.pattern(event)
		}
		if action := r.Required(t, "action", "it says what is invoked"); action != nil {
			in.Action = action.Text
		}
		if p := r.Whole(t, "priority", 0, 1<<32-1); p != nil {
			in.Priority = uint32(*p) //nolint:gosec // whole checked its range
		}
		if n := r.Get(t, "ordered_by", unstable.String); n != nil {
			if in.OrderedBy = n.Text; in.OrderedBy != "principal" && !strings.HasPrefix(in.OrderedBy, "/") {
				r.Wrong(n, `is %q, and must be "principal" or a JSON pointer such as "/user/id"`, n.Text)
			}
		}
		in.Durable = r.Flag(t, "durable")
		if n := r.Whole(t, "attempts", 1, MaxAttempts); n != nil {
			in.Attempts = uint32(*n) //nolint:gosec // whole checked its range
			if !in.Durable {
				r.Wrong(t.Key("attempts"), "has no effect: only a message of a durable interceptor is tried again")
			}
		}
		m.Interceptors = append(m.Interceptors, in)
	}
}

// commands reads the slash commands: the kernel tells them to capsules that ask.
func (r *reader) commands(root *tomlfile.Node, m *Manifest) {
	for _, t := range r.Nodes(root, "command", unstable.Table) {
		ignored(t, "file")
		if name := r.Required(t, "name", "it is what a user types"); name != nil {
			m.Commands = append(m.Commands, Command{Name: name.Text, Description: r.Text(t, "description")})
		}
	}
}

// capabilities adds the grants of the table `capabilities` in parent.
func (r *reader) capabilities(parent *tomlfile.Node, c *Capabilities) {
	t := r.Table(parent, "capabilities")
	c.Uplink = r.Flag(t, "uplink") || c.Uplink
	c.AllowPromptInjection = r.Flag(t, "allow_prompt_injection") || c.AllowPromptInjection
	for _, list := range []struct {
		name string
		into *[]string
	}{
		{"net", &c.Net}, {"kv", &c.KV}, {"fs_read", &c.FSRead}, {"fs_write", &c.FSWrite},
		{"host_process", &c.HostProcess}, {"net_bind", &c.NetBind},
		{"ipc_publish", &c.IPCPublish}, {"ipc_subscribe", &c.IPCSubscribe}, {"identity", &c.Identity},
	} {
		for _, n := range r.Nodes(t, list.name, unstable.String) {
			if list.name == "ipc_publish" {
				r.pattern(n)
			}
			*list.into = append(*list.into, n.Text)
		}
	}
}
