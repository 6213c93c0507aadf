package sim

import (
	"context"
	"strings"

	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// fenced is the store of the simulation. The store itself refuses a fence that is stale; this
// checks that no capsule's write goes without one: then a generation that was replaced could
// change state, or acknowledge a message, that belongs to its successor.
type fenced struct {
	store.Store
	w *world
}

// Txn implements store.Store.
func (f *fenced) Txn(ctx context.Context, fence store.Fence, compare []store.Compare, writes []store.Write) (uint64, error) {
	for _, write := range writes {
		capsule, ok := ownerOf(write.Key)
		if !ok || isNew(write.Key, compare) {
			continue
		}
		f.w.tally.add("write with a fence")
		if writer, _, _ := strings.Cut(fence.Writer, "#"); writer != capsule {
			f.w.fail("key %q is written with the fence of %q", write.Key, fence.Writer)
		}
	}
	return f.Store.Txn(ctx, fence, compare, writes)
}

// ownerOf returns the capsule whose generations write a key.
func ownerOf(key string) (capsule string, ok bool) {
	kind, rest, _ := strings.Cut(key, "/")
	if kind == "kv" {
		_, rest, _ = strings.Cut(rest, "/") // the principal
	}
	capsule, _, _ = strings.Cut(rest, "/")
	return capsule, kind == "kv" || kind == "cursor"
}

// isNew reports whether a write begins a cursor, at the place where the topic does: no
// generation has answered anything yet.
func isNew(key string, compare []store.Compare) bool {
	for _, c := range compare {
		if c.Key == key {
			return c.Revision == 0
		}
	}
	return false
}
