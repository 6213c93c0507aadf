package supervisor

import (
	"context"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/egress"
	"github.com/astrid-actors/astrid-actors/capsulehost/files"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// services returns what makes the services of each instance of a capsule: what its
// manifest grants, within what the operator allows. One function for each family of
// calls follows.
func (s *Supervisor) services(t *tree, m *manifest.Manifest) func(ctx context.Context, i actors.InstanceID) (capsulehost.Services, func()) {
	ofFiles := s.filesFor(m)
	return func(_ context.Context, i actors.InstanceID) (capsulehost.Services, func()) {
		kept := t.state.Instance(m.ID(), i.Number)
		settle := t.topics.Hold(m.ID(), i.Generation, kept)
		services := capsulehost.Services{
			Files: ofFiles, State: kept, Approvals: t.approvals.For(m.ID(), s.groups.path(m.ID()), i.Generation),
		}
		if granted := m.Capabilities.Identity; len(granted) > 0 {
			services.Identities = t.identities.For(granted)
		}
		releaseHTTP := s.giveHTTP(&services, m)
		return services, func() {
			releaseHTTP()
			settle()
			kept.Close()
		}
	}
}

// filesFor returns a capsule's files; nil if none are granted.
func (s *Supervisor) filesFor(m *manifest.Manifest) capsulehost.Files {
	granted := files.Grants{Read: m.Capabilities.FSRead, Write: m.Capabilities.FSWrite}
	if granted.Empty() {
		return nil
	}
	return s.files.For(m.ID(), granted)
}

// giveHTTP gives an instance an HTTP client of its own, if any host is granted. The
// returned function ends its requests and closes its connections.
func (s *Supervisor) giveHTTP(services *capsulehost.Services, m *manifest.Manifest) (release func()) {
	if len(m.Capabilities.Net) == 0 {
		return func() {}
	}
	client := egress.New(egress.Config{
		Hosts: m.Capabilities.Net, Networks: s.cfg.HTTPNetworks, Transport: s.cfg.HTTPTransport,
	})
	services.HTTP = client
	return client.Close
}
