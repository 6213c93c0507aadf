package supervisor

import "fmt"

// Traces returns the last 100 triggers that have their answer, and messages that
// interceptors receive, the oldest first: each with the calls that were made, and what
// these triggered and published in turn, as far as it has happened. Of one with many only
// the first are kept: 256 calls; of a trigger whose guests made none, 64 that went well. It
// returns nil unless Serve runs, and does not block.
func (s *Supervisor) Traces() []Trace {
	t, err := s.serving()
	if err != nil {
		return nil
	}
	return t.router.Traces()
}

// Trace returns the trace with that id, as Reply.Trace has it. Its error matches
// ErrNotFound if it is not kept any longer, or ErrNotServing.
func (s *Supervisor) Trace(id uint64) (Trace, error) {
	t, err := s.serving()
	if err != nil {
		return Trace{}, fmt.Errorf("show trace %d: %w", id, err)
	}
	trace, ok := t.router.Trace(id)
	if !ok {
		return Trace{}, fmt.Errorf("show trace %d: %w: the last 100 are kept", id, ErrNotFound)
	}
	return trace, nil
}
