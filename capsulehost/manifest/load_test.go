package manifest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// everything uses every key of a manifest, and many unknown ones.
const everything = `
nothing = "knows this key"

[package]
name = "greeter-2"
version = "1.2.3-rc.1+build"
description = "says hello"
astrid-version = ">=0.4, <1"
authors = ["somebody"]
readme = "README.md"
include = ["data", 3]
exclude = ["*.txt"]
[package.metadata]
name = 3

[[component]]
id = "main"
file = "sub/greeter.wasm"
hash = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
type = "executable"
link = ["lib"]
[component.capabilities]
net = ["c.example"]
kv = ["c"]
ipc_publish = ["c.d"]
allow_prompt_injection = true

[[component]]
entrypoint = "lib.wasm"
type = "library"
[component.capabilities]
kv = ["d"]

[[interceptor]]
event = "greet.*"
action = "greet"
priority = 0x0A

[[interceptor]]
action = ""
event = "*"

[capabilities]
uplink = false
net = ["a.example", "b.example"]
kv = ["a"]
fs_read = ["r"]
fs_write = ["w"]
host_process = ["p"]
net_bind = ["n"]
ipc_publish = ["a.b"]
ipc_subscribe = ["s..t"]
identity = ["resolve"]
teleport = 7

[env]
plain = { type = "string", default = "hello", unknown = 1 }
[env.FULL]
type = "enum"
request = "which?"
description = "one of them"
default = "b"
enum_values = ["a", "b"]
placeholder = "a or b"
[env."with spaces"]
[env.number]
default = 1.0
[env.list]
default = [1, "é", { z = true, a = 2024-01-02 }]
[env.date]
default = 2024-01-02T03:04:05Z

[imports.astrid]
session = "^1.0"
identity = { version = "1", optional = true }
[imports.other]
x = { version = "*" }

[exports.astrid]
greeting = "1.0.0"
farewell = { version = "2.0.0-a" }

[supervision]
restart = "transient"
budget = 0
window = "90s"
backoff_initial = "250ms"
backoff_max = "1m"
load_timeout = "90s"
call_timeout = "2s"
stop_timeout = "1h"
queue = 1
unknown = true

[build]
command = "make"

[[topic]]
name = 1
schema = "s.json"
[[topic]]
schema = 3
[[skill]]
file = "skills/a.md"
`

func TestParseEverything(t *testing.T) {
	got, problems := parse("Capsule.toml", []byte(everything))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := &Manifest{
		File: "Capsule.toml", Digest: hashOf([]byte(everything)),
		Package: Package{
			Name: "greeter-2", Version: "1.2.3-rc.1+build", Description: "says hello", AstridVersion: ">=0.4, <1",
			Include: []string{"data"}, Exclude: []string{"*.txt"},
		},
		Components: []Component{
			{ID: "main", File: "sub/greeter.wasm", Line: 18, Hash: "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF", Type: "executable"},
			{File: "lib.wasm", Line: 29, Type: "library"},
		},
		Interceptors: []Interceptor{
			{Event: "greet.*", Action: "greet", Priority: 10},
			{Event: "*", Action: "", Priority: 100},
		},
		Capabilities: Capabilities{
			AllowPromptInjection: true,
			Net:                  []string{"a.example", "b.example", "c.example"}, KV: []string{"a", "c", "d"},
			FSRead: []string{"r"}, FSWrite: []string{"w"}, HostProcess: []string{"p"}, NetBind: []string{"n"},
			IPCPublish: []string{"a.b", "c.d"}, IPCSubscribe: []string{"s..t"}, Identity: []string{"resolve"},
		},
		Env: map[string]EnvVar{
			"plain": {Type: "string", Default: new("hello")},
			"FULL": {
				Type: "enum", Request: "which?", Description: "one of them", Default: new("b"),
				EnumValues: []string{"a", "b"}, Placeholder: "a or b",
			},
			"with spaces": {},
			"number":      {Default: new("1.0")},
			"list":        {Default: new(`[1,"é",{"a":"2024-01-02","z":true}]`)},
			"date":        {Default: new("2024-01-02T03:04:05Z")},
		},
		Imports: []Import{
			{Namespace: "astrid", Name: "identity", Requirement: "1", Optional: true},
			{Namespace: "astrid", Name: "session", Requirement: "^1.0"},
			{Namespace: "other", Name: "x", Requirement: "*"},
		},
		Exports: []Export{
			{Namespace: "astrid", Name: "farewell", Version: "2.0.0-a"},
			{Namespace: "astrid", Name: "greeting", Version: "1.0.0"},
		},
		Supervision: Supervision{
			Restart: "transient", Budget: new(0), Queue: new(1), Window: new(90 * time.Second),
			BackoffInitial: new(250 * time.Millisecond), BackoffMax: new(time.Minute),
			LoadTimeout: new(90 * time.Second), CallTimeout: new(2 * time.Second), StopTimeout: new(time.Hour),
		},
		Build: Build{Command: "make"},
		Assets: []Asset{
			{Path: "skills/a.md", Line: 104, Key: "skill.file"}, {Path: "s.json", Line: 100, Key: "topic.schema"},
			{Path: "README.md", Line: 10, Key: "package.readme"},
		},
		Warnings: Problems{
			{File: "Capsule.toml", Line: 2, Key: "nothing", Message: "is unknown"},
			{File: "Capsule.toml", Line: 54, Key: "capabilities.teleport", Message: "is unknown"},
			{File: "Capsule.toml", Line: 57, Key: "env.plain.unknown", Message: "is unknown"},
			{File: "Capsule.toml", Line: 93, Key: "supervision.unknown", Message: "is unknown"},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Manifest{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseTheLeast(t *testing.T) {
	for _, text := range []string{header, "\xef\xbb\xbf" + header, strings.ReplaceAll(header, "\n", "\r\n"),
		"package = { name = \"greeter\", version = \"1.0.0\" }\ncomponent = [\n{ file = \"greeter.wasm\" }]\n",
		"package.name = \"greeter\"\npackage.version = '1.0.0'\n\n[[component]]\n\"file\" = \"\"\"greeter.wasm\"\"\"",
	} {
		got, problems := parse("f", []byte(text))
		want := &Manifest{
			File: "f", Digest: hashOf([]byte(text)), Package: Package{Name: "greeter", Version: "1.0.0"},
			Components: []Component{{File: "greeter.wasm", Line: 5}},
		}
		if strings.HasPrefix(text, "package = ") {
			want.Components[0].Line = 3
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Manifest{})); diff != "" || len(problems) > 0 {
			t.Errorf("%q: %v\n%s", text, problems, diff)
		}
	}
}

func TestReservedVariable(t *testing.T) {
	m, problems := parse("f", []byte(header+"[env.ASTRID_SOCKET_PATH]\ndefault = \"/evil\"\n[env.x]\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if diff := cmp.Diff("f:6: env.ASTRID_SOCKET_PATH: is ignored: the host sets it", m.Warnings.Error()); diff != "" {
		t.Error(diff)
	}
	if _, ok := m.Env[SocketVariable]; ok || len(m.Env) != 1 {
		t.Errorf("Env = %v", m.Env)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, FileName)
	check := func(name, id, want string) {
		t.Helper()
		m, err := Load(dir)
		got := ""
		if err != nil {
			got = err.Error()
			if _, ok := errors.AsType[Problems](err); !ok {
				t.Errorf("%s: the error is a %T", name, err)
			}
		}
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		if (m == nil) != (id == "") || m != nil && (m.ID() != id || m.Dir != dir || m.File != file) {
			t.Errorf("%s: manifest %+v", name, m)
		}
	}
	check("nothing there", "", file+": there is no such file, so this is no capsule's directory")
	write(t, file, header)
	check("a good one", "greeter", "")
	write(t, file, header+"[supervision]\nqueue = 0\nbudget = -3\n")
	check("a bad one", "greeter", file+":7: supervision.queue: is 0, and must be between 1 and 65536\n"+
		file+":8: supervision.budget: is -3, and must be between 0 and 10000")
	write(t, file, header+strings.Repeat("#", maxManifest-len(header)))
	check("as large as may be", "greeter", "")
	write(t, file, header+strings.Repeat("#", maxManifest-len(header)+1))
	check("too large", "", file+": can't be read: it has more than 262144 bytes, the limit")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	check("a directory of that name", "", file+": can't be read: it is no regular file")
}

// A key that is not known has no effect, and is probably a mistake.
func TestUnknownKeys(t *testing.T) {
	for more, want := range map[string]string{
		"[[interceptors]]\nevent = \"a\"":          `f:6: interceptors: is unknown: did you mean interceptor?`,
		"[supervision1]\nbudget = 1":               `f:6: supervision1: is unknown: did you mean supervision?`,
		"[supervision]\nbuget = 1":                 `f:7: supervision.buget: is unknown: did you mean budget?`,
		"[supervision]\nbackoff_initials = \"1s\"": `f:7: supervision.backoff_initials: is unknown: did you mean backoff_initial?`,
		"[supervision]\nqueu = 1":                  `f:7: supervision.queu: is unknown: did you mean queue?`,
		"[Capabilities]":                           `f:6: Capabilities: is unknown: did you mean capabilities?`,
		"budget = 3":                               `f:6: component.budget: is unknown`,
		"[[interceptor]]\nevent = \"a\"\naction = \"a\"\n[[interceptor]]\nevent = \"a\"\naction = \"a\"\nprio = 1": `f:12: interceptor.prio: is unknown`,
		"[env.a]\ndefalt = 1": `f:7: env.a.defalt: is unknown: did you mean default?`,
		"[imports.a]\nb = { version = \"1\", optinal = true }": `f:7: imports.a.b.optinal: is unknown: did you mean optional?`,
		"[capabilities]\nhttp = [\"a\"]":                       `f:7: capabilities.http: is unknown`,
		"[component.capabilities]\nnets = [\"a\"]":             `f:7: component.capabilities.nets: is unknown: did you mean net?`,

		// What has an effect, what may have any key, and what only astrid-capsule has.
		"[env.anything]\ndefault = { any = 1 }": "",
		"[exports.any]\nthing = \"1.0.0\"":      "",
		"[[topic]]\nname = \"a\"\nany = 1\n[[skill]]\n[[uplink]]\n[[command]]\nname = \"/a\"\n[[mcp_server]]": "",
	} {
		m, problems := parse("f", []byte(header+more))
		if len(problems) > 0 {
			t.Errorf("%q: %v", more, problems)
		}
		if diff := cmp.Diff(want, m.Warnings.Error()); diff != "" {
			t.Errorf("%q: %s", more, diff)
		}
	}
}

// TestTooManyInterceptors: a manifest with 6,001 interceptors once cost a system of five
// capsules 660 MB.
func TestTooManyInterceptors(t *testing.T) {
	one := "[[interceptor]]\nevent = \"t\"\naction = \"a\"\n"
	head := "[package]\nname = \"many\"\nversion = \"1.0.0\"\n\n[[component]]\nid = \"many\"\nfile = \"many.wasm\"\n\n"
	if m, err := Parse("Capsule.toml", []byte(head+strings.Repeat(one, MaxInterceptors))); err != nil {
		t.Errorf("%d interceptors: %v", len(m.Interceptors), err)
	}
	_, err := Parse("Capsule.toml", []byte(head+strings.Repeat(one, 6001)))
	if err == nil || !strings.Contains(err.Error(), "a capsule has at most 1024 interceptors") {
		t.Errorf("6,001 interceptors: %v", err)
	}
}
