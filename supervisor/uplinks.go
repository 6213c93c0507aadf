package supervisor

import (
	"context"
	"fmt"
	"iter"

	"github.com/astrid-actors/astrid-actors/supervisor/internal/uplinks"
)

// Uplink is a connection of a capsule with a platform on which people write, such as a chat.
type Uplink = uplinks.Uplink

// InboundMessage is what somebody has written on such a platform.
type InboundMessage = uplinks.Message

// Uplinks returns the uplinks that capsules have registered, oldest first. An uplink ends
// with the instance that registered it. The error matches ErrNotServing.
func (s *Supervisor) Uplinks() ([]Uplink, error) {
	t, err := s.serving()
	if err != nil {
		return nil, fmt.Errorf("show the uplinks: %w", err)
	}
	return t.uplinks.Uplinks(), nil
}

// Inbound yields what uplinks hand over, until ctx ends or Serve returns. At most 256
// messages and 64 MiB wait for a reader; a capsule is told if one is lost. Each message goes
// to one reader.
func (s *Supervisor) Inbound(ctx context.Context) (iter.Seq[InboundMessage], error) {
	t, err := s.serving()
	if err != nil {
		return nil, fmt.Errorf("read what uplinks hand over: %w", err)
	}
	return func(yield func(InboundMessage) bool) {
		for ctx.Err() == nil {
			m, ok, arrived := t.uplinks.Next()
			if ok {
				if !yield(m) {
					return
				}
				continue
			}
			select {
			case <-arrived:
			case <-ctx.Done():
			case <-t.ended:
				return
			}
		}
	}, nil
}
