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
	if s.file != nil {
		if err := s.file.open(); err != nil {
			return detach, fmt.Errorf("serve: %w", err)
		}
		written := make(chan struct{})
		go func() {
			defer close(written)
			s.file.follow(s.record)
		}()
		undo = append(undo, func() {
			select {
			case <-written:
			case <-time.After(fileGrace):
				s.cfg.Log.Error().Str("file", s.file.path).Msg("the last events may be missing in the events file: writing it hangs")
				s.file.interrupt()
			}
		})
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
