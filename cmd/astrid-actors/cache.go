package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// cacheFlag adds --cache to a command that compiles modules.
func cacheFlag(flags *pflag.FlagSet, dir *string) {
	flags.StringVar(dir, "cache", "", "keep compiled modules in this `directory` (default <home>/cache)")
}

// cacheDir returns the directory of compiled modules, given the value of --cache.
func cacheDir(h home.Home, flag string) (string, error) {
	if flag == "" {
		return h.CacheDir(), nil
	}
	dir, err := filepath.Abs(flag)
	if err != nil {
		return "", fmt.Errorf("resolve --cache %q: %w", flag, err)
	}
	return dir, nil
}

// warnings returns a logger that prints a library's log as this command prints warnings:
// one line each, without a time.
func warnings(w io.Writer) *slog.Logger {
	return slog.New(warningHandler{Handler: slog.DiscardHandler, w: w})
}

type warningHandler struct {
	slog.Handler
	w io.Writer
}

func (warningHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

func (h warningHandler) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&line, "; %s: %v", a.Key, a.Value)
		return true
	})
	_, err := fmt.Fprintf(h.w, "warning: %s\n", printable(line.String()))
	return err
}
