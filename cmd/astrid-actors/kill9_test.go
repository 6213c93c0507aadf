package main

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

var kills = flag.Int("kills", 20, "how often TestKilledDaemonKeepsState kills the daemon")

// Promise 9: what a capsule was told is stored, and what was published to a durable topic,
// is there after the daemon was killed, whenever that is. A durable interceptor misses no
// message, and is called again only with those that it had not answered when the daemon
// died. make kill kills 200 times.
func TestKilledDaemonKeepsState(t *testing.T) {
	home := t.TempDir()
	socket := filepath.Join(home, "s")
	client := control.Dial(socket)
	acknowledged := map[string]bool{}
	recorder := recorderDir(t, home)
	var published []int // and acknowledged
	var next atomic.Int64
	for round := range *kills + 1 {
		daemon := exec.Command("astrid-actors", "run", "--home", home, "--socket", socket, "--log-level", "error", "--allow-unverified",
			"--capsules", filepath.Join("..", "..", "test", "capsules", "keep"), "--capsules", recorder)
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
		if round == *kills { // it may live
			checkRecorded(t, client, published, *kills)
			killed()
			break
		}
		// The daemon dies at some moment after so many answers, with others on their way.
		var load sync.WaitGroup
		var mu sync.Mutex
		until := 1 + rand.IntN(30)
		for worker := range 6 {
			load.Go(func() {
				for {
					n := next.Add(1)
					key := strconv.FormatInt(n, 10)
					publishes := worker%2 == 0
					if publishes {
						if client.Publish(t.Context(), "record", []byte(key), "") != nil {
							return
						}
					} else if !stored(t.Context(), client, key) {
						return
					}
					mu.Lock()
					if publishes {
						published = append(published, int(n))
					} else {
						acknowledged[key] = true
					}
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
	t.Logf("%d kills, %d acknowledged writes, %d durable messages", *kills, len(acknowledged), len(published))
	if len(acknowledged) < *kills || len(published) < *kills {
		t.Errorf("only %d writes and %d messages were acknowledged", len(acknowledged), len(published))
	}
}

// recorderDir makes the directory of a capsule that records the messages of the durable
// topic `record`.
func recorderDir(t *testing.T, home string) string {
	t.Helper()
	dir := filepath.Join(home, "recorder")
	wasm, err := os.ReadFile(filepath.Join("..", "..", "test", "guests", "sdk", "sdk.wasm"))
	if err == nil {
		err = os.MkdirAll(filepath.Join(home, "etc"), 0o700)
	}
	for path, text := range map[string]string{
		"etc/actors.toml":       "[[topic]]\nname = \"record\"\ndurable = true\n",
		"recorder/sdk.wasm":     string(wasm),
		"recorder/Capsule.toml": "[package]\nname = \"recorder\"\nversion = \"1.0.0\"\n[[component]]\nfile = \"sdk.wasm\"\n[[interceptor]]\nevent = \"record\"\naction = \"record\"\ndurable = true\n",
	} {
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(home, path)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(home, path), []byte(text), 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkRecorded waits until the recorder has dealt with every message, and checks what it
// was called with: all that was acknowledged, without a gap; what comes a second time
// begins after a kill, and goes on from there.
func checkRecorded(t *testing.T, c *control.Client, published []int, kills int) {
	t.Helper()
	for {
		tree, err := c.Snapshot(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		topic := tree.Bus.Durable[slices.IndexFunc(tree.Bus.Durable, func(d messages.DurableTopic) bool { return d.Name == "record" })]
		if len(topic.Subscriptions) == 1 && topic.Subscriptions[0].Lag == 0 {
			break
		}
	}
	text, err := c.StateGet(t.Context(), control.StateOf{Capsule: "recorder"}, "recorded")
	if err != nil {
		t.Fatal(err)
	}
	at := map[int]int{} // the place of each number, in the order in which they came first
	place, repeats, jumps := -1, 0, 0
	for field := range strings.FieldsSeq(string(text)) {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		was, again := at[n]
		if !again {
			was = len(at)
			at[n] = was
		} else {
			repeats++
		}
		if was != place+1 {
			if jumps++; !again {
				t.Errorf("%d came before all was repeated up to it", n)
			}
		}
		place = was
	}
	for _, n := range published {
		if _, ok := at[n]; !ok {
			t.Errorf("message %d was acknowledged, and never reached the interceptor", n)
		}
	}
	if jumps > kills {
		t.Errorf("messages were repeated %d times, with %d kills", jumps, kills)
	}
	t.Logf("%d messages came, %d of them again", len(at), repeats)
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
