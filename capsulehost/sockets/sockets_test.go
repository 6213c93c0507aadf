package sockets

import (
	"context"
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

	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come, on a busy machine.
const patience = 20 * time.Second

// newDoor returns a door in a directory with a short name.
func newDoor(t *testing.T) *Door {
	t.Helper()
	dir, err := os.MkdirTemp("", "door") //nolint:usetesting // the path of a socket has at most 103 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(filepath.Join(dir, "run")); err != nil || len(left) > 0 {
			t.Errorf("the directory has %v, %v", left, err)
		}
		_ = os.RemoveAll(dir)
	})
	return New(Config{Path: filepath.Join(dir, "run", "system.sock"), TokenPath: filepath.Join(dir, "run", "system.token"), Version: "0.5.0"})
}

func bound(t *testing.T, d *Door, capsule string) *Guest {
	t.Helper()
	g := d.For(capsule, nil)
	t.Cleanup(g.Close)
	if err := g.Bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g
}

// client speaks as Astrid's own client does.
type client struct {
	net.Conn
	t *testing.T
}

func dial(t *testing.T, d *Door) *client {
	t.Helper()
	c, err := net.Dial("unix", d.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{c, t}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)); err != nil {
		c.t.Fatal(err)
	}
}

// receive returns the next message, or "gone".
func (c *client) receive() string {
	c.t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return "gone"
	}
	text := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, text); err != nil {
		return "gone"
	}
	return string(text)
}

func (d *Door) hello(t *testing.T) string {
	t.Helper()
	token, err := os.ReadFile(d.cfg.TokenPath)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"token":%q,"protocol_version":1,"client_version":"0.3.0"}`, token)
}

const welcomed = `{"status":"ok","protocol_version":1,"server_version":"0.5.0"}`

// join connects a client, and accepts it.
func join(t *testing.T, d *Door, g *Guest) (*client, uint64) {
	t.Helper()
	c := dial(t, d)
	c.send(d.hello(t))
	if got := c.receive(); got != welcomed {
		t.Fatalf("the handshake was answered with %s", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	handle, ok, err := g.Accept(ctx, false)
	if err != nil || !ok {
		t.Fatalf("accept: %t, %v", ok, err)
	}
	return c, handle
}

func TestAClientIsServed(t *testing.T) {
	d := newDoor(t)
	g := bound(t, d, "cli")
	for path, mode := range map[string]os.FileMode{d.cfg.Path: os.ModeSocket | 0o600, d.cfg.TokenPath: 0o600, filepath.Dir(d.cfg.Path): os.ModeDir | 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s has the mode %v, %v", path, info.Mode(), err)
		}
	}
	if _, ok, err := g.Accept(t.Context(), true); ok || err != nil {
		t.Errorf("a poll without a client: %t, %v", ok, err)
	}
	c, handle := join(t, d, g)
	if state, _, err := g.Read(t.Context(), handle); state != capsulehost.StreamPending || err != nil {
		t.Errorf("before a message: %d, %v", state, err)
	}
	// A message whose length comes in two parts is not torn.
	if _, err := c.Write([]byte{0, 0}); err != nil {
		t.Fatal(err)
	}
	if state, _, err := g.Read(t.Context(), handle); state != capsulehost.StreamPending || err != nil {
		t.Errorf("half a length: %d, %v", state, err)
	}
	if _, err := c.Write([]byte("\x00\x05hello")); err != nil {
		t.Fatal(err)
	}
	c.send("")
	for _, want := range []string{"hello", ""} {
		if state, message, err := g.Read(t.Context(), handle); state != capsulehost.StreamData || string(message) != want || err != nil {
			t.Errorf("read %d %q, %v", state, message, err)
		}
	}
	large := strings.Repeat("x", 1<<20)
	go func() { _ = g.Write(t.Context(), handle, []byte(large)) }()
	if got := c.receive(); got != large {
		t.Errorf("received %d bytes", len(got))
	}
	_ = c.Close()
	if state, _, err := g.Read(t.Context(), handle); state != capsulehost.StreamClosed || err != nil {
		t.Errorf("after the end: %d, %v", state, err)
	}
	if err := g.Write(t.Context(), handle, []byte("to nobody")); err != nil {
		t.Errorf("write to one that has gone: %v", err)
	}
	g.CloseStream(handle)
	g.CloseStream(handle)
	if _, _, err := g.Read(t.Context(), handle); err == nil {
		t.Error("a closed stream could be read")
	}
}

// Who does not know the token stays outside, whatever they say.
func TestTokenGuesses(t *testing.T) {
	d := newDoor(t)
	g := bound(t, d, "cli")
	token, err := os.ReadFile(d.cfg.TokenPath)
	if err != nil || len(token) != 64 {
		t.Fatalf("the token is %q, %v", token, err)
	}
	hello := func(token string, version any) string {
		text, err := json.Marshal(map[string]any{"token": token, "protocol_version": version, "client_version": "x"})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	wrong := []byte(string(token))
	wrong[63] ^= 1
	const failed = `{"status":"error","protocol_version":1,"server_version":"0.5.0","reason":"authentication failed"}`
	guesses := map[string]string{
		hello("", 1): failed, hello(strings.Repeat("0", 64), 1): failed, hello(string(wrong), 1): failed,
		hello(string(token[:63]), 1): failed, hello(string(token[:62]), 1): failed, hello(string(token)+"00", 1): failed,
		hello(" "+string(token), 1): failed, hello(strings.Repeat("zz", 32), 1): failed, hello("*", 1): failed,
		hello(string(token), 0): "speaks version 1", hello(string(token), 2): "speaks version 1",
		hello(string(token), 257): "gone", hello(string(token), "1"): "gone", hello(string(token), nil): "gone",
		`{}`: "gone", `null`: "gone", `[]`: "gone", ``: "gone", string(token): "gone", `{"token":null,"protocol_version":1,"client_version":"x"}`: "gone",
		`{"token":"` + string(token) + `"}`: "gone", "GET / HTTP/1.1\r\n\r\n": "gone", strings.Repeat(" ", 4097): "gone",
	}
	for guess, want := range guesses {
		c := dial(t, d)
		c.send(guess)
		if got := c.receive(); !strings.Contains(got, want) {
			t.Fatalf("%.80q was answered with %s, want %s", guess, got, want)
		}
		if got := c.receive(); got != "gone" {
			t.Fatalf("%.80q: then %s", guess, got)
		}
	}
	if _, ok, err := g.Accept(t.Context(), true); ok || err != nil {
		t.Errorf("one of them was accepted: %v", err)
	}
	join(t, d, g) // who knows it gets in
}

// Clients that are silent keep others out for no time, and no guest.
func TestSilentClients(t *testing.T) {
	d := newDoor(t)
	g := bound(t, d, "cli")
	for range maxHandshakes - 1 {
		dial(t, d)
	}
	c, handle := join(t, d, g)
	// A message that is too long ends its client, and nothing else.
	if _, err := c.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if state, _, err := g.Read(t.Context(), handle); state != capsulehost.StreamClosed || err != nil {
		t.Errorf("an endless message: %d, %v", state, err)
	}
}

func TestStreamsAreLimited(t *testing.T) {
	d := newDoor(t)
	g := bound(t, d, "cli")
	var last uint64
	for range maxStreams {
		_, last = join(t, d, g)
	}
	if _, ok, err := g.Accept(t.Context(), true); ok || err != nil {
		t.Errorf("a poll at the limit: %t, %v", ok, err)
	}
	if _, _, err := g.Accept(t.Context(), false); err == nil || !strings.Contains(err.Error(), "8 streams are open") {
		t.Errorf("at the limit: %v", err)
	}
	g.CloseStream(last)
	if _, handle := join(t, d, g); handle != last+1 {
		t.Errorf("the handle %d was used again", handle)
	}
}

// Every wait ends with its context, and with nothing else when there is no client.
func TestWaitsEnd(t *testing.T) {
	d := newDoor(t)
	g := bound(t, d, "cli")
	c, handle := join(t, d, g)
	stop := errors.New("stopped")
	full := make([]byte, capsulehost.MaxSocketMessage)
	if _, err := c.Write([]byte{0, 0, 1, 0, 'x'}); err != nil { // a message that does not come
		t.Fatal(err)
	}
	for what, call := range map[string]func(context.Context) error{
		"accept": func(ctx context.Context) error { _, _, err := g.Accept(ctx, false); return err },
		"read":   func(ctx context.Context) error { _, _, err := g.Read(ctx, handle); return err },
		"write":  func(ctx context.Context) error { return g.Write(ctx, handle, full) },
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- call(ctx) }()
		cancel(stop)
		if err := <-done; !errors.Is(err, stop) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// One capsule holds the socket, with all its instances; the last one takes it along.
func TestOneCapsuleBinds(t *testing.T) {
	d := newDoor(t)
	first, second := bound(t, d, "cli"), bound(t, d, "cli")
	if err := d.For("other", nil).Bind(t.Context()); err == nil || !strings.Contains(err.Error(), `capsule "cli" has bound the socket`) {
		t.Errorf("another capsule: %v", err)
	}
	if _, _, err := d.For("other", nil).Accept(t.Context(), false); err == nil {
		t.Error("clients were accepted without a bind")
	}
	before, err := os.ReadFile(d.cfg.TokenPath)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := join(t, d, first)
	first.Close()
	if got := c.receive(); got != "gone" {
		t.Errorf("a client of an instance that has ended: %s", got)
	}
	join(t, d, second)
	second.Close()
	second.Close()
	if _, err := net.Dial("unix", d.cfg.Path); err == nil {
		t.Error("the socket is still there")
	}
	third := bound(t, d, "other")
	after, err := os.ReadFile(d.cfg.TokenPath)
	if err != nil || string(after) == string(before) {
		t.Errorf("the token is the same, %v", err)
	}
	third.Close()
}

// What is in the way is replaced only if it is a socket on which nobody listens.
func TestWhatIsInTheWay(t *testing.T) {
	d := newDoor(t)
	if err := os.MkdirAll(filepath.Dir(d.cfg.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.cfg.Path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.For("cli", nil).Bind(t.Context()); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a file: %v", err)
	}
	if err := os.Remove(d.cfg.Path); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.cfg.Path})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.For("cli", nil).Bind(t.Context()); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("a socket in use: %v", err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	bound(t, d, "cli").Close()
}
