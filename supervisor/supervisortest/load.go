package supervisortest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

// Load describes a steady load: clients that trigger a topic while something happens to
// the system.
type Load struct {
	Topic   string
	Payload string // JSON; "" means null
	// Clients is how many send at the same time; 0 means 1. Each waits for its answer.
	Clients int
	// PerSecond is how many triggers all clients together send; 0 means as many as they can.
	// A client that is late because of a slow answer sends the next one at once.
	PerSecond int
}

// LoadReport is what the clients of a Load have seen.
type LoadReport struct {
	Calls int
	// Answers counts the answers by their legs, in the format of Legs, joined by ", ";
	// triggers that were not accepted by "error: ...".
	Answers map[string]int
	// Took has the durations of the calls, shortest first.
	Took []time.Duration
}

// UnderLoad runs f under a load, on the caller's goroutine, and returns what the clients
// have seen when f has returned and every trigger is answered:
//
//	report := sys.UnderLoad(supervisortest.Load{Topic: "ask", Clients: 20, PerSecond: 500}, func() {
//		_, err = sys.Upgrade(ctx, next)
//	})
//
// The load has begun, with one answer for each client, before f is called, and each client
// sends once more after f.
func (s *System) UnderLoad(l Load, f func()) *LoadReport {
	s.tb.Helper()
	clients := max(1, l.Clients)
	var every time.Duration
	if l.PerSecond > 0 {
		every = time.Duration(clients) * time.Second / time.Duration(l.PerSecond)
	}
	report := &LoadReport{Answers: map[string]int{}}
	var mu sync.Mutex
	var begun, ended sync.WaitGroup
	done := make(chan struct{})
	begun.Add(clients)
	for n := range clients {
		ended.Go(func() {
			c := client{system: s, load: l, next: time.Now().Add(every * time.Duration(n) / time.Duration(clients)), every: every, answers: map[string]int{}}
			c.run(done, begun.Done)
			mu.Lock()
			defer mu.Unlock()
			report.add(&c)
		})
	}
	stop := sync.OnceFunc(func() {
		close(done)
		ended.Wait()
	})
	defer stop() // also if f ends the test
	begun.Wait()
	f()
	stop()
	slices.Sort(report.Took)
	return report
}

// client is one of a Load.
type client struct {
	system  *System
	load    Load
	next    time.Time // when it sends again
	every   time.Duration
	answers map[string]int
	took    []time.Duration
}

// run sends until done, and once more.
func (c *client) run(done <-chan struct{}, begun func()) {
	for first, last := true, false; !last; first = false {
		if c.every > 0 {
			timer := time.NewTimer(time.Until(c.next))
			select {
			case <-timer.C:
			case <-done:
				last = true
			}
			timer.Stop()
			c.next = c.next.Add(c.every)
		} else {
			select {
			case <-done:
				last = true
			default:
			}
		}
		c.send()
		if first {
			begun()
		}
	}
}

func (c *client) send() {
	began := time.Now()
	reply, err := c.system.Trigger(context.Background(), supervisor.TriggerRequest{Topic: c.load.Topic, Payload: json.RawMessage(c.load.Payload)})
	c.took = append(c.took, time.Since(began))
	if err != nil {
		c.answers["error: "+err.Error()]++
		return
	}
	c.answers[strings.Join(Legs(reply), ", ")]++
}

func (r *LoadReport) add(c *client) {
	r.Calls += len(c.took)
	r.Took = append(r.Took, c.took...)
	for answer, n := range c.answers {
		r.Answers[answer] += n
	}
}

// Percentile returns the duration that p percent of the calls did not exceed; 0 without
// calls.
func (r *LoadReport) Percentile(p float64) time.Duration {
	if len(r.Took) == 0 {
		return 0
	}
	at := int(float64(len(r.Took))*p/100+0.5) - 1
	return r.Took[min(max(at, 0), len(r.Took)-1)]
}

// String returns the report as text: the durations, and then the answers, most frequent
// first.
func (r *LoadReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d calls, p50 %v, p99 %v, max %v", r.Calls, r.Percentile(50), r.Percentile(99), r.Percentile(100))
	answers := make([]string, 0, len(r.Answers))
	for answer := range r.Answers {
		answers = append(answers, answer)
	}
	slices.SortFunc(answers, func(a, b string) int { return cmp.Or(cmp.Compare(r.Answers[b], r.Answers[a]), cmp.Compare(a, b)) })
	for _, answer := range answers {
		fmt.Fprintf(&b, "\n%8d %s", r.Answers[answer], answer)
	}
	return b.String()
}
