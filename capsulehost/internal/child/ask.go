package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// nicer is how much lower the process's priority is than ours. It gets a tenth of a
	// processor that we want, too. With the lowest priority there is it would get a
	// seventieth, and a busy machine would not compile a module within its load time.
	nicer = 10
	// grace is how long a process that gave no answer may take to end by itself.
	grace = time.Second
	// maxSaid limits what is kept of a process's standard error, in bytes.
	maxSaid = 4 << 10
)

// Ask starts the command, a path or name with its arguments, and returns its answer to the
// concatenated parts of the request. No process is left when it returns. If ctx ends, the
// process is killed, and the error is ctx's cause.
func Ask(ctx context.Context, command []string, request ...[]byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // the embedding program's own command
	// A process group of its own: a Ctrl-C in the terminal is for the parent alone. It is not
	// a session: Linux weighs priorities within one only (autogroup).
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = grace
	var said tail
	cmd.Stderr = &said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// Of the group, since Linux has a priority for each thread; later ones inherit it.
	_ = unix.Setpriority(unix.PRIO_PGRP, cmd.Process.Pid, lowered()) // at worst it is as important as we are
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_ = writeFrame(stdin, request...) // who gets no request gives no answer
	}()
	answer, err := readFrame(stdout)
	_ = stdin.Close() // the sign for it to end
	<-sent
	silent := errors.Is(err, io.EOF) // then its end says why
	kill := func() { _ = cmd.Process.Kill() }
	if silent {
		defer time.AfterFunc(grace, kill).Stop()
	} else {
		kill()
	}
	ended := cmd.Wait()
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case silent && ended != nil:
		return nil, fmt.Errorf("it gave no answer: %w: %s", ended, strings.TrimSpace(said.text))
	case silent:
		return nil, errors.New("it gave no answer")
	default:
		return nil, fmt.Errorf("read its answer: %w", err)
	}
}

// lowered returns the priority of a process, as a nice value: 19 is the lowest.
func lowered() int {
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	switch {
	case err != nil:
		own = 0
	case runtime.GOOS == "linux":
		own = 20 - own // as the system call returns it
	}
	return min(own+nicer, 19)
}

// tail keeps the last bytes that are written to it.
type tail struct{ text string }

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.text += string(p)
	t.text = t.text[max(0, len(t.text)-maxSaid):]
	return len(p), nil
}
