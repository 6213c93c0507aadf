package control_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/actorspb"
	"github.com/astrid-actors/astrid-actors/messages/actorspb/actorspbconnect"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits how long a test waits. No correct code takes that long.
const patience = 30 * time.Second

// daemon is a supervisor and its control service, both serving.
type daemon struct {
	socket string
	client *control.Client
	sup    *supervisor.Supervisor

	endSupervisor, endService context.CancelFunc
	supervised, serviced      chan error
}

// start serves the named capsules of test/capsules until the test ends.
func start(t *testing.T, capsules ...string) *daemon {
	t.Helper()
	cfg := supervisor.Config{Home: t.TempDir(), StopTimeout: time.Second}
	cfg.CapsuleDirs = []string{t.TempDir()} // none
	for i, name := range capsules {
		if i == 0 {
			cfg.CapsuleDirs = nil
		}
		cfg.CapsuleDirs = append(cfg.CapsuleDirs, filepath.Join("..", "..", "test", "capsules", name))
	}
	sup, err := supervisor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{
		socket: filepath.Join(t.TempDir(), "s"), sup: sup,
		supervised: make(chan error, 1), serviced: make(chan error, 1),
	}
	listener, err := control.Listen(d.socket)
	if err != nil {
		t.Fatal(err)
	}
	d.client = control.Dial(d.socket)
	var supCtx, serviceCtx context.Context
	supCtx, d.endSupervisor = context.WithCancel(context.Background())
	serviceCtx, d.endService = context.WithCancel(context.Background())
	go func() { d.supervised <- sup.Serve(supCtx) }()
	go func() { d.serviced <- control.Serve(serviceCtx, listener, sup, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { d.end(t) })
	for e := range sup.Events(patiently(t), 0) {
		if _, started := e.Detail.(messages.SystemStarted); started {
			break
		}
	}
	return d
}

// end stops both, as a daemon does. It may be called more than once.
func (d *daemon) end(t *testing.T) {
	t.Helper()
	for _, part := range []struct {
		end  context.CancelFunc
		over chan error
	}{{d.endSupervisor, d.supervised}, {d.endService, d.serviced}} {
		part.end()
		if part.over == nil {
			continue
		}
		select {
		case err := <-part.over:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("it did not end")
		}
	}
	d.supervised, d.serviced = nil, nil
}

func patiently(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestTrigger(t *testing.T) {
	d := start(t, "echo", "deny")
	reply, err := d.client.Trigger(patiently(t), control.TriggerRequest{
		Topic: "test.echo", Payload: []byte(`{"a": 1}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(reply.Responses), `[{"a":1}]`; got != want {
		t.Errorf("responses %s, want %s", got, want)
	}
	reply, err = d.client.Trigger(patiently(t), control.TriggerRequest{Topic: "test.deny"})
	if err != nil {
		t.Fatal(err)
	}
	leg := reply.Legs[0]
	if got, want := leg.Outcome.String()+": "+leg.Reason, "denied: not today"; got != want {
		t.Errorf("leg %q, want %q", got, want)
	}
}

func TestTriggerHasTheRequestsDeadline(t *testing.T) {
	d := start(t, "spin")
	began := time.Now()
	reply, err := d.client.Trigger(patiently(t), control.TriggerRequest{
		Topic: "test.spin", Timeout: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("answered after %v", took)
	}
	if got := reply.Legs[0].Outcome; got != messages.OutcomeTimeout {
		t.Errorf("outcome %v, want a timeout", got)
	}
}

// TestLongestTimeout checks that a client with the longest timeout that protobuf or its
// own context can express still receives its answer.
func TestLongestTimeout(t *testing.T) {
	d := start(t, "echo")
	year9999, cancel := context.WithDeadline(t.Context(), time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC))
	defer cancel()
	longest := &durationpb.Duration{Seconds: 315_576_000_000}
	for name, test := range map[string]struct {
		ctx     context.Context
		timeout *durationpb.Duration
	}{
		"its request's":         {patiently(t), longest},
		"Go's":                  {patiently(t), durationpb.New(math.MaxInt64)},
		"its context's":         {year9999, nil},
		"both":                  {year9999, longest},
		"its request's, by one": {patiently(t), durationpb.New(math.MaxInt64 - 1)},
	} {
		rpc := actorspbconnect.NewControlClient(overSocket(t, d.socket), "http://astrid")
		reply, err := rpc.Trigger(test.ctx, connect.NewRequest(&actorspb.TriggerRequest{Topic: "test.echo", Payload: "1", Timeout: test.timeout}))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := reply.Msg.GetResponses(); got != "[1]" {
			t.Errorf("%s: %s, %v", name, got, reply.Msg.GetLegs())
		}
	}
}

func TestTriggerHasACaller(t *testing.T) {
	d := start(t, "caller")
	for principal, want := range map[string]any{"": nil, "ada": "ada"} {
		reply, err := d.client.Trigger(patiently(t), control.TriggerRequest{
			Topic: "test.caller", Principal: principal,
		})
		if err != nil {
			t.Fatal(err)
		}
		var callers []map[string]any
		if err := json.Unmarshal(reply.Responses, &callers); err != nil {
			t.Fatal(err)
		}
		if got := callers[0]["principal"]; got != want {
			t.Errorf("the capsule saw %v, want %v", got, want)
		}
	}
}

func TestTriggerEndsWithItsClient(t *testing.T) {
	d := start(t, "spin")
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := d.client.Trigger(ctx, control.TriggerRequest{Topic: "test.spin"})
		answered <- err
	}()
	await(t, d, func(tree *messages.Tree) bool { return tree.OpenTriggers == 1 })
	cancel()
	if err := <-answered; connect.CodeOf(err) != connect.CodeCanceled {
		t.Errorf("error %v, want cancelled", err)
	}
	await(t, d, func(tree *messages.Tree) bool { return tree.OpenTriggers == 0 })
}

// await polls the tree until it is as expected.
func await(t *testing.T, d *daemon, as func(*messages.Tree) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		tree, err := d.client.Snapshot(patiently(t), false)
		if err != nil {
			t.Fatal(err)
		}
		if as(tree) {
			return
		}
	}
	t.Fatal("the tree never became as it should be")
}

// TestCodes checks that errors have the codes that control.proto promises.
func TestCodes(t *testing.T) {
	d := start(t, "echo")
	trigger := func(r control.TriggerRequest) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := d.client.Trigger(ctx, r)
			return err
		}
	}
	timeout := func(timeout *durationpb.Duration) func(context.Context) error {
		return func(ctx context.Context) error {
			rpc := actorspbconnect.NewControlClient(overSocket(t, d.socket), "http://astrid")
			_, err := rpc.Trigger(ctx, connect.NewRequest(&actorspb.TriggerRequest{Topic: "a", Timeout: timeout}))
			return err
		}
	}
	command := func(do func(context.Context, string) error, id string) func(context.Context) error {
		return func(ctx context.Context) error { return do(ctx, id) }
	}
	for _, test := range []struct {
		name string
		do   func(context.Context) error
		code connect.Code
		says string
	}{
		{"no topic", trigger(control.TriggerRequest{}), connect.CodeInvalidArgument, "topic is empty"},
		{"empty segment", trigger(control.TriggerRequest{Topic: "a..b"}), connect.CodeInvalidArgument, `"a..b"`},
		{"not JSON", trigger(control.TriggerRequest{Topic: "a", Payload: []byte("{")}), connect.CodeInvalidArgument, "not JSON"},
		{"largest payload", trigger(control.TriggerRequest{Topic: "test.echo", Payload: jsonString(supervisor.MaxPayload)}), 0, ""},
		{"payload too large", trigger(control.TriggerRequest{Topic: "test.echo", Payload: jsonString(supervisor.MaxPayload + 1)}), connect.CodeInvalidArgument, "over the limit of 1048576"},
		{"request too large", trigger(control.TriggerRequest{Topic: "a", Payload: jsonString(8 << 20)}), connect.CodeResourceExhausted, "larger than configured max"},
		{"bad principal", trigger(control.TriggerRequest{Topic: "a", Principal: "a/b"}), connect.CodeInvalidArgument, `"a/b"`},
		{"timeout of nothing", timeout(&durationpb.Duration{}), connect.CodeInvalidArgument, "must be positive"},
		{"timeout that is none", timeout(&durationpb.Duration{Seconds: 1, Nanos: -1}), connect.CodeInvalidArgument, "duration"},
		{"start unknown", command(d.client.Start, "nobody"), connect.CodeNotFound, `start capsule "nobody": no such capsule`},
		{"stop unknown", command(d.client.Stop, "nobody"), connect.CodeNotFound, `stop capsule "nobody": no such capsule`},
		{"restart unknown", command(d.client.Restart, "nobody"), connect.CodeNotFound, `restart capsule "nobody": no such capsule`},
		{"kill unknown", command(d.client.Kill, "nobody"), connect.CodeNotFound, `kill capsule "nobody": no such capsule`},
		{"start what runs", command(d.client.Start, "echo"), 0, ""},
		{"kill", command(d.client.Kill, "echo"), 0, ""},
		{"restart", command(d.client.Restart, "echo"), 0, ""},
		{"stop", command(d.client.Stop, "echo"), 0, ""},
		{"stop what does not run", command(d.client.Stop, "echo"), 0, ""},
		{"kill what does not run", command(d.client.Kill, "echo"), connect.CodeFailedPrecondition, "it does not run"},
		{"start", command(d.client.Start, "echo"), 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.do(patiently(t))
			switch {
			case test.code == 0:
				if err != nil {
					t.Fatal(err)
				}
			case connect.CodeOf(err) != test.code || !connect.IsWireError(err):
				t.Fatalf("error %v, want code %v", err, test.code)
			case !strings.Contains(err.Error(), test.says):
				t.Errorf("error %q, want %q in it", err, test.says)
			}
		})
	}
}

// jsonString returns a JSON string of n bytes.
func jsonString(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("a", n-2) + `"`) }

func TestCommandThatDoesNotBringItUp(t *testing.T) {
	d := start(t, "init-trap")
	err := d.client.Restart(patiently(t), "init-trap")
	if connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("error %v, want aborted", err)
	}
}

func TestEvents(t *testing.T) {
	d := start(t, "echo", "counter")
	sequences := func(r control.EventsRequest) []uint64 { return numbers(read(t, d.client, r)) }
	tree := d.sup.Snapshot()
	all := sequences(control.EventsRequest{})
	for i, sequence := range all {
		if sequence != uint64(i)+1 {
			t.Fatalf("events %v have a gap", all)
		}
	}
	if uint64(len(all)) != tree.Sequence {
		t.Errorf("%d events, want %d", len(all), tree.Sequence)
	}
	for _, epoch := range []string{"", tree.Epoch} {
		if diff := cmp.Diff(all[2:], sequences(control.EventsRequest{Since: 2, Epoch: epoch})); diff != "" {
			t.Errorf("events since 2, epoch %q (-want +got):\n%s", epoch, diff)
		}
		if got := sequences(control.EventsRequest{Since: tree.Sequence, Epoch: epoch}); got != nil {
			t.Errorf("events since the last, epoch %q: %v, want none", epoch, got)
		}
	}
}

// read returns all events until the stream ends.
func read(t *testing.T, c *control.Client, r control.EventsRequest) (got []messages.Event) {
	t.Helper()
	for e, err := range c.Events(patiently(t), r) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	return got
}

func numbers(events []messages.Event) (got []uint64) {
	for _, e := range events {
		got = append(got, e.Sequence)
	}
	return got
}

// TestEventsOfAnotherEpoch checks that a reader whose number is from a daemon that has
// ended is told so, and receives all events of the current one.
func TestEventsOfAnotherEpoch(t *testing.T) {
	old := start(t, "echo")
	before := old.sup.Snapshot()
	old.end(t)

	d := start(t, "echo", "counter") // more events than the old daemon had
	tree := d.sup.Snapshot()
	if tree.Epoch == before.Epoch || before.Sequence >= tree.Sequence {
		t.Fatalf("epochs %s and %s, events %d and %d", before.Epoch, tree.Epoch, before.Sequence, tree.Sequence)
	}
	all := read(t, d.client, control.EventsRequest{})
	for name, r := range map[string]control.EventsRequest{
		"another epoch":                       {Since: before.Sequence, Epoch: before.Epoch},
		"another epoch, from the beginning":   {Epoch: before.Epoch},
		"beyond the newest":                   {Since: tree.Sequence + 1},
		"beyond the newest, in another epoch": {Since: tree.Sequence + 1, Epoch: before.Epoch},
		"beyond the newest, in this epoch":    {Since: tree.Sequence + 1, Epoch: tree.Epoch},
	} {
		got := read(t, d.client, r)
		if changed, ok := got[0].Detail.(messages.EpochChanged); !ok || changed.Epoch != tree.Epoch {
			t.Errorf("%s: the first event is %v, want the new epoch", name, got[0])
		}
		if diff := cmp.Diff(all, got[1:]); diff != "" {
			t.Errorf("%s: after it (-want +got):\n%s", name, diff)
		}
		r.Follow = true
		for e, err := range d.client.Events(patiently(t), r) {
			if _, ok := e.Detail.(messages.EpochChanged); err != nil || !ok {
				t.Errorf("%s, with follow: the first event is %v, %v", name, e, err)
			}
			break
		}
	}
}

// TestEventsFollow reads while events happen, until the stream ends.
func TestEventsFollow(t *testing.T) {
	d := start(t, "echo")
	next, stop := iter.Pull2(d.client.Events(patiently(t), control.EventsRequest{
		Since: d.sup.Snapshot().Sequence, Follow: true,
	}))
	defer stop()
	if err := d.client.Kill(patiently(t), "echo"); err != nil {
		t.Fatal(err)
	}
	for ready := false; !ready; {
		e, err, more := next()
		if err != nil || !more {
			t.Fatalf("the stream ended early: %v", err)
		}
		if _, ready = e.Detail.(messages.CapsuleReady); ready && e.Generation != 2 {
			t.Fatalf("got %v, want the second generation ready", e)
		}
	}
	d.end(t)
	var last messages.Event
	for e, err, more := next(); more; e, err, more = next() {
		if err != nil {
			t.Fatalf("the stream ended with %v", err)
		}
		last = e
	}
	if _, stopped := last.Detail.(messages.SystemStopped); !stopped {
		t.Errorf("the last event was %v, want the system's end", last)
	}
}

// TestServeEndsStreams checks that an event stream ends with the service, even if the
// supervisor continues and the client does not read.
func TestServeEndsStreams(t *testing.T) {
	d := start(t, "echo")
	nexts := make([]func() (messages.Event, error, bool), 3)
	for i := range nexts {
		next, stop := iter.Pull2(d.client.Events(patiently(t), control.EventsRequest{Follow: true}))
		t.Cleanup(stop)
		if _, err, _ := next(); err != nil {
			t.Fatal(err)
		}
		nexts[i] = next
	}
	d.endService()
	select {
	case err := <-d.serviced:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the service did not end")
	}
	d.serviced = nil
	for _, next := range nexts {
		for _, _, more := next(); more; _, _, more = next() {
		}
	}
	if _, err := d.client.Snapshot(patiently(t), false); !errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("error %v after the end, want %v", err, control.ErrNoDaemon)
	}
}

// TestDrain checks that a client that waits for an answer when the system stops receives
// it, and that later clients learn why they are refused.
func TestDrain(t *testing.T) {
	d := start(t, "slow")
	answered := make(chan *messages.Reply, 1)
	for running := false; !running; {
		go func() {
			reply, err := d.client.Trigger(patiently(t), control.TriggerRequest{Topic: "test.slow"})
			if err != nil {
				t.Error(err)
			}
			answered <- reply
		}()
		await(t, d, func(tree *messages.Tree) bool {
			running = tree.Capsules[0].Busy > 0
			return running || len(answered) == 1
		})
		if !running { // the poll was too late
			<-answered
		}
	}
	d.endSupervisor()
	await(t, d, func(tree *messages.Tree) bool { return tree.Stopping })
	_, err := d.client.Trigger(patiently(t), control.TriggerRequest{Topic: "test.slow"})
	if connect.CodeOf(err) != connect.CodeUnavailable || errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("error %v, want unavailable", err)
	}
	d.end(t)
	if got, want := string((<-answered).Responses), `[{"slow":true}]`; got != want {
		t.Errorf("the waiting trigger got %s, want %s", got, want)
	}
}

func TestNoDaemon(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	abandon(t, stale)
	for _, path := range []string{filepath.Join(dir, "none"), stale} {
		_, err := control.Dial(path).Snapshot(patiently(t), false)
		if !errors.Is(err, control.ErrNoDaemon) {
			t.Errorf("%s: error %v, want %v", filepath.Base(path), err, control.ErrNoDaemon)
		}
	}
}

// TestPlainHTTP calls the service as curl does.
func TestPlainHTTP(t *testing.T) {
	d := start(t, "echo")
	client := overSocket(t, d.socket)
	post := func(method, body string) (int, map[string]any) {
		t.Helper()
		request, err := http.NewRequestWithContext(patiently(t), http.MethodPost,
			"http://astrid/astrid.actors.v1.Control/"+method, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s answered %q: %v", method, text, err)
		}
		return response.StatusCode, got
	}
	status, got := post("Trigger", `{"topic": "test.echo", "payload": "[1]", "timeout": "2s"}`)
	if legs, ok := got["legs"].([]any); status != http.StatusOK || !ok || len(legs) != 1 {
		t.Errorf("a trigger got %d %v", status, got)
	}
	status, got = post("Snapshot", `{}`)
	capsule, _ := got["capsules"].([]any)[0].(map[string]any)
	if status != http.StatusOK || capsule["id"] != "echo" || capsule["state"] != "CAPSULE_STATE_READY" {
		t.Errorf("a snapshot got %d %v", status, got)
	}
	status, got = post("Kill", `{"id": "nobody"}`)
	if status != http.StatusNotFound || got["code"] != "not_found" {
		t.Errorf("a kill of nobody got %d %v", status, got)
	}
	status, got = post("Trigger", `{"topic": `)
	if status != http.StatusBadRequest || got["code"] != "invalid_argument" {
		t.Errorf("half a request got %d %v", status, got)
	}
}

// overSocket returns an HTTP client that connects to a socket.
func overSocket(t *testing.T, socket string) *http.Client {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestGRPC checks that the service also speaks gRPC.
func TestGRPC(t *testing.T) {
	d := start(t, "echo")
	http2 := overSocket(t, d.socket)
	transport, _ := http2.Transport.(*http.Transport)
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
	client := actorspbconnect.NewControlClient(http2, "http://astrid", connect.WithGRPC())
	reply, err := client.Trigger(patiently(t), connect.NewRequest(&actorspb.TriggerRequest{Topic: "test.echo"}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := reply.Msg.GetResponses(), `[null]`; got != want {
		t.Errorf("responses %s, want %s", got, want)
	}
}

// TestGarbage checks that an invalid request costs only its own connection.
func TestGarbage(t *testing.T) {
	d := start(t, "echo")
	c, err := net.Dial("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(bytes.Repeat([]byte{0xff, '\r', '\n'}, 1000)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 400") {
		t.Errorf("garbage got %q, %v", line, err)
	}
	if _, err := d.client.Snapshot(patiently(t), false); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// abandon leaves a socket file on which no process listens.
func abandon(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}
