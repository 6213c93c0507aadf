package system_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/actors/system"
)

// A ping is answered between two messages, never over one that hangs, and at once
// where there is no actor.
func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := system.New(slog.New(slog.DiscardHandler))
		j, box, p, parentPID, pid := start(t, sys, 1)
		ping := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return sys.Ping(ctx, pid)
		}
		began := time.Now()
		if err := ping(); err != nil {
			t.Errorf("an idle actor: %v", err)
		}
		sys.Send(pid, "hold")
		synctest.Wait()
		sys.Send(pid, "a") // the queue is full
		if err := ping(); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("an actor that hangs: %v after %v", err, time.Since(began))
		}
		pinged := make(chan error, 1)
		go func() { pinged <- ping() }()
		synctest.Wait()
		close(j.hold)
		if err := <-pinged; err != nil {
			t.Errorf("an actor that goes on: %v", err)
		}
		synctest.Wait() // or the queue may still be full
		sys.Send(pid, "fail")
		<-p.failed
		if err := ping(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an actor that has failed, before its supervisor has decided: %v", err)
		}
		sys.Send(parentPID, pid)
		synctest.Wait()
		if err := ping(); err != nil {
			t.Errorf("an actor that was restarted: %v", err)
		}
		box.Close()
		if err := ping(); !errors.Is(err, system.ErrNoActor) {
			t.Errorf("an actor that is to stop: %v", err)
		}
		stop(t, sys, parentPID)
		if err := ping(); !errors.Is(err, system.ErrNoActor) {
			t.Errorf("an actor that has stopped: %v", err)
		}
		want(t, j, "started", "a", "refused fail: 2", "started", "stopped")
	})
}
