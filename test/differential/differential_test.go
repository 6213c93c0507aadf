package differential

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	reference = flag.String("reference", "", "the program of the directory reference, built; empty: compare with its kept answers")
	update    = flag.Bool("update", false, "write answers.txt")
)

const answersFile = "testdata/answers.txt"

// Both hosts give each guest the same answers, except where answers.txt says why not.
func TestAnswers(t *testing.T) {
	kept, err := os.ReadFile(answersFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, s := range scenes() {
		text.WriteString("# " + s.name + "\n")
		here := s.play(t, newHere)
		there := s.keptAnswers(string(kept))
		if *reference != "" {
			there = s.play(t, newReference)
		}
		for n, step := range s.steps {
			fmt.Fprintf(&text, "\n%s %.160s\n", step.action, step.payload)
			if here[n] == there[n] {
				fmt.Fprintf(&text, "    both       %s\n", here[n])
				if step.why != "" {
					t.Errorf("%s: %s %s: a reason is given for a difference, and there is none", s.name, step.action, step.payload)
				}
				continue
			}
			fmt.Fprintf(&text, "    reference  %s\n    here       %s\n    why        %s\n", there[n], here[n], step.why)
			if step.why == "" {
				t.Errorf("%s: %s %s differs without a reason:\nreference: %s\nhere:      %s", s.name, step.action, step.payload, there[n], here[n])
			}
		}
		text.WriteString("\n")
	}
	if *update {
		if err := os.WriteFile(answersFile, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(kept), text.String()); diff != "" {
		t.Errorf("answers.txt differs (-kept +now):\n%s", diff)
	}
}

// keptAnswers returns the reference's answers as they are kept, one for each step.
func (s *scene) keptAnswers(text string) []string {
	answers := make([]string, len(s.steps))
	_, text, _ = strings.Cut(text, "# "+s.name+"\n")
	text, _, _ = strings.Cut(text, "\n# ")
	n := 0
	for line := range strings.Lines(text) {
		for _, word := range []string{"    both       ", "    reference  "} {
			if answer, ok := strings.CutPrefix(line, word); ok && n < len(answers) {
				answers[n] = strings.TrimSuffix(answer, "\n")
				n++
			}
		}
	}
	return answers
}

// host runs one capsule.
type host interface {
	// call makes a call, and returns what the guest answers.
	call(action, payload string) string
	close()
}

// stage is what a host gets: directories of its own.
type stage struct {
	scene                    *scene
	home, workspace, capsule string
}

// play makes the calls of a scene in a new host, and returns the answers.
func (s *scene) play(t *testing.T, open func(*testing.T, *stage) host) []string {
	t.Helper()
	dir, err := os.MkdirTemp("", "d") //nolint:usetesting // the path of a socket has at most 103 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	on := &stage{s, filepath.Join(dir, "home"), filepath.Join(dir, "workspace"), filepath.Join(dir, s.id)}
	for _, made := range []string{filepath.Join(on.home, "run"), filepath.Join(on.home, "home", "default"), filepath.Join(on.workspace, "sub"), on.capsule} {
		if err := os.MkdirAll(made, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	wasm, err := os.ReadFile(s.module)
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		filepath.Join(on.workspace, "seen.json"): `{"seen":1}`, filepath.Join(on.workspace, "sub", "one"): "1", filepath.Join(dir, "beside"): "2",
		filepath.Join(on.capsule, s.id+".wasm"): string(wasm), filepath.Join(on.capsule, "Capsule.toml"): s.manifest(),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(serve))
	defer server.Close()
	h := open(t, on)
	defer h.close()
	answers := make([]string, len(s.steps))
	for n, step := range s.steps {
		var client chan error
		if step.client {
			client = make(chan error, 1)
			go func() { client <- greet(filepath.Join(on.home, "run")) }()
		}
		answer := h.call(step.action, strings.ReplaceAll(step.payload, "SERVER", server.URL))
		if client != nil {
			if err := <-client; err != nil {
				t.Errorf("%s: the client of %s: %v", s.name, step.action, err)
			}
		}
		answers[n] = plain(strings.NewReplacer(server.URL, "SERVER", dir, "DIR").Replace(answer))
	}
	return answers
}

// serve is the server that capsules make requests to.
func serve(w http.ResponseWriter, r *http.Request) {
	w.Header()["Date"] = nil
	switch r.URL.Path {
	case "/redirect":
		http.Redirect(w, r, "/hello", http.StatusFound)
	case "/hello":
		_, _ = fmt.Fprintf(w, `{"method":%q,"x":%q}`, r.Method, r.Header.Get("X-Test"))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

var (
	anyUUID  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	anyTime  = regexp.MustCompile(`\b1[0-9]{9,12}\b`)
	anyError = regexp.MustCompile(`"error":"([^"\\]|\\.)*"`)
)

// plain returns an answer without what differs from run to run, or is each host's own: ids,
// times, the texts of errors, and orders, which the reference takes from hash tables.
func plain(answer string) string {
	var value any
	if json.Unmarshal([]byte(answer), &value) == nil {
		ordered, err := json.Marshal(inOrder(value))
		if err == nil {
			answer = string(ordered)
		}
	}
	answer = anyTime.ReplaceAllString(anyUUID.ReplaceAllString(answer, "UUID"), "TIME")
	return strings.ReplaceAll(anyError.ReplaceAllString(answer, `"error":TEXT`), "\n", " ")
}

// inOrder sorts the lists of texts in a JSON value.
func inOrder(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			v[key] = inOrder(inner)
		}
	case []any:
		texts := 0
		for n, inner := range v {
			v[n] = inOrder(inner)
			if _, ok := inner.(string); ok {
				texts++
			}
		}
		if texts == len(v) {
			slices.SortFunc(v, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
	return value
}
