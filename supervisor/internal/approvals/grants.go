package approvals

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

const prefix = "approval/"

// maxGrants is how many decisions are remembered for one capsule and principal.
const maxGrants = 1000

// stored is a grant in the store, whose key has the rest.
type stored struct {
	Action   string    `json:"action"`
	Resource string    `json:"resource"`
	Decided  time.Time `json:"decided"`
}

// covers reports whether a decision that is remembered covers a request: one of the same
// capsule, principal and action, for the resource that was approved. If that is a command
// line that begins with the action, so may the request's be: "git push" covers "git push
// origin main".
func covers(g, r *messages.Approval) bool {
	return g.Capsule == r.Capsule && g.Principal == r.Principal && g.Action == r.Action &&
		(g.Resource == r.Resource || isCommand(g.Action, g.Resource) && isCommand(r.Action, r.Resource))
}

// isCommand reports whether a resource is one command line that begins with the action.
// One with operators of a shell could be several.
func isCommand(action, resource string) bool {
	return strings.HasPrefix(resource, action+" ") && !strings.ContainsAny(resource, ";&|$`<>()\n")
}

// covered reports whether a decision that is remembered approves a request.
func (d *Desk) covered(ctx context.Context, r *messages.Approval) (bool, error) {
	isCovered := func(g messages.Approval) bool { return covers(&g, r) }
	if slices.ContainsFunc(d.ofSession(), isCovered) {
		return true, nil
	}
	kept, err := d.kept(ctx, prefix+r.Principal+"/"+r.Capsule+"/")
	return slices.ContainsFunc(kept, isCovered), err
}

func (d *Desk) ofSession() []messages.Approval {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.session)
}

// Grants returns the decisions that are remembered: those of the session, then the durable
// ones, ordered by principal and capsule.
func (d *Desk) Grants(ctx context.Context) ([]messages.Approval, error) {
	kept, err := d.kept(ctx, prefix)
	return append(d.ofSession(), kept...), err
}

// kept returns the durable grants whose keys have a prefix.
func (d *Desk) kept(ctx context.Context, prefixed string) ([]messages.Approval, error) {
	entries, err := d.cfg.Store.List(ctx, store.Range{Prefix: prefixed})
	if err != nil {
		return nil, fmt.Errorf("read the approvals that are remembered: %w", err)
	}
	grants := make([]messages.Approval, 0, len(entries))
	for _, e := range entries {
		parts := strings.Split(strings.TrimPrefix(e.Key, prefix), "/")
		var s stored
		if err := json.Unmarshal(e.Value, &s); err != nil || len(parts) != 3 {
			return nil, fmt.Errorf("read the approvals that are remembered: key %q is damaged", e.Key)
		}
		grants = append(grants, messages.Approval{
			ID: parts[2], Principal: parts[0], Capsule: parts[1], Action: s.Action, Resource: s.Resource, Asked: s.Decided,
			Decision: string(Always),
		})
	}
	return grants, nil
}

// remember keeps a decision, if it is one for later.
func (d *Desk) remember(ctx context.Context, r *messages.Approval, decision Decision) error {
	if decision != Session && decision != Always {
		return nil
	}
	g := messages.Approval{
		ID: grantID(r), Capsule: r.Capsule, Principal: r.Principal, Action: r.Action, Resource: r.Resource,
		Asked: time.Now().UTC(), Decision: string(decision),
	}
	if decision == Session {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.session = slices.DeleteFunc(d.session, func(old messages.Approval) bool { return old.ID == g.ID })
		if len(d.session) >= maxGrants {
			d.session = d.session[1:] // the oldest is asked about again
		}
		d.session = append(d.session, g)
		return nil
	}
	of := prefix + g.Principal + "/" + g.Capsule + "/"
	others, err := d.cfg.Store.List(ctx, store.Range{Prefix: of, Limit: maxGrants, KeysOnly: true})
	if err != nil {
		return err
	}
	if len(others) >= maxGrants {
		return fmt.Errorf("%d approvals are remembered for capsule %q, which is the limit: take some back with deny", maxGrants, g.Capsule)
	}
	text, err := json.Marshal(stored{g.Action, g.Resource, g.Asked})
	if err == nil {
		_, err = d.cfg.Store.Txn(ctx, store.Fence{}, nil, []store.Write{store.Put(of+g.ID, text)})
	}
	return err
}

// grantID is the same for the same capsule, principal, action and resource.
func grantID(r *messages.Approval) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{r.Principal, r.Capsule, r.Action, r.Resource}, "\x00")))
	return hex.EncodeToString(sum[:4])
}

// forget takes back the decisions that are remembered under an id.
func (d *Desk) forget(ctx context.Context, id string) error {
	d.mu.Lock()
	n := len(d.session)
	d.session = slices.DeleteFunc(d.session, func(g messages.Approval) bool { return g.ID == id })
	found := len(d.session) < n
	d.mu.Unlock()
	kept, err := d.kept(ctx, prefix)
	if err != nil {
		return err
	}
	var writes []store.Write
	for _, g := range kept {
		if g.ID == id {
			writes = append(writes, store.Delete(prefix+g.Principal+"/"+g.Capsule+"/"+g.ID))
		}
	}
	if len(writes) > 0 {
		_, err = d.cfg.Store.Txn(ctx, store.Fence{}, nil, writes)
	} else if !found {
		return ErrNotFound
	}
	return err
}
