package web

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// actionTimeout limits how long a browser waits for a command. The command continues
// after it.
const actionTimeout = 30 * time.Second

// action is the command of a button, before and after it is executed.
type action struct {
	Verb, ID, Command, CSRF string
	// Means describes the effect of the command.
	Means string
	// Problem is the reason why the command failed.
	Problem string
}

// meaning describes the effect of a command, for a user who is about to give it.
func meaning(verb string) string {
	return map[string]string{
		"start":   "Its files are read again, and its restart budget is full.",
		"stop":    "Waiting calls are answered “unavailable”, the running one gets the stop time-out. It stays down until it is started.",
		"restart": "A new instance takes its place, with its files read again; waiting calls are served by it. It does not count against the restart budget, and fills it.",
		"kill":    "Its instance crashes now. That goes through supervision like any crash, and counts against the restart budget.",
	}[verb]
}

// confirm asks the user to confirm a command.
func (p *page) confirm(w http.ResponseWriter, r *http.Request) {
	if a, ok := p.action(w, r); ok {
		p.render(w, http.StatusOK, "confirm", a)
	}
}

// action reads the command from a request. If it is invalid, action answers the request
// and returns false.
func (p *page) action(w http.ResponseWriter, r *http.Request) (*action, bool) {
	verb, id := r.PathValue("verb"), r.PathValue("id")
	a := &action{Verb: verb, ID: id, Command: p.command(verb, id), CSRF: p.guard.secret, Means: meaning(verb)}
	switch {
	case a.Means == "":
		refuse(w, http.StatusNotFound, "there is no such command")
		return nil, false
	case !p.cfg.Actions:
		refuse(w, http.StatusForbidden, "this page only shows: its actions are not enabled (--http-actions)")
		return nil, false
	case p.watch.frame().byID[id] == nil:
		refuse(w, http.StatusNotFound, "there is no capsule "+text(id))
		return nil, false
	}
	return a, true
}

// act executes a command.
func (p *page) act(w http.ResponseWriter, r *http.Request) {
	a, ok := p.action(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
	defer cancel()
	do := map[string]func(context.Context, string) error{
		"start": p.supervisor.Start, "stop": p.supervisor.Stop, "restart": p.supervisor.Restart, "kill": p.supervisor.Kill,
	}[a.Verb]
	err := do(ctx, a.ID)
	p.watch.look() // so that the next page shows the result
	log := p.cfg.Log.With("command", a.Verb, "capsule", a.ID, "from", r.RemoteAddr)
	if err != nil {
		log = log.With("problem", err)
	}
	log.Info("a command from the page")
	if err != nil {
		a.Problem = err.Error()
		p.render(w, statusOf(err), "confirm", a)
		return
	}
	http.Redirect(w, r, "/capsules/"+a.ID, http.StatusSeeOther) //nolint:gosec // it is a capsule of ours
}

// statusOf returns the HTTP status for an error of the supervisor.
func statusOf(err error) int {
	switch {
	case errors.Is(err, supervisor.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, supervisor.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, supervisor.ErrRefused), errors.Is(err, supervisor.ErrNotUp):
		return http.StatusConflict
	case errors.Is(err, supervisor.ErrOverloaded), errors.Is(err, supervisor.ErrStopping), errors.Is(err, supervisor.ErrNotServing):
		return http.StatusServiceUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// triggerForm is the form for a trigger, with its reply.
type triggerForm struct {
	Topic, Payload, CSRF, Command string
	Topics                        []string // what to suggest
	Actions                       bool
	Reply                         *messages.Reply
	Took                          time.Duration
	Problem                       string
}

// topicsSuggested limits the topics that the form suggests.
const topicsSuggested = 500

// suggested returns topics that capsules listen to, sorted; of patterns the pattern.
func suggested(tree *messages.Tree) []string {
	seen := map[string]bool{}
	for _, c := range tree.Capsules {
		for _, i := range c.Interceptors {
			seen[i.Event] = true
		}
	}
	topics := slices.Sorted(maps.Keys(seen))
	return topics[:min(len(topics), topicsSuggested)]
}

// CommandLine returns the command that does the same.
func (f *triggerForm) CommandLine() string {
	if f.Topic == "" {
		return f.Command + " trigger TOPIC PAYLOAD"
	}
	line := f.Command + " trigger " + quoted(f.Topic)
	if f.Payload != "" {
		line += " " + quoted(f.Payload)
	}
	return line
}

// quoted quotes a word for a shell.
func quoted(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-/:", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// trigger sends a trigger, and shows its legs.
func (p *page) trigger(w http.ResponseWriter, r *http.Request) {
	if !p.cfg.Actions {
		refuse(w, http.StatusForbidden, "this page only shows: its actions are not enabled (--http-actions)")
		return
	}
	form := &triggerForm{
		Topic: strings.TrimSpace(r.PostFormValue("topic")), Payload: strings.TrimSpace(r.PostFormValue("payload")),
		CSRF: p.guard.secret, Actions: true, Command: p.cfg.Command,
	}
	began := time.Now()
	reply, err := p.supervisor.Trigger(r.Context(), supervisor.TriggerRequest{Topic: form.Topic, Payload: []byte(form.Payload)})
	form.Took, form.Reply = time.Since(began), reply
	status := http.StatusOK
	if err != nil {
		form.Problem, status = err.Error(), statusOf(err)
	}
	v := &view{Name: "trigger", Title: "Trigger", Frame: p.watch.fresh(), Data: form}
	form.Topics = suggested(v.Frame.tree)
	v.Parts = append(v.Parts, part{"stats", "stats", p.stats(v.Frame)})
	p.render(w, status, "layout", &shown{view: v, page: p, Stream: "/stream?view=trigger"})
}
