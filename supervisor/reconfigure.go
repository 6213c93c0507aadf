package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/catalog"
)

// ErrConfig: the configuration can't be accepted, and nothing has changed.
var ErrConfig = errors.New("the configuration can't be accepted")

// Configuration is what Config.ReadConfig returns.
type Configuration struct {
	// CapsuleSettings replace Config.CapsuleSettings.
	CapsuleSettings map[string]CapsuleSettings
	// Topics replace Config.Topics. What a topic has kept that is not durable any more
	// stays, and is delivered.
	Topics []Topic
	// Changes are the settings that differ from those in effect: what ReloadConfig returns.
	Changes []SettingChange
	// Adopted, if not nil, is called when CapsuleSettings and Topics are in effect.
	Adopted func()
}

// ReloadConfig calls Config.ReadConfig, replaces the settings of capsules and the durable
// topics by what it returns, and then does what Reload does: capsules whose settings have changed are
// upgraded. It returns the settings and the capsules that have changed. Its error
// matches ErrConfig if the configuration is invalid, or does not fit the capsules and
// groups; and otherwise what that of Reload matches.
func (s *Supervisor) ReloadConfig(ctx context.Context) (settings []SettingChange, changes []Change, err error) {
	if s.cfg.ReadConfig == nil {
		return nil, nil, fmt.Errorf("reload the configuration: %w: this program has none to read again", ErrConfig)
	}
	err = s.change(ctx, func(t *tree) error {
		next, err := s.cfg.ReadConfig()
		if err != nil {
			return fmt.Errorf("%w:\n%w", ErrConfig, err)
		}
		found := catalog.Discover(s.places, s.embeddedNow())
		if err := s.reconfigure(found, &next); err != nil {
			return fmt.Errorf("%w:\n%w", ErrConfig, err)
		}
		t.declareTopics()
		if next.Adopted != nil {
			next.Adopted()
		}
		settings = next.Changes
		changes, err = s.reloadFound(ctx, t, found)
		return err
	})
	if err != nil {
		return settings, changes, fmt.Errorf("reload the configuration: %w", err)
	}
	return settings, changes, nil
}

// reconfigure replaces the settings of capsules and the topics, unless they are invalid.
func (s *Supervisor) reconfigure(found *catalog.Catalog, c *Configuration) error {
	settings, problems := c.CapsuleSettings, topicProblems(c.Topics)
	for _, id := range slices.Sorted(maps.Keys(settings)) {
		own := settings[id]
		problems = append(problems, own.problems(id)...)
	}
	next := s.cfg
	next.overrides = newOverrides(settings, nil)
	mode := func(m *manifest.Manifest) RestartMode { return next.forCapsule(m).restart.Mode }
	problems = append(problems, newGroups(s.cfg.Supervisors).problems(found, mode)...)
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	s.cfg.overrides.replace(settings, c.Topics)
	return nil
}
