package journal

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// What is kept of each capsule's log for those who look: the last lines, within
// both bounds. Their files have the rest.
const (
	linesKept = 200
	bytesKept = 128 << 10
	lineKept  = 4 << 10 // of one line, in bytes
)

// LogTail is the end of one capsule's log. A capsule that logs nothing costs
// nothing. Its methods may be called from any goroutine, and never wait for a reader.
type LogTail struct {
	mu       sync.Mutex
	kept     []messages.LogLine // oldest first
	bytes    int
	sequence uint64
	changed  chan struct{} // closed at the next line; nil where nobody waits
	ended    bool          // no line will come until Serve is called again
}

// Add takes a line, as it went to the log.
func (t *LogTail) Add(at time.Time, level capsulehost.LogLevel, principal, message string) {
	line := messages.LogLine{At: (at), Level: level.String(), Principal: principal, Message: cut(message)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sequence++
	line.Sequence = t.sequence
	t.kept = append(t.kept, line)
	t.bytes += len(line.Message)
	drop := 0
	for len(t.kept)-drop > linesKept || t.bytes > bytesKept {
		t.bytes -= len(t.kept[drop].Message)
		drop++
	}
	if drop > 0 {
		// In place: what is behind the end is not kept alive.
		n := copy(t.kept, t.kept[drop:])
		clear(t.kept[n:])
		t.kept = t.kept[:n]
	}
	t.wakeLocked()
}

// cut shortens what is longer than a line that is kept.
func cut(message string) string {
	if len(message) <= lineKept {
		return message
	}
	n := lineKept
	for n > 0 && !utf8.RuneStart(message[n]) {
		n--
	}
	return fmt.Sprintf("%s … (%d bytes more in the log file)", message[:n], len(message)-n)
}

func (t *LogTail) wakeLocked() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// end says whether more lines may come.
func (t *LogTail) end(ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = ended
	t.wakeLocked()
}

// after returns the kept lines after since. Changed is nil where no more will come.
func (t *LogTail) after(since uint64) (batch []messages.LogLine, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if since < t.sequence {
		n := int(min(t.sequence-since, uint64(len(t.kept)))) //nolint:gosec // at most what is kept
		batch = append(batch, t.kept[len(t.kept)-n:]...)
	}
	if t.ended {
		return batch, nil
	}
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return batch, t.changed
}

// Lines yields the lines after since and, with follow, those that come while ctx
// lasts and Serve runs. One before which lines are missing says how many.
func (t *LogTail) Lines(ctx context.Context, since uint64, follow bool) iter.Seq[messages.LogLine] {
	return func(yield func(messages.LogLine) bool) {
		next := since
		for {
			batch, changed := t.after(next)
			for _, line := range batch {
				if lost := line.Sequence - next - 1; lost > 0 && next > 0 {
					line.Lost = lost
				}
				next = line.Sequence
				if !yield(line) {
					return
				}
			}
			if !follow || changed == nil {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}
