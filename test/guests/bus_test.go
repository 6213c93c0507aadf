package guests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

// A run loop in Go answers what is published to its interceptor, also after it was killed,
// and reads a wait of a minute at most for the end.
func TestAnswerer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	manifest, err := os.ReadFile(filepath.Join(examples, "answerer", "Capsule.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Capsule.toml"), manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(build(t, filepath.Join(examples, "answerer")), filepath.Join(dir, "answerer.wasm")); err != nil {
		t.Fatal(err)
	}
	sup, err := supervisor.New(supervisor.Config{Home: t.TempDir(), CapsuleDirs: []string{dir}, AllowUnverified: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- sup.Serve(ctx) }()
	if err := sup.AwaitStarted(ctx); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		reading, done := context.WithCancel(ctx)
		answers := sup.Subscribe(reading, "sum.response.*")
		for n := range 3 {
			if err := sup.Publish(ctx, fmt.Sprintf("sum.request.%d", n), fmt.Appendf(nil, "[%d,0.5]", n), nil); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		for m, err := range answers {
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("sum.response.%d %d.5", n, n); m.Topic+" "+string(m.Payload) != want || m.Principal != "default" {
				t.Errorf("got %s %s for %q, want %s", m.Topic, m.Payload, m.Principal, want)
			}
			if n++; n == 3 {
				break
			}
		}
		done()
		if round == 0 {
			if err := sup.Kill(ctx, "go-answerer"); err != nil {
				t.Fatal(err)
			}
			for e := range sup.Events(ctx, 0) {
				if e.Generation == 2 && e.Name() == "capsule_ready" {
					break
				}
			}
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
