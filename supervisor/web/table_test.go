package web

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

func aFrame(capsules ...*messages.Capsule) *frame {
	f := &frame{
		tree: &messages.Tree{Capsules: capsules}, calls: map[string]float64{}, trouble: map[string]*attention{}, byID: map[string]*messages.Capsule{},
	}
	for _, c := range capsules {
		c.Path = "capsules/" + c.ID
		f.byID[c.ID] = c
	}
	return f
}

func TestSelect(t *testing.T) {
	f := aFrame(
		&messages.Capsule{ID: "c", State: ready, Queue: 3, Uptime: time.Second, ModuleHash: "beef"},
		&messages.Capsule{ID: "a", State: failed, LastFailure: &messages.Failure{Kind: "trap", Message: "Divide"}},
		&messages.Capsule{ID: "d", State: stopped, Version: "2.0.0"},
		&messages.Capsule{ID: "b", State: crashed, Queue: 7, Restarts: 2},
		&messages.Capsule{ID: "e", State: ready, Uptime: time.Hour},
	)
	f.trouble["a"], f.trouble["b"], f.trouble["e"] = &attention{}, &attention{}, &attention{}
	f.calls["d"] = 5
	for _, test := range []struct{ query, want string }{
		{"", "c a d b e"},
		{"sort=path", "a b c d e"},
		{"sort=path&dir=down", "e d c b a"},
		{"sort=state", "a b e c d"},
		{"sort=queue&dir=down", "b c a d e"},
		{"sort=uptime&dir=down", "e c a b d"},
		{"sort=rate&dir=down", "d a b c e"},
		{"sort=restarts&dir=down", "b a c d e"},
		{"sort=nonsense", "c a d b e"},
		{"state=ready", "c e"},
		{"state=trouble", "a b e"},
		{"state=nonsense", ""},
		{"q=DIVIDE", "a"},
		{"q=bee", "c"},
		{"q=2.0", "d"},
		{"q=capsules/b", "b"},
		{"q=crash", "b"},
		{"q=zzz", ""},
		{"page=9", "c a d b e"},
		{"page=-1", "c a d b e"},
	} {
		v, err := url.ParseQuery(test.query)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range readQuery(v).selectFrom(f).Capsules {
			got = append(got, c.ID)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s selects %v, want %s", test.query, got, test.want)
		}
	}
}

func TestPages(t *testing.T) {
	var capsules []*messages.Capsule
	for i := range 250 {
		capsules = append(capsules, &messages.Capsule{ID: fmt.Sprintf("c%03d", i), State: ready})
	}
	f := aFrame(capsules...)
	for _, test := range []struct{ page, from, to, pages int }{{1, 1, 100, 3}, {2, 101, 200, 3}, {3, 201, 250, 3}, {4, 201, 250, 3}} {
		s := query{Page: test.page}.selectFrom(f)
		if s.From != test.from || s.To != test.to || s.Pages != test.pages || s.Found != 250 || s.Capsules[0].ID != fmt.Sprintf("c%03d", test.from-1) {
			t.Errorf("page %d is %d to %d of %d on %d pages", test.page, s.From, s.To, s.Found, s.Pages)
		}
	}
	if s := (query{Filter: "none", Page: 2}).selectFrom(f); s.From != 0 || s.To != 0 || s.Pages != 1 {
		t.Errorf("nothing found is %+v", s)
	}
}

// TestAddress checks that a query survives the conversion to an address and back.
func TestAddress(t *testing.T) {
	for _, q := range []query{{Page: 1}, {Filter: `a&b=<c>"`, State: "ready", Sort: "p99", Down: true, Page: 7}} {
		v, err := url.ParseQuery(strings.TrimPrefix(q.Address(), "?"))
		if err != nil {
			t.Fatal(err)
		}
		if got := readQuery(v); got != q {
			t.Errorf("%+v came back as %+v", q, got)
		}
	}
	if got := (query{Filter: "x", Page: 3}).Address("page", "", "sort", "path"); got != "?q=x&sort=path" {
		t.Errorf("changed to %q", got)
	}
	keys := map[string]bool{}
	for _, c := range columns() {
		if keys[c.Key] || c.compare == nil {
			t.Errorf("column %q", c.Key)
		}
		keys[c.Key] = true
	}
	if !slices.Contains([]int{13}, len(keys)) {
		t.Errorf("%d columns", len(keys))
	}
}
