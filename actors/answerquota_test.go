package actors

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// What open triggers hold of one capsule's answers is bounded, whoever asks for
// them; no other capsule's answer is refused for it, and what is over is given back.
func TestAnswersThatAreHeldAreBounded(t *testing.T) {
	inTree(t, func(t *testing.T, w *tree) {
		const legs = maxAnswersHeld/maxAnswer + 3
		free, long := make(chan struct{}), []byte(`"`+strings.Repeat("y", freeAnswer)+`"`)
		w.start("much", says(`"`+strings.Repeat("x", maxAnswer-2)+`"`), func(c *CapsuleConfig) {
			c.Version.Interceptors = slices.Repeat(wants("t"), legs)
		})
		w.start("other", says(string(long)), func(c *CapsuleConfig) { c.Version.Interceptors = wants("t", "alone") })
		w.start("small", says("true"), func(c *CapsuleConfig) { c.Version.Interceptors = wants("t") })
		w.start("slow", func(context.Context, *script, string) (capsulehost.Result, error) {
			<-free
			return capsulehost.Result{Data: long}, nil
		}, func(c *CapsuleConfig) { c.Version.Interceptors = wants("t") })
		synctest.Wait()
		outcomes := func(legs []messages.Leg) map[string]int {
			n := map[string]int{}
			for _, leg := range legs {
				n[leg.Capsule+" "+leg.Outcome.String()]++
			}
			return n
		}
		holds := func(id string, want int64) {
			t.Helper()
			if got := w.handles[id].quota.held.Load(); got != want {
				t.Errorf("%d bytes of %s are held, want %d", got, id, want)
			}
		}
		for _, late := range []bool{false, true} {
			answer := make(chan []messages.Leg)
			go func() {
				legs, err := w.triggerWithin(time.Minute, TriggerRequest{Topic: "t"})
				if err != nil {
					t.Error(err)
				}
				answer <- legs
			}()
			synctest.Wait()
			holds("much", maxAnswersHeld)
			holds("other", int64(len(long)))
			holds("small", 0)
			expect(t, "another trigger", show(w.trigger("alone")), "other/1 on-alone continue "+string(long))
			want := map[string]int{"much continue": legs - 3, "much overloaded": 3, "other continue": 1, "small continue": 1, "slow continue": 1}
			if late {
				time.Sleep(time.Minute)
				delete(want, "slow continue")
				want["slow timeout"] = 1
			} else {
				free <- struct{}{}
			}
			got := <-answer
			if d := cmp.Diff(want, outcomes(got)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			holds("much", 0)
		}
		close(free)
		synctest.Wait() // for the answer that nobody wants any more
		holds("slow", 0)
	})
}
