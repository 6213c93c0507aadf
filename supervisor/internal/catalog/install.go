package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/gofrs/flock"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/archive"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/messages"
)

// The reasons for a refusal that a caller may handle.
var (
	// ErrNotInstalled: only an upgrade was asked for, and the capsule is not installed.
	ErrNotInstalled = errors.New("it is not installed")
	// ErrUnsealed: there is no hash of the module, so nobody vouches for it.
	ErrUnsealed = errors.New("it is not sealed")
)

// Installer puts capsules into the directory of a principal's capsules, and removes them.
// Its methods may be called from any goroutine and from several processes: a lock in the
// home lets one at a time through.
type Installer struct {
	Home      home.Home
	Principal home.Principal
	// Host compiles the module and runs its hook.
	Host *capsulehost.Host
	// HookTimeout limits the call of astrid_install or astrid_upgrade, without the time in
	// which it waits for a person.
	HookTimeout time.Duration
	// Services returns what the hook may use, and a function that frees it; nil means
	// nothing.
	Services func(m *manifest.Manifest) (*capsulehost.Services, func())
	// SocketPath is the value that the hook reads as ASTRID_SOCKET_PATH.
	SocketPath string
	Log        *slog.Logger

	// Tests set these: before is called before each step, and an error fails the step;
	// exchange replaces the function of that name.
	before   func(step string) error
	exchange func(a, b string) error
}

// InstallOptions change what Install accepts.
type InstallOptions struct {
	// UpgradeOnly refuses a capsule that is not installed, or not in an older version.
	UpgradeOnly bool
	// AllowUnverified accepts a capsule that is not sealed, and leaves it so.
	AllowUnverified bool
	// Seal seals the installed copy, and accepts a directory whose module was changed since it
	// was sealed.
	Seal bool
	// DropReplaced removes the shared module of the version that was replaced, if no
	// installed capsule in the home uses it.
	DropReplaced bool
}

// Install installs the capsule in a directory or an archive. If the installed capsule has
// the same version, module and files, nothing is done, and the change is `unchanged`.
//
// The capsule is copied beside its place, checked and compiled there, and its hook is
// called (astrid_install, or astrid_upgrade with the version that was installed before).
// Then it replaces the old one at once. load then makes a running system load it; if that
// fails, or returns the change `rejected`, the old one is put back; the change is returned
// with the error then. Whatever fails, and
// also if the process dies, either the old or the new capsule is there, complete; what a
// hook has done outside is not undone.
func (in *Installer) Install(ctx context.Context, path string, o InstallOptions, load func(context.Context, messages.Change) (messages.Change, error)) (messages.Change, error) {
	unlock, err := in.lock(ctx)
	if err != nil {
		return messages.Change{}, fmt.Errorf("install %s: %w", path, err)
	}
	defer unlock()
	t := &installation{Installer: in, options: o}
	defer func() {
		if t.module != nil {
			_ = t.module.Close(context.WithoutCancel(ctx)) // it only frees memory
		}
	}()
	change, err := t.run(ctx, path, load)
	if err == nil && o.DropReplaced {
		t.dropReplaced()
	}
	if err != nil {
		err = fmt.Errorf("install %s: %w", path, errors.Join(err, t.undo()))
		err = &problem{err: err, temporary: []string{filepath.Join(in.staging(), unpackedDir), filepath.Join(in.staging(), newDir)}}
	}
	if cleared := os.RemoveAll(in.staging()); cleared != nil {
		in.Log.Warn("what an installation has left can't be removed: the next one tries again", "err", cleared)
	}
	return change, err
}

// problem is an error whose text names files in a temporary directory: it shows them as
// they are in the capsule.
type problem struct {
	err       error
	temporary []string // directories
}

func (p *problem) Error() string {
	text := p.err.Error()
	for _, dir := range p.temporary {
		text = strings.ReplaceAll(text, dir+string(filepath.Separator), "")
	}
	return text
}

func (p *problem) Unwrap() error { return p.err }

// staging is the directory beside the capsules in which an installation is prepared. It is
// on the same file system, and no capsules are looked for in it.
func (in *Installer) staging() string {
	return filepath.Join(filepath.Dir(in.Home.CapsulesDir(in.Principal)), "installing")
}

// step is called before each step.
func (in *Installer) step(format string, args ...any) error {
	if in.before == nil {
		return nil
	}
	return in.before(fmt.Sprintf(format, args...))
}

// exchanger returns what exchanges two directories.
func (in *Installer) exchanger() func(a, b string) error {
	if in.exchange != nil {
		return in.exchange
	}
	return exchange
}

// lock waits for the installations of others, and repairs what one that died has left.
func (in *Installer) lock(ctx context.Context) (unlock func(), err error) {
	path := in.Home.InstallLock()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(path)
	const retry = 50 * time.Millisecond
	if locked, err := lock.TryLockContext(ctx, retry); err != nil || !locked {
		return nil, fmt.Errorf("wait for another installation, which holds %s: %w", path, err)
	}
	release := func() {
		if err := lock.Unlock(); err != nil {
			in.Log.Warn("the lock of installations can't be released", "err", err)
		}
	}
	if err := in.repair(); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// repair removes what an installation has left that died. If it died while there was
// neither the old nor the new capsule, the old one is put back.
func (in *Installer) repair() error {
	aside := filepath.Join(in.staging(), asideDir)
	entries, err := os.ReadDir(aside)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		target := filepath.Join(in.Home.CapsulesDir(in.Principal), e.Name())
		if _, err := os.Lstat(target); errors.Is(err, os.ErrNotExist) {
			if err := os.Rename(filepath.Join(aside, e.Name()), target); err != nil {
				return err
			}
			if err := syncDir(filepath.Dir(target)); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(in.staging())
}

// installation is one run of Install.
type installation struct {
	*Installer
	options InstallOptions

	manifest *manifest.Manifest // of the staged copy
	old      *installed         // nil at a first installation
	hash     string
	sealed   bool
	module   *capsulehost.Module // nil until it is compiled

	createdModule string // the path of the shared module, if this installation wrote it
	placed        bool   // the new capsule is in its place
}

func (t *installation) run(ctx context.Context, path string, load func(context.Context, messages.Change) (messages.Change, error)) (messages.Change, error) {
	source, err := t.open(path)
	if err != nil {
		return messages.Change{}, err
	}
	wasm, err := t.read(source)
	if err != nil {
		return messages.Change{}, err
	}
	if t.old, err = t.find(source.ID()); err != nil {
		return messages.Change{}, err
	}
	if err := t.stage(source, wasm); err != nil {
		return messages.Change{}, err
	}
	change := t.change()
	if change.Change == messages.ChangeUnchanged {
		return t.loaded(ctx, change, load)
	}
	if err := t.wanted(); err != nil {
		return messages.Change{}, err
	}
	if err := t.check(ctx, wasm); err != nil {
		return messages.Change{}, err
	}
	if err := t.place(); err != nil {
		return messages.Change{}, err
	}
	return t.loaded(ctx, change, load)
}

// loaded makes a running system load the capsule.
func (t *installation) loaded(ctx context.Context, change messages.Change, load func(context.Context, messages.Change) (messages.Change, error)) (messages.Change, error) {
	if err := t.step("load"); err != nil {
		return messages.Change{}, err
	}
	live, err := load(ctx, change)
	if err != nil {
		return messages.Change{}, err
	}
	if live.Change == messages.ChangeRejected {
		return live, errors.New(live.Reason)
	}
	return live, nil
}

// open returns the manifest of what is to be installed: a directory, or an archive, which is
// unpacked first.
func (t *installation) open(path string) (*manifest.Manifest, error) {
	if err := t.step("open"); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := mkdirSynced(t.staging(), 0o700); err != nil {
		return nil, err
	}
	if info.IsDir() {
		return manifest.Load(path)
	}
	if !info.Mode().IsRegular() || !strings.HasSuffix(path, archive.Extension) {
		return nil, fmt.Errorf("it is neither a directory nor a file that ends in %s", archive.Extension)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	unpacked := filepath.Join(t.staging(), unpackedDir)
	if err := os.Mkdir(unpacked, 0o700); err != nil {
		return nil, err
	}
	if err := archive.Extract(file, unpacked); err != nil {
		return nil, err
	}
	return manifest.Load(unpacked)
}

// unpacked reports whether the source is an archive. Its module must be the one that was
// sealed when it was packed, also for a caller that vouches for it: it may be damaged.
func (t *installation) unpacked(source *manifest.Manifest) bool {
	return source.Dir == filepath.Join(t.staging(), unpackedDir)
}

// read reads and verifies the module.
func (t *installation) read(source *manifest.Manifest) (wasm []byte, err error) {
	if err := t.step("read"); err != nil {
		return nil, err
	}
	wasm, t.hash, err = source.ReadModule(t.Home, true)
	if errors.Is(err, manifest.ErrChanged) && t.options.Seal && !t.unpacked(source) { // as the command seal does
		wasm, t.hash, err = source.ReadToSeal()
	}
	if err != nil {
		return nil, err
	}
	sealed, err := source.Sealed()
	if err != nil {
		return nil, err
	}
	if sealed == "" && !t.options.Seal && !t.options.AllowUnverified {
		return nil, fmt.Errorf("capsule %q: %w", source.ID(), ErrUnsealed)
	}
	t.sealed = sealed != "" || t.options.Seal
	return wasm, nil
}

// change returns what the installation changes.
func (t *installation) change() messages.Change {
	m := t.manifest
	change := messages.Change{ID: m.ID(), Version: m.Package.Version, Change: messages.ChangeAdded}
	switch {
	case t.old == nil:
	case t.old.same(t.new(), m.Components[0].File, t.sealed, t.hash):
		change.Change = messages.ChangeUnchanged
	default:
		change.Change, change.Previous = messages.ChangeUpgraded, t.old.version
	}
	return change
}

// wanted applies UpgradeOnly.
func (t *installation) wanted() error {
	if !t.options.UpgradeOnly {
		return nil
	}
	if t.old == nil {
		return fmt.Errorf("capsule %q: %w, and only an upgrade was asked for", t.manifest.ID(), ErrNotInstalled)
	}
	before, err := semver.StrictNewVersion(t.old.version)
	if err != nil {
		return nil //nolint:nilerr // whatever is there, it has no version to compare with
	}
	if now, err := semver.StrictNewVersion(t.manifest.Package.Version); err != nil || !now.GreaterThan(before) {
		return fmt.Errorf("capsule %q: version %s is no upgrade of %s, which is installed", t.manifest.ID(), t.manifest.Package.Version, t.old.version)
	}
	return nil
}
