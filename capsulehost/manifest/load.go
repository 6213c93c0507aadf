package manifest

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
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
	root, syntax := readTree(text)
	r := &reader{file: file, lines: map[string]int{}}
	m := &Manifest{File: file, lines: r.lines}
	if syntax == nil {
		r.manifest(root, m)
	} else {
		r.problems = Problems{{File: file, Line: syntax.line, Key: syntax.key, Message: "not valid TOML: " + syntax.message}}
		(&reader{lines: r.lines}).packageTable(root, &m.Package)
	}
	for _, list := range []Problems{r.problems, r.warnings} {
		slices.SortStableFunc(list, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	}
	m.Warnings = r.warnings
	if !home.ValidCapsule(m.Package.Name) {
		m = nil
	}
	return m, r.problems
}

// manifest reads a whole document.
func (r *reader) manifest(root *node, m *Manifest) {
	r.packageTable(root, &m.Package)
	r.capabilities(root, &m.Capabilities)
	r.components(root, m)
	r.interceptors(root, m)
	r.env(root, m)
	r.imports(root, m)
	r.exports(root, m)
	r.supervision(root, &m.Supervision)
	if m.Capabilities.Uplink && len(m.Imports) > 0 {
		r.wrong(root.keys["imports"],
			"an uplink capsule imports nothing: uplinks start first, and can't wait for others")
	}
}

func (r *reader) packageTable(root *node, p *Package) {
	if root.keys["package"] == nil {
		r.missing(root, "package", "is missing: a manifest has a table [package] with a name and a version")
		return
	}
	t := r.get(root, "package", unstable.Table)
	if t == nil {
		return
	}
	if n := r.required(t, "name", "it is the capsule's id"); n != nil {
		if p.Name = n.text; !home.ValidCapsule(p.Name) {
			r.wrong(n, "is %q, and a capsule's id is one or more of a-z 0-9 -", p.Name)
		}
	}
	if n := r.required(t, "version", `a semantic version such as "1.0.0"`); n != nil {
		p.Version = n.text
		if _, err := parseVersion(p.Version); err != nil {
			r.wrong(n, "%v", err)
		}
	}
	p.Description = r.text(t, "description")
	if n := r.get(t, "astrid-version", unstable.String); n != nil {
		p.AstridVersion = n.text
		wanted, err := parseRequirement(n.text)
		if err != nil {
			r.wrong(n, "%v", err)
		} else if host, err := parseVersion(HostVersion); err != nil || !wanted.allows(host) {
			r.wrong(n, "the capsule needs Astrid %s, and this host is compatible with %s", n.text, HostVersion)
		}
	}
}

func (r *reader) components(root *node, m *Manifest) {
	const purpose = "a capsule has a [[component]] that names its module"
	if n := root.keys["component"]; n == nil {
		r.missing(root, "component", "is missing: %s", purpose)
	} else if n.kind == unstable.Array && len(n.items) == 0 {
		r.wrong(n, "is empty: %s", purpose)
	}
	for _, t := range r.nodes(root, "component", unstable.Table) {
		c := Component{
			ID: r.text(t, "id"), Hash: r.componentHash(t), Type: r.oneOf(t, "type", "executable", "library"),
		}
		if n := r.componentFile(t); n != nil {
			c.File, c.Line = n.text, n.line
		}
		r.capabilities(t, &m.Capabilities)
		m.Components = append(m.Components, c)
	}
}

// componentFile returns the path of a component's module.
func (r *reader) componentFile(t *node) *node {
	key := "file"
	if alias := t.keys["entrypoint"]; alias != nil && t.keys["file"] != nil {
		r.wrong(alias, "is another name for component.file, which is there too")
	} else if alias != nil {
		key = "entrypoint"
	}
	n := r.required(t, key, "it names the module, in the capsule's directory")
	if n != nil && (!filepath.IsLocal(n.text) || filepath.Clean(n.text) == ".") {
		r.wrong(n, "is %q, and must be a file inside the capsule's directory", n.text)
	}
	return n
}

func (r *reader) componentHash(t *node) string {
	n := r.get(t, "hash", unstable.String)
	if n == nil {
		return ""
	}
	if !validHash(n.text) {
		r.wrong(n, "is %q, and must be a BLAKE3 hash: 64 hexadecimal digits", n.text)
	}
	return n.text
}

func (r *reader) interceptors(root *node, m *Manifest) {
	for n, t := range r.nodes(root, "interceptor", unstable.Table) {
		if n == MaxInterceptors {
			r.wrong(t, "is one too many: a capsule has at most %d interceptors", MaxInterceptors)
			return
		}
		in := Interceptor{Priority: DefaultPriority}
		if event := r.required(t, "event", "it says which topics are wanted"); event != nil {
			in.Event = event.text
			r.pattern(event)
		}
		if action := r.required(t, "action", "it says what is invoked"); action != nil {
			in.Action = action.text
		}
		if p := r.whole(t, "priority", 0, 1<<32-1); p != nil {
			in.Priority = uint32(*p) //nolint:gosec // whole checked its range
		}
		m.Interceptors = append(m.Interceptors, in)
	}
}

// capabilities adds the grants of the table `capabilities` in parent.
func (r *reader) capabilities(parent *node, c *Capabilities) {
	t := r.table(parent, "capabilities")
	c.Uplink = r.flag(t, "uplink") || c.Uplink
	c.AllowPromptInjection = r.flag(t, "allow_prompt_injection") || c.AllowPromptInjection
	for _, list := range []struct {
		name string
		into *[]string
	}{
		{"net", &c.Net}, {"kv", &c.KV}, {"fs_read", &c.FSRead}, {"fs_write", &c.FSWrite},
		{"host_process", &c.HostProcess}, {"net_bind", &c.NetBind},
		{"ipc_publish", &c.IPCPublish}, {"ipc_subscribe", &c.IPCSubscribe}, {"identity", &c.Identity},
	} {
		for _, n := range r.nodes(t, list.name, unstable.String) {
			if list.name == "ipc_publish" {
				r.pattern(n)
			}
			*list.into = append(*list.into, n.text)
		}
	}
}
