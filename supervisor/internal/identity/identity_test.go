package identity

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newBook returns a book in an empty store, and a user in it.
func newBook(t *testing.T) (b *Book, all capsulehost.Identities, user string) {
	t.Helper()
	b = New(store.NewMemory())
	all = b.For([]string{"admin"})
	name := "Ada"
	user, err := all.CreateUser(t.Context(), &name)
	if err != nil {
		t.Fatal(err)
	}
	return b, all, user
}

func TestLinks(t *testing.T) {
	_, all, ada := newBook(t)
	ctx := t.Context()
	if u, err := all.Resolve(ctx, "telegram", "7"); u != nil || err != nil {
		t.Errorf("before: %v, %v", u, err)
	}
	link, err := all.Link(ctx, " Telegram ", "7", ada, "code")
	if err != nil || link.Platform != "telegram" || link.Account != "7" || link.User != ada || link.Method != "code" || link.LinkedAt.IsZero() {
		t.Errorf("link: %+v, %v", link, err)
	}
	u, err := all.Resolve(ctx, "TELEGRAM", "7")
	if err != nil || u == nil || u.ID != ada || *u.Name != "Ada" {
		t.Errorf("resolve: %v, %v", u, err)
	}
	bob, err := all.CreateUser(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.Link(ctx, "telegram", "7", bob, "code"); err != nil { // it moves
		t.Fatal(err)
	}
	if u, err := all.Resolve(ctx, "telegram", "7"); err != nil || u.ID != bob || u.Name != nil {
		t.Errorf("moved: %v, %v", u, err)
	}
	if _, err := all.Link(ctx, "discord", "b", bob, "code"); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{ada: "", bob: "discord/b telegram/7"} {
		links, err := all.Links(ctx, user)
		var got []string
		for _, l := range links {
			got = append(got, l.Platform+"/"+l.Account)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("links: %v, %v, want %q", got, err, want)
		}
	}
	for _, want := range []bool{true, false} {
		if removed, err := all.Unlink(ctx, "telegram", "7"); removed != want || err != nil {
			t.Errorf("unlink: %t, %v", removed, err)
		}
	}
	if links, _ := all.Links(ctx, bob); len(links) != 1 {
		t.Errorf("after unlink: %v", links)
	}
}

// Each word of a manifest grants what it names and what is below it.
func TestGrants(t *testing.T) {
	b, _, ada := newBook(t)
	ctx := t.Context()
	for granted, want := range map[string]string{"": "", "resolve": "resolve", "link": "resolve link unlink links", "admin": "resolve link unlink links create", "Admin": ""} {
		ids := b.For(strings.Fields(granted))
		var allowed []string
		note := func(what string, err error) {
			if err == nil {
				allowed = append(allowed, what)
			}
		}
		_, err := ids.Resolve(ctx, "p", "a")
		note("resolve", err)
		_, err = ids.Link(ctx, "p", "a", ada, "m")
		note("link", err)
		_, err = ids.Unlink(ctx, "p", "a")
		note("unlink", err)
		_, err = ids.Links(ctx, ada)
		note("links", err)
		_, err = ids.CreateUser(ctx, nil)
		note("create", err)
		if got := strings.Join(allowed, " "); got != want {
			t.Errorf("identity = [%s] allows %q, want %q", granted, got, want)
		}
	}
}

func TestInvalid(t *testing.T) {
	_, all, ada := newBook(t)
	ctx := t.Context()
	long, slash := strings.Repeat("x", maxText+1), "a/b"
	for what, do := range map[string]func() error{
		"no platform": func() error { _, err := all.Resolve(ctx, " ", "a"); return err },
		"no account":  func() error { _, err := all.Resolve(ctx, "p", ""); return err },
		"slash":       func() error { _, err := all.Link(ctx, "p/q", "a", ada, "m"); return err },
		"zero byte":   func() error { _, err := all.Unlink(ctx, "p", "a\x00"); return err },
		"long":        func() error { _, err := all.Resolve(ctx, "p", long); return err },
		"no method":   func() error { _, err := all.Link(ctx, "p", "a", ada, ""); return err },
		"no such user": func() error {
			_, err := all.Link(ctx, "p", "a", "00000000-0000-0000-0000-000000000000", "m")
			return err
		},
		"name and slash": func() error { _, err := all.CreateUser(ctx, &slash); return err },
		"long name":      func() error { _, err := all.CreateUser(ctx, &long); return err },
	} {
		if do() == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

// Capsules that link the same account at once leave one link, with its index.
func TestConcurrentLinks(t *testing.T) {
	_, all, ada := newBook(t)
	bob, err := all.CreateUser(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			if _, err := all.Link(t.Context(), "p", "a", []string{ada, bob}[n%2], fmt.Sprint(n)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	u, err := all.Resolve(t.Context(), "p", "a")
	if err != nil {
		t.Fatal(err)
	}
	of, _ := all.Links(t.Context(), u.ID)
	other, _ := all.Links(t.Context(), map[string]string{ada: bob, bob: ada}[u.ID])
	if len(of) != 1 || len(other) != 0 {
		t.Errorf("the owner has %d links, the other %d", len(of), len(other))
	}
}
