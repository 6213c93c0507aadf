package main

import (
	"context"
	"flag"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

var kills = flag.Int("kills", 20, "how often TestKilledDaemonKeepsState kills the daemon")

// Promise 9: what a capsule was told is stored is there after the daemon was killed,
// whenever that is. Go test's -args -kills=200 kills more often.
func TestKilledDaemonKeepsState(t *testing.T) {
	home := t.TempDir()
	socket := filepath.Join(home, "s")
	client := control.Dial(socket)
	acknowledged := map[string]bool{}
	var next atomic.Int64
	for round := range *kills {
		daemon := exec.Command("astrid-actors", "run", "--home", home, "--socket", socket, "--log-level", "error",
			"--capsules", filepath.Join("..", "..", "test", "capsules", "keep"))
		var log logged
		daemon.Stderr = &log
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		killed := sync.OnceFunc(func() {
			_ = daemon.Process.Kill()
			_ = daemon.Wait()
		})
		t.Cleanup(killed)
		if _, err := snapshot(t.Context(), client, patience); err != nil {
			t.Fatalf("start %d: %v\n%s", round, err, log.text)
		}
		have := map[string]bool{}
		for e, err := range client.StateList(t.Context(), control.StateOf{Capsule: "keep"}, "", false) {
			if err != nil {
				t.Fatal(err)
			}
			have[e.Key] = true
		}
		for key := range acknowledged {
			if !have[key] {
				t.Fatalf("start %d: key %s was acknowledged, and is missing", round, key)
			}
		}
		// The daemon dies at some moment after so many answers, with others on their way.
		var load sync.WaitGroup
		var mu sync.Mutex
		until := 1 + rand.IntN(30)
		for range 4 {
			load.Go(func() {
				for {
					key := strconv.FormatInt(next.Add(1), 10)
					if !stored(t.Context(), client, key) {
						return
					}
					mu.Lock()
					acknowledged[key] = true
					if until--; until == 0 {
						go killed()
					}
					mu.Unlock()
				}
			})
		}
		load.Wait()
		killed()
	}
	t.Logf("%d kills, %d acknowledged writes", *kills, len(acknowledged))
	if len(acknowledged) < *kills {
		t.Errorf("only %d writes were acknowledged", len(acknowledged))
	}
}

// stored has the capsule store a key, and reports whether it says so.
func stored(ctx context.Context, c *control.Client, key string) bool {
	reply, err := c.Trigger(ctx, control.TriggerRequest{Topic: "test.keep.set", Payload: []byte(key)})
	return err == nil && len(reply.Legs) == 1 && reply.Legs[0].Outcome == messages.OutcomeEmpty
}

// logged keeps the end of a daemon's log.
type logged struct{ text string }

func (l *logged) Write(p []byte) (int, error) {
	l.text += string(p)
	l.text = l.text[max(0, len(l.text)-4096):]
	return len(p), nil
}
