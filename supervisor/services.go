package supervisor

import (
	"context"
	"slices"

	"github.com/astrid-actors/astrid-actors/actors"
	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/egress"
	"github.com/astrid-actors/astrid-actors/capsulehost/files"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/capsulehost/processes"
)

// services returns what makes the services of each instance of a capsule: what its
// manifest grants, within what the operator allows. One function for each family of
// calls follows.
func (s *Supervisor) services(t *tree, m *manifest.Manifest) func(ctx context.Context, i actors.InstanceID) (capsulehost.Services, func()) {
	ofFiles := s.filesFor(m)
	return func(_ context.Context, i actors.InstanceID) (capsulehost.Services, func()) {
		kept := t.state.Instance(m.ID(), i.Number)
		if i.Beside {
			kept = t.state.Beside(m.ID(), i.Number, i.Alone)
		}
		settle := t.topics.Hold(m.ID(), i.Generation, kept)
		services := capsulehost.Services{
			Files: ofFiles, State: kept, Approvals: t.approvals.For(m.ID(), s.groups.path(m.ID()), i.Generation),
		}
		if granted := m.Capabilities.Identity; len(granted) > 0 {
			services.Identities = t.identities.For(granted)
		}
		releaseHTTP := s.giveHTTP(&services, m)
		releaseClients := t.giveClients(&services, m, i.Session)
		releaseProcesses := s.giveProcesses(&services, m)
		return services, func() {
			releaseProcesses()
			releaseClients()
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

// giveClients gives an instance the socket of the system, and uplinks, as far as its manifest
// grants them. The returned function ends its streams, its part of the socket and its uplinks.
func (t *tree) giveClients(services *capsulehost.Services, m *manifest.Manifest, session string) (release func()) {
	var releases []func()
	if slices.ContainsFunc(m.Capabilities.NetBind, func(address string) bool { return address != "" }) {
		guest := t.door.For(m.ID(), func(connected bool) { t.clientChanged(session, connected) })
		services.Sockets = guest
		releases = append(releases, guest.Close)
	}
	if m.Capabilities.Uplink {
		guest := t.uplinks.For(m.ID())
		services.Uplinks = guest
		releases = append(releases, guest.Close)
	}
	return func() {
		for _, release := range releases {
			release()
		}
	}
}

// clientChanged counts the clients, and publishes that a capsule has accepted one, or closed
// its stream.
func (t *tree) clientChanged(session string, connected bool) {
	if connected {
		t.clients.Add(1)
	} else {
		t.clients.Add(-1)
	}
	topic, text := "client.v1.connected", `{"type":"connect"}`
	if !connected {
		topic, text = "client.v1.disconnect", `{"type":"disconnect","reason":"stream_closed"}`
	}
	payload, err := capsulehost.ParsePayload([]byte(text))
	if err != nil { // never: they are constant
		return
	}
	_ = t.bus.Publish(context.Background(), &actors.Publication{Topic: topic, Payload: payload, SourceID: session}) // not a durable topic
}

// giveProcesses lets an instance run the programs that its manifest names, if the operator
// allows that. The returned function kills them.
func (s *Supervisor) giveProcesses(services *capsulehost.Services, m *manifest.Manifest) (release func()) {
	if !s.cfg.AllowHostProcess || len(m.Capabilities.HostProcess) == 0 {
		return func() {}
	}
	group := processes.New(processes.Config{
		Programs: m.Capabilities.HostProcess, Dir: s.files.Workspace(), TempDir: s.home.TmpDir(s.principal), Log: s.cfg.Log.With("capsule", m.ID()),
	})
	services.Processes = group
	return group.Close
}
