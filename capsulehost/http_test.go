package capsulehost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/egress"
)

// network is a real server, and what a guest may use to reach it.
type network struct {
	*httptest.Server
	http    *egress.Client
	entered chan struct{} // one element when a request hangs
	left    chan struct{} // one element when a request that hung has gone
}

// serve starts a server with a page for each way to answer.
func serve(t testing.TB) *network {
	t.Helper()
	n := &network{entered: make(chan struct{}, 8), left: make(chan struct{}, 8)}
	hang := func(q *http.Request) {
		n.entered <- struct{}{}
		<-q.Context().Done()
		n.left <- struct{}{}
	}
	pages := http.NewServeMux()
	pages.HandleFunc("/echo", func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		w.Header().Add("X-Twice", "first")
		w.Header().Add("X-Twice", "last")
		w.Header().Set("X-Bytes", "caf\xe9")
		w.Header().Set("Date", "today")
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "%s %s %q %s %d", q.Method, q.URL, body, q.Header.Get("X-Asked"), q.ContentLength)
	})
	pages.HandleFunc("/bytes", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0xff, 0, 0xfe}) })
	pages.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		for range 11 {
			if _, err := w.Write(bytes.Repeat([]byte{'x'}, 1<<20)); err != nil {
				return
			}
		}
	})
	pages.HandleFunc("/hang", func(_ http.ResponseWriter, q *http.Request) { hang(q) })
	pages.HandleFunc("/drip", func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.WriteString(w, `"drop"`)
		_ = http.NewResponseController(w).Flush()
		hang(q)
	})
	pages.HandleFunc("/cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	n.Server = httptest.NewServer(pages)
	n.http = egress.New(egress.Config{Hosts: []string{"127.0.0.1"}, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	t.Cleanup(func() {
		n.http.Close()
		n.Close()
	})
	return n
}

func TestHTTPRequest(t *testing.T) {
	n := serve(t)
	i := reach(t, &world{http: n.http})
	headers := `{"content-length":"LEN","content-type":"text/plain; charset=utf-8","date":"today","x-twice":"last"}`
	for _, tt := range []struct{ request, want string }{
		{`{"url":"URL/echo?a=1"}`, `{"status":201,"headers":HEADERS,"body":"GET /echo?a=1 \"\"  0"}`},
		{`{"url":"URL/echo","method":"post","body":"hé\"","headers":{"X-Asked":"yes","Content-Length":"9","Transfer-Encoding":"chunked"}}`, `{"status":201,"headers":HEADERS,"body":"POST /echo \"hé\\\"\" yes 4"}`},
		{`{"url":"URL/echo","body":null,"headers":{},"more":[1]}`, `{"status":201,"headers":HEADERS,"body":"GET /echo \"\"  0"}`},
		{`{"url":"URL/echo","method":"BREW"}`, `error: .*the method "BREW" is not one of GET POST PUT DELETE PATCH HEAD OPTIONS`},
		{`{"url":"URL/echo","headers":{"Host":"internal"}}`, `error: .*the header Host is "internal"`},
		{`{"url":"URL/echo","headers":{"a b":"c"}}`, `error: .*invalid header field name`},
		{`{"url":"URL/echo","headers":{"a":"b\r\nc"}}`, `error: .*invalid header field value`},
		{`{"url":"http://localhost/"}`, `error: .*the host "localhost" is not granted`},
		{`{"method":"GET"}`, "error: .*invalid http request: missing field `url`"},
		{`{"url":1}`, "error: .*invalid http request: field `url`"},
		{`{"url":"URL/echo","method":null}`, "error: .*invalid http request: field `method` is null"},
		{`[1]`, `error: .*invalid http request: it is not a JSON object`},
		{`{"url":"URL/bytes"}`, `error: .*the answer's body is not UTF-8`},
		{`{"url":"URL/large"}`, `error: .*the answer's body is over the limit of 10485760 bytes`},
		{`{"url":"URL/cut"}`, `error: .*EOF`},
	} {
		got := ask(t, i, "fetch", strings.ReplaceAll(tt.request, "URL", n.URL))
		if pattern, isError := strings.CutPrefix(tt.want, "error: .*"); isError {
			if !strings.HasPrefix(got, "error: ") || !strings.Contains(got, pattern) {
				t.Errorf("%s\n got %s\nwant %s", tt.request, got, tt.want)
			}
			i = reach(t, &world{http: n.http}) // it has trapped
			continue
		}
		var answer struct{ Body string }
		_ = json.Unmarshal([]byte(strings.TrimPrefix(got, "continue ")), &answer)
		want := strings.ReplaceAll(tt.want, "HEADERS", strings.ReplaceAll(headers, "LEN", fmt.Sprint(len(answer.Body))))
		if got != "continue "+want {
			t.Errorf("%s\n got %s\nwant %s", tt.request, got, want)
		}
	}
}

// Extism's own function returns the body, and its status and headers by two others.
func TestExtismHTTPRequest(t *testing.T) {
	n := serve(t)
	i := reach(t, &world{http: n.http})
	got := ask(t, i, "extism", `{"url":"`+n.URL+`/drop"}`)
	want := `continue {"status":404,"headers":{"content-length":"19",`
	if !strings.HasPrefix(got, want) || !strings.Contains(got, `"body":404 page not found`) {
		t.Errorf("got %s", got)
	}
	if got := ask(t, reach(t, &world{}), "extism", `{"url":"`+n.URL+`"}`); !strings.Contains(got, "no hosts are granted") {
		t.Errorf("not granted: %s", got)
	}
}

// start opens a stream and returns its handle.
func start(t testing.TB, i *Instance, url string) string {
	t.Helper()
	got := ask(t, i, "open", `{"url":"`+url+`"}`)
	var answer struct {
		Handle string
		Status int
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "continue ")), &answer); err != nil || answer.Status == 0 {
		t.Fatalf("%s: %v", got, err)
	}
	return `"` + answer.Handle + `"`
}

// A stream is read over several calls, in pieces of any bytes.
func TestHTTPStreams(t *testing.T) {
	n := serve(t)
	i := reach(t, &world{http: n.http})
	h := start(t, i, n.URL+"/bytes")
	if h != `"1"` {
		t.Errorf("the first handle is %s", h)
	}
	for _, want := range []string{"continue \xff\x00\xfe", "continue ", "continue "} {
		if got := ask(t, i, "next", h); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for range 2 {
		if got := ask(t, i, "close", h); got != "continue " {
			t.Errorf("close: %q", got)
		}
	}
	h = start(t, i, n.URL+"/large")
	size := 0
	for {
		got := strings.TrimPrefix(ask(t, i, "next", h), "continue ")
		if got == "" {
			break
		}
		size += len(got)
	}
	if size != 11<<20 {
		t.Errorf("%d bytes were read", size)
	}
	ask(t, i, "close", h)
	for range MaxHTTPStreams {
		h = start(t, i, n.URL+"/bytes")
	}
	if got := ask(t, i, "open", `{"url":"`+n.URL+`"}`); !strings.Contains(got, "4 streams are open") {
		t.Errorf("a fifth stream: %s", got)
	}
	i = reach(t, &world{http: n.http})
	if got := ask(t, i, "next", h); !strings.Contains(got, "no stream 6 is open") {
		t.Errorf("a stream of another instance: %s", got)
	}
	i = reach(t, &world{http: n.http})
	if got := ask(t, i, "next", `"x"`); !strings.Contains(got, `the handle "x" is not a number`) {
		t.Errorf("a bad handle: %s", got)
	}
}

// A call that waits for the network ends with its deadline and when it is cancelled, and
// closes its connection. So does the end of the instance.
func TestHTTPEndsWithItsCall(t *testing.T) {
	n := serve(t)
	for _, action := range []string{"fetch", "extism", "open", "next"} {
		for end, want := range map[string]Kind{"deadline": KindTimeout, "cancelled": KindCancelled} {
			i := reach(t, &world{http: n.http})
			payload := `{"url":"` + n.URL + `/hang"}`
			if action == "next" {
				payload = start(t, i, n.URL+"/drip")
				<-n.entered
				if got := ask(t, i, "next", payload); got != `continue "drop"` {
					t.Fatalf("the first piece: %q", got)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			if end == "deadline" {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
			}
			failed := make(chan error, 1)
			go func() { _, err := i.Invoke(ctx, action, []byte(payload)); failed <- err }()
			if action != "next" {
				<-n.entered
			}
			if end == "cancelled" {
				cancel()
			}
			err := <-failed
			cancel()
			if failure, ok := errors.AsType[*Failure](err); !ok || failure.Kind != want {
				t.Errorf("%s, %s: %v", action, end, err)
			}
			if action == "next" { // the call may have ended before it reached the stream
				_ = i.Close(t.Context())
			}
			<-n.left
		}
	}
	i := reach(t, &world{http: n.http})
	start(t, i, n.URL+"/drip")
	<-n.entered
	if err := i.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-n.left
}

// The bytes that a request moves are charged.
func TestHTTPReductions(t *testing.T) {
	n := serve(t)
	i := reach(t, &world{http: n.http})
	h := start(t, i, n.URL+"/large")
	before := i.Reductions()
	got := strings.TrimPrefix(ask(t, i, "next", h), "continue ")
	if spent := i.Reductions() - before; spent < uint64(len(got)/bytesPerReduction) {
		t.Errorf("reading %d bytes costs %d reductions", len(got), spent)
	}
}
