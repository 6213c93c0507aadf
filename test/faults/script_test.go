package faults

import (
	"context"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// script tells one guest when to misbehave: it is the source of the guest's
// configuration. Its methods may be called from any goroutine.
type script struct {
	way way
	id  string

	mu     sync.Mutex
	due    map[string]int // how often the guest must still misbehave, by place: start, run, call
	held   chan struct{}  // calls wait until it is closed; nil if none must wait
	struck bool           // it has misbehaved

	hit chan struct{} // has room for one value: the run loop has just been told to
}

func newScript(w way, id string) *script {
	return &script{way: w, id: id, due: map[string]int{}, hit: make(chan struct{}, 1)}
}

// next makes the guest misbehave in the next start, run or call.
func (s *script) next(where string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if where == "start" && s.way.loop { // its start is its run
		where = "run"
	}
	if s.way.letter != 0 {
		s.due[where] = 1
	}
}

// hold makes the next call wait until release.
func (s *script) hold() (release func()) {
	held := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held
	return func() { close(held) }
}

// letter returns the instruction for a guest at that place.
func (s *script) letter(where string) string {
	s.mu.Lock()
	held := s.held
	if where != "call" {
		held = nil
	}
	if held != nil {
		s.held = nil // the calls behind it continue
	}
	s.mu.Unlock()
	if held != nil {
		<-held
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.due[where] == 0 {
		return ""
	}
	s.due[where]--
	s.struck = true
	if s.way.loop && where == "call" {
		s.hit <- struct{}{}
	}
	return string(s.way.letter)
}

func (s *script) hasStruck() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.struck
}

// wrap puts the script between the guest and its host API.
func (s *script) wrap(id string, load supervisor.LoadFunc) supervisor.LoadFunc {
	if id != s.id {
		return load
	}
	return func(ctx context.Context, world capsulehost.HostAPI) (supervisor.Guest, error) {
		if s.way.endless {
			ctx = &looked{Context: ctx}
		}
		return load(ctx, &hostAPI{world, s})
	}
}

// hostAPI is the host API of the guest.
type hostAPI struct {
	capsulehost.HostAPI
	script *script
}

func (s *hostAPI) Config(where string) string { return s.script.letter(where) }

func (s *hostAPI) Now() time.Time {
	if s.script.way.panics {
		panic("a bug of the host's")
	}
	return s.HostAPI.Now()
}

// looked is the context of a start. No time passes in a bubble while a guest runs, so
// the number of calls of Err ends the guest.
type looked struct {
	context.Context
	looks int // belongs to the guest's goroutine
}

// Err ends the start after a while.
func (l *looked) Err() error {
	if l.looks++; l.looks > 50 {
		return context.DeadlineExceeded
	}
	return l.Context.Err()
}
