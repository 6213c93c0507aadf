package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// capsuleWatch reloads the daemon's capsules when their files change; nil does nothing.
type capsuleWatch struct{ files *fileWatch }

// startWatch begins to watch the files of the capsules in some directories, if --watch
// asks for that. No directories means those of places.
func (o *runOptions) startWatch(a *app, dirs []string, log *slog.Logger) (*capsuleWatch, error) {
	if !o.watch {
		return nil, nil
	}
	h, err := a.home()
	if err != nil {
		return nil, err
	}
	if len(dirs) == 0 {
		dirs = o.places(h)
	}
	const quiet = 150 * time.Millisecond // enough for `rm -r` and `cp -r` of a capsule
	files, err := watchFiles(quiet, func() (watched, error) { return capsuleFiles(h, home.Principal(o.principal), dirs), nil })
	if err != nil {
		return nil, &failure{status: exitFailed, err: err}
	}
	files.waits = func(file string) {
		log.Info("a file is still open for writing: the reload waits until it is closed", "file", file)
	}
	return &capsuleWatch{files}, nil
}

// end ends the watch.
func (w *capsuleWatch) end(log *slog.Logger) {
	if w == nil {
		return
	}
	if err := w.files.close(); err != nil {
		log.Warn("the watch of the capsules' files ended with an error", "err", err)
	}
}

// reload reloads the capsules each time that files have changed, until ctx ends.
func (w *capsuleWatch) reload(ctx context.Context, sup *supervisor.Supervisor, log *slog.Logger) {
	if w == nil {
		return
	}
	for {
		changed, err := w.files.next(ctx)
		if err == nil {
			log.Info("files of capsules have changed", "files", changed)
			_, err = sup.Reload(ctx) // its changes are events, which are logged
		}
		switch {
		case ctx.Err() != nil || errors.Is(err, supervisor.ErrStopping) || errors.Is(err, supervisor.ErrNotServing):
			return
		case err != nil && changed == nil:
			log.Error("the capsules' files are watched no more: `astrid-actors reload` looks at them", "err", err)
			return
		case err != nil:
			log.Error("the reload after a change failed", "err", err)
		}
	}
}

// places are the directories in which run looks for capsules.
func (o *runOptions) places(h home.Home) []string {
	if len(o.capsules) > 0 {
		return o.capsules
	}
	return []string{h.CapsulesDir(home.Principal(o.principal)), filepath.Join(".astrid", "capsules")}
}

// capsuleFiles are the files that decide what a capsule is: its manifest, its module, its
// hash and its environment. A module in the home has its hash as its name, and never
// changes.
func capsuleFiles(h home.Home, principal home.Principal, places []string) watched {
	var w watched
	add := func(dir string, names ...string) {
		w.dirs = append(w.dirs, dir)
		for _, name := range names {
			w.files = append(w.files, filepath.Join(dir, name))
		}
	}
	own := []string{manifest.FileName, manifest.MetaName, ".env.json"}
	for _, place := range places {
		add(place)
		entries, err := os.ReadDir(place)
		if err != nil {
			continue // it is missing, or no directory
		}
		for _, e := range entries { // one may become a capsule's
			dir := filepath.Join(place, e.Name())
			if info, err := os.Stat(dir); err == nil && info.IsDir() {
				add(dir, own...)
			}
		}
	}
	found := manifest.Discover(places, true)
	for _, r := range found.Rejected {
		add(r.Dir, own...)
	}
	for _, m := range found.Manifests {
		add(m.Dir, own...)
		env := h.EnvFile(principal, m.ID())
		add(filepath.Dir(env), filepath.Base(env))
		if len(m.Components) > 0 {
			module := filepath.Join(m.Dir, filepath.FromSlash(m.Components[0].File))
			add(filepath.Dir(module), filepath.Base(module))
		}
	}
	return w
}
