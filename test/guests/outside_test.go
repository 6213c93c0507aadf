package guests

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

const outsideManifest = `[package]
name = "outside"
version = "1.0.0"

[[component]]
id = "outside"
file = "outside.wasm"

[capabilities]
uplink = true
fs_read = ["home://notes"]
fs_write = ["home://notes"]
net = ["127.0.0.1"]
net_bind = ["unix:*"]
host_process = ["sh"]
identity = ["admin"]
`

// Every call of astrid-sdk for files, HTTP, people, uplinks, sockets and processes, through
// its own types: in a capsule that is installed, asks, and then is run by the supervisor.
func TestTheOutsideThroughTheSDK(t *testing.T) {
	t.Parallel()
	home, err := os.MkdirTemp("", "h") //nolint:usetesting // the path of a socket has at most 103 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	dir := t.TempDir()
	wasm, err := os.ReadFile("outside/outside.wasm")
	manifest := outsideManifest
	for _, action := range []string{"installed", "files", "fetch", "people", "processes", "uplinks", "bind", "serve"} {
		manifest += fmt.Sprintf("\n[[interceptor]]\nevent = %q\naction = %q\n", "outside."+action, action)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "outside.wasm"), wasm, 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "Capsule.toml"), []byte(manifest), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	sup, err := supervisor.New(supervisor.Config{
		Home: home, Store: store.NewMemory(), AllowHostProcess: true, HTTPNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- sup.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	if err := sup.AwaitStarted(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = sup.Install(ctx, dir, supervisor.InstallOptions{Seal: true, Ask: func(_ context.Context, _ string, q supervisor.Question) (supervisor.Answer, error) {
		switch {
		case q.Kind == capsulehost.AskSelect:
			return supervisor.Answer{Value: q.Options[1]}, nil
		case q.Kind == capsulehost.AskArray:
			return supervisor.Answer{Values: []string{"one", "two"}}, nil
		case q.Default != nil:
			return supervisor.Answer{Value: *q.Default}, nil
		default:
			return supervisor.Answer{Value: "given"}, nil
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "an answer") }))
	t.Cleanup(server.Close)
	ask := func(action, payload string) string {
		reply, err := sup.Trigger(ctx, supervisor.TriggerRequest{Topic: "outside." + action, Payload: json.RawMessage(payload)})
		if err != nil || len(reply.Legs) != 1 {
			t.Fatalf("%s: %+v, %v", action, reply, err)
		}
		return reply.Legs[0].Reason + string(reply.Legs[0].Value)
	}
	waiting, err := sup.WatchApprovals(ctx)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // the person
		for all := range waiting {
			for _, a := range all {
				_ = sup.Decide(ctx, a.ID, supervisor.ApproveOnce)
			}
		}
	}()
	for _, tt := range []struct{ action, payload, want string }{
		{"installed", "null", `{"after":true,"before":{"array":["one","two"],"before":false,"default":"here","select":"test","text":"given"}}`},
		{"files", "null", `{"denied":true,"left":false,"names":["one"],"size":5,"text":"first"}`},
		{"fetch", `{"url":"` + server.URL + `"}`, `"body":"an answer"`},
		{"fetch", `{"url":"` + server.URL + `"}`, `"stream":200,"streamed":"an answer"`},
		{"people", "null", `{"approved":true,"decision":"approve","found":true,"links":1,"removed":true}`},
		{"processes", "null", `{"exit_code":3,"killed":true,"running":true,"stderr":"err\n","stdout":"out\n"}`},
		{"uplinks", "null", `{"ok":true}`},
		{"bind", "null", "false"},
	} {
		if got := ask(tt.action, tt.payload); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s\nwant %s", tt.action, got, tt.want)
		}
	}
	greet(t, filepath.Join(home, "run"), func() {
		if got := ask("serve", "null"); got != `{"message":"\"hello\"","pending":true}` {
			t.Errorf("serve: %s", got)
		}
	})
}

// greet connects to the socket in a directory as Astrid's client does, and checks that the
// capsule sends its message back.
func greet(t *testing.T, dir string, serve func()) {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(dir, "system.token"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", filepath.Join(dir, "system.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf(`{"token":%q,"protocol_version":1,"client_version":"0.3.0"}`, token), `"hello"`} {
		if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)); err != nil {
			t.Fatal(err)
		}
	}
	serve()
	for _, want := range []string{`{"status":"ok","protocol_version":1,"server_version":"0.5.0"}`, `"hello"`} {
		size := make([]byte, 4)
		if _, err := io.ReadFull(c, size); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, binary.BigEndian.Uint32(size))
		if _, err := io.ReadFull(c, text); err != nil || string(text) != want {
			t.Errorf("received %s, %v, want %s", text, err, want)
		}
	}
}
