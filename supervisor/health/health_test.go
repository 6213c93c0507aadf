package health_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/health"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestHandler requests both before, during and after Serve.
func TestHandler(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	s := supervisortest.New(t, supervisor.Config{},
		supervisortest.Func("steady", "t", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
			return supervisortest.JSON(1)
		}),
		supervisortest.Func("slow", "t", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
			return supervisortest.JSON(2)
		}))
	s.Inject("slow", supervisortest.Fault{At: supervisortest.AtLoad, Do: func(context.Context, supervisortest.Visit) error {
		close(held)
		<-release
		return nil
	}})
	handler := health.Handler(s.Supervisor)
	get := func(path string) (int, string) {
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, httptest.NewRequest(http.MethodGet, path, nil))
		return response.Code, response.Body.String()
	}
	expect := func(when, path string, code int, text string) {
		t.Helper()
		gotCode, gotText := get(path)
		if d := cmp.Diff(text, gotText); gotCode != code || d != "" {
			t.Errorf("%s: %s is %d, want %d; -want +got\n%s", when, path, gotCode, code, d)
		}
	}
	expect("before Serve", "/healthz", 503, "the supervisor is not serving\n")
	expect("before Serve", "/readyz", 503, "not ready: the system does not serve yet\ncapsules/steady is loading\ncapsules/slow is loading\n")
	s.Launch()
	<-held
	s.AwaitReady("steady", 1)
	expect("while a capsule loads", "/healthz", 200, "alive\n")
	expect("while a capsule loads", "/readyz", 503, "not ready: the first start of 1 of 2 capsules is not decided yet\ncapsules/slow is loading\n")
	close(release)
	s.AwaitReady("slow", 1)
	expect("when all is well", "/readyz", 200, "ready\n")
	expect("when all is well", "/readyz?capsule=slow&capsule=steady", 200, "ready\n")
	if err := s.Stop(t.Context(), "slow"); err != nil {
		t.Fatal(err)
	}
	expect("with a capsule stopped", "/readyz", 200, "ready\ncapsules/slow is stopped: stopped by an operator\n")
	expect("with a capsule stopped", "/readyz?capsule=steady", 200, "ready\ncapsules/slow is stopped: stopped by an operator\n")
	expect("with a capsule stopped", "/readyz?capsule=slow", 503, "not ready: a required capsule is not\ncapsules/slow is stopped: stopped by an operator (required)\n")
	expect("with a capsule stopped", "/readyz?capsule=gone", 503, "not ready: a required capsule is not\ncapsules/slow is stopped: stopped by an operator\nthere is no capsule \"gone\" (required)\n")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	expect("after Serve", "/healthz", 503, "the supervisor is not serving\n")
	if code, text := get("/readyz"); code != 503 {
		t.Errorf("after Serve: %d %s", code, text)
	}
}

// TestReadyIsPlainText checks that a guest's text in a reason stays on its line.
func TestReadyIsPlainText(t *testing.T) {
	tree := &messages.Tree{Started: time.Now(), Capsules: []*messages.Capsule{{
		Path: "capsules/x", ID: "x", Decided: true, State: messages.StateCrashed,
		Reason: "trap:\n\x1b[31mready\u009b  now\r", RestartAt: time.Unix(0, 0),
	}}}
	ready, text := health.Ready(tree)
	want := "ready\ncapsules/x is crashed: trap: [31mready now; restarts at 1970-01-01T00:00:00Z\n"
	if d := cmp.Diff(want, text); !ready || d != "" {
		t.Errorf("ready %v; -want +got\n%s", ready, d)
	}
}
