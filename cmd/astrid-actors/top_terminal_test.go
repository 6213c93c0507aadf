package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

var picture = flag.String("picture", "", "write a picture of top into this `file`: docs/images/top.svg has one")

const healthy = `address-book archive audit billing calendar catalog chat-bridge checkout clock comments
consent contracts coupons currency dashboard diff-view digest discounts drafts exporter favourites forms
geocoder greeter guardian heartbeat identity importer inbox inventory invoices ledger localize mirror
notes outbox pricing profiles quotas ratings redactor reports reviews router-rules shipping summaries tags`

// crowd is a daemon with 50 capsules, of which three misbehave in different ways:
// payments crashes in every call and waits for its next restart, mailer has no restart
// left, and search is stuck in a call with a full queue.
type crowd struct {
	t      *testing.T
	home   string
	client *control.Client
	cmd    *exec.Cmd
}

func startCrowd(t *testing.T) *crowd {
	t.Helper()
	home, err := os.MkdirTemp("", "top") //nolint:usetesting // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	capsules := filepath.Join(home, "capsules")
	for name := range strings.FieldsSeq(healthy) {
		makeCapsule(t, capsules, "echo", name, "tick", "")
	}
	makeCapsule(t, capsules, "trap", "payments", "pay.card", "backoff_initial = \"5m\"\nbackoff_max = \"10m\"")
	makeCapsule(t, capsules, "div0", "mailer", "mail.send", "budget = 3\nbackoff_initial = \"1ms\"\nbackoff_max = \"1ms\"")
	makeCapsule(t, capsules, "spin", "search", "find.text", "queue = 16\ncall_timeout = \"10m\"")

	c := &crowd{t: t, home: home, client: control.Dial(filepath.Join(home, "run", "actors.sock"))}
	var log bytes.Buffer
	c.cmd = exec.Command("astrid-actors", "run", "--home", home, "--capsules", capsules, "--allow-unverified", "--trigger-timeout", "9m")
	c.cmd.Stderr = &log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait() // a second Wait if the test has stopped it
		if t.Failed() {
			t.Logf("the end of the daemon's log:\n%s", log.Bytes()[max(0, log.Len()-2000):])
		}
	})
	if _, err := snapshot(t.Context(), c.client, patience); err != nil {
		t.Fatal(err)
	}
	for range 12 {
		c.trigger("tick")
	}
	for n := range uint64(4) {
		c.trigger("mail.send")
		if n < 3 {
			c.await("mailer", func(m *messages.Capsule) bool {
				return m.State == messages.StateReady && m.Generation == n+2
			})
		}
	}
	c.trigger("pay.card")
	c.await("payments", func(m *messages.Capsule) bool {
		return m.State == messages.StateReady && m.Generation == 2
	})
	c.trigger("pay.card")
	var calls sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		calls.Wait()
	})
	find := func() {
		_, _ = c.client.Trigger(ctx, control.TriggerRequest{Topic: "find.text"}) // ended by cancel
	}
	calls.Go(find)
	c.await("search", func(m *messages.Capsule) bool { return m.Busy > 0 }) // it has left the queue
	for range 16 {
		calls.Go(find)
	}
	c.await("search", func(m *messages.Capsule) bool { return m.Queue == 16 })
	c.await("mailer", func(m *messages.Capsule) bool { return m.State == messages.StateFailed })
	c.await("payments", func(m *messages.Capsule) bool { return m.State == messages.StateCrashed })
	return c
}

// makeCapsule creates a copy of a capsule in test/capsules, under another name.
func makeCapsule(t *testing.T, dir, from, name, topic, supervision string) {
	t.Helper()
	dir = filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(filepath.Join("..", "..", "test", "capsules", from, from+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	manifest := fmt.Sprintf("[package]\nname = %q\nversion = \"1.0.0\"\n[[component]]\nid = %q\nfile = \"guest.wasm\"\n"+
		"[[interceptor]]\nevent = %q\naction = \"ask\"\n[supervision]\n%s\n", name, name, topic, supervision)
	for file, data := range map[string][]byte{"guest.wasm": module, "Capsule.toml": []byte(manifest)} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *crowd) trigger(topic string) {
	c.t.Helper()
	if _, err := c.client.Trigger(c.t.Context(), control.TriggerRequest{Topic: topic, Payload: []byte("{}")}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crowd) capsule(id string) *messages.Capsule {
	c.t.Helper()
	tree, err := snapshot(c.t.Context(), c.client, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, found := range tree.Capsules {
		if found.ID == id {
			return found
		}
	}
	c.t.Fatalf("there is no %s", id)
	return nil
}

func (c *crowd) await(id string, is func(*messages.Capsule) bool) {
	c.t.Helper()
	timeout := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is(c.capsule(id)) {
		select {
		case <-tick.C:
		case <-timeout:
			c.t.Fatalf("it did not come: %v", c.capsule(id))
		}
	}
}

// colours returns the SGR sequences of an output that set a colour.
func colours(output string) []string {
	var found []string
	for _, s := range regexp.MustCompile(`\x1b\[([0-9;:]*)m`).FindAllStringSubmatch(output, -1) {
		for _, n := range strings.FieldsFunc(s[1], func(r rune) bool { return r == ';' || r == ':' }) {
			if regexp.MustCompile(`^([34][0-8]|9[0-7]|10[0-7])$`).MatchString(n) {
				found = append(found, s[0])
				break
			}
		}
	}
	return found
}

// TestTopAtATerminal uses top as a person would: it finds the three capsules, the causes
// and the next steps, opens one of them, and restarts it.
func TestTopAtATerminal(t *testing.T) {
	c := startCrowd(t)
	top := startTerminal(t, 80, 24, nil, "top", "--home", c.home)
	top.until(
		`up \d.*connected`, `capsules 50 .*● 48 ready .*▲ 1 crashed .*✖ 1 failed`, `triggers .*/s, open 1[0-9] +restarts 5/h`,
		`(?m)^> ✖ failed +mailer +4 +3/3 `, `failed: trap.*divide by zero`, `(?s)give.* up: .*budget.*Nothing: it stays down until it is started`,
		`(?m)^  ▲ crashed +payments +2 +2/5 `, `crashed: trap.*unreachable`, `(?s)restart it; .*Generation 3 starts in \d+`,
		`(?m)^  ● ready +search +1 +0/5 +16 `, `queue full: 16 of 16 calls wait, behind one that has run for`, `as a crash after\s+10 min`,
		`enter detail.*q quit`,
	)
	if *picture != "" {
		top.resize(118, 30)
		top.until(`LAST CAUSE`, `catalog`)
		if err := os.WriteFile(*picture, []byte(top.picture()), 0o644); err != nil {
			t.Fatal(err)
		}
		top.resize(80, 24)
	}

	top.press("/archi")
	text := top.until(`/archi`, `(?m)^> ● ready +archive`)
	if strings.Contains(text, "payments") {
		t.Errorf("the filter leaves payments:\n%s", text)
	}
	top.press("\x1b")
	top.until(`(?m)payments`)

	top.press("j")
	top.until(`(?m)^> ▲ crashed +payments`)
	top.press("\r")
	top.until(`payments 1\.0\.0`, `FAILURES`, `(?s)generation 2, in call: .*unreachable`, `\.\$1\(\) i32`, `RECENT CALLS`)
	top.press("G")
	top.until(`(?m)^LOG`, `host: generation 1 crashed in call`)
	top.press("\x1b")
	top.until(`enter detail`)

	top.press("r")
	top.until(`restart payments\? y/n`)
	top.press("n")
	top.until(`not restarted`)
	if g := c.capsule("payments").Generation; g != 2 {
		t.Fatalf("payments was restarted against a no: generation %d", g)
	}
	top.press("r")
	top.until(`restart payments\? y/n`)
	top.press("y")
	top.until(`restarted payments`, `● 49 ready`)
	if p := c.capsule("payments"); p.Generation != 3 || p.State != messages.StateReady {
		t.Errorf("payments is not restarted: %v", p)
	}

	top.press("g")
	top.resize(60, 12)
	text = top.until(`q quit|…`, `mailer`)
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimRight(line, "\n "))); n > 60 {
			t.Errorf("a line has %d columns: %q", n, line)
		}
	}

	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	top.until(`stale for`)
	top.press("q")
	status, output := top.ended()
	if status != exitDone {
		t.Errorf("exit status %d", status)
	}
	if len(colours(output)) == 0 {
		t.Error("there was no colour")
	}
}

func TestTerminalWithoutColour(t *testing.T) {
	c := startCrowd(t)
	for _, args := range [][]string{{"top"}, {"ps"}, {"tree"}} {
		term := startTerminal(t, 100, 40, []string{"NO_COLOR=1"}, append(args, "--home", c.home)...)
		if args[0] == "top" {
			term.until(`mailer`, `payments`, `q quit`)
			term.press("jjrnq")
		}
		status, output := term.ended()
		if found := colours(output); status != exitDone || len(found) > 0 {
			t.Errorf("%v: exit status %d, colours %q", args, status, found)
		}
		if args[0] != "top" && strings.Contains(output, "\x1b") {
			t.Errorf("%v is not plain: %q", args, output)
		}
	}
	for _, command := range []string{"ps", "tree"} {
		term := startTerminal(t, 100, 60, nil, command, "--home", c.home)
		if _, output := term.ended(); !strings.Contains(output, "\x1b[32mready\x1b[m") || !strings.Contains(output, "\x1b[1;31mfailed\x1b[m") {
			t.Errorf("%s has no colours at a terminal: %q", command, output)
		}
	}
}

// TestTopOffATerminal checks that without a terminal top is tree --watch, which prints
// again after each change, and ends with the daemon.
func TestTopOffATerminal(t *testing.T) {
	c := startCrowd(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "astrid-actors", "top", "--home", c.home)
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	read := func(until string) {
		t.Helper()
		buffer := make([]byte, 4096)
		for until == "" || !strings.Contains(text.String(), until) {
			n, err := output.Read(buffer)
			text.Write(buffer[:n])
			if err != nil {
				if until != "" {
					t.Fatalf("%q did not come: %v\n%s", until, err, text.String())
				}
				return
			}
		}
	}
	read("payments")
	if err := c.client.Restart(t.Context(), "archive"); err != nil {
		t.Fatal(err)
	}
	read("archive        ready, generation 2")
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	read("")
	if err := cmd.Wait(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
	if strings.Contains(text.String(), "\x1b") {
		t.Errorf("it is not plain: %q", text.String())
	}
	if !strings.HasPrefix(text.String(), "supervisor ") || !strings.Contains(text.String(), "\n\nsupervisor ") {
		t.Errorf("no tree after the other:\n%s", text.String())
	}
}
