package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// figures are the results of many capsules in a process of their own.
type figures struct {
	Start  float64 `json:"start"`  // nanoseconds until all of them serve
	Memory float64 `json:"memory"` // bytes resident, above those of the empty process
	Idle   float64 `json:"idle"`   // share of one core used while idle
	Stop   float64 `json:"stop"`   // nanoseconds
}

// childArgument, as the first argument, makes this program such a child process.
const childArgument = "crowd"

// runChild runs this program again, as a child process.
func runChild(ctx context.Context, out any, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{childArgument}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("measure %v in a process of its own: %w\n%s", args, err, stderr.Bytes())
	}
	return json.Unmarshal(stdout.Bytes(), out)
}

// childMain is the child process: WHO COUNT HOME DIR IDLE.
func childMain(ctx context.Context, out io.Writer, args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("%s: want 5 arguments, got %q", childArgument, args)
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	idle, err := time.ParseDuration(args[4])
	if err != nil {
		return err
	}
	f, err := crowd(ctx, args[0], n, args[2], args[3], idle)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(f)
}

// crowd starts n capsules, calls each once (memory that was never touched is not
// resident), lets them idle for a while, and stops them.
func crowd(ctx context.Context, who string, n int, home, dir string, idle time.Duration) (f figures, err error) {
	empty, err := resident()
	if err != nil {
		return f, err
	}
	began := time.Now()
	call, stop, err := assemble(ctx, who, n, home, dir)
	if err != nil {
		return f, err
	}
	f.Start = float64(time.Since(began))
	if err := call(ctx); err != nil {
		return f, err
	}

	full, err := resident()
	if err != nil {
		return f, err
	}
	f.Memory = full - empty

	before, began := cpuTime(), time.Now()
	<-time.After(idle) // an idle period
	f.Idle = float64(cpuTime()-before) / float64(time.Since(began))

	began = time.Now()
	err = stop(ctx)
	f.Stop = float64(time.Since(began))
	return f, err
}

// readers, in the place of a contender, is our system without capsules and with
// subscriptions.
const readers = "readers"

// subscribe serves without capsules, and subscribes to n topics: half of the patterns end
// with a wildcard. call publishes one message to each.
func subscribe(ctx context.Context, n int, home string) (call, stop func(context.Context) error, err error) {
	s, err := serve(ctx, home, 0)
	if err != nil {
		return nil, nil, err
	}
	topic := func(n int) string { return fmt.Sprintf("topic%d.news", n) }
	var reading sync.WaitGroup
	read := make(chan error, n)
	for i := range n {
		pattern := topic(i)
		if i%2 == 0 {
			pattern = fmt.Sprintf("topic%d.*", i)
		}
		messages := s.Subscribe(ctx, pattern)
		reading.Go(func() {
			for _, err := range messages {
				read <- err
			}
		})
	}
	call = func(ctx context.Context) (err error) {
		for i := range n {
			err = errors.Join(err, s.Publish(ctx, topic(i), nil, nil), <-read)
		}
		return err
	}
	return call, func(context.Context) error {
		defer reading.Wait() // they end with Serve
		return s.stop()
	}, nil
}

// assemble creates n of the capsules in dir, all of the guest `fixed`; call calls each
// of them once.
func assemble(ctx context.Context, who string, n int, home, dir string) (call, stop func(context.Context) error, err error) {
	if who == readers {
		return subscribe(ctx, n, home)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	if len(entries) < n {
		return nil, nil, fmt.Errorf("%s has %d capsules, want %d", dir, len(entries), n)
	}
	if who == us {
		dirs := make([]string, n)
		for i, e := range entries[:n] {
			dirs[i] = filepath.Join(dir, e.Name())
		}
		s, err := serve(ctx, home, n, dirs...)
		if err != nil {
			return nil, nil, err
		}
		call = func(ctx context.Context) (err error) {
			for from := 0; from < n && err == nil; from += sameTopic {
				err = s.trigger(ctx, smallTopic(from/sameTopic), nil, min(sameTopic, n-from))
			}
			return err
		}
		return call, func(context.Context) error { return s.stop() }, nil
	}

	wasm, err := os.ReadFile(filepath.Join(dir, entries[0].Name(), "module.wasm"))
	if err != nil {
		return nil, nil, err
	}
	var c closers
	one, err := maker(ctx, &c, who, home, wasm)
	if err != nil {
		return nil, nil, err
	}
	calls := make([]caller, n)
	for i := range calls {
		var closeIt closer
		if calls[i], closeIt, err = one(ctx); err != nil {
			return nil, nil, errors.Join(err, c.close(ctx))
		}
		c.add(closeIt)
	}
	return func(ctx context.Context) error {
		for _, call := range calls {
			if _, err := call.invoke(ctx, []byte("null")); err != nil {
				return err
			}
		}
		return nil
	}, c.close, nil
}

// resident returns the resident memory of the process after a garbage collection.
func resident() (bytes float64, err error) {
	runtime.GC()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("read the resident memory: %w: this needs Linux", err)
	}
	var total, pages int
	if _, err := fmt.Sscan(string(text), &total, &pages); err != nil {
		return 0, fmt.Errorf("read the resident memory of %q: %w", text, err)
	}
	return float64(pages * os.Getpagesize()), nil
}

// cpuTime returns the processor time of the process, on all cores.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
