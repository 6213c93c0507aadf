package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const publishes = "[capabilities]\nipc_publish = [\"a.*\"]\n"

// problemRows maps manifests, without the header's five lines, to their problems.
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

	"[[interceptor]]\naction = \"a\"\nevent = \"b\"\nattempts = 2":                 {`9: interceptor.attempts: has no effect: only a message of a durable interceptor is tried again`},
	"[[interceptor]]\naction = \"a\"\nevent = \"b\"\ndurable = true\nattempts = 0": {`10: interceptor.attempts: is 0, and must be between 1 and 1000`},

	// Topics.
	"[[topic]]\nname = \"a\"\nkeep = \"7d\"":                                                           {`8: topic.keep: has no effect: the topic is not durable`},
	"[[topic]]\ndurable = true":                                                                        {`6: topic.name: is missing: it says which topic is durable`},
	"[[topic]]\nname = \"a\"\ndurable = \"yes\"":                                                       {`8: topic.durable: is text, and must be true or false`},
	"[[topic]]\nname = \"a\"\ndurable = true":                                                          {`7: topic.name: is "a", and a capsule declares topics that its ipc_publish grants; an operator can declare any`},
	publishes + "[[topic]]\nname = \"b.a\"\ndurable = true":                                            {`9: topic.name: is "b.a", and a capsule declares topics that its ipc_publish grants; an operator can declare any`},
	publishes + "[[topic]]\nname = \"a.b\"\ndurable = true\n[[topic]]\nname = \"a.b\"\ndurable = true": {`12: topic.name: is "a.b", and was declared before`},
	publishes + "[[topic]]\nname = \"a.b\"\ndurable = true\nkeep = \"soon\"":                           {`11: topic.keep: is "soon", and must be a time span such as "7d" or "12h", or a number of bytes`},
	publishes + "[[topic]]\nname = \"a.b\"\ndurable = true\nkeep = \"0d\"":                             {`11: topic.keep: is "0d", and must be a time span such as "7d" or "12h", or a number of bytes`},
	publishes + "[[topic]]\nname = \"a.b\"\ndurable = true\nkeep = 2_000_000_000":                      {`11: topic.keep: is 2_000_000_000, and must be between 1 and 1073741824`},
	publishes + "[[topic]]\nname = \"a.b\"\ndurable = true\nkeep = 1.5":                                {`11: topic.keep: is a number with a fraction, and must be text`},
	publishes + "[[topic]]\nname = \"a.*\"\ndurable = true":                                            {`9: topic.name: is "a.*", and a durable topic is one topic, without * and /`},
	"[capabilities]\nipc_publish = [\"*.*.*.*.*.*.*.*\"]\n[[topic]]\nname = \"1.2.3.4.5.6.7.8\"\ndurable = true": {
		`9: topic.name: is "1.2.3.4.5.6.7.8", and a durable topic has at most 7 segments`},
	"[capabilities]\nipc_publish = [\"*.*\"]\n[[topic]]\nname = \"astrid.x\"\ndurable = true": {
		`9: topic.name: is "astrid.x", and a durable topic is none of the kernel's own, which begin with astrid.`},

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

	// Errors of the TOML parser.
	"[supervision]\nqueue = 1\nqueue = 2":                 {`8: supervision.queue: not valid TOML: key queue is already defined`},
	"[supervision]\nqueue = 1\nqueue = 2\n[env.z]":        {`8: supervision.queue: not valid TOML: key queue is already defined`},
	"[supervision]\nqueue = 1\n[env]\na = {\n":            {`9: env.a: not valid TOML: `},
	"[supervision]\n\"queue\" = 1\n\"queue\" = 1\n":       {`8: queue: not valid TOML: key queue is already defined`},
	"[supervision]\nqueue =":                              {`7: supervision.queue: not valid TOML: `},
	"[supervision]\nqueue = 0755":                         {`7: supervision.queue: not valid TOML: integers cannot have leading zeroes`},
	"[supervision]\nqueue = 1\n[package]":                 {`8: package: not valid TOML: table package already exists`},
	"[env.a]\ndefault = 1979-13-45":                       {`7: env.a.default: not valid TOML: impossible date`},
	"[env.a]\ndefault = \"\xff\"":                         {`7: env.a.default: not valid TOML: invalid UTF-8 character in basic string`},
	"garbage":                                             {`6: component: not valid TOML: "garbage"`},
	"[capabilities]\nuplink = yes":                        {`7: capabilities.uplink: not valid TOML: "uplink = yes"; text needs quotation marks`},
	"[capabilities]\nuplink = true  # x\n  uplink = tree": {`8: capabilities.uplink: not valid TOML: "uplink = tree"; text needs quotation marks`},
	"[supervision\nqueue = 1":                             {`6: component: not valid TOML: "[supervision"`},
	"[env.a]\ndefault = { a = 1,,  }":                     {`7: env.a.default: not valid TOML: "default = { a = 1,,  }"`},
	"[env.a]\nx" + strings.Repeat("é", 100) + " 3":        {`7: env.a: not valid TOML: "x` + strings.Repeat("é", 78) + `…"`},
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
			// An expected text that ends in ": " matches any text of the library after it.
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
		id   string // "" if there is no manifest
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
		{"[package]\nname = \"a\"\nversion = 1.0.0\n" + component, "a", []string{`f:3: package.version: not valid TOML: "version = 1.0.0"; text needs quotation marks`}},
		{"[package]\nversion = 1.0.0\nname = \"a\"\n" + component, "", []string{`f:2: package.version: not valid TOML: "version = 1.0.0"; text needs quotation marks`}},
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
