package supervisor

import (
	"fmt"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor/metrics"
)

// fileGrace is how long the end of Serve waits for a disk to take the last events.
const fileGrace = 2 * time.Second

// attach starts what looks on while Serve runs: the events file, and the metrics.
// Call detach when the record has ended, also after an error.
func (s *Supervisor) attach() (detach func(), err error) {
	var undo []func()
	detach = func() {
		for _, f := range undo {
			f()
		}
	}
	s.follow(&undo, "the log", func() { s.log.Follow(s.journal) }, func() {})
	if s.file != nil {
		if err := s.file.Open(); err != nil {
			return detach, fmt.Errorf("serve: %w", err)
		}
		s.follow(&undo, "the events file "+s.file.Path(), func() { s.file.Follow(s.journal) }, s.file.Interrupt)
	}
	if registerer := s.cfg.Registerer; registerer != nil {
		collector := metrics.New(metrics.Config{Source: s})
		if err := registerer.Register(collector); err != nil {
			return detach, fmt.Errorf("serve: register the metrics: %w; "+
				"where there are two supervisors, wrap the registerer of each in prometheus.WrapRegistererWith a label", err)
		}
		undo = append(undo, func() { registerer.Unregister(collector) })
	}
	return detach, nil
}

// follow starts a reader of the journal. Its undo waits for the reader to take the
// last events, and interrupts it if that hangs.
func (s *Supervisor) follow(undo *[]func(), name string, read, interrupt func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		read()
	}()
	*undo = append(*undo, func() {
		select {
		case <-done:
		case <-time.After(fileGrace):
			interrupt()
			s.cfg.Log.Error("the last events may be missing there: writing hangs", "to", name)
		}
	})
}
