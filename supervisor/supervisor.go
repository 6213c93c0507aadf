package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/capsulelog"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/messages"
)

// What a caller may want to decide on.
var (
	// ErrNotFound: no capsule has that id.
	ErrNotFound = errors.New("no such capsule")
	// ErrNotServing: Serve has not been called yet, or has returned.
	ErrNotServing = errors.New("the supervisor is not serving")
	// ErrStopping: the system is shutting down and takes nothing new.
	ErrStopping = errors.New("the supervisor is stopping")
	// ErrOverloaded: too many triggers are open; see Config.OpenTriggers.
	ErrOverloaded = errors.New("too many open triggers")
	// ErrInvalid: a topic, payload or caller that can't be taken; nothing was invoked.
	ErrInvalid = errors.New("invalid trigger")
	// ErrRefused: the capsule's state does not allow the command.
	ErrRefused = errors.New("refused")
	// ErrNotUp: the command was carried out, and the capsule did not come up.
	ErrNotUp = errors.New("the capsule did not come up")
)

// MaxPayload is the size of the largest trigger payload, in bytes.
const MaxPayload = 1 << 20

// TriggerRequest asks every capsule whose interceptors match a topic.
type TriggerRequest struct {
	// Topic has dot-separated segments, none empty.
	Topic string
	// Payload is JSON of at most MaxPayload bytes; empty means null.
	Payload json.RawMessage
	// Caller is what the legs see through astrid_get_caller; nil means nobody.
	Caller *Caller
	// Reductions is what each leg may spend, with all that it triggers in turn; 0
	// means Config.TriggerReductions.
	Reductions uint64
}

// Caller is on whose behalf a trigger is made.
type Caller struct {
	// Principal is 1 to 64 of a-z A-Z 0-9 _ -, or "" for none.
	Principal string
	// SourceID is a UUID; "" means a fresh one.
	SourceID string
	// Timestamp is when the request was made; zero means now.
	Timestamp time.Time
}

// Supervisor runs a tree of capsules. Make one with [New]. Its methods may be
// called from any goroutine.
type Supervisor struct {
	cfg       Config
	home      home.Home
	principal home.Principal
	found     []*found
	record    *record
	file      *eventsFile // nil where none is configured
	logFiles  *capsulelog.Files

	mu   sync.Mutex
	tree *tree // while Serve runs
}

// New reads the configuration and the manifests of all capsules. Its error
// names every problem of the configuration at once; a capsule's own problem is
// no error of the system's, but an event, and the state `failed`.
func New(cfg Config) (*Supervisor, error) {
	s := &Supervisor{cfg: cfg.withDefaults(), logFiles: capsulelog.NewFiles(0)}
	var err error
	var problems []error
	if s.home, err = home.Resolve(cfg.Home); err != nil {
		problems = append(problems, err)
	}
	if s.principal, err = home.ParsePrincipal(s.cfg.Principal); err != nil {
		problems = append(problems, err)
	}
	capsules, manifests, wrong := readCapsules(cfg.Capsules)
	problems = append(append(problems, cfg.problems()...), wrong...)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if s.cfg.SocketPath == "" {
		s.cfg.SocketPath = s.home.SocketPath()
	}
	s.record = newRecord(s.cfg.EventsKept, s.cfg.Log)
	s.record.settings, s.record.principal = s.cfg.settings(), s.cfg.Principal
	if path := s.cfg.EventsFile; path != "" {
		s.file = &eventsFile{path: path, limit: s.cfg.EventsFileSize, keep: 3, log: s.cfg.Log}
		s.record.file = s.file.lost.Load
	}
	s.discover(capsules, manifests)
	return s, nil
}

// Serve runs the tree until ctx ends, and then stops it: no new triggers,
// waiting calls answered, running ones given the stop time-out. It returns nil
// after a clean stop; an error names what would not start or stop. It may be
// called again after it has returned, as suture does, but not twice at once.
func (s *Supervisor) Serve(ctx context.Context) error {
	t, err := newTree(ctx, s)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.tree != nil {
		s.mu.Unlock()
		t.discard()
		return errors.New("serve: the supervisor is serving already")
	}
	s.tree = t
	s.mu.Unlock()

	s.record.begin(t)
	detach, err := s.attach()
	if err == nil {
		err = t.run(ctx)
	} else {
		t.discard()
	}
	s.mu.Lock()
	s.tree = nil
	s.mu.Unlock()
	s.record.end()
	detach()
	return err
}

// Trigger asks all capsules that want the topic, and returns when each leg has
// an outcome: at ctx's deadline at the latest, or after Config.TriggerTimeout
// where ctx has none. Legs that fail, and no legs at all, are no error. Its
// errors match ErrInvalid, ErrOverloaded, ErrNotServing, ErrStopping, or are
// ctx's cause where ctx was cancelled.
func (s *Supervisor) Trigger(ctx context.Context, r TriggerRequest) (*messages.TriggerReply, error) {
	route, err := r.route()
	if err != nil {
		return nil, err
	}
	t, err := s.serving()
	if err != nil {
		return nil, fmt.Errorf("trigger %q: %w", r.Topic, err)
	}
	return t.trigger(ctx, route)
}

// Validate says what is wrong with a request, as Trigger would: its error matches
// ErrInvalid.
func (r *TriggerRequest) Validate() error {
	_, err := r.route()
	return err
}

// route checks a request and turns it into the router's message.
func (r *TriggerRequest) route() (*messages.RouteTrigger, error) {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	if r.Topic == "" {
		return nil, invalid("the topic is empty")
	}
	if !actors.ValidTopic(r.Topic) {
		return nil, invalid("topic %q has an empty segment", r.Topic)
	}
	if len(r.Payload) > MaxPayload {
		return nil, invalid("the payload has %d bytes, over the limit of %d", len(r.Payload), MaxPayload)
	}
	m := &messages.RouteTrigger{Topic: r.Topic, Payload: []byte("null"), Reductions: r.Reductions}
	if len(r.Payload) > 0 {
		var err error
		if m.Payload, err = capsulehost.CompactJSON(r.Payload); err != nil {
			return nil, invalid("the payload is not JSON: %v", err)
		}
	}
	if r.Caller == nil {
		return m, nil
	}
	m.Caller = &messages.Caller{SourceId: r.Caller.SourceID, Timestamp: timestamppb.New(r.Caller.Timestamp)}
	if p := r.Caller.Principal; p != "" {
		if _, err := home.ParsePrincipal(p); err != nil {
			return nil, invalid("%v", err)
		}
		m.Caller.Principal = &p
	}
	if r.Caller.SourceID == "" {
		m.Caller.SourceId = uuid.NewString()
	} else if id, err := uuid.Parse(r.Caller.SourceID); err != nil {
		return nil, invalid("caller's source id %q is not a UUID", r.Caller.SourceID)
	} else {
		m.Caller.SourceId = id.String()
	}
	if r.Caller.Timestamp.IsZero() {
		m.Caller.Timestamp = timestamppb.Now()
	}
	return m, nil
}

// Snapshot shows the tree as it is now. It waits for nobody.
func (s *Supervisor) Snapshot() *messages.Tree { return s.record.snapshot() }

// Events yields what happened after the event numbered since, as far back as
// Config.EventsKept, then what happens until ctx ends or Serve has returned. A
// reader never slows the system down: one that falls behind what is kept gets
// an EventsLost, which says how many it missed.
func (s *Supervisor) Events(ctx context.Context, since uint64) iter.Seq[*messages.Event] {
	return s.record.events(ctx, since)
}

// AwaitStarted waits until the first start of every capsule has been decided:
// it is Ready, or Failed, or did not signal in time.
func (s *Supervisor) AwaitStarted(ctx context.Context) error { return s.record.awaitStarted(ctx) }

// Start starts a capsule that has stopped or failed, with its files read again
// and a full restart budget, and returns when it is decided whether it is up.
// Its errors match ErrNotFound, ErrRefused, ErrNotUp.
func (s *Supervisor) Start(ctx context.Context, id string) error {
	return s.command(ctx, "start", id, &messages.StartCapsule{Id: id})
}

// Stop ends a capsule: waiting calls are answered at once, the running one is
// given the capsule's stop time-out. It returns when the capsule has ended.
func (s *Supervisor) Stop(ctx context.Context, id string) error {
	return s.command(ctx, "stop", id, &messages.StopCapsule{Id: id})
}

// Restart replaces a capsule's instance, with its files read again; calls that
// wait are served by the new one. It does not count against the restart budget,
// and fills it. It returns when it is decided whether the new instance is up.
func (s *Supervisor) Restart(ctx context.Context, id string) error {
	return s.command(ctx, "restart", id, &messages.RestartCapsule{Id: id})
}

// Kill injects a crash, which goes through supervision like any other. It
// returns when the capsule has crashed.
func (s *Supervisor) Kill(ctx context.Context, id string) error {
	return s.command(ctx, "kill", id, &messages.KillCapsule{Id: id})
}

func (s *Supervisor) command(ctx context.Context, verb, id string, m any) error {
	t, err := s.serving()
	if err == nil {
		err = t.command(ctx, m)
	}
	if problem := s.record.rejection(id); problem != "" && errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: its manifest was rejected: %s; mend it and start the system again", ErrRefused, problem)
	}
	if err != nil {
		return fmt.Errorf("%s capsule %q: %w", verb, id, err)
	}
	return nil
}

func (s *Supervisor) serving() (*tree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tree == nil {
		return nil, ErrNotServing
	}
	return s.tree, nil
}
