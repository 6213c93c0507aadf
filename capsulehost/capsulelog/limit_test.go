package capsulelog

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// suppressedAndWritten adds up the suppressed lines that the log reports, and counts the
// other lines.
func (w *world) suppressedAndWritten() (suppressed, written int) {
	for _, text := range w.files() {
		for line := range strings.Lines(text) {
			var n int
			if _, rest, _ := strings.Cut(line, "] "); strings.HasSuffix(rest, " lines suppressed: the capsule logs too fast\n") {
				if _, err := fmt.Sscanf(rest, "%d lines", &n); err != nil {
					w.t.Fatal(err)
				}
				suppressed += n
				continue
			}
			written++
		}
	}
	return suppressed, written
}

func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told uint64
		w := newWorld(t, Config{Suppressed: func(n uint64) { told += n }}, nil)
		for range DefaultBurst + 500 {
			w.Write(capsulehost.LevelInfo, "", "x")
		}
		if s, n := w.suppressedAndWritten(); s != 0 || n != DefaultBurst {
			t.Errorf("during the flood: %d written, and %d told of", n, s)
		}
		// The report comes even without further lines.
		pass(reportAfter)
		synctest.Wait()
		if s, n := w.suppressedAndWritten(); s != 500 || n != DefaultBurst {
			t.Errorf("after the flood: %d written, and %d told of", n, s)
		}
		if text := w.files()[own+firstDay]; !strings.HasSuffix(text, "\n946684801.000 WARN [greeter] 500 lines suppressed: the capsule logs too fast\n") {
			t.Errorf("%q", text[len(text)-100:])
		}
		if told != 500 {
			t.Errorf("the counter was told of %d", told)
		}
		// One second has refilled DefaultRate tokens.
		for range DefaultRate + 7 {
			w.Write(capsulehost.LevelInfo, "alice", "x")
		}
		if err := w.Close(); err != nil { // reports at once
			t.Fatal(err)
		}
		if s, n := w.suppressedAndWritten(); s != 507 || n != DefaultBurst+DefaultRate || told != 507 {
			t.Errorf("at last: %d written, %d told of, the counter of %d", n, s, told)
		}
	})
}

// An endless flood is reported once per second.
func TestLongFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Rate: 10, Burst: 10}, nil)
		for range 10_000 { // ten seconds
			w.Write(capsulehost.LevelInfo, "", "x")
			pass(time.Millisecond)
		}
		synctest.Wait()
		reports := strings.Count(w.files()[own+firstDay], "suppressed")
		_, written := w.suppressedAndWritten()
		if reports < 8 || reports > 10 || written < 108 || written > 111 {
			t.Errorf("%d reports, %d lines", reports, written)
		}
	})
}

// A large line costs more, and one larger than the whole burst still passes in a quiet log.
func TestLargeLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, nil)
		for range 100 {
			w.Write(capsulehost.LevelInfo, "", strings.Repeat("x", 64<<10))
		}
		if _, n := w.suppressedAndWritten(); n != DefaultBurst/65 {
			t.Errorf("%d lines of 64 KiB at once", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Rate: 1, Burst: 3}, nil)
		w.Write(capsulehost.LevelInfo, "", strings.Repeat("x", 64<<10))
		w.Write(capsulehost.LevelInfo, "", "x")
		pass(3 * time.Second)
		w.Write(capsulehost.LevelInfo, "", strings.Repeat("x", 64<<10))
		if _, n := w.suppressedAndWritten(); n != 2 {
			t.Errorf("%d lines", n)
		}
	})
}

// A quiet log saves up at most the burst.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Rate: 10, Burst: 5}, nil)
		pass(time.Hour)
		for range 20 {
			w.Write(capsulehost.LevelInfo, "", "x")
		}
		if _, n := w.suppressedAndWritten(); n != 5 {
			t.Errorf("%d lines at once, after an hour", n)
		}
	})
}

func TestNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Rate: -1}, nil)
		for range 3 * DefaultBurst {
			w.Write(capsulehost.LevelInfo, "", "x")
		}
		if s, n := w.suppressedAndWritten(); s != 0 || n != 3*DefaultBurst {
			t.Errorf("%d written, %d suppressed", n, s)
		}
	})
}

// In any sequence, each line is in the log or in a report, and the limit holds.
func TestEveryLineIsAccountedFor(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.IntRange(1, 20).Draw(rt, "rate")
		burst := rapid.IntRange(1, 20).Draw(rt, "burst")
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) [2]int {
			return [2]int{rapid.IntRange(0, 30).Draw(rt, "lines"), rapid.IntRange(0, 3000).Draw(rt, "pause in ms")}
		}), 0, 12).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{Rate: float64(rate), Burst: float64(burst)}, nil)
			began, total := time.Now(), 0
			for _, step := range steps {
				for range step[0] {
					w.Write(capsulehost.LevelInfo, []string{"", "alice"}[total%2], "x")
					total++
				}
				pass(time.Duration(step[1]) * time.Millisecond)
			}
			passed := time.Since(began)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			suppressed, written := w.suppressedAndWritten()
			if suppressed+written != total {
				rt.Errorf("%d lines: %d written and %d suppressed", total, written, suppressed)
			}
			if limit := float64(burst) + passed.Seconds()*float64(rate); float64(written) > limit+0.001 {
				rt.Errorf("%d lines in %v, at most %v are allowed", written, passed, limit)
			}
		})
	})
}
