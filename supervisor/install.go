package supervisor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/supervisor/internal/catalog"
)

// InstallOptions change what Install accepts and does. The zero value installs sealed
// capsules.
type InstallOptions struct {
	// UpgradeOnly refuses a capsule that is not installed in an older version. If it is not
	// installed at all, the error is ErrNotFound.
	UpgradeOnly bool
	// AllowUnverified accepts a capsule that is not sealed, and leaves it so: it then runs
	// only with Config.AllowUnverified.
	AllowUnverified bool
	// Seal seals the installed copy: the caller vouches for the module. That of a directory
	// may have changed since it was sealed; an archive must be as it was packed.
	Seal bool
	// DropReplaced removes the module of the version that was replaced, if no installed
	// capsule in the home uses it: for a developer's many versions. Otherwise modules stay,
	// as in Astrid.
	DropReplaced bool
	// Ask asks a person for what the capsule's hook wants to know (astrid_elicit), and returns
	// when there is an answer, or ctx ends. nil means that nobody is there: the hook fails.
	// A secret in an answer goes into the store, and nowhere else.
	Ask func(ctx context.Context, capsule string, q Question) (Answer, error)
	// Store returns where the hook's state and secrets are kept; nil means this Supervisor's
	// own store, which is opened for the hook if it does not serve.
	Store func(capsule string) HookStore
	// Load loads the installed capsule where it runs, and returns what that changed. An
	// error, or the change `rejected`, undoes the installation; ErrNotFound does not: the
	// capsule is installed, and its files are not looked for there. nil means this
	// Supervisor, if it serves.
	Load func(ctx context.Context, id string) (Change, error)
}

// ErrUnsealed: the capsule is not sealed, and the options do not accept that.
var ErrUnsealed = catalog.ErrUnsealed

// ErrChanged: the module is another one than when the capsule was sealed.
var ErrChanged = manifest.ErrChanged

// Install installs the capsule in a directory, or in a .capsule archive, into the
// principal's directory, <home>/home/<principal>/.local/capsules/<id>, and loads it.
//
// It copies the files that are the capsule's own (see package archive). A sealed module is
// stored once for each content, as <home>/bin/<hash>.wasm. A first installation calls the
// capsule's export astrid_install, an upgrade astrid_upgrade with the version that was
// installed; if that fails, nothing is installed. If the same version with the same files
// is installed already, the change is `unchanged`.
//
// If the running system rejects it, the change is `rejected`, and the error says the same.
// After any error, and also if the process or the machine dies, either the old or the new
// capsule is there, complete. One installation at a time runs in a home; others wait until
// ctx ends.
func (s *Supervisor) Install(ctx context.Context, path string, o InstallOptions) (Change, error) {
	host, release, err := s.installHost(ctx)
	if err != nil {
		return Change{}, fmt.Errorf("install %s: %w", path, err)
	}
	defer release()
	in := s.installer(host)
	load := o.Load
	if load == nil {
		load = s.loadInstalled
	}
	loaded := "" // the id of the capsule that load was called for
	in.Services = s.hookServices(o)
	change, err := in.Install(ctx, path, catalog.InstallOptions{
		UpgradeOnly: o.UpgradeOnly, AllowUnverified: o.AllowUnverified, Seal: o.Seal, DropReplaced: o.DropReplaced,
	}, func(ctx context.Context, change Change) (Change, error) {
		loaded = change.ID
		live, err := load(ctx, change.ID)
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrNotServing) {
			return change, nil
		}
		return live, err
	})
	if err != nil && loaded != "" {
		// The files are as they were. So must be what runs: a capsule that was added and did
		// not come up is still there, and a load that ctx has ended may have succeeded.
		_, _ = load(context.WithoutCancel(ctx), loaded)
	}
	if errors.Is(err, catalog.ErrNotInstalled) {
		err = fmt.Errorf("%w: %w", err, ErrNotFound)
	}
	return change, err
}

// loadInstalled makes this Supervisor load a capsule that was installed.
func (s *Supervisor) loadInstalled(ctx context.Context, id string) (Change, error) {
	changes, err := s.Reload(ctx, id)
	if err != nil {
		return Change{}, err
	}
	return changes[0], nil // Reload returns one for each id
}

// Uninstall removes a capsule from the running system, as Remove does, and then its
// directory if Install has made it. If this Supervisor does not serve, it removes the
// directory only, and one that Install has not made is ErrNotFound. Its other errors match
// those of Remove.
func (s *Supervisor) Uninstall(ctx context.Context, id string) error {
	err := s.Remove(ctx, id)
	idle := errors.Is(err, ErrNotServing)
	if err != nil && !idle {
		return err
	}
	removed, err := s.installer(nil).Remove(ctx, id)
	if err == nil && idle && !removed {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("uninstall capsule %q: %w", id, err)
	}
	return nil
}

// InstallDir returns the directory in which a capsule is, or would be, installed.
func (s *Supervisor) InstallDir(id string) string {
	return filepath.Join(s.home.CapsulesDir(s.principal), id)
}

// installer installs and removes capsules. The host may be nil for one that only removes.
func (s *Supervisor) installer(host *capsulehost.Host) *catalog.Installer {
	return &catalog.Installer{
		Home: s.home, Principal: s.principal, Host: host, HookTimeout: s.cfg.CallTimeout,
		SocketPath: s.cfg.SocketPath, Log: s.cfg.Log,
	}
}

// installHost returns the host that compiles what is installed: the one that runs the
// capsules, so that the load that follows finds the module compiled; or a new one.
func (s *Supervisor) installHost(ctx context.Context) (host *capsulehost.Host, release func(), err error) {
	if t, err := s.serving(); err == nil {
		return t.host, func() {}, nil
	}
	host, err = capsulehost.New(ctx, s.hostConfig())
	if err != nil {
		return nil, nil, err
	}
	return host, func() {
		if err := host.Close(context.WithoutCancel(ctx)); err != nil {
			s.cfg.Log.Warn("freeing the WebAssembly runtime failed", "err", err)
		}
	}, nil
}
