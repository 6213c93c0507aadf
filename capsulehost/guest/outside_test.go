package guest_test

import (
	"io"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/guesttest"
)

// answers returns canned results by call, and records the calls.
func answers(t *testing.T, results map[string]string) *[]string {
	t.Helper()
	calls := &[]string{}
	guesttest.Outside(t, func(call string, arguments ...string) string {
		*calls = append(*calls, call+" "+strings.Join(arguments, " "))
		return results[call]
	})
	return calls
}

func TestFiles(t *testing.T) {
	calls := answers(t, map[string]string{
		"astrid_read_file": "\x00content", "astrid_fs_exists": "\x00true", "astrid_fs_readdir": "\x00[\"a\",\"b\"]",
		"astrid_fs_stat": `` + "\x00" + `{"isDir":true,"mtime":60,"size":7}`,
	})
	if b, err := guest.ReadFile("x"); string(b) != "content" || err != nil {
		t.Errorf("read: %q, %v", b, err)
	}
	if found, err := guest.FileExists("x"); !found || err != nil {
		t.Errorf("exists: %t, %v", found, err)
	}
	if names, err := guest.ReadDir("x"); len(names) != 2 || err != nil {
		t.Errorf("list: %v, %v", names, err)
	}
	if info, err := guest.Stat("x"); !info.IsDir || info.Size != 7 || info.ModTime.Unix() != 60 || err != nil {
		t.Errorf("stat: %+v, %v", info, err)
	}
	for _, err := range []error{guest.WriteFile("x", []byte("y")), guest.Mkdir("d"), guest.Remove("x")} {
		if err != nil {
			t.Error(err)
		}
	}
	if got := strings.Join((*calls)[4:], ","); got != "astrid_write_file x y,astrid_fs_mkdir d,astrid_fs_unlink x" {
		t.Errorf("calls: %s", got)
	}
	answers(t, map[string]string{"astrid_read_file": "\x01read \"x\": no", "astrid_fs_exists": "\x00"})
	if _, err := guest.ReadFile("x"); err == nil || err.Error() != `read "x": no` {
		t.Errorf("read: %v", err)
	}
	if found, err := guest.FileExists("x"); found || err != nil {
		t.Errorf("exists: %t, %v", found, err)
	}
	calls = answers(t, nil)
	long := strings.Repeat("p", 4097)
	for _, err := range []error{guest.WriteFile(long, nil), guest.WriteFile("x", make([]byte, 10<<20+1)), guest.Mkdir(long), guest.Remove(long)} {
		if err == nil {
			t.Error("what the host refuses was accepted")
		}
	}
	if _, err := guest.ReadFile(long); err == nil || len(*calls) > 0 {
		t.Errorf("a long path: %v, calls: %v", err, *calls)
	}
}

func TestHTTP(t *testing.T) {
	calls := answers(t, map[string]string{
		"astrid_http_request":      `{"status":200,"headers":{"a":"b"},"body":"c"}`,
		"astrid_http_stream_start": `{"handle":"7","status":206,"headers":{}}`,
	})
	r, err := guest.Fetch(guest.HTTPRequest{URL: "http://x/", Method: "POST", Body: "y"})
	if err != nil || r.Status != 200 || r.Header["a"] != "b" || r.Body != "c" {
		t.Errorf("fetch: %+v, %v", r, err)
	}
	s, err := guest.OpenStream(guest.HTTPRequest{URL: "http://x/"})
	if err != nil || s.Status != 206 {
		t.Fatalf("open: %+v, %v", s, err)
	}
	pieces := []string{"one ", "two", ""}
	guesttest.Outside(t, func(call string, arguments ...string) string {
		*calls = append(*calls, call+" "+arguments[0])
		if call == "astrid_http_stream_close" {
			return ""
		}
		p := pieces[0]
		pieces = pieces[1:]
		return p
	})
	if b, err := io.ReadAll(s); string(b) != "one two" || err != nil {
		t.Errorf("read: %q, %v", b, err)
	}
	_ = s.Close()
	if got := (*calls)[0]; got != `astrid_http_request {"url":"http://x/","method":"POST","body":"y"}` {
		t.Errorf("request: %s", got)
	}
	if got := (*calls)[len(*calls)-1]; got != "astrid_http_stream_close 7" {
		t.Errorf("close: %s", got)
	}
	if _, err := guest.Fetch(guest.HTTPRequest{URL: "http://x/", Body: strings.Repeat("x", 10<<20)}); err == nil {
		t.Error("a request over the limit was accepted")
	}
}

func TestIdentity(t *testing.T) {
	calls := answers(t, map[string]string{
		"astrid_identity_resolve":     `{"found":true,"user_id":"u","display_name":"Ada"}`,
		"astrid_identity_link":        `{"ok":true,"link":{"platform":"p","platform_user_id":"a","astrid_user_id":"u","linked_at":"2026-03-01T00:00:00+00:00","method":"m"}}`,
		"astrid_identity_unlink":      `{"ok":true,"removed":true}`,
		"astrid_identity_create_user": `{"ok":false,"error":"not granted"}`,
		"astrid_identity_list_links":  `{"ok":true,"links":[{"platform":"p"}]}`,
	})
	if u, found, err := guest.ResolveIdentity("p", "a"); u != (guest.User{ID: "u", Name: "Ada"}) || !found || err != nil {
		t.Errorf("resolve: %+v, %t, %v", u, found, err)
	}
	if l, err := guest.LinkIdentity("p", "a", "u", "m"); l.User != "u" || l.LinkedAt.IsZero() || err != nil {
		t.Errorf("link: %+v, %v", l, err)
	}
	if removed, err := guest.UnlinkIdentity("p", "a"); !removed || err != nil {
		t.Errorf("unlink: %t, %v", removed, err)
	}
	if _, err := guest.CreateUser(""); err == nil || err.Error() != "identity: not granted" {
		t.Errorf("create: %v", err)
	}
	if links, err := guest.IdentityLinks("u"); len(links) != 1 || err != nil {
		t.Errorf("links: %v, %v", links, err)
	}
	if got := (*calls)[3]; got != "astrid_identity_create_user {}" {
		t.Errorf("create: %s", got)
	}
}
