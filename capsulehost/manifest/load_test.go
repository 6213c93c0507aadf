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

// Everything that a manifest can say, and much that nothing here knows.
const everything = `
nothing = "knows this key"

[package]
name = "greeter-2"
version = "1.2.3-rc.1+build"
description = "says hello"
astrid-version = ">=0.4, <1"
authors = ["somebody"]
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
call_timeout = "2s"
stop_timeout = "1h"
queue = 1
unknown = true

[[topic]]
name = 1
`

func TestParseEverything(t *testing.T) {
	got, problems := parse("Capsule.toml", []byte(everything))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := &Manifest{
		File: "Capsule.toml",
		Package: Package{
			Name: "greeter-2", Version: "1.2.3-rc.1+build", Description: "says hello", AstridVersion: ">=0.4, <1",
		},
		Components: []Component{
			{ID: "main", File: "sub/greeter.wasm", Line: 15, Hash: "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF", Type: "executable"},
			{File: "lib.wasm", Line: 26, Type: "library"},
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
			CallTimeout: new(2 * time.Second), StopTimeout: new(time.Hour),
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
			File: "f", Package: Package{Name: "greeter", Version: "1.0.0"},
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

// problemRows are manifests, after the header's five lines, and what is wrong
// with them.
var problemRows = map[string][]string{
	// Supervision.
	"[supervision]\nrestart = \"always\"":                           {`7: supervision.restart: is "always", and must be one of permanent, transient, temporary`},
	"[supervision]\nrestart = \"\"":                                 {`7: supervision.restart: is "", and must be one of permanent, transient, temporary`},
	"[supervision]\nbudget = -1":                                    {`7: supervision.budget: is -1, and must be between 0 and 10000`},
	"[supervision]\nbudget = 99999999999":                           {`7: supervision.budget: is 99999999999, and must be between 0 and 10000`},
	"[supervision]\nbudget = \"3\"":                                 {`7: supervision.budget: is text, and must be a whole number`},
	"[supervision]\nbudget = 3.0":                                   {`7: supervision.budget: is a number with a fraction, and must be a whole number`},
	"[supervision]\nqueue = 0":                                      {`7: supervision.queue: is 0, and must be between 1 and 65536`},
	"[supervision]\nqueue = 65537":                                  {`7: supervision.queue: is 65537, and must be between 1 and 65536`},
	"[supervision]\nwindow = 60":                                    {`7: supervision.window: has no unit: write it as text, such as "30s" or "1m30s"`},
	"[supervision]\nwindow = \"60\"":                                {`7: supervision.window: is "60", which is no time span: write one such as "30s" or "1m30s"`},
	"[supervision]\nwindow = \"0s\"":                                {`7: supervision.window: is "0s", and must be more than nothing`},
	"[supervision]\nstop_timeout = \"-1s\"":                         {`7: supervision.stop_timeout: is "-1s", and must be more than nothing`},
	"[supervision]\ncall_timeout = true":                            {`7: supervision.call_timeout: is true or false, and must be text`},
	"[supervision]\nbackoff_max = \"1s\"\nbackoff_initial = \"2s\"": {`7: supervision.backoff_max: is 1s, and less than backoff_initial, which is 2s`},

	// Capabilities.
	"[capabilities]\nuplink = \"yes\"":                          {`7: capabilities.uplink: is text, and must be true or false`},
	"[capabilities]\nnet = \"a\"":                               {`7: capabilities.net: is text, and must be a list`},
	"[capabilities]\nidentity = [\"a\",\n\n7]":                  {`9: capabilities.identity: is a whole number, and must be text`},
	"[capabilities]\nipc_publish = [\"a\",\n\"a..b\", \"\"]":    {`8: capabilities.ipc_publish: is "a..b", and a topic pattern has no empty segment`, `8: capabilities.ipc_publish: is "", and a topic pattern has no empty segment`},
	"[component.capabilities]\nipc_publish = [\"x.\"]":          {`7: component.capabilities.ipc_publish: is "x.", and a topic pattern has no empty segment`},
	"[capabilities]\nuplink = true\n[imports.a]\nb = \"1\"":     {`8: imports: an uplink capsule imports nothing: uplinks start first, and can't wait for others`},
	"[component.capabilities]\nuplink=true\n[imports.a]\nb='1'": {`8: imports: an uplink capsule imports nothing: uplinks start first, and can't wait for others`},
	"[capabilities]\nuplink = true\n[imports.a]\n[exports.a.b]": {`9: exports.a.b.version: is missing: a semantic version such as "1.0.0"`},
	"[[capabilities]]": {`6: capabilities: is a list, and must be a table`},

	// Interceptors.
	"[[interceptor]]\nevent = \"a\"":                                                 {`6: interceptor.action: is missing: it says what is invoked`},
	"[[interceptor]]\naction = \"a\"":                                                {`6: interceptor.event: is missing: it says which topics are wanted`},
	"[[interceptor]]\naction = \"a\"\nevent = \"\"":                                  {`8: interceptor.event: is "", and a topic pattern has no empty segment`},
	"[[interceptor]]\naction = \"a\"\nevent = \".a\"":                                {`8: interceptor.event: is ".a", and a topic pattern has no empty segment`},
	"[[interceptor]]\naction = 1\nevent = \"a.\"":                                    {`7: interceptor.action: is a whole number, and must be text`, `8: interceptor.event: is "a.", and a topic pattern has no empty segment`},
	"[[interceptor]]\naction = \"a\"\nevent = \"b\"\npriority=-1":                    {`9: interceptor.priority: is -1, and must be between 0 and 4294967295`},
	"[[interceptor]]\naction = \"a\"\nevent = \"b\"\npriority = 4_294_967_296":       {`9: interceptor.priority: is 4_294_967_296, and must be between 0 and 4294967295`},
	"[[interceptor]]\naction = \"a\"\nevent = \"b\"\npriority = 1.5":                 {`9: interceptor.priority: is a number with a fraction, and must be a whole number`},
	"[interceptor]\naction = \"a\"":                                                  {`6: interceptor: is one table, and must be a list of them: write [[interceptor]]`},
	"[[interceptor]]\nevent = \"a\"\naction = \"x\"\n[[interceptor]]\nevent = \"b\"": {`9: interceptor.action: is missing: it says what is invoked`},

	// Environment, imports, exports.
	"[env]\na = \"b\"":                          {`7: env.a: is text, and must be a table`},
	"[env.a]\ntype = 1\nenum_values = [1]":      {`7: env.a.type: is a whole number, and must be text`, `8: env.a.enum_values: is a whole number, and must be text`},
	"[env.\"a b\"]\nplaceholder = false":        {`7: env."a b".placeholder: is true or false, and must be text`},
	"[imports]\na = \"1\"":                      {`7: imports.a: is text, and must be a table`},
	"[imports.a]\nb = 1":                        {`7: imports.a.b: is a whole number, and must be text`},
	"[imports.a]\nb = \"v1\"":                   {`7: imports.a.b: is "v1", which is no version requirement such as "^1.0"`},
	"[imports.a]\nb = { optional = 1 }":         {`7: imports.a.b.optional: is a whole number, and must be true or false`, `7: imports.a.b.version: is missing: a requirement such as "^1.0"`},
	"[imports.A]\nb = \"1\"":                    {`6: imports.A: the name "A" is not a lower-case letter followed by a-z 0-9 -`},
	"[imports.a]\n1b = \"1\"":                   {`7: imports.a.1b: the name "1b" is not a lower-case letter followed by a-z 0-9 -`},
	"[imports.a]\n\"\" = \"1\"":                 {`7: imports.a: the name "" is not a lower-case letter followed by a-z 0-9 -`},
	"[exports.a-1]\nb_c = \"1.0.0\"":            {`7: exports.a-1.b_c: the name "b_c" is not a lower-case letter followed by a-z 0-9 -`},
	"[exports.a]\nb = \"1.0\"":                  {`7: exports.a.b: is "1.0", which is no full semantic version such as "1.0.0"`},
	"[exports.a]\nb = { version = \"^1.0.0\" }": {`7: exports.a.b.version: is "^1.0.0", which is no full semantic version such as "1.0.0"`},
	"[exports.a]\nb = true":                     {`7: exports.a.b: is true or false, and must be text`},

	// Components.
	"[[component]]\nid = \"b\"":                       {`6: component.file: is missing: it names the module, in the capsule's directory`},
	"[[component]]\nfile = \"b\"\nentrypoint = \"b\"": {`8: component.entrypoint: is another name for component.file, which is there too`},
	"[[component]]\nfile = \"/b\"":                    {`7: component.file: is "/b", and must be a file inside the capsule's directory`},
	"[[component]]\nentrypoint = \"a/../../b\"":       {`7: component.entrypoint: is "a/../../b", and must be a file inside the capsule's directory`},
	"[[component]]\nfile = \"\"":                      {`7: component.file: is "", and must be a file inside the capsule's directory`},
	"[[component]]\nfile = \"a/..\"":                  {`7: component.file: is "a/..", and must be a file inside the capsule's directory`},
	"[[component]]\nfile = \"b\"\ntype = \"mcp\"":     {`8: component.type: is "mcp", and must be one of executable, library`},
	"[[component]]\nfile = \"b\"\nhash = \"abc\"":     {`8: component.hash: is "abc", and must be a BLAKE3 hash: 64 hexadecimal digits`},
	"[[component]]\nfile = \"b\"\nhash = \"sha256:0011223344556677889900112233445566778899001122334455667788\"": {`8: component.hash: is "sha256:0011223344556677889900112233445566778899001122334455667788", and must be a BLAKE3 hash: 64 hexadecimal digits`},
	"[[component]]\nfile = \"b\"\nid = 3":            {`8: component.id: is a whole number, and must be text`},
	"[component.capabilities]\nfs_read = 1979-05-27": {`7: component.capabilities.fs_read: is a date, and must be a list`},

	// What TOML itself refuses.
	"[supervision]\nqueue = 1\nqueue = 2":           {`8: supervision.queue: not valid TOML: key queue is already defined`},
	"[supervision]\nqueue = 1\nqueue = 2\n[env.z]":  {`8: supervision.queue: not valid TOML: key queue is already defined`},
	"[supervision]\nqueue = 1\n[env]\na = {\n":      {`9: env.a: not valid TOML: `},
	"[supervision]\n\"queue\" = 1\n\"queue\" = 1\n": {`8: queue: not valid TOML: key queue is already defined`},
	"[supervision]\nqueue =":                        {`7: supervision.queue: not valid TOML: `},
	"[supervision]\nqueue = 0755":                   {`7: supervision.queue: not valid TOML: integers cannot have leading zeroes`},
	"[supervision]\nqueue = 1\n[package]":           {`8: package: not valid TOML: table package already exists`},
	"[env.a]\ndefault = 1979-13-45":                 {`7: env.a.default: not valid TOML: impossible date`},
	"[env.a]\ndefault = \"\xff\"":                   {`7: env.a.default: not valid TOML: invalid UTF-8 character in basic string`},
	"garbage":                                       {`6: component: not valid TOML: `},
}

func TestParseProblems(t *testing.T) {
	for more, want := range problemRows {
		m, problems := parse("f", []byte(header+more))
		if m == nil || m.ID() != "greeter" {
			t.Errorf("%q: the capsule's id was lost", more)
		}
		if len(problems) != len(want) {
			t.Errorf("%q: %d problems, want %d:\n%v", more, len(problems), len(want), problems)
			continue
		}
		for i, p := range problems {
			// A text that ends in ": " stands for whatever the library says.
			if got := p.String(); got != "f:"+want[i] && (!strings.HasSuffix(want[i], ": ") || !strings.HasPrefix(got, "f:"+want[i])) {
				t.Errorf("%q:\n got %s\nwant f:%s", more, got, want[i])
			}
		}
	}
}

func TestParsePackage(t *testing.T) {
	const component = "[[component]]\nfile = \"a\"\n"
	for _, c := range []struct {
		text string
		id   string // "" where there is no manifest
		want []string
	}{
		{"", "", []string{"f:1: package: is missing: a manifest has a table [package] with a name and a version",
			"f:1: component: is missing: a capsule has a [[component]] that names its module"}},
		{component + "[package]", "", []string{"f:3: package.name: is missing: it is the capsule's id",
			`f:3: package.version: is missing: a semantic version such as "1.0.0"`}},
		{"package = 3\n" + component, "", []string{"f:1: package: is a whole number, and must be a table"}},
		{"[package]\nname = \"a\"\n" + component, "a", []string{`f:1: package.version: is missing: a semantic version such as "1.0.0"`}},
		{"[package]\nname = \"a_b\"\nversion = \"1.0.0\"\n" + component, "", []string{`f:2: package.name: is "a_b", and a capsule's id is one or more of a-z 0-9 -`}},
		{"[package]\nname = \"\"\nversion = \"1.0.0\"\n" + component, "", []string{`f:2: package.name: is "", and a capsule's id is one or more of a-z 0-9 -`}},
		{"[package]\nname = 7\nversion = \"1.0.0\"\n" + component, "", []string{`f:2: package.name: is a whole number, and must be text`}},
		{"[package]\nname = \"a\"\nversion = \"1.0\"\n" + component, "a", []string{`f:3: package.version: is "1.0", which is no full semantic version such as "1.0.0"`}},
		{"[package]\nname = \"a\"\nversion = \"v1.0.0\"\n" + component, "a", []string{`f:3: package.version: is "v1.0.0", which is no full semantic version such as "1.0.0"`}},
		{"[package]\nname = \"a\"\nversion = \"1.0.0\"\ndescription = []\n" + component, "a", []string{`f:4: package.description: is a list, and must be text`}},
		{"[package]\nname = \"a\"\nversion = \"1.0.0\"\nastrid-version = \"0.4\"\n" + component, "a", []string{`f:4: package.astrid-version: the capsule needs Astrid 0.4, and this host is compatible with 0.5.0`}},
		{"[package]\nname = \"a\"\nversion = \"1.0.0\"\nastrid-version = \"0.5\"\n" + component, "a", nil},
		{"[package]\nname = \"a\"\nversion = \"1.0.0\"\nastrid-version = \"\"\n" + component, "a", []string{`f:4: package.astrid-version: is "", which is no version requirement such as "^1.0"`}},
		{"[package]\nname = \"a\"\nversion = 1.0.0\n" + component, "a", []string{`f:3: package.version: not valid TOML: expected newline but got U+002E '.'`}},
		{"[package]\nversion = 1.0.0\nname = \"a\"\n" + component, "", []string{`f:2: package.version: not valid TOML: expected newline but got U+002E '.'`}},
		{"[package]\nname = \"a\"\nversion = \"1.0.0\"\n[component]\nfile = \"a\"\n", "a", []string{`f:4: component: is one table, and must be a list of them: write [[component]]`}},
		{"component = [\n3]\n[package]\nname = \"a\"\nversion = \"1.0.0\"\n", "a", []string{`f:2: component: is a whole number, and must be a table`}},
		{"component = []\n[package]\nname = \"a\"\nversion = \"1.0.0\"\n", "a", []string{`f:1: component: is empty: a capsule has a [[component]] that names its module`}},
	} {
		m, problems := parse("f", []byte(c.text))
		var got []string
		for _, p := range problems {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q: %s", c.text, diff)
		}
		if (m == nil) != (c.id == "") || (m != nil && m.ID() != c.id) {
			t.Errorf("%q: manifest %+v, want id %q", c.text, m, c.id)
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
			var problems Problems
			if !errors.As(err, &problems) {
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
