package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// tally counts the cases that were reached, over all seeds.
type tally struct {
	mu sync.Mutex
	of map[string]int
}

func (t *tally) add(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of[what]++
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(t.of)) {
		fmt.Fprintf(&b, "\n%9d %s", t.of[what], what)
	}
	return b.String()
}

// logWatch reads the log at warn level and above.
type logWatch struct{ w *world }

// Write receives one line.
func (l logWatch) Write(line []byte) (int, error) {
	if *seeds == 1 {
		l.w.audit.note(string(bytes.TrimSpace(line)))
	}
	switch {
	case bytes.Contains(line, []byte(`"outcome":"deadlock"`)):
		l.w.tally.add("nested leg deadlock")
		l.deadlock(line)
	case bytes.Contains(line, []byte("not understood")), bytes.Contains(line, []byte("not started")):
		l.w.fail("log: %s", line)
	}
	return len(line), nil
}

// deadlock checks that a capsule that was not invoked because of a deadlock was waiting.
func (l logWatch) deadlock(line []byte) {
	var fields struct{ Capsule, Asked string }
	if err := json.Unmarshal(line, &fields); err != nil {
		l.w.fail("log: %s: %v", line, err)
	}
	byID := map[string]*capsule{}
	for _, c := range l.w.capsules {
		byID[c.id] = c
	}
	began, ok := byID[fields.Capsule].inHook.open()
	if !ok || fields.Capsule == fields.Asked {
		l.w.fail("a deadlock that can't be: %s", line)
		return
	}
	// The capsules that it may have waited for, directly or through others, while this
	// trigger was open.
	seen := map[string]bool{fields.Asked: true}
	for from := []string{fields.Asked}; len(from) > 0; from = from[1:] {
		for _, ask := range byID[from[0]].inHook.since(began) {
			if id := ask.capsule.id; !seen[id] {
				seen[id] = true
				from = append(from, id)
			}
		}
	}
	if !seen[fields.Capsule] {
		l.w.fail("false alarm: %s", line)
	}
}
