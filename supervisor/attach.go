package supervisor

import (
	"fmt"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor/metrics"
)

// fileGrace is how long the end of Serve waits for a disk to take the last events, and
// then for an interrupted write to end.
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
		if err := s.file.begin(s.record); err != nil {
			return detach, fmt.Errorf("serve: %w", err)
		}
		undo = append(undo, func() { s.file.end() })
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
