package files

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// Limits of the operations.
const (
	// MaxFile is the size of the largest file that is read or written, in bytes.
	MaxFile = 10 << 20
	// MaxNames is the number of names that one ReadDir returns at most.
	MaxNames = 100_000
)

// Config configures a Space.
type Config struct {
	Home      home.Home
	Principal home.Principal
	// Workspace is the directory below cwd://; "" means that there is none.
	Workspace string
	// CapsuleQuota limits what one capsule keeps in its layer above the workspace.
	CapsuleQuota Quota
	// PrincipalQuota limits home:// and, separately, /tmp, for all capsules together.
	PrincipalQuota Quota
}

// Quota limits stored files. A zero field means its default.
type Quota struct {
	Bytes int64 // of all files; 0 means 1 GiB
	Files int64 // files and directories; 0 means 100,000
}

func (q Quota) withDefaults() Quota {
	return Quota{Bytes: cmp.Or(q.Bytes, 1<<30), Files: cmp.Or(q.Files, 100_000)}
}

// running is the number of operations at once. An operation whose call has ended goes on
// until the disk answers, so a disk that hangs must not collect them without a limit.
const running = 64

// Space is the files of one principal's capsules. It keeps nothing open between two
// operations. It is safe for concurrent use.
type Space struct {
	cfg    Config
	places chan struct{} // one element for each running operation

	mu     sync.Mutex
	usages map[string]*usage // by directory
}

// New returns a Space. The workspace must be a directory.
func New(cfg Config) (*Space, error) {
	cfg.CapsuleQuota, cfg.PrincipalQuota = cfg.CapsuleQuota.withDefaults(), cfg.PrincipalQuota.withDefaults()
	if cfg.Workspace != "" {
		dir, err := filepath.Abs(cfg.Workspace)
		if err == nil {
			dir, err = filepath.EvalSymlinks(dir)
		}
		if err != nil {
			return nil, fmt.Errorf("open the workspace %q: %w", cfg.Workspace, err)
		}
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = errors.New("it is not a directory")
		}
		if err != nil {
			return nil, fmt.Errorf("open the workspace %q: %w", cfg.Workspace, err)
		}
		if astrid, err := filepath.EvalSymlinks(cfg.Home.Dir()); err == nil && within(dir, astrid) {
			return nil, fmt.Errorf("open the workspace %q: it is inside Astrid's home %q, which holds the state and the secrets of capsules", cfg.Workspace, astrid)
		}
		cfg.Workspace = dir
	}
	return &Space{cfg: cfg, places: make(chan struct{}, running), usages: map[string]*usage{}}, nil
}

// Workspace returns the absolute path of the workspace, without links; "" if there is none.
func (s *Space) Workspace() string { return s.cfg.Workspace }

// within reports whether a path is dir, or inside it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// area is one of the three places where a guest has files.
type area struct {
	scheme  scheme
	lower   string   // the directory below, which is only read; "" if there is none
	upper   string   // the directory that is written
	records string   // of what upper hides: see records.go; "" without a lower one
	lock    string   // the file that Commit locks; "" without a lower directory
	hidden  []string // names in upper that guests never see
	private string   // a directory that is not seen in lower, at any depth
	usage   *usage
}

// area returns a capsule's area for a scheme.
func (s *Space) area(scheme scheme, capsule string) (*area, error) {
	h, p := s.cfg.Home, s.cfg.Principal
	switch scheme {
	case inHome:
		dir := h.PrincipalDir(p)
		return &area{scheme: scheme, upper: dir, hidden: reservedInHome(), usage: s.usage(dir, s.cfg.PrincipalQuota)}, nil
	case inTmp:
		dir := h.TmpDir(p)
		return &area{scheme: scheme, upper: dir, usage: s.usage(dir, s.cfg.PrincipalQuota)}, nil
	default:
		if s.cfg.Workspace == "" {
			return nil, errors.New("there is no workspace: the daemon runs without --workspace")
		}
		return s.overlay(capsule), nil
	}
}

// overlay returns a capsule's layer above the workspace.
func (s *Space) overlay(capsule string) *area {
	dir := filepath.Join(s.overlays(), capsule)
	return &area{
		scheme: inWorkspace, lower: s.cfg.Workspace, upper: filepath.Join(dir, "files"), records: filepath.Join(dir, "records"),
		lock: filepath.Join(dir, "lock"), private: s.cfg.Home.Dir(), usage: s.usage(dir, s.cfg.CapsuleQuota),
	}
}

// overlays returns the directory of the workspace's layers, one for each capsule.
func (s *Space) overlays() string {
	sum := sha256.Sum256([]byte(s.cfg.Workspace))
	return s.cfg.Home.WorkspaceDir(s.cfg.Principal, filepath.Base(s.cfg.Workspace)+"-"+hex.EncodeToString(sum[:8]))
}

// reservedInHome returns the directories of a principal that hold other capsules'
// modules, logs, settings and state.
func reservedInHome() []string { return []string{".config", ".local"} }

// lockEvery is how often a locked layer is tried again.
const lockEvery = 5 * time.Millisecond

// use waits until nobody commits or discards the area, and keeps it so until release. If
// create is set, it makes the directories that the area needs.
func (a *area) use(ctx context.Context, create bool) (release func(), err error) {
	release = func() {}
	if a.lock != "" {
		if create {
			if err := os.MkdirAll(filepath.Dir(a.lock), 0o700); err != nil {
				return nil, plain(err)
			}
		} else if _, err := os.Lstat(a.lock); err != nil {
			return release, nil //nolint:nilerr // there is no layer yet, and so nothing to lock
		}
		lock := flock.New(a.lock, flock.SetPermissions(0o600))
		if _, err := lock.TryRLockContext(ctx, lockEvery); err != nil {
			return nil, fmt.Errorf("wait for a commit or discard of the workspace to end: %w", err)
		}
		release = func() { _ = lock.Close() }
	}
	if create {
		if err := a.create(); err != nil {
			release()
			return nil, err
		}
	}
	return release, nil
}

// create makes the area's directories.
func (a *area) create() error {
	dirs := []string{a.upper}
	if a.records != "" {
		dirs = append(dirs, a.records)
	}
	for _, name := range a.hidden { // so that no other spelling of the name can be created
		dirs = append(dirs, filepath.Join(a.upper, name))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return plain(err)
		}
	}
	return nil
}

// do runs an operation of the disk, until ctx ends: then it returns, and the operation
// goes on by itself, because a system call can't be interrupted.
func do[T any](ctx context.Context, s *Space, operation func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
	answers := make(chan answer, 1)
	go func() {
		defer func() { <-s.places }()
		value, err := operation()
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}
