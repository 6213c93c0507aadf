package web

import (
	"context"
	"errors"
	"net/http"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

// approvalsShown bounds the requests on the page.
const approvalsShown = 100

// askedRow is a request that waits for a person.
type askedRow struct {
	supervisor.Approval

	Actions bool
	CSRF    string
	Command string // answers it on the command line
}

// approvals shows the requests that wait.
func (p *page) approvals(v *view) {
	v.Title = "Approvals"
	waiting, _ := p.supervisor.Approvals() // none if it does not serve
	var rows []part
	for _, a := range waiting[:min(len(waiting), approvalsShown)] {
		rows = append(rows, part{"ask-" + a.ID, "asked", askedRow{a, p.cfg.Actions, p.guard.secret, p.cfg.Command}})
	}
	v.Lists = append(v.Lists, list{"asked", rows})
	v.Parts = append(v.Parts, part{"unasked", "unasked", len(waiting)})
}

// decisions are those that a button makes, by their names in the address.
func decisions(name string) (supervisor.Decision, bool) {
	d, ok := map[string]supervisor.Decision{
		"approve": supervisor.ApproveOnce, "session": supervisor.ApproveSession, "always": supervisor.ApproveAlways, "deny": supervisor.Deny,
	}[name]
	return d, ok
}

// decide answers a request that waits.
func (p *page) decide(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	d, ok := decisions(r.PathValue("decision"))
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, "there is no such decision")
		return
	case !p.cfg.Actions:
		refuse(w, http.StatusForbidden, "this page only shows: its actions are not enabled (--http-actions)")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
	defer cancel()
	err := p.supervisor.Decide(ctx, id, d)
	p.watch.look() // so that the next page shows the result
	log := p.cfg.Log.With("decision", string(d), "id", id, "from", r.RemoteAddr)
	if err != nil {
		log = log.With("problem", err)
	}
	log.Info("a decision from the page")
	switch {
	case errors.Is(err, supervisor.ErrNoApproval):
		refuse(w, http.StatusNotFound, "it waits no longer: it was answered, or nobody did in time")
	case err != nil:
		refuse(w, statusOf(err), err.Error())
	default:
		http.Redirect(w, r, "/approvals", http.StatusSeeOther)
	}
}
