package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shelf is a Files that records its calls, and answers with its error if there is one.
type shelf struct {
	calls []string
	err   error
	block bool // until the call ends
	size  int  // of what is read
}

func (s *shelf) called(ctx context.Context, call string) error {
	s.calls = append(s.calls, call)
	if s.block {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return s.err
}

func (s *shelf) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return []byte(strings.Repeat("x", s.size)), s.called(ctx, "read "+path)
}

func (s *shelf) WriteFile(ctx context.Context, path string, data []byte) error {
	return s.called(ctx, "write "+path+" "+string(data))
}

func (s *shelf) Exists(ctx context.Context, path string) (bool, error) {
	return path == "there", s.called(ctx, "exists "+path)
}

func (s *shelf) Stat(ctx context.Context, path string) (FileStat, error) {
	return FileStat{Size: 7, Dir: true, ModTime: time.Unix(1_772_323_200, 5)}, s.called(ctx, "stat "+path)
}

func (s *shelf) ReadDir(ctx context.Context, path string) ([]string, error) {
	return []string{"a\"b", "c\xff"}, s.called(ctx, "list "+path)
}

func (s *shelf) Mkdir(ctx context.Context, path string) error  { return s.called(ctx, "mkdir "+path) }
func (s *shelf) Remove(ctx context.Context, path string) error { return s.called(ctx, "remove "+path) }

// reach returns an instance of the capsule that makes the calls for files and HTTP.
func reach(t testing.TB, w *world) *Instance {
	t.Helper()
	return mustInstantiate(t, newHost(t, Config{}), fixture(t, "reach"), w)
}

// fileActions are the actions of the capsule, and whether the call has a status byte.
var fileActions = map[string]bool{"read": true, "exists": true, "stat": true, "list": true, "mkdir": false, "remove": false, "write": false}

func TestFileCalls(t *testing.T) {
	s := &shelf{size: 3}
	i := reach(t, &world{files: s})
	for _, tt := range []struct{ action, path, want string }{
		{"read", "cwd://x", "continue xxx"},
		{"exists", "there", "continue true"},
		{"exists", "gone", "continue "},
		{"stat", "cwd://x", `continue {"isDir":true,"mtime":1772323200,"size":7}`},
		{"list", "", `continue ["a\"b","c` + "\uFFFD" + `"]`},
		{"mkdir", "cwd://d", "continue "},
		{"remove", "cwd://d", "continue "},
		{"write", "cwd://d", "continue "},
	} {
		if got := ask(t, i, tt.action, `"`+tt.path+`"`); got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.action, tt.path, got, tt.want)
		}
	}
	want := []string{"read cwd://x", "exists there", "exists gone", "stat cwd://x", "list ", "mkdir cwd://d", "remove cwd://d", `write cwd://d {"written":true}`}
	if diff := cmp.Diff(want, s.calls); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// ask invokes an action, and returns its result as text.
func ask(t testing.TB, i *Instance, action, payload string) string {
	t.Helper()
	result, err := i.Invoke(t.Context(), action, []byte(payload))
	if err != nil {
		return "error: " + err.Error()
	}
	return [...]string{"continue ", "final ", "deny "}[result.Action] + string(result.Data)
}

// A call with a result reports its error with a status byte; one without traps. The same
// holds if no files are granted.
func TestFileErrors(t *testing.T) {
	for what, w := range map[string]*world{
		"the disk says no": {files: &shelf{err: errors.New("the disk says no")}},
		"neither fs_read":  {},
	} {
		for action, status := range fileActions {
			i := reach(t, w)
			got := ask(t, i, action, `"x"`)
			if status && (!strings.HasPrefix(got, "final ") || !strings.Contains(got, what)) {
				t.Errorf("%s: got %q, want a status with %q", action, got, what)
			}
			if !status && (!strings.HasPrefix(got, "error: ") || !strings.Contains(got, what)) {
				t.Errorf("%s: got %q, want a trap with %q", action, got, what)
			}
		}
	}
}

// A path of more than 4 KiB traps, before anybody is asked.
func TestFilePathLimit(t *testing.T) {
	s := &shelf{}
	for action := range fileActions {
		if got := ask(t, reach(t, &world{files: s}), action, `"`+strings.Repeat("p", maxPath)+`"`); strings.HasPrefix(got, "error") {
			t.Errorf("%s with a path of the limit: %s", action, got)
		}
		asked := len(s.calls)
		got := ask(t, reach(t, &world{files: s}), action, `"`+strings.Repeat("p", maxPath+1)+`"`)
		if !strings.Contains(got, "path of 4097 bytes is over the limit of 4096") || len(s.calls) != asked {
			t.Errorf("%s: %q, %d calls", action, got, len(s.calls)-asked)
		}
	}
}

// The bytes that a call moves are charged.
func TestFileReductions(t *testing.T) {
	spent := func(size int) uint64 {
		i := reach(t, &world{files: &shelf{size: size}})
		before := i.Reductions()
		if got := ask(t, i, "read", `"x"`); strings.HasPrefix(got, "error") {
			t.Fatal(got)
		}
		return i.Reductions() - before
	}
	if few, many := spent(0), spent(1<<20); many-few < 1<<20/bytesPerReduction {
		t.Errorf("reading a MiB costs %d reductions more than reading nothing", many-few)
	}
}

// A call that waits for the disk ends with its deadline, and when it is cancelled.
func TestFileCallsEndWithTheirCall(t *testing.T) {
	for action := range fileActions {
		for _, end := range []string{"deadline", "cancelled"} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if end == "cancelled" {
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(10*time.Millisecond, cancel)
			}
			_, err := reach(t, &world{files: &shelf{block: true}}).Invoke(ctx, action, []byte(`"x"`))
			cancel()
			failure, ok := errors.AsType[*Failure](err)
			if want := map[string]Kind{"deadline": KindTimeout, "cancelled": KindCancelled}[end]; !ok || failure.Kind != want {
				t.Errorf("%s, %s: %v, want %v", action, end, fmt.Sprint(err), want)
			}
		}
	}
}
