package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

// serve runs a supervisor and its control service until ctx ends. The supervisor ends
// first, so that waiting clients still receive an answer. serve calls ready once the
// first start of every capsule has a result, with a context that ends with the supervisor;
// until then it shows progress, if that is not nil.
func serve(ctx context.Context, cfg supervisor.Config, http httpOptions, progress *progress, ready func(context.Context, *supervisor.Supervisor)) error {
	sup, err := supervisor.New(cfg)
	if err != nil {
		if _, isTree := errors.AsType[*supervisor.TreeError](err); isTree {
			return err // it depends on the capsules that there are
		}
		return &failure{status: exitUsage, err: err}
	}
	listener, err := control.Listen(cfg.SocketPath)
	if err != nil {
		f := &failure{status: exitFailed, err: err}
		if errors.Is(err, control.ErrInUse) {
			f.hint = "`astrid-actors ps` shows what it runs; --socket or --home make room for a second one"
		}
		return f
	}
	cfg.Log.Info("listening", "socket", cfg.SocketPath)
	page, err := http.listen(ctx, cfg.Log)
	if err != nil {
		_ = listener.Close()
		return err
	}

	group, running := errgroup.WithContext(ctx)
	running, stopped := context.WithCancel(running)
	defer stopped()
	answering, stopAnswering := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAnswering()
	group.Go(func() error {
		defer stopAnswering()
		defer stopped() // it may also end by itself
		return sup.Serve(running)
	})
	group.Go(func() error { return control.Serve(answering, listener, sup, cfg.Log) })
	if page != nil {
		group.Go(func() error { return page.serve(answering, sup) })
	}
	group.Go(func() error {
		tellSystemd(running, sup, cfg.Log)
		return nil
	})
	starting, started := context.WithCancel(running)
	group.Go(func() error {
		progress.show(starting, sup)
		return nil
	})
	group.Go(func() error {
		defer started()
		if sup.AwaitStarted(running) == nil {
			started()
			ready(running, sup)
		}
		return nil
	})
	return withStateHint(group.Wait())
}

// withStateHint says what to do about a state that can't be opened.
func withStateHint(err error) error {
	switch {
	case errors.Is(err, store.ErrLocked):
		return &failure{status: exitFailed, err: err, hint: "only one daemon runs below a home; --home makes room for a second one"}
	case errors.Is(err, store.ErrDamaged):
		return &failure{status: exitFailed, err: err, hint: "`astrid-actors restore FILE` replaces it by a backup, and keeps it beside that; " +
			"without a backup, move it away to begin with nothing"}
	}
	return err
}

// narrowDir creates a directory that only this user may enter.
func narrowDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the socket's directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory
		return fmt.Errorf("close the socket's directory to others: %w", err)
	}
	return nil
}
