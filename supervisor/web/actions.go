package web

import (
	"cmp"
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
	verb
	Name, ID, Command, CSRF string
	// Form is the address that executes it, Place the page of what it is about.
	Form, Place string
	// Problem is the reason why the command failed.
	Problem string
	// Note is what the user should know about what was done.
	Note string
	// Changes and Settings are what a reload did; Done is true after one.
	Changes  []supervisor.Change
	Settings []supervisor.SettingChange
	Done     bool
}

// verb is what a command does.
type verb struct {
	// Means describes the effect, for a user who is about to give the command.
	Means string
	// Harms is true if callers may notice.
	Harms bool
	do    func(ctx context.Context, s *supervisor.Supervisor, id string) error
	// reload is used instead of do by commands that return what they have changed.
	reload bool
	// config reads the configuration again, before all capsules are.
	config bool
	// after is the page that follows; "" means that of the capsule.
	after string
}

// capsuleVerbs are the commands for one capsule.
var capsuleVerbs = map[string]verb{
	"start": {
		Means: "Its files are read again, and its restart budget is full.",
		do:    func(ctx context.Context, s *supervisor.Supervisor, id string) error { return s.Start(ctx, id) },
	},
	"stop": {
		Means: "Waiting calls are answered “unavailable”, the running one gets the stop time-out. It stays down until it is started.",
		Harms: true,
		do:    func(ctx context.Context, s *supervisor.Supervisor, id string) error { return s.Stop(ctx, id) },
	},
	"restart": {
		Means: "A new instance takes its place, with its files read again; waiting calls are served by it. It does not count against the restart budget, and fills it.",
		do:    func(ctx context.Context, s *supervisor.Supervisor, id string) error { return s.Restart(ctx, id) },
	},
	"kill": {
		Means: "Its instance crashes now. That goes through supervision like any crash, and counts against the restart budget.",
		Harms: true,
		do:    func(ctx context.Context, s *supervisor.Supervisor, id string) error { return s.Kill(ctx, id) },
	},
	"reload": {
		Means:  "Its directory is read again. If its manifest, module or configuration has changed, it is upgraded: the new version is prepared beside the running one and takes over between two calls. If it can’t, the running one goes on.",
		reload: true,
	},
	"remove": {
		Means: "It stops as by “stop”, and is taken out of the system. If it was installed, its directory is removed, too; other files stay, and a reload adds it again.",
		Harms: true, after: "/capsules",
		do: func(ctx context.Context, s *supervisor.Supervisor, id string) error { return s.Uninstall(ctx, id) },
	},
}

// groupVerbs are the commands for a group.
var groupVerbs = map[string]verb{
	"start": {
		Means: "Its capsules start, one after the other, and its budget is full.",
		do:    func(ctx context.Context, s *supervisor.Supervisor, id string) error { return s.Start(ctx, id) },
	},
	"stop": {
		Means: "Its capsules stop, the last one first. Waiting calls are answered “unavailable”. It stays down until it is started.",
		Harms: true,
		do:    func(ctx context.Context, s *supervisor.Supervisor, id string) error { return s.Stop(ctx, id) },
	},
	"restart": {
		Means: "Its capsules stop, the last one first, and start again in order; waiting calls are served afterwards. Its budget is full.",
		Harms: true,
		do:    func(ctx context.Context, s *supervisor.Supervisor, id string) error { return s.Restart(ctx, id) },
	},
}

// reloadAll is the command for all capsules.
var reloadAll = verb{
	Means:  "The capsule directories are read again: new capsules are added, those whose files have changed are upgraded, and those that are not there any more are removed. What has not changed goes on.",
	reload: true, after: "/capsules",
}

// reloadConfig is the command for the program's configuration.
var reloadConfig = verb{
	Means:  "The configuration is read again. What can change takes effect: capsules whose settings have changed are upgraded. The rest needs a new start, and is listed. Then all capsules are reloaded. With a mistake in the configuration nothing changes.",
	config: true, after: "/capsules",
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
	name, id := r.PathValue("verb"), r.PathValue("id")
	a := &action{Name: name, ID: id, Form: r.URL.Path, CSRF: p.guard.secret}
	var known, there bool
	what := "capsule"
	switch f := p.watch.frame(); {
	case r.URL.Path == "/reload/config":
		a.Name, a.verb, known, there = "reload --config", reloadConfig, true, true
	case id == "":
		a.Name, a.verb, known, there = "reload", reloadAll, true, true
	case strings.HasPrefix(r.URL.Path, "/groups/"):
		what = "group"
		a.verb, known = groupVerbs[name]
		a.Place, there = "/groups/"+id, f.groups[id] != nil
	default:
		a.verb, known = capsuleVerbs[name]
		a.Place, there = "/capsules/"+id, f.byID[id] != nil
	}
	a.Place, a.Command = cmp.Or(a.after, a.Place), p.command(a.Name, id)
	switch {
	case !known:
		refuse(w, http.StatusNotFound, "there is no such command")
		return nil, false
	case !p.cfg.Actions:
		refuse(w, http.StatusForbidden, "this page only shows: its actions are not enabled (--http-actions)")
		return nil, false
	case !there:
		refuse(w, http.StatusNotFound, "there is no "+what+" "+text(id))
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
	var err error
	switch {
	case a.config:
		a.Settings, a.Changes, err = p.supervisor.ReloadConfig(ctx)
		a.Done = err == nil
	case a.reload:
		var ids []string
		if a.ID != "" {
			ids = []string{a.ID}
		}
		a.Changes, err = p.supervisor.Reload(ctx, ids...)
		a.Done = err == nil
	default:
		err = a.do(ctx, p.supervisor, a.ID)
	}
	p.watch.look() // so that the next page shows the result
	log := p.cfg.Log.With("command", a.Name, "of", a.ID, "from", r.RemoteAddr)
	if err != nil {
		log = log.With("problem", err)
	}
	log.Info("a command from the page")
	switch {
	case err != nil:
		a.Problem = err.Error()
		p.render(w, statusOf(err), "confirm", a)
	case a.Done:
		p.render(w, http.StatusOK, "done", a)
	default:
		http.Redirect(w, r, a.Place, http.StatusSeeOther) //nolint:gosec // it is a page of ours
	}
}

// statusOf returns the HTTP status for an error of the supervisor.
func statusOf(err error) int {
	switch {
	case errors.Is(err, supervisor.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, supervisor.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, supervisor.ErrConfig), errors.Is(err, supervisor.ErrRefused), errors.Is(err, supervisor.ErrNotUp), errors.Is(err, supervisor.ErrUpgradeFailed):
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
	Trace                         *tracePicture // nil if it is not kept any longer
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
	if reply != nil {
		if t, err := p.supervisor.Trace(reply.Trace); err == nil {
			form.Trace = pictureOf(t)
		}
	}
	v := &view{Name: "trigger", Title: "Trigger", Frame: p.watch.fresh(), Data: form}
	form.Topics = suggested(v.Frame.tree)
	v.Parts = append(v.Parts, part{"stats", "stats", p.stats(v.Frame)})
	p.render(w, status, "layout", &shown{view: v, page: p, Stream: "/stream?view=trigger"})
}
