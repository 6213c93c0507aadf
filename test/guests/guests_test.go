package guests

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a HostAPI with one caller and one peer.
type world struct {
	config map[string]string
	caller *capsulehost.Caller
	now    time.Time // the clock is fixed; zero means the machine's

	lines  []string
	ready  int
	topics []string
	state  map[string]string
}

func (w *world) Log(level capsulehost.LogLevel, message string) {
	w.lines = append(w.lines, level.String()+" "+message)
}
func (w *world) Config(key string) string    { return w.config[key] }
func (w *world) Caller() *capsulehost.Caller { return w.caller }
func (w *world) Name() string                { return "guest" }
func (w *world) SignalReady()                { w.ready++ }
func (w *world) Services() *capsulehost.Services {
	return &capsulehost.Services{Peers: w, State: (*kept)(w)}
}

func (w *world) Now() time.Time {
	if w.now.IsZero() {
		return time.Now()
	}
	return w.now
}

func (w *world) TriggerHook(_ context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error) {
	w.topics = append(w.topics, topic+" "+string(payload))
	return []json.RawMessage{[]byte(`1`), []byte(`{"é":[null]}`)}, nil
}

func (w *world) CheckCapability(_ context.Context, source, capability string) bool {
	return source == session && capability == "allow_prompt_injection"
}

const session = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"

func newHost(t testing.TB) *capsulehost.Host {
	t.Helper()
	host, err := capsulehost.New(context.Background(), capsulehost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return host
}

// compile compiles the module in a file.
func compile(t testing.TB, host *capsulehost.Host, file string) *capsulehost.Module {
	t.Helper()
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	module, err := host.Compile(context.Background(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := module.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return module
}

// start creates an instance of a module.
func start(t testing.TB, module *capsulehost.Module, w capsulehost.HostAPI) *capsulehost.Instance {
	t.Helper()
	instance, err := module.Instantiate(context.Background(), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := instance.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return instance
}

// The guests in all languages do the same; see README.md.
func TestGuests(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	for directory, language := range map[string]string{"c": "C", "assemblyscript": "AssemblyScript", "rust": "Rust"} {
		t.Run(language, func(t *testing.T) {
			module := compile(t, host, filepath.Join(directory, directory+".wasm"))
			t.Run("seven", func(t *testing.T) { testSeven(t, module, language) })
			t.Run("answers", func(t *testing.T) { testAnswers(t, module) })
			t.Run("extism", func(t *testing.T) { testExtism(t, module) })
			t.Run("crash", func(t *testing.T) { testCrash(t, module, language) })
		})
	}
}

// testSeven makes all seven system calls, for one caller after another.
func testSeven(t *testing.T, module *capsulehost.Module, language string) {
	w := &world{
		config: map[string]string{"greeting": "grüß dich"},
		now:    time.UnixMilli(1_700_000_000_123),
	}
	guest := start(t, module, w)
	ada := "ada"
	for _, tt := range []struct {
		key, uuid string
		caller    *capsulehost.Caller
		want      string
	}{
		{"greeting", session, &capsulehost.Caller{Principal: &ada, SourceID: session, Timestamp: w.now},
			`{"config":"grüß dich","caller":{"principal":"ada","source_id":"` + session + `","timestamp":"2023-11-14T22:13:20.123+00:00"},
			"clock":1700000000123,"trigger":[1,{"é":[null]}],"capability":{"allowed":true}}`},
		{"missing", "no-uuid", nil,
			`{"config":"","caller":{},"clock":1700000000123,"trigger":[1,{"é":[null]}],"capability":{"allowed":false}}`},
	} {
		w.caller, w.lines, w.topics, w.ready = tt.caller, nil, nil, 0
		result, err := guest.Invoke(context.Background(), "seven", []byte(`"`+tt.key+" "+tt.uuid+` guests.ask"`))
		if err != nil {
			t.Fatal(err)
		}
		if result.Action != capsulehost.Continue {
			t.Errorf("action %d", result.Action)
		}
		if diff := cmp.Diff(decode(t, tt.want), decode(t, string(result.Data))); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if diff := cmp.Diff([]string{"WARN all seven from " + language}, w.lines); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if diff := cmp.Diff([]string{`guests.ask {"from":"` + language + `"}`}, w.topics); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if w.ready != 1 {
			t.Errorf("signalled ready %d times", w.ready)
		}
	}
}

// testAnswers tries each kind of answer; the instance stays usable after all of them.
func testAnswers(t *testing.T, module *capsulehost.Module) {
	guest := start(t, module, &world{})
	long := `"` + strings.Repeat("0123456789é", 10_000) + `"`
	for range 3 {
		for _, tt := range []struct {
			action, payload string
			want            capsulehost.Result
		}{
			{"echo", "", capsulehost.Result{Data: []byte{}}},
			{"echo", `{"a":"é"}`, capsulehost.Result{Data: []byte(`{"a":"é"}`)}},
			{"echo", long, capsulehost.Result{Data: []byte(long)}},
			{"deny", "null", capsulehost.Result{Action: capsulehost.Deny, Data: []byte("not today")}},
		} {
			got, err := guest.Invoke(context.Background(), tt.action, []byte(tt.payload))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", tt.action, diff)
			}
		}
		var failed *capsulehost.GuestError
		if _, err := guest.Invoke(context.Background(), "fail", []byte("null")); !errors.As(err, &failed) || !strings.Contains(failed.Text, "out of ink") {
			t.Errorf("fail: %v", err)
		}
		if _, err := guest.Invoke(context.Background(), "other", []byte("null")); !errors.As(err, &failed) || failed.Code != 2 {
			t.Errorf("an action that it does not have: %v", err)
		}
	}
}

// testExtism uses the PDK's own features: variables, configuration and the log.
func testExtism(t *testing.T, module *capsulehost.Module) {
	w := &world{config: map[string]string{"greeting": "hello"}}
	guest := start(t, module, w)
	for _, want := range []string{
		`{"config":"hello","count":1,"level":0}`,
		`{"config":"hello","count":2,"level":0}`, // a variable survives the call
	} {
		result, err := guest.Invoke(context.Background(), "extism", []byte("null"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(decode(t, want), decode(t, string(result.Data))); diff != "" || result.Action != capsulehost.Final {
			t.Errorf("action %d, -want +got\n%s", result.Action, diff)
		}
	}
	if diff := cmp.Diff([]string{"INFO by the PDK", "INFO by the PDK"}, w.lines); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// testCrash makes the guest die in the way of its language, and checks its last message
// if it has one.
func testCrash(t *testing.T, module *capsulehost.Module, language string) {
	_, err := start(t, module, &world{}).Invoke(context.Background(), "crash", []byte("null"))
	var failure *capsulehost.Failure
	if !errors.As(err, &failure) || failure.Kind != capsulehost.KindTrap {
		t.Errorf("got %v", err)
	}
	// Rust has no standard error for this target, and AssemblyScript sets the error.
	want := map[string]string{"Rust": "", "AssemblyScript": ": a bug in AssemblyScript"}
	if word, ok := want[language]; !ok && !strings.Contains(err.Error(), "; its last word: a bug in "+language) || !strings.Contains(err.Error(), word) {
		t.Errorf("got %v, want its last word", err)
	}
}

func decode(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}
