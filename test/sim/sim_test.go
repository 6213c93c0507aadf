package sim

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

var (
	seeds = flag.Uint64("seeds", 100, "how many seeds TestSim and TestTrees run")
	first = flag.Uint64("first", 1, "the first of them")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSim(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64, home string, reached *tally) {
		simulate(t, newWorld(seed, home, reached))
	})
}

// eachSeed runs a simulation for each seed, as many beside each other as there are
// processors.
func eachSeed(t *testing.T, run func(t *testing.T, seed uint64, home string, reached *tally)) {
	t.Helper()
	home, reached := t.TempDir(), &tally{of: map[string]int{}}
	t.Cleanup(func() { t.Logf("%d seeds have reached:%v", *seeds, reached) })
	var next atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for n := next.Add(1); n <= *seeds; n = next.Add(1) {
				t.Run(fmt.Sprint(*first+n-1), func(t *testing.T) { run(t, *first+n-1, home, reached) })
			}
		})
	}
	workers.Wait()
}

func simulate(t *testing.T, w *world) {
	defer func() {
		if reason := recover(); reason != nil { // a bubble in which all goroutines are blocked
			w.fail("%v", reason)
		}
		if w.failed() {
			w.report(t)
		}
	}()
	synctest.Test(t, func(*testing.T) { w.run() })
}

// report prints the broken promises, and how to reproduce them.
func (w *world) report(t *testing.T) {
	t.Helper()
	story := w.audit.story
	if *seeds > 1 && len(story) > 30 {
		story = append([]string{fmt.Sprintf("(%d earlier events)", len(story)-30)}, story[len(story)-30:]...)
	}
	t.Errorf("seed %d:\n%s\nevents:\n\t%s\nagain: go test -race ./test/sim -run TestSim -seeds 1 -first %d",
		w.seed, strings.Join(w.problems, "\n"), strings.Join(story, "\n\t"), w.seed)
}
