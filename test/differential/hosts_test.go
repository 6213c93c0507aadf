package differential

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// here is this project's host.
type here struct {
	t      *testing.T
	sup    *supervisor.Supervisor
	stop   context.CancelFunc
	served chan error
	answer string // of the last call
}

func newHere(t *testing.T, on *stage) host {
	t.Helper()
	h := &here{t: t, served: make(chan error, 1)}
	var err error
	h.sup, err = supervisor.New(supervisor.Config{
		Home: on.home, Workspace: on.workspace, Store: store.NewMemory(), AllowHostProcess: true,
		HTTPNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Restart:      supervisor.RestartPolicy{Budget: 10_000, InitialBackoff: time.Millisecond, MaxBackoff: time.Millisecond},
		WrapLoad: func(_ string, load supervisor.LoadFunc) supervisor.LoadFunc {
			return func(ctx context.Context, api capsulehost.HostAPI) (supervisor.Guest, error) {
				g, err := load(ctx, api)
				return &overheard{g, h}, err
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, h.stop = context.WithCancel(t.Context())
	go func() { h.served <- h.sup.Serve(ctx) }()
	if err := h.sup.AwaitStarted(ctx); err != nil {
		t.Fatal(err)
	}
	waiting, err := h.sup.WatchApprovals(ctx)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for all := range waiting {
			for _, a := range all {
				_ = h.sup.Decide(ctx, a.ID, on.scene.decision)
			}
		}
	}()
	if _, err := h.sup.Install(ctx, on.capsule, supervisor.InstallOptions{Seal: true, Ask: person}); err != nil {
		t.Fatal(err)
	}
	return h
}

// person answers as the one of the reference does.
func person(_ context.Context, _ string, q supervisor.Question) (supervisor.Answer, error) {
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
}

// overheard is a guest that tells what it answers: a leg has no answer that is not JSON.
type overheard struct {
	supervisor.Guest
	host *here
}

func (o *overheard) Invoke(ctx context.Context, action string, payload []byte) (capsulehost.Result, error) {
	r, err := o.Guest.Invoke(ctx, action, payload)
	switch {
	case err != nil:
		o.host.answer = trap
	case r.Action == capsulehost.Final:
		o.host.answer = failed
	default:
		o.host.answer = string(r.Data)
	}
	return r, err
}

// What is shown instead of an error's text, which is each host's own: the guest trapped, or
// it was told in the answer.
const (
	trap   = "a trap"
	failed = "an error"
)

func (h *here) call(action, payload string) string {
	for {
		h.answer = ""
		reply, err := h.sup.Trigger(h.t.Context(), supervisor.TriggerRequest{Topic: "test." + action, Payload: []byte(payload)})
		if err != nil || len(reply.Legs) != 1 {
			h.t.Fatalf("%s: %+v, %v", action, reply, err)
		}
		if reply.Legs[0].Outcome != messages.OutcomeUnavailable {
			return h.answer
		}
		// It has trapped before, and waits for its next start.
		if err := h.sup.Start(h.t.Context(), reply.Legs[0].Capsule); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *here) close() {
	h.stop()
	if err := <-h.served; err != nil {
		h.t.Error(err)
	}
}

// there is the reference's host.
type there struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func newReference(t *testing.T, on *stage) host {
	t.Helper()
	// It verifies what is sealed, and has no command for it: this project's does it.
	if _, err := manifest.Seal(on.capsule, nil); err != nil {
		t.Fatal(err)
	}
	h := &there{t: t, cmd: exec.Command(*reference)}
	// It runs no process without bwrap. Not every machine has that, so it does not find it.
	h.cmd.Env = []string{"ASTRID_HOME=" + on.home, "HOME=" + on.home, "PATH="}
	h.cmd.Stderr = t.Output()
	in, err := h.cmd.StdinPipe()
	h.in = in
	out, err2 := h.cmd.StdoutPipe()
	if err = errors.Join(err, err2); err == nil {
		err = h.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	h.out = bufio.NewScanner(out)
	if got := h.send(map[string]any{"capsule": on.capsule, "workspace": on.workspace, "install": on.scene.install, "decision": on.scene.decision}); got != "ready" {
		t.Fatalf("%s: the reference says %q", on.scene.name, got)
	}
	return h
}

func (h *there) send(line any) (answer string) {
	h.t.Helper()
	text, err := json.Marshal(line)
	if err == nil {
		_, err = h.in.Write(append(text, '\n'))
	}
	if err == nil && !h.out.Scan() {
		err = errors.Join(errors.New("it has ended"), h.out.Err())
	}
	if err == nil {
		err = json.Unmarshal(h.out.Bytes(), &answer)
	}
	if err != nil {
		h.t.Fatalf("ask the reference %s: %v", text, err)
	}
	return answer
}

func (h *there) call(action, payload string) string {
	answer := h.send(map[string]string{"action": action, "payload": payload})
	word, text, _ := strings.Cut(answer, " ")
	switch word {
	case "continue":
		return text
	case "final":
		return failed
	default:
		h.t.Logf("the reference, %s %.100s: %s", action, payload, answer)
		return trap
	}
}

func (h *there) close() {
	_ = h.in.Close()
	if err := h.cmd.Wait(); err != nil {
		h.t.Error(err)
	}
}

// greet is a client of the capsule's socket: it says hello, and receives it back.
func greet(dir string) error {
	token, err := os.ReadFile(filepath.Join(dir, "system.token"))
	if err != nil {
		return err
	}
	c, err := net.Dial("unix", filepath.Join(dir, "system.sock"))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	for _, text := range []string{fmt.Sprintf(`{"token":%q,"protocol_version":1,"client_version":"0.3.0"}`, token), `"hello"`} {
		if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)); err != nil {
			return err
		}
	}
	for range 2 { // the handshake's answer, and the echo
		size := make([]byte, 4)
		if _, err := io.ReadFull(c, size); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(size))); err != nil {
			return err
		}
	}
	return nil
}
