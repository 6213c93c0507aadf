package actors

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// A guest that has its legs fail as fast as it can does not flood the log, what is
// left out is told, and what there is to say of others is said.
func TestWarningsOfLegsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := logTo(&out)
		router := NewRouter(nil, nil)
		fail := func(capsule string, times int) {
			for range times {
				router.WarnOfLegs(log, "flooder", "t", []messages.Leg{
					{Capsule: capsule, Outcome: messages.OutcomeCrashed},
				})
			}
		}
		lines := func(capsule string) int {
			return strings.Count(out.String(), fmt.Sprintf(`"asked":%q`, capsule))
		}
		is := func(what string, got, want int) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %d, want %d", what, got, want)
			}
		}
		fail("a", 100_000)
		fail("b", 1)
		is("lines of a", lines("a"), warningBurst)
		is("lines of b", lines("b"), 1)
		if strings.Contains(out.String(), "left_out") {
			t.Error("a line says that others were left out before it, and none were")
		}

		out.Reset()
		time.Sleep(warningEvery)
		fail("a", 1000)
		is("lines after a while", lines("a"), 1)
		if want := fmt.Sprintf(`"left_out":%d,`, 100_000-warningBurst); !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}

		out.Reset()
		time.Sleep(warningBurst * warningEvery)
		fail("a", warningBurst)
		is("lines after a long while", lines("a"), warningBurst)
		is("lines that say what was left out", strings.Count(out.String(), "left_out"), 1)
	})
}
