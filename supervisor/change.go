package supervisor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/catalog"
)

// Reload discovers the capsules again, and applies what has changed: it adds capsules
// that are new, upgrades those whose manifest, module or configuration has changed, and
// removes those that are not there any more. With ids it considers only these. Embedded
// capsules stay as they are.
//
// An upgrade interrupts nothing: the new version is read, verified, compiled and
// instantiated beside the running one, and takes over between two calls. If it fails
// before that, the running one goes on, and the change is ChangeRejected, as it is for a
// manifest that can't be used and for a new capsule that does not come up. A capsule
// that was stopped stays so; one that had failed is started.
//
// It returns one Change for each capsule, sorted by id, when all of them are done. If
// ctx ends before, they are completed all the same. Its error matches ErrNotFound if one
// of the ids is unknown, and then nothing has changed; ErrNotServing or ErrStopping.
func (s *Supervisor) Reload(ctx context.Context, ids ...string) ([]Change, error) {
	var changes []Change
	err := s.change(ctx, func(t *tree) error {
		found := catalog.Discover(s.places, s.embeddedNow())
		var err error
		if len(ids) == 0 {
			changes, err = s.reloadFound(ctx, t, found)
			return err
		}
		plan := s.plan(t, found, ids...)
		for _, id := range ids {
			if plan[id] == nil {
				return fmt.Errorf("%w: %q", ErrNotFound, id)
			}
		}
		changes, err = s.apply(ctx, t, found, plan)
		return err
	})
	if err != nil {
		return changes, fmt.Errorf("reload: %w", err)
	}
	return changes, nil
}

// reloadFound brings the system to what was discovered.
func (s *Supervisor) reloadFound(ctx context.Context, t *tree, found *catalog.Catalog) ([]Change, error) {
	s.journal.Unreject(func(dir string) bool {
		return slices.ContainsFunc(found.Rejected, func(r manifest.Rejected) bool { return r.Dir == dir })
	})
	return s.apply(ctx, t, found, s.plan(t, found))
}

// Add adds an embedded capsule to the running system, and starts it. If there is one
// with the same id, it is upgraded, as by Reload. The change is ChangeRejected, with an
// error that matches ErrUpgradeFailed or ErrNotUp, if it could not take over or does not
// come up. It is there also when Serve is called again.
func (s *Supervisor) Add(ctx context.Context, c Capsule) (Change, error) {
	return s.bring(ctx, "add", c, false)
}

// Upgrade is Add for a capsule that must be there: its error matches ErrNotFound if
// it is not.
func (s *Supervisor) Upgrade(ctx context.Context, c Capsule) (Change, error) {
	return s.bring(ctx, "upgrade", c, true)
}

func (s *Supervisor) bring(ctx context.Context, verb string, c Capsule, known bool) (change Change, err error) {
	brought, problems := embedded([]Capsule{c})
	if len(problems) > 0 {
		return Change{}, fmt.Errorf("%s capsule: %w", verb, errors.Join(problems...))
	}
	e := brought[0]
	id := e.Manifest.ID()
	err = s.change(ctx, func(t *tree) error {
		if known && t.version(id) == nil {
			return ErrNotFound
		}
		s.mu.Lock()
		before := s.embedded
		s.embedded = append(slices.DeleteFunc(slices.Clone(before), func(o *catalog.Embedded) bool { return o.Manifest.ID() == id }), e)
		all := s.embedded
		s.mu.Unlock()
		found := catalog.Discover(s.places, all)
		planned := map[string]*planned{id: s.plan(t, found, id)[id]}
		changes, err := s.apply(ctx, t, found, planned)
		if len(changes) > 0 {
			change = changes[0]
		}
		if err == nil && change.Change == messages.ChangeRejected {
			err = fmt.Errorf("%w: %s", planned[id].failed, change.Reason)
		}
		if v := t.version(id); err != nil && (v == nil || v.entry.Embedded != e) { // it did not come to that
			s.mu.Lock()
			s.embedded = before
			s.mu.Unlock()
		}
		return err
	})
	if err != nil {
		return change, fmt.Errorf("%s capsule %q: %w", verb, id, err)
	}
	return change, nil
}

// Remove stops a capsule as Stop does, and takes it out of the system: no trigger asks
// it, and no snapshot shows it any more. Its files stay, so a Reload without ids adds it
// again. Capsules that import from it go on. Its error matches ErrNotFound, ErrNotServing
// or ErrStopping.
func (s *Supervisor) Remove(ctx context.Context, id string) error {
	err := s.change(ctx, func(t *tree) error {
		if s.journal.Rejection(id) != "" {
			s.journal.Unlist(id)
			return nil
		}
		return t.command(ctx, &messages.RemoveCapsule{ID: id})
	})
	if err != nil {
		return fmt.Errorf("remove capsule %q: %w", id, err)
	}
	return nil
}

// change runs f while no other change of the set of capsules is under way.
func (s *Supervisor) change(ctx context.Context, f func(t *tree) error) error {
	select {
	case s.changing <- struct{}{}:
		defer func() { <-s.changing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	t, err := s.serving()
	if err != nil {
		return err
	}
	if t.isStopping() {
		return ErrStopping
	}
	return f(t)
}

// planned is what is to be done about one capsule.
type planned struct {
	change Change
	entry  *catalog.Entry // to add, or to upgrade to
	dir    string         // that was rejected
	failed error          // why the change is ChangeRejected, once applied
}

// plan compares what was discovered with what runs: of the capsules with some ids, or of
// all if there are none.
func (s *Supervisor) plan(t *tree, found *catalog.Catalog, ids ...string) map[string]*planned {
	wanted := func(id string) bool { return len(ids) == 0 || slices.Contains(ids, id) }
	plan := map[string]*planned{}
	for i := range found.Entries {
		e := &found.Entries[i]
		id, number := e.Manifest.ID(), e.Manifest.Package.Version
		if !wanted(id) {
			continue
		}
		p := &planned{change: Change{ID: id, Change: messages.ChangeAdded, Version: number}, entry: e}
		if v := t.version(id); v != nil {
			p.change.Change, p.change.Previous = messages.ChangeUpgraded, v.entry.Manifest.Package.Version
			if !v.source.Changed(e) && v.settings == s.cfg.forCapsule(e.Manifest) {
				p.change.Change, p.change.Previous, p.entry = messages.ChangeUnchanged, "", nil
			}
		}
		plan[id] = p
	}
	current := s.entriesNow()
	for _, r := range found.Rejected {
		id := r.ID
		for _, e := range current {
			if e.Embedded == nil && e.Manifest.Dir == r.Dir {
				id = e.Manifest.ID()
			}
		}
		if id == "" {
			id = filepath.Base(r.Dir)
		}
		if plan[id] == nil && wanted(id) {
			plan[id] = &planned{
				change: Change{ID: id, Change: messages.ChangeRejected, Reason: oneLine(r.Err)}, dir: r.Dir, failed: ErrUpgradeFailed,
			}
		}
	}
	for _, e := range current {
		if id := e.Manifest.ID(); plan[id] == nil && wanted(id) {
			plan[id] = &planned{change: Change{ID: id, Change: messages.ChangeRemoved, Version: e.Manifest.Package.Version}}
		}
	}
	return plan
}

// apply carries a plan out: removals first, then additions in start order, while
// upgrades run beside each other.
func (s *Supervisor) apply(ctx context.Context, t *tree, found *catalog.Catalog, plan map[string]*planned) ([]Change, error) {
	for _, w := range found.Warnings {
		s.cfg.Log.Warn(w.String())
	}
	var problems []error // of the system, not of a capsule
	var mu sync.Mutex
	settled := func(p *planned, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
		case errors.Is(err, ErrUpgradeFailed), errors.Is(err, ErrNotUp), errors.Is(err, ErrRefused):
			_, reason, _ := strings.Cut(err.Error(), ": ")
			p.change.Change, p.change.Previous, p.change.Reason, p.failed = messages.ChangeRejected, "", reason, err
			for _, sentinel := range []error{ErrUpgradeFailed, ErrNotUp, ErrRefused} {
				if errors.Is(err, sentinel) {
					p.failed = sentinel
				}
			}
		default:
			problems = append(problems, err)
		}
	}
	var upgraded, added []*planned
	for id, p := range plan {
		switch p.change.Change {
		case messages.ChangeRemoved:
			settled(p, t.command(ctx, &messages.RemoveCapsule{ID: id}))
		case messages.ChangeRejected:
			s.reject(t, p)
		case messages.ChangeUpgraded:
			upgraded = append(upgraded, p)
		}
	}
	for i := range found.Entries { // in start order
		if p := plan[found.Entries[i].Manifest.ID()]; p != nil && p.change.Change == messages.ChangeAdded {
			added = append(added, p)
		}
	}
	var upgrades sync.WaitGroup // each changes its own element of the plan
	for _, p := range upgraded {
		upgrades.Go(func() {
			settled(p, t.inTurn(ctx, p.change.ID, func() error { return t.upgrade(ctx, s, p.entry, actors.Reload, nil) }))
		})
	}
	for _, p := range added {
		settled(p, s.addCapsule(ctx, t, p.entry))
	}
	upgrades.Wait()
	changes := make([]Change, 0, len(plan))
	for _, p := range plan {
		changes = append(changes, p.change)
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.ID, b.ID) })
	return changes, errors.Join(problems...)
}

// addCapsule adds a capsule that was discovered, and waits until its start is decided.
func (s *Supervisor) addCapsule(ctx context.Context, t *tree, e *catalog.Entry) error {
	s.journal.Enter(s.describeEntry(e))
	s.setEntry(e)
	spec := t.add(s, e)
	t.declareTopics()
	err := t.command(ctx, &actors.AddCapsule{Spec: spec})
	if err != nil && !errors.Is(err, ErrNotUp) && ctx.Err() == nil { // it was not added
		s.journal.Withdraw(e.Manifest.ID())
		spec.Removed()
	}
	return err
}

// reject reports a directory that can't become a capsule, or a version of one.
func (s *Supervisor) reject(t *tree, p *planned) {
	id := p.change.ID
	if v := t.version(id); v != nil {
		s.upgradeRejected(v, p.change.Reason)
		return
	}
	s.journal.Reject(messages.CapsuleRejected{ID: id, Directory: p.dir, Problem: p.change.Reason})
}

// upgradeRejected reports a manifest that can't take the place of a running one.
func (s *Supervisor) upgradeRejected(v *version, reason string) {
	m := v.entry.Manifest
	s.journal.Observe(messages.Event{
		Path: s.groups.path(m.ID()), Generation: s.journal.Generation(m.ID()),
		Detail: messages.UpgradeFailed{From: m.Package.Version, Failure: messages.Failure{Kind: "bad_manifest", Message: reason}},
	})
}

// replace gives a capsule a fresh instance of what its files say now.
func (s *Supervisor) replace(ctx context.Context, verb, id string, how actors.How) error {
	t, err := s.serving()
	if err == nil {
		err = s.replaceIn(ctx, t, id, how)
	}
	return s.explain(verb, id, err)
}

func (s *Supervisor) replaceIn(ctx context.Context, t *tree, id string, how actors.How) error {
	if t.version(id) == nil {
		if how == actors.Start { // a group, or nothing
			return t.command(ctx, &messages.StartCapsule{ID: id})
		}
		return t.command(ctx, &messages.RestartCapsule{ID: id})
	}
	return t.inTurn(ctx, id, func() error { return s.refresh(ctx, t, id, how) })
}

// refresh is replaceIn for a capsule, in its turn: an upgrade that was under way before is
// not undone.
func (s *Supervisor) refresh(ctx context.Context, t *tree, id string, how actors.How) error {
	v := t.version(id)
	if v == nil {
		return ErrNotFound // it was removed meanwhile
	}
	e, err := v.entry.Reread()
	if err != nil {
		s.upgradeRejected(v, oneLine(err))
		return fmt.Errorf("%w: %s", ErrUpgradeFailed, oneLine(err))
	}
	var same *actors.Version
	if v.settings == s.cfg.forCapsule(e.Manifest) && !v.source.Changed(e) {
		same = v.actor
	}
	return t.upgrade(ctx, s, e, how, same)
}

// oneLine returns the problems of a manifest in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
