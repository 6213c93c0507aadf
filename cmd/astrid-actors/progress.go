package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

const (
	// progressAfter is the time after which the progress of a start is shown.
	progressAfter = 300 * time.Millisecond
	progressEvery = 200 * time.Millisecond
)

// progress keeps a line below all others at a terminal while capsules start. All other
// output to the terminal goes through it. It may be used from any goroutine.
type progress struct {
	out io.Writer

	mu   sync.Mutex
	line string // the line on the screen
}

// newProgress returns a progress for a terminal; for other outputs it returns nil, which
// shows nothing.
func newProgress(out io.Writer) *progress {
	if _, _, ok := size(out); !ok {
		return nil
	}
	return &progress{out: out}
}

// Write writes whole lines above the progress.
func (p *progress) Write(lines []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == "" {
		return p.out.Write(lines)
	}
	if _, err := io.WriteString(p.out, "\r\x1b[K"); err != nil {
		return 0, err
	}
	n, err := p.out.Write(lines)
	if err == nil {
		_, err = io.WriteString(p.out, p.line)
	}
	return n, err
}

// set replaces the line; an empty one removes it.
func (p *progress) set(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if line == p.line {
		return
	}
	p.line = line
	_, _ = io.WriteString(p.out, "\r\x1b[K"+line) // an error means that the terminal is gone
}

// show shows the progress of the first start, until every capsule's start has a result,
// or ctx ends.
func (p *progress) show(ctx context.Context, sup *supervisor.Supervisor) {
	if p == nil {
		return
	}
	defer p.set("")
	for wait := progressAfter; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		began := time.Now()
		text := progressText(sup.Snapshot())
		if text == "" {
			return
		}
		if width, _, ok := size(p.out); ok {
			text = ansi.Truncate(text, width-1, "…")
		}
		p.set(text)
		wait = max(progressEvery, 10*time.Since(began))
	}
}

// progressText describes the progress of a start, and names the slowest capsule. It is
// empty once every start has a result.
func progressText(tree *messages.Tree) string {
	var slow *messages.Capsule
	var decided, failed int
	for _, c := range tree.Capsules {
		if c.Decided {
			decided++
			if c.State == messages.StateFailed {
				failed++
			}
			continue
		}
		if slow == nil || startedBefore(c, slow) {
			slow = c
		}
	}
	if slow == nil {
		return ""
	}
	text := fmt.Sprintf("starting: %d of %d capsules", decided, len(tree.Capsules))
	if failed > 0 {
		text += fmt.Sprintf(", failed: %d", failed)
	}
	if slow.Generation == 0 {
		return text
	}
	return text + fmt.Sprintf("; %s is %s for %s", printable(slow.ID), slow.State,
		duration(max(0, tree.At.Sub(slow.Since)).Round(100*time.Millisecond)))
}

// startedBefore reports whether a began to start before b. A capsule that has not
// begun comes last.
func startedBefore(a, b *messages.Capsule) bool {
	begun := func(c *messages.Capsule) int { return min(1, int(c.Generation)) } //nolint:gosec // 0 or more
	return cmp.Or(cmp.Compare(begun(b), begun(a)), a.Since.Compare(b.Since)) < 0
}
