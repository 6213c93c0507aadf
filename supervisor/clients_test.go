package supervisor_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// errandHome returns a home whose path is short enough for a socket, and the addresses of
// the socket and the token.
func errandHome(t *testing.T) (home, socket, token string) {
	t.Helper()
	home, err := os.MkdirTemp("", "h") //nolint:usetesting // the path of a socket has at most 103 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	return home, filepath.Join(home, "run", "system.sock"), filepath.Join(home, "run", "system.token")
}

// patient is for capsules that die often.
var patient = supervisor.RestartPolicy{Budget: 1000, InitialBackoff: time.Millisecond, MaxBackoff: time.Millisecond}

// do makes a call of the capsule errand, and returns the result.
func do(t *testing.T, sys *supervisortest.System, call, argument string) string {
	t.Helper()
	payload, err := json.Marshal(argument)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(argument, "{") {
		payload = []byte(argument)
	}
	reply, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "test.errand." + call, Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	leg := reply.Legs[0]
	if leg.Outcome == messages.OutcomeCrashed {
		return "crashed: " + leg.Reason
	}
	if leg.Outcome == messages.OutcomeInvalid { // not JSON
		return "text"
	}
	return string(leg.Value)
}

// clients asks the kernel, as a capsule does, how many clients there are.
func clients(t *testing.T, sys *supervisortest.System) int {
	t.Helper()
	answers := sys.Subscribe(t.Context(), "astrid.v1.response.status")
	if err := sys.Publish(t.Context(), "astrid.v1.request.status", json.RawMessage(`{"type":"raw_json","method":"GetStatus"}`), nil); err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data struct {
			Clients int `json:"connected_clients"`
		}
	}
	for m, err := range answers {
		if err == nil {
			err = json.Unmarshal(m.Payload, &answer)
		}
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	return answer.Data.Clients
}

// A client of Astrid reaches the capsule that has bound the socket; with the capsule, the
// socket and the client's stream go.
func TestAClientOfACapsule(t *testing.T) {
	home, socket, tokenFile := errandHome(t)
	sys := supervisortest.Start(t, supervisor.Config{Home: home, CapsuleDirs: []string{fixture("errand")}})
	told := sys.Subscribe(t.Context(), "client.v1.*")
	if got := do(t, sys, "bind", "any/path"); got != "1" {
		t.Fatalf("bind: %s", got)
	}
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	send := func(text string) {
		if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)); err != nil {
			t.Fatal(err)
		}
	}
	receive := func() string {
		size := make([]byte, 4)
		if _, err := io.ReadFull(c, size); err != nil {
			return err.Error()
		}
		text := make([]byte, binary.BigEndian.Uint32(size))
		if _, err := io.ReadFull(c, text); err != nil {
			return err.Error()
		}
		return string(text)
	}
	send(fmt.Sprintf(`{"token":%q,"protocol_version":1,"client_version":"0.3.0"}`, token))
	if got := receive(); got != `{"status":"ok","protocol_version":1,"server_version":"0.5.0"}` {
		t.Fatalf("the handshake: %s", got)
	}
	if got := do(t, sys, "accept", "1"); got != "1" {
		t.Fatalf("accept: %s", got)
	}
	if got := clients(t, sys); got != 1 {
		t.Errorf("the kernel counts %d clients", got)
	}
	if got := do(t, sys, "transmit", `1 "to the client"`); got != "" {
		t.Fatalf("write: %s", got)
	}
	if got := receive(); got != `\"to the client\"` { // the capsule does not decode its payload
		t.Errorf("the client has received %s", got)
	}
	for m, err := range told {
		if err != nil || m.Topic != "client.v1.connected" || m.SourceID != sys.Capsule("errand").Session {
			t.Errorf("%+v, %v", m, err)
		}
		break
	}
	if err := sys.Kill(t.Context(), "errand"); err != nil {
		t.Fatal(err)
	}
	if got := receive(); got != io.EOF.Error() {
		t.Errorf("after the capsule's death: %s", got)
	}
	if got := clients(t, sys); got != 0 {
		t.Errorf("after the capsule's death, the kernel counts %d clients", got)
	}
	for _, path := range []string{socket, tokenFile} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// What uplinks hand over can be read; an uplink ends with its instance.
func TestUplinks(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{fixture("errand")}, Restart: patient})
	if got := do(t, sys, "register", "bot Telegram CHAT"); got != "text" {
		t.Fatalf("register: %s", got)
	}
	uplinks, err := sys.Uplinks()
	if err != nil || len(uplinks) != 1 {
		t.Fatalf("%+v, %v", uplinks, err)
	}
	u := uplinks[0]
	if u.Capsule != "errand" || u.Name != "bot" || u.Platform != "telegram" || u.Profile != "chat" {
		t.Errorf("%+v", u)
	}
	if got := do(t, sys, "send", u.ID+" ada hello, you"); got != `{"ok":true}` {
		t.Fatalf("send: %s", got)
	}
	inbound, err := sys.Inbound(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for m := range inbound {
		if m.Uplink != u || m.User != "ada" || m.Content != "hello, you" || m.At.IsZero() {
			t.Errorf("%+v", m)
		}
		break
	}
	for range 256 {
		if got := do(t, sys, "send", u.ID+" ada again"); got != `{"ok":true}` {
			t.Fatal(got)
		}
	}
	if got := do(t, sys, "send", u.ID+" ada too much"); got != `{"dropped":true,"ok":false}` {
		t.Errorf("without room: %s", got)
	}
	for n, tt := range [][2]string{
		{"register bot telegram chat", `there is an uplink "bot" for "telegram" already`},
		{"register bot telegram shout", `there is no uplink profile "shout"`},
		{"register bot", "there is no uplink profile"},
		{"send " + u.ID + " ada x", "has not registered the uplink"}, // it was an earlier instance's
		{"send not-an-id ada x", "it must be a UUID"},
		{"register " + strings.Repeat("n", 513) + " telegram chat", "over the limit of 512"},
	} {
		dies(t, sys, n, tt[0], tt[1])
		if left, err := sys.Uplinks(); err != nil || len(left) > 0 {
			t.Errorf("left: %+v, %v", left, err)
		}
	}
}

// dies makes a call of the capsule's n-th instance, from 0, and checks what it dies of.
func dies(t *testing.T, sys *supervisortest.System, n int, call, want string) {
	t.Helper()
	name, argument, _ := strings.Cut(call, " ")
	if got := do(t, sys, name, argument); !strings.Contains(got, want) {
		t.Errorf("%s: %s, want %s", call, got, want)
	}
	sys.AwaitReady("errand", uint64(n+2))
}

// Programs run only if the operator allows it and the manifest names them.
func TestProcesses(t *testing.T) {
	denied := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{fixture("errand")}})
	const hello = `{"cmd":"sh","args":["-c","echo hello; echo to you >&2; exit 2"]}`
	for n, call := range []string{"spawn", "background"} {
		dies(t, denied, n, call+" "+hello, "processes are not granted to this capsule")
	}
	sys := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{fixture("errand")}, Restart: patient, AllowHostProcess: true})
	if got := do(t, sys, "spawn", hello); got != `{"exit_code":2,"stderr":"to you\n","stdout":"hello\n"}` {
		t.Errorf("spawn: %s", got)
	}
	if got := do(t, sys, "background", `{"cmd":"sh","args":["-c","exec sleep 1000"]}`); got != `{"id":1}` {
		t.Errorf("background: %s", got)
	}
	if got := do(t, sys, "logs", `{"id":1}`); got != `{"exit_code":null,"running":true,"stderr":"","stdout":""}` {
		t.Errorf("logs: %s", got)
	}
	if got := do(t, sys, "kill-process", `{"id":1}`); !strings.HasPrefix(got, `{"exit_code":`) || !strings.HasSuffix(got, `,"killed":true,"stderr":"","stdout":""}`) {
		t.Errorf("kill: %s", got)
	}
	for n, tt := range [][2]string{
		{`spawn {"cmd":"cat"}`, "the manifest does not grant"}, {`spawn {}`, "missing field `cmd`"}, {`spawn {"cmd":"sh","args":[1]}`, "not a list of strings"},
		{`logs {"id":9}`, "there is no process 9"}, {`kill-process {"id":-1}`, "invalid process request"},
	} {
		dies(t, sys, n, tt[0], tt[1])
	}
}
