package processes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// Limits of one instance.
const (
	maxBackground = 8
	maxOutput     = 1 << 20 // bytes of each stream that are kept: the last ones
)

// Config configures a Group.
type Config struct {
	// Programs are what a manifest grants: a program, or one with its first arguments, such
	// as "git status".
	Programs []string
	// Dir is where programs run and may write, an absolute path; "" means TempDir.
	Dir string
	// TempDir is their TMPDIR, where they may write, too, an absolute path. It is made if there
	// is none.
	TempDir string
	Log     *slog.Logger // nil logs nothing
}

// Group are the processes of one instance. Its methods may be called from any goroutine.
type Group struct {
	cfg Config

	mu         sync.Mutex
	closed     bool
	running    map[*process]bool
	background map[uint64]*process
	last       uint64
	ended      sync.WaitGroup
}

var _ capsulehost.Processes = (*Group)(nil)

// New returns a group without processes.
func New(cfg Config) *Group {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dir == "" {
		cfg.Dir = cfg.TempDir
	}
	return &Group{cfg: cfg, running: map[*process]bool{}, background: map[uint64]*process{}}
}

// Run implements capsulehost.Processes.
func (g *Group) Run(ctx context.Context, c capsulehost.Command) (capsulehost.ProcessOutput, error) {
	p, err := g.start(c)
	if err != nil {
		return capsulehost.ProcessOutput{}, err
	}
	select {
	case <-p.ended:
		return p.output(), nil
	case <-ctx.Done():
		p.kill()
		return capsulehost.ProcessOutput{}, context.Cause(ctx)
	}
}

// Start implements capsulehost.Processes.
func (g *Group) Start(_ context.Context, c capsulehost.Command) (uint64, error) {
	g.mu.Lock()
	n := len(g.background)
	g.mu.Unlock()
	if n >= maxBackground {
		return 0, fmt.Errorf("%d processes are there, which is the limit: kill one first, also one that has ended", maxBackground)
	}
	p, err := g.start(c)
	if err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	g.background[g.last] = p
	return g.last, nil
}

// Logs implements capsulehost.Processes.
func (g *Group) Logs(id uint64) (capsulehost.ProcessOutput, error) {
	g.mu.Lock()
	p := g.background[id]
	g.mu.Unlock()
	if p == nil {
		return capsulehost.ProcessOutput{}, fmt.Errorf("there is no process %d", id)
	}
	return p.output(), nil
}

// Kill implements capsulehost.Processes.
func (g *Group) Kill(ctx context.Context, id uint64) (capsulehost.ProcessOutput, error) {
	g.mu.Lock()
	p := g.background[id]
	delete(g.background, id)
	g.mu.Unlock()
	if p == nil {
		return capsulehost.ProcessOutput{}, fmt.Errorf("there is no process %d", id)
	}
	p.kill()
	select {
	case <-p.ended:
		return p.output(), nil
	case <-ctx.Done():
		return capsulehost.ProcessOutput{}, context.Cause(ctx)
	}
}

// Close kills all processes, and waits until they have ended.
func (g *Group) Close() {
	g.mu.Lock()
	g.closed = true
	for p := range g.running {
		p.kill()
	}
	g.mu.Unlock()
	g.ended.Wait()
}

// start starts a program that is granted.
func (g *Group) start(c capsulehost.Command) (*process, error) {
	words := append([]string{c.Program}, c.Arguments...)
	if !slices.ContainsFunc(g.cfg.Programs, func(granted string) bool { return grants(granted, words) }) {
		return nil, fmt.Errorf("the manifest does not grant %q: host_process names %q", strings.Join(words, " "), g.cfg.Programs)
	}
	path, err := find(c.Program)
	if err == nil {
		err = os.MkdirAll(g.cfg.TempDir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: words, Dir: g.cfg.Dir, Env: g.environment()}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errors.New("the capsule's instance has ended")
	}
	started := make(chan error, 1)
	g.ended.Go(func() {
		p.run(g.cfg, started)
		g.mu.Lock()
		delete(g.running, p)
		g.mu.Unlock()
	})
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	g.running[p] = true
	return p, nil
}

// grants reports whether an entry of a manifest grants a command: its words are the first
// ones of the command.
func grants(granted string, command []string) bool {
	words := strings.Fields(granted)
	return len(words) > 0 && len(words) <= len(command) && slices.Equal(words, command[:len(words)])
}

// find returns the path of a program. A relative one is refused: what it names would
// depend on what the capsule has written.
func find(program string) (string, error) {
	if strings.ContainsRune(program, filepath.Separator) && !filepath.IsAbs(program) {
		return "", fmt.Errorf("%q is a relative path: a program is a name or an absolute path", program)
	}
	return exec.LookPath(program)
}

func (g *Group) environment() []string {
	env := []string{"HOME=" + g.cfg.Dir, "TMPDIR=" + g.cfg.TempDir, "LANG=C.UTF-8"}
	return append(env, "PATH="+os.Getenv("PATH"))
}
