package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

const (
	// refreshEvery limits the age of the screen.
	refreshEvery = time.Second
	// settle is the wait after an event for others that follow at once.
	settle = 100 * time.Millisecond
)

// watchTree prints the tree again and again, until the daemon ends.
func (a *app) watchTree(ctx context.Context, c *control.Client, tree *messages.Tree) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	happened, over := make(chan struct{}, 1), make(chan error, 1)
	since, epoch := tree.Sequence, tree.Epoch
	go func() {
		over <- follow(ctx, c, &since, &epoch, func(e messages.Event) {
			if changesState(e) {
				poke(happened)
			}
		})
	}()
	var tick <-chan time.Time
	if _, _, screen := size(a.stdout); screen {
		ticker := time.NewTicker(refreshEvery)
		defer ticker.Stop()
		tick = ticker.C
	}
	for first := true; ; first = false {
		if err := a.showTree(tree, first); err != nil {
			return err
		}
		select {
		case err := <-over:
			return err
		case <-tick:
		case <-happened:
			select {
			case err := <-over:
				return err
			case <-time.After(settle):
			}
		}
		next, err := snapshot(ctx, c, 0)
		switch {
		case errors.Is(err, control.ErrNoDaemon):
			return <-over // it ends with the daemon
		case err != nil:
			return err
		}
		tree = next
	}
}

// showTree prints a tree and replaces the previous one.
func (a *app) showTree(tree *messages.Tree, first bool) error {
	text := treeText(tree, a.painter())
	width, height, ok := size(a.stdout)
	switch {
	case ok && first:
		return a.print("\x1b[2J" + fitted(text, width, height))
	case ok:
		return a.print(fitted(text, width, height))
	case first:
		return a.print(text)
	}
	return a.print("\n" + text)
}

// fitted returns text that fills a screen, and clears the rest of it.
func fitted(text string, width, height int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if most := max(1, height-1); len(lines) > most {
		lines = append(lines[:most-1], fmt.Sprintf("… lines below: %d", len(lines)-most+1))
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for _, line := range lines {
		b.WriteString(ansi.Truncate(line, width, "…") + "\x1b[m\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// size returns the columns and lines of the terminal w; ok is false if w is not a
// terminal, or a dumb one.
func size(w any) (width, height int, ok bool) {
	file, is := w.(interface{ Fd() uintptr })
	if !is || !isTerminal(w) || os.Getenv("TERM") == "dumb" {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(file.Fd()))
	return width, height, err == nil && width > 0 && height > 0
}

// follow calls on with every event after since in a journal, until the daemon ends (nil)
// or ctx does. It keeps since and epoch up to date, so that a further call continues
// from there, also with a daemon that was restarted.
func follow(ctx context.Context, c *control.Client, since *uint64, epoch *string, on func(messages.Event)) error {
	for e, err := range c.Events(ctx, control.EventsRequest{Since: *since, Epoch: *epoch, Follow: true}) {
		if err != nil {
			return err
		}
		if changed, ok := e.Detail.(messages.EpochChanged); ok {
			*epoch = changed.Epoch
		}
		*since = e.Sequence
		on(e)
	}
	return nil
}

// changesState reports whether an event changes the text of the tree.
func changesState(e messages.Event) bool {
	switch e.Detail.(type) {
	case messages.TriggerAnswered, messages.LogSuppressed, messages.DeadLetter, messages.ApprovalRequested, messages.ApprovalDecided:
		return false
	}
	return true
}

// poke wakes the reader of c, which has room for one value.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
