package state

import (
	"fmt"

	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// usage is how much a capsule keeps. As a difference, it may wrap around: sums are right.
type usage struct{ bytes, keys uint64 }

func (u usage) plus(v usage) usage  { return usage{u.bytes + v.bytes, u.keys + v.keys} }
func (u usage) minus(v usage) usage { return usage{u.bytes - v.bytes, u.keys - v.keys} }

// usageOf returns how much entries of the store take, by their keys in the name space.
func (s *Space) usageOf(entries []store.Entry) usage {
	u := usage{keys: uint64(len(entries))}
	for _, e := range entries {
		u.bytes += uint64(len(e.Key) - len(s.prefix) + e.Size) //nolint:gosec // not negative
	}
	return u
}

// text is how the store has it: "BYTES KEYS".
func (u usage) text() []byte { return fmt.Appendf(nil, "%d %d", u.bytes, u.keys) }

func parseUsage(text []byte) (u usage, err error) {
	if len(text) == 0 {
		return u, nil
	}
	if _, err := fmt.Sscanf(string(text), "%d %d", &u.bytes, &u.keys); err != nil {
		return u, fmt.Errorf("usage %q: %w", text, err)
	}
	return u, nil
}
