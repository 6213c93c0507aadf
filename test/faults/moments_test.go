package faults

import (
	"context"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// moment is a point at which a guest misbehaves. Its do starts the row's system, and
// brings the guest to that point.
type moment struct {
	name  string
	calls bool // the guest is in a call
	do    func(*row)
}

func moments() []moment {
	return []moment{
		{"first start", false, func(r *row) {
			r.script.next("start")
			r.damage()
			r.launch()
			r.settles()
			r.mend()
		}},
		{"idle", false, func(r *row) {
			r.launch()
			r.strikeLoop()
		}},
		{"first call", true, func(r *row) {
			r.launch()
			r.strike("asked", r.topic)
		}},
		{"n-th call", true, func(r *row) {
			r.launch()
			for range 3 {
				r.ask("asked well", r.topic)
			}
			r.strike("asked", r.topic)
		}},
		{"inside a nested trigger", true, func(r *row) {
			r.launch()
			r.strike("asked through another", "test.fan-out")
		}},
		{"calls wait", true, func(r *row) {
			r.launch()
			first, release := r.hold(time.Hour)
			second := r.begin(r.topic, r.deadline())
			synctest.Wait()
			third := r.begin(r.topic, r.deadline())
			synctest.Wait()
			if r.way.queued {
				pass(2 * r.deadline())
			}
			release()
			r.say("asked", first())
			r.say("waited", second())
			r.say("waited", third())
		}},
		{"while stopping", true, func(r *row) {
			r.launch()
			answer, release := r.hold(r.deadline())
			done := r.command(r.sys.Stop)
			synctest.Wait()
			release()
			r.say("asked", answer())
			r.note("stop: %s", done())
			r.ask("then", r.topic)
			r.note("start: %s", r.command(r.sys.Start)())
		}},
		{"while restarting", true, func(r *row) {
			r.launch()
			answer, release := r.hold(r.deadline())
			done := r.command(r.sys.Restart)
			synctest.Wait()
			release()
			r.say("asked", answer())
			r.note("restart: %s", done())
		}},
		{"a start again", false, func(r *row) {
			r.launch()
			r.script.next("start")
			r.damage()
			r.note("restart: %s", r.command(r.sys.Restart)())
			r.settles()
			r.mend()
		}},
		{"during shutdown", true, func(r *row) {
			r.launch()
			answer, release := r.hold(r.deadline())
			go func() {
				synctest.Wait()
				release()
			}()
			r.close()
			r.say("asked", answer())
		}},
	}
}

// command gives an operator's command to the capsule, on a goroutine of its own.
func (r *row) command(do func(ctx context.Context, id string) error) (result func() string) {
	done := make(chan error)
	go func() { done <- do(context.Background(), r.id) }()
	return func() string {
		if err := <-done; err != nil {
			return "it did not come up"
		}
		return "done"
	}
}

// hold begins a call that waits inside the guest until release. Then that call
// misbehaves, unless a call queued behind it is to do so.
func (r *row) hold(deadline time.Duration) (answer func() *messages.Reply, release func()) {
	if !r.way.queued {
		r.script.next("call")
		deadline = r.deadline()
	}
	release = r.script.hold()
	answer = r.begin(r.topic, deadline)
	synctest.Wait()
	return answer, release
}
