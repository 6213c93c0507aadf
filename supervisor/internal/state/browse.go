package state

import (
	"context"
	"strings"

	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// Page returns at most limit entries, without values, whose keys have a prefix and are
// above after; "" means from the first.
func (s *Space) Page(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	if after != "" {
		after = s.prefix + after
	}
	entries, err := s.store.List(ctx, store.Range{Prefix: s.prefix + prefix, After: after, Limit: limit, KeysOnly: true})
	for i := range entries {
		entries[i].Key = entries[i].Key[len(s.prefix):]
	}
	return entries, err
}

// Principals returns the principals for which a capsule keeps something, sorted, at most
// limit. It reads one key for each principal and capsule that keep anything.
func (k *Keeper) Principals(ctx context.Context, capsule string, limit int) ([]string, error) {
	var out []string
	after := ""
	for len(out) < limit {
		found, err := k.cfg.Store.List(ctx, store.Range{Prefix: spacePrefix, After: after, Limit: 1, KeysOnly: true})
		if err != nil || len(found) == 0 {
			return out, err
		}
		principal, rest, _ := strings.Cut(strings.TrimPrefix(found[0].Key, spacePrefix), "/")
		id, _, _ := strings.Cut(rest, "/")
		space := spacePrefix + principal + "/"
		switch {
		case id == capsule:
			out = append(out, principal)
			after = space + "\xff" // to the next principal
		case id < capsule:
			after = space + capsule // to this capsule, if the principal has it
		default:
			after = space + "\xff"
		}
	}
	return out, nil
}
