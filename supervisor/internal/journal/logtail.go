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

// The limits of the log lines that are kept in memory for each capsule. The log files
// have the rest.
const (
	linesKept = 200
	bytesKept = 128 << 10
	lineKept  = 4 << 10 // of one line, in bytes
)

// LogTail is the end of one capsule's log. A capsule that logs nothing uses no memory
// for it. Its methods may be called from any goroutine, and never wait for a reader.
type LogTail struct {
	mu       sync.Mutex
	kept     []messages.LogLine // oldest first
	bytes    int
	sequence uint64
	changed  chan struct{} // closed at the next line; nil if no reader waits
	ended    bool          // no line will come until Serve is called again
}

// Add appends a line, as it was logged.
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
		// The copy is in place, so that dropped lines can be freed.
		n := copy(t.kept, t.kept[drop:])
		clear(t.kept[n:])
		t.kept = t.kept[:n]
	}
	t.wakeLocked()
}

// cut shortens a message to the limit of a kept line.
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

// end sets whether more lines may come.
func (t *LogTail) end(ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = ended
	t.wakeLocked()
}

// after returns the kept lines after since. Changed is nil if no more will come.
func (t *LogTail) after(since uint64) (batch []messages.LogLine, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if since < t.sequence {
		n := int(min(t.sequence-since, uint64(len(t.kept)))) //nolint:gosec // at most len(t.kept)
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

// Lines yields the lines after since and, with follow, new ones while ctx lasts and
// Serve runs. A line that follows missing ones contains their number.
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
