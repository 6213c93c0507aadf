package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/messages/messagesconnect"
)

func newTop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "top",
		Short: "Watch the capsules, and restart them, at a terminal",
		Long: `Watch all capsules on one screen, about once a second and at once when something
happens. What is in trouble stands on top, with why, what the supervisor has decided,
and what happens next. RESTARTS are those that are spent of the budget; P50 and P99
are how long half and 99 % of its calls took at most; RED/S are reductions a second.

  up, down, page up, page down, home, end   select a capsule
  enter   show it closely: its failures with their stacks, calls and log; esc to return
  /       show only capsules whose id or state contains a text; esc to show all
  s, S    sort by the next column, or the one before
  space   pause, and go on
  r       restart the selected capsule
  q       quit

Where the standard input or output is no terminal, it is tree --watch.` +
			exitStatus(exitDone, exitFailed, exitUsage, exitNoDaemon),
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(func(c messagesconnect.ControlClient) error {
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

// What top's goroutines tell its model.
type (
	// looked: the daemon was asked how all are; err says why it did not answer.
	looked struct {
		tree    *messages.Tree
		details []*messages.CapsuleDetail
		err     error
		took    time.Duration
	}
	// lookDue: it is time to ask again, unless the turn is another by now.
	lookDue struct{ turn int }
	// happened: there was an event. restarts are those since the last of these.
	happened struct{ restarts []time.Time }
	// restarted: the daemon has carried out a restart, or not.
	restarted struct {
		id  string
		err error
	}
)

// top shows the screen until the user leaves it.
func (a *app) top(ctx context.Context, c messagesconnect.ControlClient, tree *messages.Tree) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	shown := &topProgram{ctx: ctx, client: c, model: newTopModel(a.painter(), tree, time.Now())}
	program := tea.NewProgram(shown, tea.WithContext(ctx), tea.WithInput(a.stdin), tea.WithOutput(a.stdout))
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		shown.follow(program.Send)
	}()
	_, err := program.Run()
	cancel()
	<-followed
	if err != nil && !errors.Is(err, tea.ErrInterrupted) {
		return fmt.Errorf("show the capsules: %w", err)
	}
	return nil
}

// topProgram joins the model to the terminal and to the daemon. Its methods are
// called on the terminal library's goroutines: Update and View on one, in turns.
type topProgram struct {
	ctx    context.Context //nolint:containedctx // the library's calls have none
	client messagesconnect.ControlClient
	model  *topModel

	looking bool          // a look is under way
	soon    bool          // something has happened since it began, or the next one is soon
	turn    int           // of the next look; one that is due with another has been brought forward
	took    time.Duration // the last one
}

// Init begins to look.
func (t *topProgram) Init() tea.Cmd { return t.look() }

// Update takes what has happened.
func (t *topProgram) Update(m tea.Msg) (tea.Model, tea.Cmd) {
	next := t.take(m)
	return t, next
}

func (t *topProgram) take(m tea.Msg) tea.Cmd {
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
	case restarted:
		t.model.answered(m)
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

// act carries out what a key has asked for.
func (t *topProgram) act(a topAction) tea.Cmd {
	switch a.do {
	case topQuit:
		return tea.Quit
	case topLook:
		return t.look()
	case topRestart:
		return func() tea.Msg {
			_, err := t.client.Restart(t.ctx, connect.NewRequest(&messages.RestartCapsule{ID: a.id}))
			return restarted{a.id, err}
		}
	case topNothing:
	}
	return nil
}

// lookAfter plans the next look. At most a tenth of the time is spent on looking.
func (t *topProgram) lookAfter(wait time.Duration) tea.Cmd {
	t.turn++
	turn := t.turn
	return tea.Tick(max(wait, 10*t.took), func(time.Time) tea.Msg { return lookDue{turn} })
}

// look asks the daemon how all are, and how closely those that the model wants.
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
			detail, err := t.client.Capsule(t.ctx, connect.NewRequest(&messages.CapsuleRequest{Id: id}))
			if err == nil { // else it is shown without
				l.details = append(l.details, detail.Msg)
			}
		}
		l.took = time.Since(began)
		return l
	}
}

// follow tells the model of events, at most one every settle, until the context
// ends. Where the daemon has gone it tries again.
func (t *topProgram) follow(send func(tea.Msg)) {
	events := make(chan *messages.Event)
	go func() {
		defer close(events)
		for t.ctx.Err() == nil {
			_ = follow(t.ctx, t.client, 0, func(e *messages.Event) { // all: another daemon counts anew
				select {
				case events <- e:
				case <-t.ctx.Done():
				}
			}) // the next look says what is wrong
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
			if r := e.Detail.(messages.RestartScheduled); r.Attempt > 0 {
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
