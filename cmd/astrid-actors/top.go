package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/control"
)

func newTop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "top",
		Short: "Watch the capsules at a terminal, and restart, reload or remove them",
		Long: `Watch all capsules on one screen, updated once a second and after each event.
Capsules in trouble are at the top, with the cause, the supervisor's decision, and
the next step. RESTARTS are the restarts spent of the budget; P50 and P99 are
quantiles of the duration of its calls, accurate within 2 %; RED/S are reductions a second.

  up, down, page up, page down, home, end   select a capsule
  enter   show its details: failures with their stacks, calls and log; esc to return
  /       show only capsules whose id or state contains a text; esc to show all
  s, S    sort by the next column, or the one before
  space   pause, and continue
  r       restart the selected capsule
  u       reload it: read its files again, and upgrade it if they have changed
  x       remove it
  q       quit

Directories that can't become a capsule are listed, too, with the reason; mend one, and
reload it. The groups of capsules are above the list, with their strategy and how many
deaths of the budget count now.

If the standard input or output is not a terminal, this is tree --watch.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(func(c *control.Client) error {
				tree, err := snapshot(cmd.Context(), c, 0)
				if err != nil {
					return err
				}
				if _, _, screen := size(a.stdout); !screen || !isTerminal(a.stdin) {
					return a.watchTree(cmd.Context(), c, tree)
				}
				return a.top(cmd.Context(), c, tree)
			})
		},
	}
}

// The messages of top's goroutines to its model.
type (
	// looked: the daemon has returned its state, or err if it did not answer.
	looked struct {
		tree    *messages.Tree
		details []*messages.CapsuleDetail
		err     error
		took    time.Duration
	}
	// lookDue: it is time for the next request, unless turn is out of date by now.
	lookDue struct{ turn int }
	// happened: events have arrived. restarts are those since the last happened.
	happened struct{ restarts []time.Time }
	// acted: the daemon has executed an action, or has returned err.
	acted struct {
		topAction
		changes []messages.Change // of a reload
		err     error
	}
)

// top shows the screen until the user leaves it.
func (a *app) top(ctx context.Context, c *control.Client, tree *messages.Tree) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	shown := &topProgram{ctx: ctx, client: c, model: newTopModel(a.painter(), tree, time.Now())}
	program := tea.NewProgram(shown, tea.WithContext(ctx), tea.WithInput(a.stdin), tea.WithOutput(a.stdout))
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		shown.follow(tree.Epoch, program.Send)
	}()
	_, err := program.Run()
	cancel()
	<-followed
	if err != nil && !errors.Is(err, tea.ErrInterrupted) {
		return fmt.Errorf("show the capsules: %w", err)
	}
	return nil
}

// topProgram connects the model to the terminal and to the daemon. The terminal library
// calls its methods on its goroutines: Update and View on one, in turns.
type topProgram struct {
	ctx    context.Context //nolint:containedctx // the library's calls have none
	client *control.Client
	model  *topModel

	looking bool          // a request is in progress
	soon    bool          // there was an event since it began, or the next request is due soon
	turn    int           // of the next request: a lookDue with another turn is out of date
	took    time.Duration // the duration of the last request
}

// Init sends the first request.
func (t *topProgram) Init() tea.Cmd { return t.look() }

// Update handles a message.
func (t *topProgram) Update(m tea.Msg) (tea.Model, tea.Cmd) {
	next := t.handle(m)
	return t, next
}

func (t *topProgram) handle(m tea.Msg) tea.Cmd {
	switch m := m.(type) {
	case tea.WindowSizeMsg:
		t.model.resize(m.Width, m.Height)
	case tea.KeyPressMsg:
		return t.act(t.model.press(m.String(), m.Key().Text))
	case tea.PasteMsg:
		t.model.typed(m.Content)
	case looked:
		t.looking, t.took = false, m.took
		t.model.look(m, time.Now())
		if t.soon {
			return t.lookAfter(settle)
		}
		return t.lookAfter(refreshEvery)
	case lookDue:
		if m.turn == t.turn {
			return t.look()
		}
	case happened:
		t.model.countRestarts(m.restarts)
		if !t.soon {
			t.soon = true
			if !t.looking {
				return t.lookAfter(settle)
			}
		}
	case acted:
		t.model.answered(m)
		if !t.soon && !t.looking {
			return t.look()
		}
	}
	return nil
}

// View draws the screen.
func (t *topProgram) View() tea.View {
	v := tea.NewView(t.model.screen())
	v.AltScreen = true
	v.WindowTitle = "astrid-actors top"
	return v
}

// act executes the action of a key.
func (t *topProgram) act(a topAction) tea.Cmd {
	switch a.do {
	case topQuit:
		return tea.Quit
	case topLook:
		return t.look()
	case topRestart:
		return func() tea.Msg { return acted{topAction: a, err: t.client.Restart(t.ctx, a.id)} }
	case topReload:
		return func() tea.Msg {
			changes, err := t.client.Reload(t.ctx, a.id)
			return acted{a, changes, err}
		}
	case topRemove:
		return func() tea.Msg { return acted{topAction: a, err: t.client.Uninstall(t.ctx, a.id)} }
	case topNothing:
	}
	return nil
}

// lookAfter schedules the next request. Requests use at most a tenth of the time.
func (t *topProgram) lookAfter(wait time.Duration) tea.Cmd {
	t.turn++
	turn := t.turn
	return tea.Tick(max(wait, 10*t.took), func(time.Time) tea.Msg { return lookDue{turn} })
}

// look requests the daemon's state, and the details of the capsules that the model
// wants.
func (t *topProgram) look() tea.Cmd {
	if t.looking {
		return nil
	}
	t.looking, t.soon = true, false
	t.turn++
	wanted := t.model.wanted()
	return func() tea.Msg {
		began := time.Now()
		var l looked
		l.tree, l.err = snapshot(t.ctx, t.client, 0)
		for _, id := range wanted {
			if l.err != nil {
				break
			}
			detail, err := t.client.Capsule(t.ctx, id)
			if err == nil { // otherwise it is shown without details
				l.details = append(l.details, detail)
			}
		}
		l.took = time.Since(began)
		return l
	}
}

// follow sends events to the model, at most once every settle, until the context ends.
// If the daemon is gone it tries again, and continues after the last event, or with all
// events of a daemon that was restarted.
func (t *topProgram) follow(epoch string, send func(tea.Msg)) {
	events := make(chan messages.Event)
	go func() {
		defer close(events)
		var since uint64
		for t.ctx.Err() == nil {
			_ = follow(t.ctx, t.client, &since, &epoch, func(e messages.Event) {
				select {
				case events <- e:
				case <-t.ctx.Done():
				}
			}) // the next request shows its error
			pause(t.ctx, refreshEvery)
		}
	}()
	var restarts []time.Time
	var due <-chan time.Time
	for {
		select {
		case e, more := <-events:
			if !more {
				return
			}
			if r, ok := e.Detail.(messages.RestartScheduled); ok && r.Attempt > 0 {
				restarts = append(restarts, e.At)
			}
			if due == nil {
				due = time.After(settle)
			}
		case <-due:
			send(happened{restarts})
			due, restarts = nil, nil
		}
	}
}

// pause waits for d, or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
