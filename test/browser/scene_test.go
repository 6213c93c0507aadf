package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// wasm returns a module of test/capsules.
func wasm(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "capsules", name, name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// healthy are the names of the capsules without a trouble.
const healthy = `address-book archive audit billing calendar catalog chat-bridge checkout clock comments
consent contracts coupons currency dashboard diff-view digest discounts drafts exporter favourites forms
geocoder greeter guardian heartbeat identity importer inbox inventory invoices ledger localize mirror
notes outbox pricing profiles quotas ratings redactor reports reviews router-rules shipping summaries tags`

// crowd is a system of 50 capsules, of which three misbehave in different ways: payments
// crashes in every call and waits for its next restart, mailer has no restart left, and
// search is stuck in a call with a full queue.
func crowd(t *testing.T) *supervisortest.System {
	echo := wasm(t, "echo")
	var capsules []supervisor.Capsule
	for i, name := range strings.Fields(healthy) {
		c := supervisortest.Module(name, "demo."+name, echo)
		switch {
		case name == "ledger": // healthy, except for a payload of "x"
			c = supervisortest.Module(name, "demo."+name, wasm(t, "crash-on-x"))
		case i%5 == 0:
			c = supervisortest.Func(name, "demo."+name, func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				c.Log(capsulehost.LevelInfo, "handled "+c.Action)
				return supervisortest.JSON(map[string]int{"n": i})
			})
		}
		c.Manifest += "[[interceptor]]\nevent = \"tick\"\naction = \"tick\"\n"
		c.Manifest = strings.Replace(c.Manifest, "1.0.0", fmt.Sprintf("1.%d.%d", i%4, i%7), 1)
		capsules = append(capsules, c)
	}
	payments := supervisortest.Module("payments", "pay.*", wasm(t, "trap"))
	payments.Manifest += "[supervision]\nbackoff_initial = \"50s\"\nbackoff_max = \"100s\"\n"
	mailer := supervisortest.Module("mailer", "mail.*", wasm(t, "div0"))
	mailer.Manifest += "[supervision]\nbudget = 3\nbackoff_initial = \"1ms\"\nbackoff_max = \"1ms\"\n"
	search := supervisortest.Module("search", "find.*", wasm(t, "spin"))
	search.Manifest += "[supervision]\nqueue = 16\ncall_timeout = \"1m30s\"\n"
	capsules = append(capsules, payments, mailer, search)

	sys := supervisortest.Start(t, supervisor.Config{TriggerTimeout: 80 * time.Second, StopTimeout: 100 * time.Millisecond}, capsules...)
	trigger := func(topic string) {
		if _, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: topic, Payload: []byte("{}")}); err != nil {
			t.Error(err)
		}
	}
	trigger("tick")
	for i := range 4 {
		trigger("mail.send")
		if i < 3 {
			sys.AwaitReady("mailer", uint64(i+2))
		}
	}
	trigger("pay.card")
	sys.AwaitReady("payments", 2)
	trigger("pay.card")
	var calls sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	calls.Go(func() { // so that the page has rates and durations
		tick := time.NewTicker(40 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_, _ = sys.Trigger(ctx, supervisor.TriggerRequest{Topic: "tick", Payload: []byte(`{"n": 1}`)})
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		calls.Wait()
	})
	find := func() {
		_, _ = sys.Trigger(ctx, supervisor.TriggerRequest{Topic: "find.text"}) // ended by cancel
	}
	calls.Go(find)
	await(t, func() bool { return sys.Capsule("search").Busy > 0 }) // it has left the queue
	for range 16 {
		calls.Go(find)
	}
	await(t, func() bool { return sys.Capsule("search").Queue == 16 })
	sys.AwaitState("mailer", messages.StateFailed)
	sys.AwaitState("payments", messages.StateCrashed)
	return sys
}

// await waits for a condition without an event.
func await(t *testing.T, is func() bool) {
	t.Helper()
	timeout := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("it did not come")
		}
	}
}
