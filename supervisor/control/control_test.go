package control_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
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
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/messagesconnect"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen. Nothing should ever
// take that long.
const patience = 30 * time.Second

// daemon is a supervisor and its control service, both serving.
type daemon struct {
	socket string
	client messagesconnect.ControlClient
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
	go func() { d.serviced <- control.Serve(serviceCtx, listener, sup, zerolog.Nop()) }()
	t.Cleanup(func() { d.end(t) })
	for e := range sup.Events(patiently(t), 0) {
		if e.GetSystemStarted() != nil {
			break
		}
	}
	return d
}

// end stops both, as a daemon does. Once is enough.
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
	reply, err := d.client.Trigger(patiently(t), connect.NewRequest(&messages.TriggerRequest{
		Topic: "test.echo", Payload: `{"a": 1}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := reply.Msg.GetResponses(), `[{"a":1}]`; got != want {
		t.Errorf("responses %s, want %s", got, want)
	}
	reply, err = d.client.Trigger(patiently(t), connect.NewRequest(&messages.TriggerRequest{Topic: "test.deny"}))
	if err != nil {
		t.Fatal(err)
	}
	leg := reply.Msg.GetLegs()[0]
	if got, want := leg.GetOutcome().Word()+": "+leg.GetReason(), "denied: not today"; got != want {
		t.Errorf("leg %q, want %q", got, want)
	}
}

func TestTriggerHasTheRequestsDeadline(t *testing.T) {
	d := start(t, "spin")
	began := time.Now()
	reply, err := d.client.Trigger(patiently(t), connect.NewRequest(&messages.TriggerRequest{
		Topic: "test.spin", Timeout: durationpb.New(50 * time.Millisecond),
	}))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("answered after %v", took)
	}
	if got := reply.Msg.GetLegs()[0].GetOutcome(); got != messages.Outcome_OUTCOME_TIMEOUT {
		t.Errorf("outcome %v, want a timeout", got)
	}
}

// TestLongestTimeout: a client that waits for ever, as far as protobuf or its own
// context can say that, gets what it waits for.
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
		reply, err := d.client.Trigger(test.ctx, connect.NewRequest(&messages.TriggerRequest{Topic: "test.echo", Payload: "1", Timeout: test.timeout}))
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
		reply, err := d.client.Trigger(patiently(t), connect.NewRequest(&messages.TriggerRequest{
			Topic: "test.caller", Principal: principal,
		}))
		if err != nil {
			t.Fatal(err)
		}
		var callers []map[string]any
		if err := json.Unmarshal([]byte(reply.Msg.GetResponses()), &callers); err != nil {
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
		_, err := d.client.Trigger(ctx, connect.NewRequest(&messages.TriggerRequest{Topic: "test.spin"}))
		answered <- err
	}()
	await(t, d, func(tree *messages.Tree) bool { return tree.GetOpenTriggers() == 1 })
	cancel()
	if err := <-answered; connect.CodeOf(err) != connect.CodeCanceled {
		t.Errorf("error %v, want cancelled", err)
	}
	await(t, d, func(tree *messages.Tree) bool { return tree.GetOpenTriggers() == 0 })
}

// await looks at the tree until it is as it should be.
func await(t *testing.T, d *daemon, as func(*messages.Tree) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		tree, err := d.client.Snapshot(patiently(t), connect.NewRequest(&messages.SnapshotRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		if as(tree.Msg) {
			return
		}
	}
	t.Fatal("the tree never became as it should be")
}

// TestCodes holds errors against what control.proto promises.
func TestCodes(t *testing.T) {
	d := start(t, "echo")
	trigger := func(r *messages.TriggerRequest) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := d.client.Trigger(ctx, connect.NewRequest(r))
			return err
		}
	}
	command := func(do func(context.Context, string) error, id string) func(context.Context) error {
		return func(ctx context.Context) error { return do(ctx, id) }
	}
	startIt := func(ctx context.Context, id string) error {
		_, err := d.client.Start(ctx, connect.NewRequest(&messages.StartCapsule{Id: id}))
		return err
	}
	stopIt := func(ctx context.Context, id string) error {
		_, err := d.client.Stop(ctx, connect.NewRequest(&messages.StopCapsule{Id: id}))
		return err
	}
	restartIt := func(ctx context.Context, id string) error {
		_, err := d.client.Restart(ctx, connect.NewRequest(&messages.RestartCapsule{Id: id}))
		return err
	}
	killIt := func(ctx context.Context, id string) error {
		_, err := d.client.Kill(ctx, connect.NewRequest(&messages.KillCapsule{Id: id}))
		return err
	}
	for _, test := range []struct {
		name string
		do   func(context.Context) error
		code connect.Code
		says string
	}{
		{"no topic", trigger(&messages.TriggerRequest{}), connect.CodeInvalidArgument, "topic is empty"},
		{"empty segment", trigger(&messages.TriggerRequest{Topic: "a..b"}), connect.CodeInvalidArgument, `"a..b"`},
		{"not JSON", trigger(&messages.TriggerRequest{Topic: "a", Payload: "{"}), connect.CodeInvalidArgument, "not JSON"},
		{"largest payload", trigger(&messages.TriggerRequest{Topic: "test.echo", Payload: jsonString(supervisor.MaxPayload)}), 0, ""},
		{"payload too large", trigger(&messages.TriggerRequest{Topic: "test.echo", Payload: jsonString(supervisor.MaxPayload + 1)}), connect.CodeInvalidArgument, "over the limit of 1048576"},
		{"request too large", trigger(&messages.TriggerRequest{Topic: "a", Payload: jsonString(8 << 20)}), connect.CodeResourceExhausted, "larger than configured max"},
		{"bad principal", trigger(&messages.TriggerRequest{Topic: "a", Principal: "a/b"}), connect.CodeInvalidArgument, `"a/b"`},
		{"timeout of nothing", trigger(&messages.TriggerRequest{Topic: "a", Timeout: &durationpb.Duration{}}), connect.CodeInvalidArgument, "must be positive"},
		{"timeout that is none", trigger(&messages.TriggerRequest{Topic: "a", Timeout: &durationpb.Duration{Seconds: 1, Nanos: -1}}), connect.CodeInvalidArgument, "duration"},
		{"protobuf's longest timeout", trigger(&messages.TriggerRequest{Topic: "test.echo", Timeout: &durationpb.Duration{Seconds: 315_576_000_000}}), 0, ""},
		{"start unknown", command(startIt, "nobody"), connect.CodeNotFound, `start capsule "nobody": no such capsule`},
		{"stop unknown", command(stopIt, "nobody"), connect.CodeNotFound, `stop capsule "nobody": no such capsule`},
		{"restart unknown", command(restartIt, "nobody"), connect.CodeNotFound, `restart capsule "nobody": no such capsule`},
		{"kill unknown", command(killIt, "nobody"), connect.CodeNotFound, `kill capsule "nobody": no such capsule`},
		{"start what runs", command(startIt, "echo"), connect.CodeFailedPrecondition, "it runs already"},
		{"kill", command(killIt, "echo"), 0, ""},
		{"restart", command(restartIt, "echo"), 0, ""},
		{"stop", command(stopIt, "echo"), 0, ""},
		{"kill what does not run", command(killIt, "echo"), connect.CodeFailedPrecondition, "it does not run"},
		{"start", command(startIt, "echo"), 0, ""},
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

// jsonString is a JSON string of n bytes.
func jsonString(n int) string { return `"` + strings.Repeat("a", n-2) + `"` }

func TestCommandThatDoesNotBringItUp(t *testing.T) {
	d := start(t, "init-trap")
	_, err := d.client.Restart(patiently(t), connect.NewRequest(&messages.RestartCapsule{Id: "init-trap"}))
	if connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("error %v, want aborted", err)
	}
}

func TestEvents(t *testing.T) {
	d := start(t, "echo", "counter")
	sequences := func(r *messages.EventsRequest) (got []uint64) {
		stream, err := d.client.Events(patiently(t), connect.NewRequest(r))
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		for stream.Receive() {
			got = append(got, stream.Msg().GetSequence())
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		return got
	}
	last := d.sup.Snapshot().GetSequence()
	all := sequences(&messages.EventsRequest{})
	for i, sequence := range all {
		if sequence != uint64(i)+1 {
			t.Fatalf("events %v have a gap", all)
		}
	}
	if uint64(len(all)) != last {
		t.Errorf("%d events, want %d", len(all), last)
	}
	if diff := cmp.Diff(all[2:], sequences(&messages.EventsRequest{Since: 2})); diff != "" {
		t.Errorf("events since 2 (-want +got):\n%s", diff)
	}
	for _, since := range []uint64{last, last + 100} {
		if got := sequences(&messages.EventsRequest{Since: since}); got != nil {
			t.Errorf("events since %d: %v, want none", since, got)
		}
	}
}

// TestEventsFollow reads on while things happen, and to the very end.
func TestEventsFollow(t *testing.T) {
	d := start(t, "echo")
	stream, err := d.client.Events(patiently(t), connect.NewRequest(&messages.EventsRequest{
		Since: d.sup.Snapshot().GetSequence(), Follow: true,
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := d.client.Kill(patiently(t), connect.NewRequest(&messages.KillCapsule{Id: "echo"})); err != nil {
		t.Fatal(err)
	}
	for stream.Receive() && stream.Msg().GetCapsuleReady() == nil {
	}
	if stream.Msg().GetGeneration() != 2 {
		t.Fatalf("got %v, want the second generation ready", stream.Msg())
	}
	d.end(t)
	var last *messages.Event
	for stream.Receive() {
		last = stream.Msg()
	}
	if err := stream.Err(); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	if last.GetSystemStopped() == nil {
		t.Errorf("the last event was %v, want the system's end", last)
	}
}

// TestServeEndsStreams: an event stream does not outlive the service, even where
// the supervisor goes on and nobody reads.
func TestServeEndsStreams(t *testing.T) {
	d := start(t, "echo")
	streams := make([]*connect.ServerStreamForClient[messages.Event], 3)
	for i := range streams {
		stream, err := d.client.Events(patiently(t), connect.NewRequest(&messages.EventsRequest{Follow: true}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stream.Close() })
		stream.Receive()
		streams[i] = stream
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
	for _, stream := range streams {
		for stream.Receive() {
		}
	}
	if _, err := d.client.Snapshot(patiently(t), connect.NewRequest(&messages.SnapshotRequest{})); !errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("error %v after the end, want %v", err, control.ErrNoDaemon)
	}
}

// TestDrain: whoever waits for an answer when the system stops gets it, and
// whoever comes later hears why not.
func TestDrain(t *testing.T) {
	d := start(t, "slow")
	answered := make(chan *messages.TriggerReply, 1)
	for running := false; !running; {
		go func() {
			reply, err := d.client.Trigger(patiently(t), connect.NewRequest(&messages.TriggerRequest{Topic: "test.slow"}))
			if err != nil {
				t.Error(err)
			}
			answered <- reply.Msg
		}()
		await(t, d, func(tree *messages.Tree) bool {
			running = tree.GetCapsules()[0].GetBusy() != nil
			return running || len(answered) == 1
		})
		if !running { // we looked too late
			<-answered
		}
	}
	d.endSupervisor()
	await(t, d, (*messages.Tree).GetStopping)
	_, err := d.client.Trigger(patiently(t), connect.NewRequest(&messages.TriggerRequest{Topic: "test.slow"}))
	if connect.CodeOf(err) != connect.CodeUnavailable || errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("error %v, want unavailable", err)
	}
	d.end(t)
	if got, want := (<-answered).GetResponses(), `[{"slow":true}]`; got != want {
		t.Errorf("the waiting trigger got %s, want %s", got, want)
	}
}

func TestNoDaemon(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	abandon(t, stale)
	for _, path := range []string{filepath.Join(dir, "none"), stale} {
		_, err := control.Dial(path).Snapshot(patiently(t), connect.NewRequest(&messages.SnapshotRequest{}))
		if !errors.Is(err, control.ErrNoDaemon) {
			t.Errorf("%s: error %v, want %v", filepath.Base(path), err, control.ErrNoDaemon)
		}
	}
}

// TestPlainHTTP speaks to the service as curl does.
func TestPlainHTTP(t *testing.T) {
	d := start(t, "echo")
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.socket)
		},
	}
	defer transport.CloseIdleConnections()
	post := func(method, body string) (int, map[string]any) {
		t.Helper()
		request, err := http.NewRequestWithContext(patiently(t), http.MethodPost,
			"http://astrid/astrid.actors.v1.Control/"+method, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := (&http.Client{Transport: transport}).Do(request)
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

// TestGRPC: the service speaks it as well.
func TestGRPC(t *testing.T) {
	d := start(t, "echo")
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.socket)
		},
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client := messagesconnect.NewControlClient(&http.Client{Transport: transport}, "http://astrid", connect.WithGRPC())
	reply, err := client.Trigger(patiently(t), connect.NewRequest(&messages.TriggerRequest{Topic: "test.echo"}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := reply.Msg.GetResponses(), `[null]`; got != want {
		t.Errorf("responses %s, want %s", got, want)
	}
}

// TestGarbage: what is no request costs only its own connection.
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
	if _, err := d.client.Snapshot(patiently(t), connect.NewRequest(&messages.SnapshotRequest{})); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// abandon leaves a socket file behind that nobody listens at.
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
