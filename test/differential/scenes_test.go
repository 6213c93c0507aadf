package differential

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

// scene is one capsule, and the calls that it makes, in order.
type scene struct {
	name, id, module string
	capabilities     string // of the manifest, in TOML
	install          bool   // the reference calls astrid_install only then
	decision         supervisor.Decision
	steps            []step
}

// step is one call of an interceptor.
type step struct {
	action, payload string
	why             string // the two hosts differ: "safer: ...", "refused: ..." or "here: ..."
	client          bool   // meanwhile a client connects, and says hello
}

func (s *scene) manifest() string {
	text := fmt.Sprintf("[package]\nname = %q\nversion = \"1.0.0\"\n[[component]]\nid = %q\nfile = %q\n", s.id, s.id, s.id+".wasm")
	seen := map[string]bool{}
	for _, step := range s.steps {
		if !seen[step.action] {
			seen[step.action] = true
			text += fmt.Sprintf("[[interceptor]]\nevent = %q\naction = %q\n", "test."+step.action, step.action)
		}
	}
	return text + s.capabilities
}

// scenes returns all of them. Those of reach, errand and keep make one host call for each
// step; sdk and outside are in Rust, with the real SDK.
func scenes() []scene {
	capsule := func(id string) string { return filepath.Join("..", "capsules", id, id+".wasm") }
	guest := func(path string) string { return filepath.Join("..", "guests", path) }
	return []scene{
		{
			name: "files", id: "reach", module: capsule("reach"),
			capabilities: "[capabilities]\nfs_read = [\"cwd://\", \"home://notes\"]\nfs_write = [\"cwd://\", \"home://notes\"]\n",
			steps: []step{
				{action: "exists", payload: `"cwd://seen.json"`},
				{action: "exists", payload: `"cwd://none"`},
				{action: "exists", payload: `"seen.json"`},
				{action: "read", payload: `"cwd://seen.json"`},
				{action: "read", payload: `"seen.json"`},
				{action: "read", payload: `"cwd://none"`},
				{action: "read", payload: `"cwd://sub"`},
				{action: "read", payload: `""`},
				{action: "stat", payload: `"cwd://seen.json"`},
				{action: "stat", payload: `"cwd://sub"`},
				{action: "stat", payload: `"cwd://none"`},
				{action: "list", payload: `"cwd://sub"`, why: "here: the reference lists no directory that only the workspace has"},
				{action: "list", payload: `"cwd://none"`},
				{action: "list", payload: `"cwd://seen.json"`},
				{action: "write", payload: `"cwd://new.json"`},
				{action: "read", payload: `"cwd://new.json"`},
				{action: "list", payload: `"cwd://"`},
				{action: "mkdir", payload: `"cwd://made"`},
				{action: "write", payload: `"cwd://made/one"`},
				{action: "list", payload: `"cwd://made"`},
				{action: "remove", payload: `"cwd://made/one"`},
				{action: "exists", payload: `"cwd://made/one"`},
				{action: "remove", payload: `"cwd://seen.json"`, why: "safer: a file of the workspace can be removed, for this capsule only; there it can not"},
				{action: "exists", payload: `"cwd://seen.json"`, why: "it was removed here only"},
				{action: "remove", payload: `"cwd://none"`},
				{action: "mkdir", payload: `"cwd://sub"`},
				{action: "write", payload: `"cwd://none/one"`},
				{action: "write", payload: `"cwd://sub"`},
				{action: "mkdir", payload: `"home://notes"`},
				{action: "write", payload: `"home://notes/one"`},
				{action: "read", payload: `"home://notes/one"`},
				{action: "list", payload: `"home://notes"`},
				{action: "read", payload: `"home://other"`},
				{action: "write", payload: `"home://other"`},
				{action: "read", payload: `"cwd://../beside"`},
				{action: "read", payload: `"../beside"`},
				{action: "write", payload: `"cwd://../beside"`},
				{action: "read", payload: `"/etc/hostname"`},
				{action: "exists", payload: `"/etc/hostname"`},
			},
		},
		{
			name: "temporary files", id: "reach", module: capsule("reach"),
			capabilities: "[capabilities]\nfs_read = [\"/tmp\"]\nfs_write = [\"/tmp\"]\n",
			steps: []step{
				{action: "write", payload: `"/tmp/one"`},
				{action: "read", payload: `"/tmp/one"`},
				{action: "read", payload: `"/tmp/../etc/hostname"`},
			},
		},
		{
			name: "files without a grant", id: "reach", module: capsule("reach"),
			steps: []step{
				{action: "read", payload: `"cwd://seen.json"`},
				{action: "exists", payload: `"cwd://seen.json"`},
				{action: "write", payload: `"cwd://new.json"`},
				{action: "list", payload: `"home://"`},
			},
		},
		{
			name: "http", id: "reach", module: capsule("reach"), capabilities: "[capabilities]\nnet = [\"*\"]\n",
			steps: []step{
				{action: "fetch", payload: `{"url":"SERVER/hello"}`},
				{action: "open", payload: `{"url":"SERVER/hello"}`},
				{action: "fetch", payload: `{"url":"file:///etc/hostname"}`},
				{action: "fetch", payload: `{"url":"no address"}`},
				{action: "fetch", payload: `"no JSON"`},
				{action: "next", payload: `"7"`},
				{action: "close", payload: `"7"`},
			},
		},
		{
			name: "http without a grant", id: "reach", module: capsule("reach"),
			steps: []step{{action: "fetch", payload: `{"url":"SERVER/hello"}`}, {action: "open", payload: `{"url":"SERVER/hello"}`}},
		},
		{
			name: "identities", id: "reach", module: capsule("reach"), capabilities: "[capabilities]\nidentity = [\"admin\"]\n",
			steps: []step{
				{action: "create", payload: `{"display_name":"Ada"}`},
				{action: "create", payload: `{}`},
				{action: "resolve", payload: `{"platform":"telegram","platform_user_id":"42"}`},
				{action: "link", payload: `{"platform":"telegram","platform_user_id":"42","astrid_user_id":"00000000-0000-4000-8000-000000000000","method":"test"}`},
				{action: "unlink", payload: `{"platform":"telegram","platform_user_id":"42"}`},
				{action: "links", payload: `{"astrid_user_id":"00000000-0000-4000-8000-000000000000"}`},
				{action: "links", payload: `{"astrid_user_id":"nobody"}`},
				{action: "resolve", payload: `"no JSON"`},
			},
		},
		{
			name: "identities without a grant", id: "reach", module: capsule("reach"),
			steps: []step{{action: "create", payload: `{"display_name":"Ada"}`}, {action: "resolve", payload: `{"platform":"telegram","platform_user_id":"42"}`}},
		},
		{
			name: "state", id: "keep", module: capsule("keep"),
			steps: []step{
				{action: "set", payload: `"a"`},
				{action: "set", payload: `"b/1"`},
				{action: "get", payload: `"a"`},
				{action: "get", payload: `"none"`},
				{action: "keys", payload: `""`},
				{action: "keys", payload: `"b"`},
				{action: "delete", payload: `"a"`},
				{action: "delete", payload: `"a"`},
				{action: "clear", payload: `"b/"`},
				{action: "clear", payload: `"b/"`},
				{action: "keys", payload: `""`},
				{action: "get", payload: `""`},
				{action: "set", payload: `""`},
				{action: "get", payload: `"` + strings.Repeat("k", 5000) + `"`},
			},
		},
		{
			name: "approved", id: "errand", module: capsule("errand"), decision: supervisor.ApproveSession,
			steps: []step{
				{action: "approve", payload: `{"action":"git push","resource":"git push origin main","risk_level":"high"}`},
				{action: "approve", payload: `{"action":"git push","resource":"git push fork","risk_level":"high"}`},
				{action: "approve", payload: `{"action":"rm","resource":"git push; rm -rf x","risk_level":"high"}`},
				{action: "approve", payload: `{"action":"harmless","resource":"git push elsewhere","risk_level":"low"}`, why: "safer: what was approved was another action"},
				{action: "approve", payload: `{"action":"","resource":"x","risk_level":"low"}`, why: "safer: a person would be asked about nothing"},
				{action: "approve", payload: `{"action":"` + strings.Repeat("a", 257) + `","resource":"x","risk_level":"low"}`},
				{action: "approve", payload: `{"action":"x"}`},
			},
		},
		{
			name: "denied", id: "errand", module: capsule("errand"), decision: supervisor.Deny,
			steps: []step{{action: "approve", payload: `{"action":"git push","resource":"git push origin main","risk_level":"high"}`}},
		},
		{
			name: "questions outside of an installation", id: "errand", module: capsule("errand"),
			steps: []step{{action: "elicit", payload: `{"type":"text","key":"name"}`}, {action: "has-secret", payload: `{"key":"api_key"}`, why: "safer: only a hook may ask"}},
		},
		{
			name: "uplinks", id: "errand", module: capsule("errand"), capabilities: "[capabilities]\nuplink = true\n[[uplink]]\nname = \"bot\"\nplatform = \"telegram\"\nprofile = \"chat\"\n",
			steps: []step{
				{action: "register", payload: `"bot telegram chat"`},
				{action: "register", payload: `"bot telegram chat"`},
				{action: "register", payload: `"other telegram none"`},
				{action: "send", payload: `"none ada hello"`},
			},
		},
		{
			name: "uplinks without a grant", id: "errand", module: capsule("errand"),
			steps: []step{{action: "register", payload: `"bot telegram chat"`, why: "safer: the grant is checked"}},
		},
		{
			name: "sockets without a grant", id: "errand", module: capsule("errand"),
			steps: []step{{action: "bind", payload: `"x"`}, {action: "poll-accept", payload: `"1"`}, {action: "receive", payload: `"1"`}},
		},
		{
			name: "processes", id: "errand", module: capsule("errand"), capabilities: "[capabilities]\nhost_process = [\"sh\"]\n",
			steps: []step{
				{action: "spawn", payload: `{"args":["-c","echo out; echo err >&2; exit 3"],"cmd":"sh"}`, why: "here: the reference runs nothing without bwrap"},
				{action: "background", payload: `{"args":["-c","exec sleep 1000"],"cmd":"sh"}`, why: "here: the reference runs nothing without bwrap"},
				{action: "logs", payload: `{"id":1}`, why: "here: the reference runs nothing without bwrap"},
				{action: "kill-process", payload: `{"id":1}`, why: "here: the reference runs nothing without bwrap"},
				{action: "logs", payload: `{"id":9}`},
				{action: "spawn", payload: `{"args":[],"cmd":"cat"}`},
				{action: "spawn", payload: `"no JSON"`},
			},
		},
		{
			name: "processes without a grant", id: "errand", module: capsule("errand"),
			steps: []step{{action: "spawn", payload: `{"args":["-c","true"],"cmd":"sh"}`}, {action: "background", payload: `{"args":["-c","true"],"cmd":"sh"}`}},
		},
		{
			name: "setting", id: "whoami", module: capsule("whoami"), capabilities: "[env.name]\ntype = \"string\"\ndefault = \"nobody\"\n",
			steps: []step{{action: "ask", payload: "null"}},
		},
		{
			name: "caller", id: "caller", module: capsule("caller"),
			steps: []step{{action: "ask", payload: "null"}},
		},
		{
			name: "sdk: state and bus", id: "sdk", module: guest("sdk/sdk.wasm"),
			capabilities: "[capabilities]\nipc_publish = [\"sdk.*.*\"]\nipc_subscribe = [\"sdk.*.*\"]\n[env.greeting]\ntype = \"string\"\ndefault = \"hello\"\n",
			steps: []step{
				{action: "count", payload: "null"},
				{action: "count", payload: "null"},
				{action: "state", payload: "null"},
				{action: "bus", payload: "null"},
				{action: "msgpack", payload: "null"},
			},
		},
		{
			name: "sdk: bus without a grant", id: "sdk", module: guest("sdk/sdk.wasm"),
			steps: []step{{action: "bus", payload: "null"}},
		},
		{
			name: "sdk: the rest", id: "outside", module: guest("outside/outside.wasm"), install: true, decision: supervisor.ApproveOnce,
			capabilities: "[capabilities]\nuplink = true\nfs_read = [\"home://notes\"]\nfs_write = [\"home://notes\"]\nnet = [\"127.0.0.1\"]\n" +
				"net_bind = [\"unix:*\"]\nhost_process = [\"sh\"]\nidentity = [\"admin\"]\n[[uplink]]\nname = \"bot\"\nplatform = \"telegram\"\nprofile = \"chat\"\n",
			steps: []step{
				{action: "installed", payload: "null"},
				{action: "files", payload: "null"},
				{action: "people", payload: "null"},
				{action: "uplinks", payload: "null"},
				{action: "bind", payload: "null"},
				{action: "serve", payload: "null", client: true},
			},
		},
	}
}
