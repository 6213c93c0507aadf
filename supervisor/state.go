package supervisor

import (
	"context"
	"errors"

	"github.com/astrid-actors/astrid-actors/supervisor/internal/state"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// openState opens the store, unless the configuration brought one.
func (t *tree) openState(ctx context.Context, path string) error {
	s := t.cfg.Store
	if s == nil {
		opened, err := store.Open(path, store.Options{Durability: t.cfg.StateDurability, Log: t.cfg.Log})
		if err != nil {
			return err
		}
		t.opened, s = opened, opened
	}
	kept, err := state.New(ctx, state.Config{Store: s, Principal: t.cfg.Principal, Quota: t.cfg.StateQuota})
	t.state = kept
	return err
}

func (t *tree) closeState() {
	if t.opened == nil {
		return
	}
	if err := t.opened.Close(); err != nil {
		t.cfg.Log.Warn("closing the state failed", "err", err)
	}
}

// storedValue returns what a capsule keeps under the name of a setting, nil if nothing.
func (t *tree) storedValue(ctx context.Context, capsule, name string) ([]byte, error) {
	value, err := t.state.Space(capsule, "").Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return value, err
}
