package faults

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// outside is what a host call waits for: a server that never answers, a file that
// somebody has locked, a function of the program that does not return.
type outside struct {
	entered chan struct{}                            // one element when a call has begun to wait
	left    chan struct{}                            // one element when its request has gone; nil if that is not seen
	before  func(*testing.T, *supervisortest.System) // what must come first; nil if nothing must
	topic   string
	payload string
	capsule string
	cfg     supervisor.Config
}

// hangingServer is for the calls of HTTP. With a body, the answer begins at once.
func hangingServer(t *testing.T, topic string, body bool) *outside {
	t.Helper()
	o := &outside{entered: make(chan struct{}, 8), left: make(chan struct{}, 8), topic: topic, capsule: "reach"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if body {
			_, _ = fmt.Fprint(w, "begun")
			_ = http.NewResponseController(w).Flush()
		}
		o.entered <- struct{}{}
		<-q.Context().Done()
		o.left <- struct{}{}
	}))
	t.Cleanup(server.Close)
	o.payload = `{"url":"` + server.URL + `"}`
	o.cfg.HTTPNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	return o
}

// lockedFiles is for the calls of files: the capsule's layer is locked, as a commit does.
func lockedFiles(t *testing.T, topic string) *outside {
	t.Helper()
	o := &outside{entered: make(chan struct{}, 8), topic: topic, capsule: "reach", payload: `"cwd://x"`}
	dir := t.TempDir()
	o.cfg.Home, o.cfg.Workspace = filepath.Join(dir, "astrid"), filepath.Join(dir, "workspace")
	if err := os.Mkdir(o.cfg.Workspace, 0o700); err != nil {
		t.Fatal(err)
	}
	return o
}

// lock locks the layer, which the capsule has made by a first write.
func (o *outside) lock(t *testing.T, sys *supervisortest.System) {
	t.Helper()
	sys.Expect("test.reach.write", `"cwd://first"`, "reach empty")
	h, err := home.Resolve(o.cfg.Home)
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(h.WorkspaceDir(home.DefaultPrincipal, "*"), "reach", "lock"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the locks are %v, %v", found, err)
	}
	lock := flock.New(found[0])
	if ok, err := lock.TryLock(); !ok || err != nil {
		t.Fatalf("lock: %t, %v", ok, err)
	}
	t.Cleanup(func() { _ = lock.Close() })
}

// hangingFunction is for the functions of the program that runs the capsules.
func hangingFunction() *outside {
	o := &outside{entered: make(chan struct{}, 8), left: make(chan struct{}, 8), topic: "test.embedder", payload: `"x"`, capsule: "embedder"}
	o.cfg.HostFunctions = []capsulehost.HostFunction{{Namespace: "example:text", Name: "upper",
		Call: func(ctx context.Context, _ capsulehost.HostCall) ([]byte, error) {
			o.entered <- struct{}{}
			<-ctx.Done()
			o.left <- struct{}{}
			return nil, context.Cause(ctx)
		}}}
	return o
}

// person is for the call that waits for one; nobody answers.
func person() *outside {
	return &outside{entered: make(chan struct{}, 8), topic: "test.errand.approve", capsule: "errand", payload: `{"action":"a","resource":"b","risk_level":"low"}`}
}

// socket is for the calls of sockets: the capsule has bound its own.
func socket(t *testing.T, topic, payload string) *outside {
	t.Helper()
	o := &outside{entered: make(chan struct{}, 8), topic: topic, capsule: "errand", payload: payload}
	home, err := os.MkdirTemp("", "h") //nolint:usetesting // the path of a socket has at most 103 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	o.cfg.Home = home
	o.before = func(_ *testing.T, sys *supervisortest.System) { sys.Ask("test.errand.bind", `"x"`) }
	return o
}

// client is a socket with a client, which has sent something and then does nothing: neither
// sends more, nor reads.
func client(t *testing.T, topic, payload string, sent []byte) *outside {
	t.Helper()
	o := socket(t, topic, payload)
	bind := o.before
	o.before = func(t *testing.T, sys *supervisortest.System) {
		t.Helper()
		bind(t, sys)
		token, err := os.ReadFile(filepath.Join(o.cfg.Home, "run", "system.token"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := (&net.Dialer{}).DialContext(t.Context(), "unix", filepath.Join(o.cfg.Home, "run", "system.sock"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		hello := fmt.Sprintf(`{"token":%q,"protocol_version":1,"client_version":"0.3.0"}`, token)
		if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(hello))), append([]byte(hello), sent...)...)); err != nil {
			t.Fatal(err)
		}
		sys.Expect("test.errand.accept", `"1"`, "errand continue 1")
	}
	return o
}

// sleeper is for the calls of processes.
func sleeper() *outside {
	o := &outside{entered: make(chan struct{}, 8), topic: "test.errand.spawn", capsule: "errand", payload: `{"cmd":"sh","args":["-c","sleep 1000"]}`}
	o.cfg.AllowHostProcess = true
	return o
}

// hangingStream is for reading an answer that has begun and does not go on.
func hangingStream(t *testing.T) *outside {
	t.Helper()
	server := hangingServer(t, "", true)
	server.left = make(chan struct{}, 32) // nobody reads it
	o := &outside{entered: make(chan struct{}, 8), topic: "test.reach.next", payload: `"1"`, capsule: "reach", cfg: server.cfg}
	o.before = func(t *testing.T, sys *supervisortest.System) {
		t.Helper()
		sys.Ask("test.reach.open", server.payload)
		<-server.entered
		sys.Ask(o.topic, o.payload) // what has arrived
	}
	return o
}

// hangingStore is for the calls of state and identities: the disk does not answer.
func hangingStore(topic, payload, capsule, prefix string) *outside {
	o := &outside{entered: make(chan struct{}, 8), left: make(chan struct{}, 8), topic: topic, payload: payload, capsule: capsule}
	o.cfg.Store = &hanging{store.NewMemory(), prefix, o.entered, o.left}
	return o
}

// hanging is a store whose writes below a prefix do not end.
type hanging struct {
	store.Store
	prefix        string
	entered, left chan<- struct{}
}

// Txn implements store.Store.
func (h *hanging) Txn(ctx context.Context, f store.Fence, compare []store.Compare, writes []store.Write) (uint64, error) {
	if !slices.ContainsFunc(writes, func(w store.Write) bool { return strings.HasPrefix(w.Key, h.prefix) }) {
		return h.Store.Txn(ctx, f, compare, writes)
	}
	h.entered <- struct{}{}
	<-ctx.Done()
	h.left <- struct{}{}
	return 0, context.Cause(ctx)
}

// A call that waits for the world outside ends within 100 ms of the capsule's stop or
// kill, and of its trigger's deadline. It leaves no request behind. On a busy machine
// the test tries several times.
func TestHostCallsEndInTime(t *testing.T) {
	const grace, most = 50 * time.Millisecond, 100 * time.Millisecond
	ends := map[string]func(t *testing.T, sys *supervisortest.System, id string) time.Duration{
		"stop": func(t *testing.T, sys *supervisortest.System, id string) time.Duration {
			began := time.Now()
			if err := sys.Stop(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			return time.Since(began) - grace
		},
		"kill": func(t *testing.T, sys *supervisortest.System, id string) time.Duration {
			began := time.Now()
			if err := sys.Kill(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		},
		"deadline": func(*testing.T, *supervisortest.System, string) time.Duration { return 0 },
	}
	for name, prepare := range map[string]func(*testing.T) *outside{
		"http request":     func(t *testing.T) *outside { return hangingServer(t, "test.reach.fetch", false) },
		"http body":        func(t *testing.T) *outside { return hangingServer(t, "test.reach.fetch", true) },
		"http stream":      func(t *testing.T) *outside { return hangingServer(t, "test.reach.open", false) },
		"extism request":   func(t *testing.T) *outside { return hangingServer(t, "test.reach.extism", false) },
		"http stream body": hangingStream,
		"state":            func(*testing.T) *outside { return hangingStore("test.keep.set", `["key","value"]`, "keep", "kv/") },
		"identity": func(*testing.T) *outside {
			return hangingStore("test.reach.create", `{"display_name":"Ada"}`, "reach", "identity/")
		},
		"read a file":       func(t *testing.T) *outside { return lockedFiles(t, "test.reach.read") },
		"write a file":      func(t *testing.T) *outside { return lockedFiles(t, "test.reach.write") },
		"list a directory":  func(t *testing.T) *outside { return lockedFiles(t, "test.reach.list") },
		"embedder function": func(*testing.T) *outside { return hangingFunction() },
		"approval":          func(*testing.T) *outside { return person() },
		"accept a client":   func(t *testing.T) *outside { return socket(t, "test.errand.accept", `"1"`) },
		"read of a client": func(t *testing.T) *outside { // half a message
			return client(t, "test.errand.receive", `"1"`, []byte{0, 16, 0, 0, 'h'})
		},
		"write to a client": func(t *testing.T) *outside {
			return client(t, "test.errand.transmit", `"1 `+strings.Repeat("x", 1<<19)+`"`, nil)
		},
		"process": func(*testing.T) *outside { return sleeper() },
	} {
		for how, end := range ends {
			t.Run(name+"/"+how, func(t *testing.T) {
				o := prepare(t)
				o.cfg.CapsuleDirs, o.cfg.StopTimeout = []string{fixture(o.capsule)}, grace
				o.cfg.Restart = supervisor.RestartPolicy{Budget: 1000, InitialBackoff: time.Millisecond, MaxBackoff: time.Millisecond}
				sys := supervisortest.Start(t, o.cfg)
				if strings.Contains(name, "file") || strings.Contains(name, "directory") {
					o.lock(t, sys)
				}
				wantInTime(t, most, func() time.Duration {
					startAgain(t, sys, o.capsule)
					return o.once(t, sys, how, end)
				})
			})
		}
	}
}

// once makes one call that waits, ends it, and returns how late it ended.
func (o *outside) once(t *testing.T, sys *supervisortest.System, how string, end func(*testing.T, *supervisortest.System, string) time.Duration) time.Duration {
	t.Helper()
	const deadline = 200 * time.Millisecond
	sys.AwaitState(o.capsule, messages.StateReady) // again
	if o.before != nil {
		o.before(t, sys)
	}
	ctx := t.Context()
	if how == "deadline" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, deadline)
		defer cancel()
	}
	began, replies := time.Now(), make(chan *messages.Reply, 1)
	go func() {
		reply, err := sys.Trigger(ctx, supervisor.TriggerRequest{Topic: o.topic, Payload: []byte(o.payload)})
		if err != nil {
			t.Error(err)
		}
		replies <- reply
	}()
	if o.left != nil {
		<-o.entered
	} else {
		for sys.Capsule(o.capsule).Busy == 0 {
			synchronise(t, sys)
		}
	}
	late := end(t, sys, o.capsule)
	reply := <-replies
	want := messages.OutcomeCrashed
	if how == "deadline" {
		want, late = messages.OutcomeTimeout, time.Since(began)-deadline
	}
	if reply == nil || len(reply.Legs) != 1 || reply.Legs[0].Outcome != want {
		t.Fatalf("the answer is %+v, want %v", reply, want)
	}
	if o.left != nil {
		<-o.left
	}
	return late
}

// When a capsule's instance dies, nothing of it stays open: neither a connection nor a
// file.
func TestADeadCapsuleLeavesNothingOpen(t *testing.T) {
	o := hangingServer(t, "test.reach.open", true)
	closed := make(chan struct{}, 8)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	o.cfg.CapsuleDirs = []string{fixture("reach")}
	sys := supervisortest.Start(t, o.cfg)
	// An idle connection, and a stream that is open between two calls.
	reply := sys.Ask("test.reach.fetch", `{"url":"http://`+listener.Addr().String()+`"}`)
	if len(reply.Legs) != 1 || !strings.Contains(string(reply.Legs[0].Value), `"status":404`) {
		t.Fatalf("the legs are %v", supervisortest.Legs(reply))
	}
	if _, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: o.topic, Payload: []byte(o.payload)}); err != nil {
		t.Fatal(err)
	}
	<-o.entered
	if err := sys.Stop(t.Context(), "reach"); err != nil {
		t.Fatal(err)
	}
	<-closed
	<-o.left
}

// When a capsule's instance dies, so do the programs that it runs and what they have started,
// and its socket with the token is gone.
func TestADeadCapsuleLeavesNothingRunning(t *testing.T) {
	for _, how := range []string{"stop", "kill", "trap"} {
		t.Run(how, func(t *testing.T) {
			o := socket(t, "", "")
			o.cfg.Workspace, o.cfg.AllowHostProcess, o.cfg.CapsuleDirs = t.TempDir(), true, []string{fixture("errand")}
			fifo := filepath.Join(o.cfg.Workspace, "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			sys := supervisortest.Start(t, o.cfg)
			o.before(t, sys)
			sys.Ask("test.errand.background", `{"cmd":"sh","args":["-c","sleep 1000 >fifo & exec sleep 1000 >fifo"]}`)
			alive, err := os.Open(fifo) // once somebody writes
			if err != nil {
				t.Fatal(err)
			}
			defer alive.Close()
			switch how {
			case "stop":
				err = sys.Stop(t.Context(), "errand")
			case "kill":
				err = sys.Kill(t.Context(), "errand")
			default:
				sys.Expect("test.errand.hang-up", `"no handle"`, "errand crashed")
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := alive.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if n, err := alive.Read(make([]byte, 1)); !errors.Is(err, io.EOF) { // nobody writes any more
				t.Errorf("%d bytes, %v", n, err)
			}
			if how != "stop" {
				sys.AwaitReady("errand", 2)
			}
			for _, name := range []string{"system.sock", "system.token"} {
				if _, err := os.Lstat(filepath.Join(o.cfg.Home, "run", name)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is left: %v", name, err)
				}
			}
		})
	}
}
