package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// counting counts its calls, in memory and in its state. Its load reads the count, as
// stateful capsules do, and notes in the state that it was there.
type counting struct {
	host  capsulehost.HostAPI
	count int
}

// counter is the capsule of such guests. ready is called at the end of each load: its error
// fails it.
func counter(version string, ready func(load int32) error) supervisor.Capsule {
	var loads atomic.Int32
	manifest := strings.Replace(supervisortest.Manifest("counter", "count"), `version = "1.0.0"`, fmt.Sprintf("version = %q", version), 1)
	return supervisor.Capsule{Manifest: manifest, Load: func(ctx context.Context, api capsulehost.HostAPI) (supervisor.Guest, error) {
		g := &counting{host: api}
		kept := api.Services().State
		text, err := kept.Get(ctx, "", "count")
		if err == nil && text != nil {
			g.count, err = strconv.Atoi(string(text))
		}
		if err == nil {
			err = kept.Set(ctx, "", "version", []byte(version))
		}
		if err == nil {
			err = ready(loads.Add(1))
		}
		return g, err
	}}
}

func (g *counting) Invoke(ctx context.Context, _ string, _ []byte) (capsulehost.Result, error) {
	g.count++
	if err := g.host.Services().State.Set(ctx, "", "count", []byte(strconv.Itoa(g.count))); err != nil {
		return capsulehost.Result{}, err
	}
	return capsulehost.Result{Data: []byte(strconv.Itoa(g.count))}, nil
}

func (*counting) Run(context.Context) error   { return nil }
func (*counting) RunLoop() bool               { return false }
func (*counting) MemoryBytes() uint64         { return 0 }
func (*counting) Close(context.Context) error { return nil }

// Promises 9 and 10: a capsule that reads its state when it loads, and writes it in each
// call, is upgraded under load. No call fails, and no number is lost or given twice, also
// by versions that fail after they have written.
func TestAStatefulCapsuleIsUpgradedUnderLoad(t *testing.T) {
	fine := func(int32) error { return nil }
	sys := supervisortest.Start(t, supervisor.Config{}, counter("1.0.0", fine))
	sys.AwaitReady("counter", 1)
	const upgrades = 12
	version := "1.0.0"
	report := sys.UnderLoad(supervisortest.Load{Topic: "count", Clients: 4}, func() {
		for n := range upgrades {
			next := fmt.Sprintf("1.0.%d", n+1)
			switch n % 3 {
			case 0, 1:
				if _, err := sys.Upgrade(t.Context(), counter(next, fine)); err != nil {
					t.Errorf("upgrade to %s: %v", next, err)
				}
				version = next
			case 2:
				broken := errors.New("it does not like what it has read")
				if _, err := sys.Upgrade(t.Context(), counter(next, func(int32) error { return broken })); err == nil || !strings.Contains(err.Error(), broken.Error()) {
					t.Errorf("upgrade to the broken %s: %v", next, err)
				}
			}
			if got := kept(t, sys, "version"); got != version {
				t.Errorf("after the upgrade to %s the state is that of version %s instead of %s", next, got, version)
			}
		}
	})
	for n := range report.Calls {
		if answer := fmt.Sprintf("counter continue %d", n+1); report.Answers[answer] != 1 {
			t.Fatalf("%d answers %q of %d calls:\n%.3000s", report.Answers[answer], answer, report.Calls, report)
		}
	}
	if got := kept(t, sys, "count"); got != strconv.Itoa(report.Calls) {
		t.Errorf("the state has count %s after %d calls", got, report.Calls)
	}
}

func kept(t *testing.T, sys *supervisortest.System, key string) string {
	t.Helper()
	text, err := sys.State("counter").Get(t.Context(), key)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// While a version is prepared, the one that runs reads and writes as ever.
func TestTheOldVersionWritesUntilItIsReplaced(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{}, counter("1.0.0", func(int32) error { return nil }))
	sys.AwaitReady("counter", 1)
	count := func() string {
		t.Helper()
		reply, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "count"})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(supervisortest.Legs(reply), ", ")
	}
	first := count()
	prepared, swap := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	next := counter("2.0.0", func(load int32) error {
		if load == 1 { // beside the old one; the second reads what that has written since
			close(prepared)
			<-swap
		}
		return nil
	})
	go func() {
		_, err := sys.Upgrade(t.Context(), next)
		done <- err
	}()
	<-prepared
	second := count()
	if got := kept(t, sys, "version"); got != "1.0.0" {
		t.Errorf("the version that is prepared has written already: %s", got)
	}
	close(swap)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	third := count()
	if got := first + "; " + second + "; " + third; !strings.Contains(got, "1") || !strings.HasSuffix(third, "3") || !strings.HasSuffix(second, "2") {
		t.Errorf("answers: %s", got)
	}
	if got := kept(t, sys, "version") + " " + kept(t, sys, "count"); got != "2.0.0 3" {
		t.Errorf("the state: %s", got)
	}
}

// A stop ends a load for which the running instance waits.
func TestAStopEndsALoadForWhichTheCapsuleWaits(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{StopTimeout: time.Millisecond}, counter("1.0.0", func(int32) error { return nil }))
	sys.AwaitReady("counter", 1)
	prepared, swap := make(chan struct{}), make(chan struct{})
	next := counter("2.0.0", func(int32) error { return nil })
	load, loads := next.Load, 0
	again := make(chan struct{})
	next.Load = func(ctx context.Context, api capsulehost.HostAPI) (supervisor.Guest, error) {
		g, err := load(ctx, api)
		if loads++; loads == 1 {
			close(prepared)
			<-swap
			return g, err
		}
		close(again)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	done := make(chan error, 1)
	go func() {
		_, err := sys.Upgrade(t.Context(), next)
		done <- err
	}()
	<-prepared
	if _, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "count"}); err != nil {
		t.Fatal(err)
	}
	close(swap)
	<-again
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := sys.Stop(ctx, "counter"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("the upgrade succeeded")
	}
}
