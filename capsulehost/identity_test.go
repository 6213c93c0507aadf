package capsulehost

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// people is an Identities with one user, Ada.
type people struct{ err error }

const ada = "8c6a5c1e-4f0f-4c55-9d8a-0d7f6f1b2a3c"

func (p people) Resolve(_ context.Context, platform, account string) (*User, error) {
	if account == "nobody" {
		return nil, p.err
	}
	name := platform + " \"Ada\""
	return &User{ID: ada, Name: &name}, p.err
}

func (p people) Link(_ context.Context, platform, account, user, method string) (IdentityLink, error) {
	return IdentityLink{platform, account, user, time.Unix(1_772_323_200, 0), method}, p.err
}

func (p people) Unlink(context.Context, string, string) (bool, error) { return true, p.err }

func (p people) CreateUser(_ context.Context, name *string) (string, error) {
	if name == nil {
		return "unnamed", p.err
	}
	return *name, p.err
}

func (p people) Links(_ context.Context, user string) ([]IdentityLink, error) {
	return []IdentityLink{{"p", "1", user, time.Unix(0, 0), "m"}, {"p", "2", user, time.Unix(0, 0), "m"}}, p.err
}

func TestIdentityCalls(t *testing.T) {
	i := reach(t, &world{identities: people{}})
	refused := reach(t, &world{identities: people{errors.New("no")}})
	for _, tt := range []struct{ action, request, want string }{
		{"resolve", `{"platform":"p","platform_user_id":"1"}`, `{"found":true,"user_id":"` + ada + `","display_name":"p \"Ada\""}`},
		{"resolve", `{"platform":"p","platform_user_id":"nobody"}`, `{"found":false}`},
		{"link", `{"platform":"p","platform_user_id":"1","astrid_user_id":"` + strings.ToUpper(ada) + `","method":"m"}`, `{"ok":true,"link":{"platform":"p","platform_user_id":"1","astrid_user_id":"` + ada + `","linked_at":"2026-03-01T00:00:00+00:00","method":"m"}}`},
		{"link", `{"platform":"p","platform_user_id":"1","astrid_user_id":"x","method":"m"}`, `{"ok":false,"error":"invalid UUID: astrid_user_id is not one"}`},
		{"unlink", `{"platform":"p","platform_user_id":"1"}`, `{"ok":true,"removed":true}`},
		{"create", `{"display_name":"Bob"}`, `{"ok":true,"user_id":"Bob"}`},
		{"create", `{"display_name":null}`, `{"ok":true,"user_id":"unnamed"}`},
		{"create", `{}`, `{"ok":true,"user_id":"unnamed"}`},
		{"links", `{"astrid_user_id":"` + ada + `"}`, `{"ok":true,"links":[{"platform":"p","platform_user_id":"1","astrid_user_id":"` + ada + `","linked_at":"1970-01-01T00:00:00+00:00","method":"m"},{"platform":"p","platform_user_id":"2","astrid_user_id":"` + ada + `","linked_at":"1970-01-01T00:00:00+00:00","method":"m"}]}`},
	} {
		if got := ask(t, i, tt.action, tt.request); got != "continue "+tt.want {
			t.Errorf("%s %s:\n got %s\nwant %s", tt.action, tt.request, got, tt.want)
		}
		got := ask(t, refused, tt.action, tt.request)
		if want := `"error":"`; !strings.Contains(got, want) || strings.Contains(got, "true") {
			t.Errorf("%s, refused: %s", tt.action, got)
		}
	}
	if got := ask(t, reach(t, &world{}), "unlink", `{"platform":"p","platform_user_id":"1"}`); got != `continue {"ok":false,"error":"`+errNoIdentities.Error()+`"}` {
		t.Errorf("not granted: %s", got)
	}
	for action, request := range map[string]string{
		"resolve": `{"platform":"p"}`, "link": `{`, "unlink": `1`, "create": `{"display_name":1}`, "links": `{"astrid_user_id":null}`,
	} {
		if got := ask(t, reach(t, &world{identities: people{}}), action, request); !strings.HasPrefix(got, "error: ") || !strings.Contains(got, "invalid ") {
			t.Errorf("%s %s: %s", action, request, got)
		}
	}
}
