package actors

import (
	"time"

	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

// moment is a time by the process's own clock, in nanoseconds, which nobody sets
// and which stands still while the machine sleeps: what was measured by it stays
// right. To read it costs half of time.Now, which counts where a guest call is as
// short. Only moments of one process can be compared. 0 is none.
type moment int64

// start is what moments are counted from.
var start = time.Now() //nolint:gochecknoglobals // one clock for all

// now is the present moment.
func now() moment { return moment(time.Since(start)) }

// after is how long after another m is.
func (m moment) after(other moment) time.Duration { return monotime.Time(m).Sub(monotime.Time(other)) }

// add is m and a while.
func (m moment) add(d time.Duration) moment { return moment(monotime.Time(m).Add(d)) }

// time is m for a context or a timer: the calendar's clock may show something else.
func (m moment) time() time.Time { return start.Add(time.Duration(m)) }

// date is when m was, by the clock on the wall as it is set now.
func (m moment) date() time.Time { return calendar().Add(time.Duration(m)) }

// calendar is when start was, by the clock on the wall as it is set now.
func calendar() time.Time {
	t := time.Now() // of both clocks, at once
	return t.Add(-t.Sub(start))
}
