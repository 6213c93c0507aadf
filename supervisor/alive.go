package supervisor

import (
	"context"
	"fmt"

	"github.com/astrid-actors/astrid-actors/actors"
)

// Alive checks that the system's own actors still process messages: the root, the
// registry, the hook router and the capsules supervisor. It waits for their replies
// until ctx ends; its error names the actors that did not reply. It does not check the
// capsules: see [Supervisor.Snapshot].
func (s *Supervisor) Alive(ctx context.Context) error {
	t, err := s.serving()
	if err != nil {
		return err
	}
	for _, path := range []string{actors.RootPath, actors.RegistryPath, actors.RouterPath, actors.SupervisorPath} {
		if err := t.sys.Ping(ctx, t.sys.PID(path)); err != nil {
			return fmt.Errorf("the system is not well: %w", err)
		}
	}
	return nil
}
