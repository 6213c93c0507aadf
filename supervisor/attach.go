package supervisor

import (
	"fmt"

	"github.com/astrid-actors/astrid-actors/supervisor/metrics"
)

// attach starts the observers of one Serve: the log, the events file, the metrics. Call
// detach when the journal has ended, also after an error.
func (s *Supervisor) attach() (detach func(), err error) {
	var undo []func()
	detach = func() {
		for _, f := range undo {
			f()
		}
	}
	s.log.Begin(s.journal)
	undo = append(undo, s.log.End)
	if s.file != nil {
		if err := s.file.Begin(s.journal); err != nil {
			return detach, fmt.Errorf("serve: %w", err)
		}
		undo = append(undo, s.file.End)
	}
	if registerer := s.cfg.Registerer; registerer != nil {
		collector := metrics.New(metrics.Config{Source: s})
		if err := registerer.Register(collector); err != nil {
			return detach, fmt.Errorf("serve: register the metrics: %w; "+
				"if there are two supervisors, wrap the registerer of each in prometheus.WrapRegistererWith a label", err)
		}
		undo = append(undo, func() { registerer.Unregister(collector) })
	}
	return detach, nil
}
