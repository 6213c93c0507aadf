package sim

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

var (
	seeds = flag.Uint64("seeds", 100, "how many seeds TestSim runs")
	first = flag.Uint64("first", 1, "the first of them")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSim(t *testing.T) {
	home, reached := t.TempDir(), &tally{of: map[string]int{}}
	t.Cleanup(func() { t.Logf("%d seeds have reached:%v", *seeds, reached) })
	for seed := *first; seed < *first+*seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(seed, home, reached)
			defer func() {
				if reason := recover(); reason != nil {
					w.fail("%v", reason)
				}
				if w.failed() {
					w.report(t)
				}
			}()
			synctest.Test(t, func(*testing.T) { w.run() })
		})
	}
}

// report says what was broken, and how to see it again.
func (w *world) report(t *testing.T) {
	t.Helper()
	story := w.audit.story
	if *seeds > 1 && len(story) > 30 {
		story = append([]string{fmt.Sprintf("(%d earlier events)", len(story)-30)}, story[len(story)-30:]...)
	}
	t.Errorf("seed %d:\n%s\nevents:\n\t%s\nagain: go test -race ./test/sim -run TestSim -seeds 1 -first %d",
		w.seed, strings.Join(w.problems, "\n"), strings.Join(story, "\n\t"), w.seed)
}
