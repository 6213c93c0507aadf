package processes

import (
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// pipesTime is how long a process that has ended may leave its output open to others that
// it has started.
const pipesTime = 100 * time.Millisecond

// process is one program.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr tail
	ended          chan struct{} // closed when it has been waited for

	mu   sync.Mutex
	over bool // its number may be another's
	code *int // its exit code, once over; nil after a signal
}

// run starts the program, says so, and waits for it. It keeps its thread to itself: what
// the thread may not do, the program may not either, and when the thread ends, so does the
// program.
func (p *process) run(cfg Config, started chan<- error) {
	defer close(p.ended)
	runtime.LockOSThread() // never unlocked: the thread is of no use to others
	p.cmd.WaitDelay = pipesTime
	err := p.startConfined(cfg)
	started <- err
	if err != nil {
		return
	}
	_ = waitFor(p.cmd)
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	killGroup(p.cmd.Process.Pid) // those that it has started
	_ = p.cmd.Wait()             // its exit code says all
	if code := p.cmd.ProcessState.ExitCode(); code >= 0 {
		p.mu.Lock()
		p.code = &code
		p.mu.Unlock()
	}
}

// kill kills the process and those of its group.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		killGroup(p.cmd.Process.Pid)
	}
}

// output returns what the process has written since the last call, and how it ended.
func (p *process) output() capsulehost.ProcessOutput {
	out := capsulehost.ProcessOutput{Running: true}
	select {
	case <-p.ended:
		p.mu.Lock()
		out.Running, out.ExitCode = false, p.code
		p.mu.Unlock()
	default:
	}
	out.Stdout, out.Stderr = p.stdout.take(), p.stderr.take()
	return out
}

// tail keeps the last bytes that are written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - maxOutput; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) take() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.text
	t.text = nil
	return text
}
