package topiclog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/state"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// Config configures a Log.
type Config struct {
	Store store.Store
	// Log receives problems; nil logs nothing.
	Log *slog.Logger
}

// Keep says what a topic keeps: messages younger than Age, unless that is 0, and the
// newest ones of Bytes together, always at least one.
type Keep struct {
	Age   time.Duration `json:"age,omitempty"`
	Bytes uint64        `json:"bytes"`
}

// Log keeps all durable topics of a system. Its methods may be called from any goroutine.
type Log struct {
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	// declared are the topics whose new messages are kept, and those of their dead
	// letters. Every publisher reads it.
	declared atomic.Pointer[map[string]*topic]

	mu     sync.Mutex        // before the lock of a topic
	topics map[string]*topic // those declared, and all of which the store has something

	holdersMu sync.Mutex // after all others
	holders   map[holderKey]*holder

	workMu sync.Mutex // after the lock of a topic
	closed bool
	work   sync.WaitGroup // what runs in the background; added to under workMu
}

var _ actors.DurableLog = (*Log)(nil)

// New returns a Log for a store, without declared topics. Close it.
func New(ctx context.Context, cfg Config) (*Log, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{cfg: cfg, topics: map[string]*topic{}, holders: map[holderKey]*holder{}}
	entries, err := cfg.Store.List(ctx, store.Range{Prefix: topicPrefix})
	if err != nil {
		return nil, fmt.Errorf("read the durable topics: %w", err)
	}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, e := range entries {
		t := l.topicLocked(strings.TrimPrefix(e.Key, topicPrefix))
		if err := t.adopt(e); err != nil {
			l.cancel()
			return nil, fmt.Errorf("read the durable topics: %w", err)
		}
	}
	return l, nil
}

// topicLocked returns a topic, a new one if it is not known.
func (l *Log) topicLocked(name string) *topic {
	t := l.topics[name]
	if t == nil {
		t = &topic{log: l, name: name, head: head{First: 1}, cursors: map[*cursor]bool{}}
		l.topics[name] = t
	}
	return t
}

// Declare says which topics are durable, and what they keep. What others have is kept as
// it was declared last, and still read. Each topic has another one for its dead letters.
func (l *Log) Declare(all map[string]Keep) {
	l.mu.Lock()
	defer l.mu.Unlock()
	declared := map[string]*topic{}
	for name, keep := range all {
		for _, name := range []string{name, actors.DeadLetterPrefix + name} {
			if _, own := all[name]; own {
				keep = all[name]
			}
			t := l.topicLocked(name)
			t.setKeep(keep)
			declared[name] = t
		}
	}
	l.declared.Store(&declared)
	for _, t := range l.topics {
		t.trimSoon()
	}
}

// Durable implements actors.DurableLog.
func (l *Log) Durable(topic string) bool { return l.find(topic) != nil }

func (l *Log) find(name string) *topic {
	if all := l.declared.Load(); all != nil {
		return (*all)[name]
	}
	return nil
}

// Topics implements actors.DurableLog.
func (l *Log) Topics() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.topics))
}

// Append implements actors.DurableLog.
func (l *Log) Append(ctx context.Context, k *actors.Kept) error {
	t := l.find(k.Topic)
	if t == nil {
		return errors.New("it is not durable any more")
	}
	value, err := encodeMessage(k)
	if err != nil {
		return err
	}
	return t.append(ctx, value)
}

// Open implements actors.DurableLog.
func (l *Log) Open(s actors.DurableSubscription, arrived func()) actors.DurableCursor {
	l.mu.Lock()
	t := l.topicLocked(s.Topic)
	l.mu.Unlock()
	c := &cursor{log: l, topic: t, of: s, key: cursorKey(s), arrived: arrived}
	t.mu.Lock()
	t.cursors[c] = true
	t.mu.Unlock()
	return c
}

// Refresh reads everything again, after the store was restored.
func (l *Log) Refresh(ctx context.Context) error {
	entries, err := l.cfg.Store.List(ctx, store.Range{Prefix: topicPrefix, KeysOnly: true})
	if err != nil {
		return fmt.Errorf("read the durable topics: %w", err)
	}
	l.mu.Lock()
	for _, e := range entries {
		l.topicLocked(strings.TrimPrefix(e.Key, topicPrefix))
	}
	all := slices.Collect(maps.Values(l.topics))
	l.mu.Unlock()
	for _, t := range all {
		t.forget()
		for _, c := range t.openCursors() {
			c.forget()
			c.arrived()
		}
	}
	return nil
}

// Close waits until everything that was answered is stored, as far as the store allows it
// within a second, and ends all work.
func (l *Log) Close() {
	l.workMu.Lock()
	l.closed = true
	l.workMu.Unlock()
	l.mu.Lock()
	for _, t := range l.topics {
		t.stopTimer()
	}
	l.mu.Unlock()
	late := time.AfterFunc(settleTimeout, l.cancel)
	l.work.Wait()
	late.Stop()
	l.cancel()
}

// begin starts work in the background, unless the log is closed.
func (l *Log) begin(work func()) bool {
	l.workMu.Lock()
	defer l.workMu.Unlock()
	if l.closed {
		return false
	}
	l.work.Go(work)
	return true
}

func (l *Log) isClosed() bool {
	l.workMu.Lock()
	defer l.workMu.Unlock()
	return l.closed
}

// Show fills the durable topics into a snapshot.
func (l *Log) Show(b *messages.Bus) {
	l.mu.Lock()
	all := slices.Collect(maps.Values(l.topics))
	l.mu.Unlock()
	for _, t := range all {
		if shown := t.show(l.Durable(t.name)); shown != nil {
			b.Durable = append(b.Durable, *shown)
		}
	}
	slices.SortFunc(b.Durable, func(x, y messages.DurableTopic) int { return cmp.Compare(x.Name, y.Name) })
}

// holderKey names an instance of a capsule.
type holderKey struct {
	capsule    string
	generation uint64
}

// holder is an instance that answers, with how much of what it has answered is not stored.
type holder struct {
	instance *state.Instance
	pending  int
	settled  chan struct{} // closed when pending is 0; nil if nobody waits
}

// settleTimeout limits how long a disk that hangs holds up the end of an instance.
const settleTimeout = time.Second

// Hold makes a generation's fence known: with it is stored what the generation answers.
// release waits until that is done.
func (l *Log) Hold(capsule string, generation uint64, instance *state.Instance) (release func()) {
	key, h := holderKey{capsule, generation}, &holder{instance: instance}
	l.holdersMu.Lock()
	defer l.holdersMu.Unlock()
	l.holders[key] = h
	return func() {
		l.holdersMu.Lock()
		delete(l.holders, key)
		if h.pending == 0 {
			l.holdersMu.Unlock()
			return
		}
		h.settled = make(chan struct{})
		l.holdersMu.Unlock()
		timer := time.NewTimer(settleTimeout)
		defer timer.Stop()
		select {
		case <-h.settled:
		case <-timer.C:
		}
	}
}

// owe returns the holder of a generation, which has one thing more to be stored; nil if it
// has ended.
func (l *Log) owe(capsule string, generation uint64) *holder {
	l.holdersMu.Lock()
	defer l.holdersMu.Unlock()
	h := l.holders[holderKey{capsule, generation}]
	if h != nil {
		h.pending++
	}
	return h
}

func (l *Log) paid(h *holder) {
	l.holdersMu.Lock()
	defer l.holdersMu.Unlock()
	if h.pending--; h.pending == 0 && h.settled != nil {
		close(h.settled)
	}
}

// decode reads JSON of the store.
func decode(e store.Entry, into any) error {
	if err := json.Unmarshal(e.Value, into); err != nil {
		return fmt.Errorf("key %q: %w", e.Key, err)
	}
	return nil
}
