package guest_test

import (
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/lifecycle"
)

func TestPeople(t *testing.T) {
	calls := answers(t, map[string]string{
		"astrid_request_approval": `{"approved":true,"decision":"approve_session"}`,
		"astrid_elicit":           `{"value":"v","values":["a","b"],"ok":true}`, "astrid_has_secret": `{"exists":true}`,
	})
	if a, err := guest.RequestApproval("git push", "git push origin", guest.RiskHigh); !a.Approved || a.Decision != "approve_session" || err != nil {
		t.Errorf("approval: %+v, %v", a, err)
	}
	for what, ask := range map[string]func() (string, error){
		"text": func() (string, error) { return lifecycle.AskText("k", "d") }, "text or": func() (string, error) { return lifecycle.AskTextOr("k", "d", "o") },
		"one": func() (string, error) { return lifecycle.AskOneOf("k", "d", "v", "w") },
	} {
		if got, err := ask(); got != "v" || err != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	if got, err := lifecycle.AskList("k", "d"); len(got) != 2 || err != nil {
		t.Errorf("list: %q, %v", got, err)
	}
	if err := lifecycle.AskSecret("k", "d"); err != nil {
		t.Errorf("secret: %v", err)
	}
	if ok, err := lifecycle.HasSecret("k"); !ok || err != nil {
		t.Errorf("has secret: %t, %v", ok, err)
	}
	want := []string{
		`astrid_request_approval {"action":"git push","resource":"git push origin","risk_level":"high"}`,
		`astrid_elicit {"type":"text","key":"k","description":"d"}`, `astrid_elicit {"type":"text","key":"k","description":"d","default":"o"}`,
		`astrid_elicit {"type":"select","key":"k","description":"d","options":["v","w"]}`, `astrid_elicit {"type":"array","key":"k","description":"d"}`,
		`astrid_elicit {"type":"secret","key":"k","description":"d"}`, `astrid_has_secret {"key":"k"}`,
	}
	all := strings.Join(*calls, "\n")
	for _, call := range want {
		if !strings.Contains(all, call) {
			t.Errorf("no call %s in\n%s", call, all)
		}
	}
	answers(t, map[string]string{"astrid_elicit": "?"})
	if _, err := lifecycle.AskText("k", ""); err == nil {
		t.Error("a broken answer was accepted")
	}
}

func TestUplinksAndClients(t *testing.T) {
	results := map[string]string{
		"astrid_uplink_register": "id", "astrid_uplink_send": `{"dropped":true,"ok":false}`,
		"astrid_net_bind_unix": "1", "astrid_net_accept": "7", "astrid_net_read": "\x00hello",
	}
	calls := answers(t, results)
	u := guest.RegisterUplink("bot", "telegram", guest.UplinkChat)
	if sent, err := u.Send("ada", "hello"); sent || err != nil {
		t.Errorf("send: %t, %v", sent, err)
	}
	if _, err := u.Send("ada", strings.Repeat("x", 1<<20+1)); err == nil {
		t.Error("a message over the limit was accepted")
	}
	l := guest.Listen()
	if _, ok := l.Poll(); ok {
		t.Error("there is no client")
	}
	c := l.Accept()
	if message, ok, gone := c.Receive(); string(message) != "hello" || !ok || gone {
		t.Errorf("receive: %q, %t, %t", message, ok, gone)
	}
	for answer, wantGone := range map[string]bool{"\x01": true, "\x02": false, "": true} {
		results["astrid_net_read"] = answer
		if _, ok, gone := c.Receive(); ok || gone != wantGone {
			t.Errorf("%q: %t, %t", answer, ok, gone)
		}
	}
	if err := c.Send([]byte("back")); err != nil {
		t.Error(err)
	}
	if err := c.Send(make([]byte, 10<<20+1)); err == nil {
		t.Error("a message over the limit was accepted")
	}
	c.Close()
	all := strings.Join(*calls, "\n")
	for _, call := range []string{"astrid_uplink_register bot telegram chat", "astrid_uplink_send id ada hello", "astrid_net_write 7 back", "astrid_net_close_stream 7"} {
		if !strings.Contains(all, call) {
			t.Errorf("no call %s in\n%s", call, all)
		}
	}
}

func TestPrograms(t *testing.T) {
	calls := answers(t, map[string]string{
		"astrid_spawn_host": `{"stdout":"o","stderr":"e","exit_code":3}`, "astrid_spawn_background_host": `{"id":1}`,
		"astrid_read_process_logs_host": `{"stdout":"o","stderr":"","running":true,"exit_code":null}`,
		"astrid_kill_process_host":      `{"killed":true,"exit_code":0,"stdout":"","stderr":""}`,
	})
	if out, err := guest.RunProgram("git", "status"); out.Stdout != "o" || out.Stderr != "e" || *out.ExitCode != 3 || err != nil {
		t.Errorf("run: %+v, %v", out, err)
	}
	p, err := guest.StartProgram("git")
	if p.ID != 1 || err != nil {
		t.Errorf("start: %+v, %v", p, err)
	}
	if out, err := p.Logs(); !out.Running || out.ExitCode != nil || err != nil {
		t.Errorf("logs: %+v, %v", out, err)
	}
	if out, err := p.Kill(); out.Running || *out.ExitCode != 0 || err != nil {
		t.Errorf("kill: %+v, %v", out, err)
	}
	if got := strings.Join(*calls, "\n"); got != "astrid_spawn_host {\"cmd\":\"git\",\"args\":[\"status\"]}\nastrid_spawn_background_host {\"cmd\":\"git\"}\nastrid_read_process_logs_host {\"id\":1}\nastrid_kill_process_host {\"id\":1}" {
		t.Errorf("calls:\n%s", got)
	}
}
