package supervisor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/capsulelog"
	"github.com/astrid-actors/astrid-actors/capsulehost/files"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/catalog"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/journal"
)

// The errors that a caller may handle.
var (
	// ErrNotFound: no capsule has that id.
	ErrNotFound = errors.New("no such capsule")
	// ErrNotServing: Serve has not been called yet, or has returned.
	ErrNotServing = errors.New("the supervisor is not serving")
	// ErrStopping: the system is shutting down and accepts no new requests.
	ErrStopping = errors.New("the supervisor is stopping")
	// ErrOverloaded: too many triggers are open; see Config.OpenTriggers.
	ErrOverloaded = errors.New("too many open triggers")
	// ErrInvalid: the topic, the payload or the caller is invalid; nothing was invoked or
	// published.
	ErrInvalid = errors.New("invalid request")
	// ErrRefused: the capsule's state does not allow the command.
	ErrRefused = errors.New("refused")
	// ErrNoKey: the capsule keeps nothing under the key.
	ErrNoKey = errors.New("no such key")
	// ErrInvalidKey: the key, the principal or the value can't be one of a capsule's state.
	ErrInvalidKey = errors.New("invalid")
	// ErrNotUp: the command was carried out, and the capsule, or one of the group, did not
	// come up.
	ErrNotUp = errors.New("it did not come up")
	// ErrUpgradeFailed: a new instance could not take the place of the capsule's current
	// one, which goes on.
	ErrUpgradeFailed = errors.New("the capsule goes on as it was")
)

// MaxPayload is the size of the largest trigger payload, in bytes.
const MaxPayload = 1 << 20

// TriggerRequest invokes every interceptor that matches a topic.
type TriggerRequest struct {
	// Topic has dot-separated segments, none empty.
	Topic string
	// Payload is JSON of at most MaxPayload bytes; empty means null.
	Payload json.RawMessage
	// Caller is returned to the legs by astrid_get_caller; nil means that there is none.
	Caller *Caller
	// Reductions limits each leg, including everything that it triggers in turn; 0 means
	// Config.TriggerReductions.
	Reductions uint64
}

// Supervisor runs a tree of capsules. Create one with [New]. Its methods may be called
// from any goroutine.
type Supervisor struct {
	cfg       Config
	home      home.Home
	principal home.Principal
	places    catalog.Places
	groups    *groups
	journal   *journal.Journal
	file      *journal.File // nil if none is configured
	log       *journal.Logger
	source    string // of messages that are published from outside: a UUID
	logFiles  *capsulelog.Files
	files     *files.Space

	changing chan struct{} // holds the one change of the set of capsules that is under way

	mu       sync.Mutex
	serves   bool                 // from Serve's call to its return
	tree     atomic.Pointer[tree] // while it runs
	entries  []*catalog.Entry     // of all capsules, in start order, added ones last
	embedded []*catalog.Embedded  // the capsules that the program brings along
}

// New reads the configuration and the manifests of all capsules. Its error names every
// problem of the configuration at once. A problem of one capsule is not an error of the
// system: it is an event, and the capsule's state is `failed`.
func New(cfg Config) (*Supervisor, error) {
	s := &Supervisor{
		source: uuid.NewString(), cfg: cfg.withDefaults(), logFiles: capsulelog.NewFiles(0), changing: make(chan struct{}, 1),
	}
	var err error
	var problems []error
	if s.home, err = home.Resolve(cfg.Home); err != nil {
		problems = append(problems, err)
	}
	if s.principal, err = home.ParsePrincipal(s.cfg.Principal); err != nil {
		problems = append(problems, err)
	}
	if len(problems) == 0 {
		s.files, err = files.New(files.Config{
			Home: s.home, Principal: s.principal, Workspace: cfg.Workspace,
			CapsuleQuota: cfg.WorkspaceQuota, PrincipalQuota: cfg.HomeQuota,
		})
		if err != nil {
			problems = append(problems, fmt.Errorf("config: %w", err))
		}
	}
	brought, wrong := embedded(cfg.Capsules)
	problems = append(append(problems, cfg.problems()...), wrong...)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if s.cfg.SocketPath == "" {
		s.cfg.SocketPath = s.home.SocketPath()
	}
	kept := journal.Config{Kept: s.cfg.EventsKept, Settings: s.cfg.settings(), Principal: s.cfg.Principal}
	if path := s.cfg.EventsFile; path != "" {
		s.file = journal.NewFile(path, s.cfg.EventsFileSize, s.cfg.Log)
		kept.FileLost = s.file.Lost
	}
	s.journal = journal.New(kept)
	s.log = journal.NewLogger(s.cfg.Log)
	s.places = catalog.PlacesOf(s.home, s.principal, slices.Clone(cfg.CapsuleDirs), len(brought) > 0)
	s.embedded = brought
	found := catalog.Discover(s.places, brought)
	s.groups = newGroups(cfg.Supervisors)
	mode := func(m *manifest.Manifest) RestartMode { return s.cfg.forCapsule(m).restart.Mode }
	if problems := s.groups.problems(found, mode); len(problems) > 0 {
		return nil, &TreeError{Problems: problems}
	}
	s.enter(found)
	return s, nil
}

// enter reports the discovered capsules.
func (s *Supervisor) enter(found *catalog.Catalog) {
	for _, w := range found.Warnings {
		s.cfg.Log.Warn(w.String())
	}
	if found.Cycle != nil {
		s.cfg.Log.Error("capsules import from each other: they start in the order of their discovery", "err", found.Cycle)
	}
	if len(found.Entries)+len(found.Rejected) == 0 {
		s.cfg.Log.Warn("no capsules found", "looked_in", found.LookedIn)
	}
	for _, g := range s.groups.shown() {
		s.journal.EnterGroup(g)
	}
	known := map[string]bool{}
	for i := range found.Entries {
		e := &found.Entries[i]
		known[e.Manifest.ID()] = true
		s.entries = append(s.entries, e)
		s.journal.Enter(s.describeEntry(e))
	}
	for _, r := range found.Rejected {
		path := ""
		if r.ID != "" && !known[r.ID] {
			path = actors.CapsulePath(r.ID)
			s.journal.Enter(&messages.Capsule{Path: path, ID: r.ID, Directory: r.Dir})
		}
		s.journal.Observe(messages.Event{Path: path, Detail: messages.CapsuleRejected{
			ID: r.ID, Directory: r.Dir, Problem: r.Err.Error(),
		}})
		known[r.ID] = true
	}
	for _, id := range slices.Sorted(maps.Keys(s.cfg.CapsuleSettings)) {
		if !known[id] {
			s.cfg.Log.Warn("there are settings for a capsule that is not here", "capsule", id)
		}
	}
}

// Serve runs the tree until ctx ends, and then stops it: new triggers are refused,
// waiting calls are answered, and running ones may continue for the stop timeout. It
// returns nil after a clean stop; an error names the parts that did not start or stop.
// It may be called again after it has returned, as in suture, but not twice at once.
func (s *Supervisor) Serve(ctx context.Context) error {
	s.mu.Lock()
	twice := s.serves
	s.serves = true
	s.mu.Unlock()
	if twice {
		return errServing
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.serves = false
	}()
	t, err := newTree(ctx, s)
	if err != nil {
		s.journal.End(err)
		return err
	}
	s.mu.Lock()
	s.tree.Store(t)
	s.mu.Unlock()

	s.journal.Begin(t)
	detach, err := s.attach()
	if err == nil {
		err = t.run(ctx)
	} else {
		t.discard()
	}
	s.mu.Lock()
	s.tree.Store(nil)
	s.mu.Unlock()
	s.journal.End(cmp.Or(err, fmt.Errorf("await the start: %w: Serve has returned", ErrNotServing)))
	detach()
	return err
}

// Trigger invokes all capsules that subscribe to the topic. It returns when each leg has
// an outcome: at ctx's deadline at the latest, or after Config.TriggerTimeout if ctx has
// none. Failed legs, or a topic without subscribers, are not an error. Its errors match
// ErrInvalid, ErrOverloaded, ErrNotServing or ErrStopping, or are ctx's cause if ctx was
// cancelled.
func (s *Supervisor) Trigger(ctx context.Context, r TriggerRequest) (*Reply, error) {
	request, err := r.request()
	if err != nil {
		return nil, err
	}
	t, err := s.serving()
	if err != nil {
		return nil, fmt.Errorf("trigger %q: %w", r.Topic, err)
	}
	return t.trigger(ctx, request)
}

// Validate checks a request as Trigger does: its error matches ErrInvalid.
func (r *TriggerRequest) Validate() error {
	_, err := r.request()
	return err
}

// request checks a request and converts it to the router's. The result shares no memory
// with the caller.
func (r *TriggerRequest) request() (actors.TriggerRequest, error) {
	invalid := func(format string, args ...any) (actors.TriggerRequest, error) {
		return actors.TriggerRequest{}, fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	if r.Topic == "" {
		return invalid("the topic is empty")
	}
	if !capsulehost.ValidTopic(r.Topic) {
		return invalid("topic %q has an empty segment", r.Topic)
	}
	if len(r.Payload) > MaxPayload {
		return invalid("the payload has %d bytes, over the limit of %d", len(r.Payload), MaxPayload)
	}
	q := actors.TriggerRequest{Topic: r.Topic, Payload: null, Reductions: r.Reductions}
	if len(r.Payload) > 0 {
		payload, err := capsulehost.CompactJSON(r.Payload)
		if err != nil {
			return invalid("the payload is not JSON: %v", err)
		}
		if q.Payload = payload; &payload[0] == &r.Payload[0] {
			q.Payload = bytes.Clone(payload) // the caller may reuse its own
		}
	}
	if r.Caller == nil {
		return q, nil
	}
	q.Caller = &capsulehost.Caller{SourceID: r.Caller.SourceID, Timestamp: r.Caller.Timestamp}
	if p := r.Caller.Principal; p != "" {
		if _, err := home.ParsePrincipal(p); err != nil {
			return invalid("%v", err)
		}
		q.Caller.Principal = &p
	}
	if r.Caller.SourceID == "" {
		q.Caller.SourceID = uuid.NewString()
	} else if id, err := uuid.Parse(r.Caller.SourceID); err != nil {
		return invalid("caller's source id %q is not a UUID", r.Caller.SourceID)
	} else {
		q.Caller.SourceID = id.String()
	}
	if r.Caller.Timestamp.IsZero() {
		q.Caller.Timestamp = time.Now()
	}
	return q, nil
}

// null is the payload of a trigger without one.
var null = []byte("null")

// FindSession returns the id of the capsule that currently holds a session UUID, as
// another capsule's astrid_check_capsule_capability would find it. Its error
// matches ErrNotFound or ErrNotServing, or is ctx's cause.
func (s *Supervisor) FindSession(ctx context.Context, session string) (id string, err error) {
	t, err := s.serving()
	if err == nil {
		id, err = t.findSession(ctx, session)
	}
	if err != nil {
		return "", fmt.Errorf("find session %q: %w", session, err)
	}
	return id, nil
}

// Snapshot returns the current state of the tree. It does not block.
func (s *Supervisor) Snapshot() *Tree { return s.journal.Snapshot() }

// Events yields the events after the one numbered since, as far back as
// Config.EventsKept, then new ones until ctx ends or Serve has returned. A reader never
// slows the system down: one that falls behind the events that are kept receives an
// EventsLost with the number of those that it missed.
func (s *Supervisor) Events(ctx context.Context, since uint64) iter.Seq[Event] {
	return s.journal.Events(ctx, since)
}

// AwaitStarted waits until the first start of every capsule has a result: it is Ready,
// or Failed, or did not signal in time. If Serve returns before, AwaitStarted returns
// Serve's error, or one that matches ErrNotServing.
func (s *Supervisor) AwaitStarted(ctx context.Context) error { return s.journal.AwaitStarted(ctx) }

// Start starts a capsule that has stopped or failed. It reads the capsule's files again
// and gives it a full restart budget. It returns when the start has succeeded or failed;
// it does nothing to a capsule that runs. Its errors match ErrNotFound, ErrRefused, ErrNotUp.
func (s *Supervisor) Start(ctx context.Context, id string) error {
	return s.replace(ctx, "start", id, actors.Start)
}

// Stop stops a capsule: waiting calls are answered at once, the running one may continue
// for the capsule's stop timeout. It returns when the capsule has ended, at once if it does
// not run.
func (s *Supervisor) Stop(ctx context.Context, id string) error {
	return s.command(ctx, "stop", id, &messages.StopCapsule{ID: id})
}

// Restart replaces a capsule's instance by a fresh one of what its files say now. That is
// prepared beside the running one, as in Reload; the running call gets the stop timeout,
// calls that wait are served by the new instance. It resets the restart budget. It
// returns when the new instance has taken over. If it can't, the running one goes on,
// and the error matches ErrUpgradeFailed. Other errors match ErrNotFound, ErrRefused,
// ErrNotUp.
func (s *Supervisor) Restart(ctx context.Context, id string) error {
	return s.replace(ctx, "restart", id, actors.Restart)
}

// Kill injects a crash, which supervision handles like any other. It returns when the
// capsule has crashed.
func (s *Supervisor) Kill(ctx context.Context, id string) error {
	return s.command(ctx, "kill", id, &messages.KillCapsule{ID: id})
}

func (s *Supervisor) command(ctx context.Context, verb, id string, m any) error {
	t, err := s.serving()
	if err == nil {
		err = t.command(ctx, m)
	}
	return s.explain(verb, id, err)
}

// explain adds to the error of a command what it was about.
func (s *Supervisor) explain(verb, id string, err error) error {
	if problem := s.journal.Rejection(id); problem != "" && errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: its manifest was rejected: %s; mend it and reload", ErrRefused, problem)
	}
	if err == nil {
		return nil
	}
	what := "capsule"
	if s.groups.byName[id] != nil {
		what = "group"
	}
	return fmt.Errorf("%s %s %q: %w", verb, what, id, err)
}

var errServing = errors.New("serve: the supervisor is serving already")

// entriesNow returns the capsules that are not rejected.
func (s *Supervisor) entriesNow() []*catalog.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entries)
}

func (s *Supervisor) embeddedNow() []*catalog.Embedded {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.embedded)
}

// setEntry adds a capsule, or replaces its entry.
func (s *Supervisor) setEntry(e *catalog.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.entries {
		if other.Manifest.ID() == e.Manifest.ID() {
			s.entries[i] = e
			return
		}
	}
	s.entries = append(s.entries, e)
}

// forgetEntry forgets a capsule that was removed.
func (s *Supervisor) forgetEntry(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = slices.DeleteFunc(s.entries, func(e *catalog.Entry) bool { return e.Manifest.ID() == id })
	s.embedded = slices.DeleteFunc(s.embedded, func(e *catalog.Embedded) bool { return e.Manifest.ID() == id })
}

func (s *Supervisor) serving() (*tree, error) {
	t := s.tree.Load()
	if t == nil {
		return nil, ErrNotServing
	}
	return t, nil
}
