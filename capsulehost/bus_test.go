package capsulehost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// busWorld is a world with a bus, which records what it is asked.
type busWorld struct {
	world
	publish, subscribe []string
	asked              []string
	batch              Batch
	handles            []InterceptorHandle
	receive            func(ctx context.Context)
	refusal            error
}

func (w *busWorld) Services() *Services                   { return &Services{Bus: w} }
func (w *busWorld) Grants() (publish, subscribe []string) { return w.publish, w.subscribe }
func (w *busWorld) Interceptors() []InterceptorHandle     { return w.handles }

func (w *busWorld) record(format string, args ...any) {
	w.asked = append(w.asked, fmt.Sprintf(format, args...))
}

func (w *busWorld) Publish(_ context.Context, topic string, p Payload) error {
	w.record("publish %s %s", topic, p.Bytes())
	return w.refusal
}

func (w *busWorld) Subscribe(pattern string) (uint64, error) {
	w.record("subscribe %s", pattern)
	return uint64(len(w.asked)), w.refusal
}

func (w *busWorld) Unsubscribe(handle uint64) error {
	w.record("unsubscribe %d", handle)
	return w.refusal
}

func (w *busWorld) Receive(ctx context.Context, handle uint64, wait time.Duration) (Batch, error) {
	w.record("receive %d %v", handle, wait)
	if w.receive != nil {
		w.receive(ctx)
	}
	return w.batch, w.refusal
}

// busDriver is a module that exports the calls of the bus, and what a test needs to pass
// it blocks.
func busDriver() []byte {
	m := &wasmModule{}
	var bodies []func()
	export := func(module, name string, params, results []api.ValueType) {
		f := m.imported(module, name, params, results)
		bodies = append(bodies, func() {
			var body []byte
			for n := range params {
				body = append(append(body, 0x20), leb(n)...) // local.get
			}
			m.function(name, params, results, append(append(body, 0x10), leb(f)...)...) // call
		})
	}
	export(envModuleName, "alloc", []api.ValueType{i64}, []api.ValueType{i64})
	export(envModuleName, "length", []api.ValueType{i64}, []api.ValueType{i64})
	export(envModuleName, "load_u8", []api.ValueType{i64}, []api.ValueType{i32})
	export(envModuleName, "store_u8", []api.ValueType{i64, i32}, nil)
	for _, f := range busCalls {
		export(userModuleName, f.name, f.params, f.results)
	}
	for _, body := range bodies {
		body()
	}
	m.memory(1)
	return m.bytes()
}

// onBus returns a driver of the bus with a function that calls one, with texts for
// arguments, and returns the text of its result.
func onBus(t testing.TB, api HostAPI) func(name string, arguments ...string) (string, error) {
	t.Helper()
	i := mustInstantiate(t, newHost(t, Config{}), busDriver(), api)
	d := &driven{Instance: i, t: t}
	if err := i.kernel.Reset(nil); err != nil {
		t.Fatal(err)
	}
	return func(name string, arguments ...string) (string, error) {
		t.Helper()
		var given []uint64
		for _, text := range arguments {
			offset, err := i.kernel.Store([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			given = append(given, offset)
		}
		i.lost = nil
		p, err := d.try(name, given...)
		if err != nil || p == 0 {
			return "", err
		}
		n, _ := i.kernel.Length(p)
		return string(i.kernel.Bytes(p, n)), nil
	}
}

// Every call of the bus with every bad input: which one traps, and with which reason.
func TestBusCalls(t *testing.T) {
	long := strings.Repeat("t", 257)
	at := time.Date(2026, 1, 2, 3, 4, 5, 120_000_000, time.UTC)
	payload, err := ParsePayload([]byte(`{"n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	waiting := Batch{Dropped: 1, Lagged: 2, Messages: []*Message{
		{Topic: "a.b", Payload: payload, SourceID: "s", Timestamp: at, Sequence: 7, Principal: "ann"},
		{Topic: "c", Payload: payload, SourceID: "s", Timestamp: at, Sequence: 8},
	}}
	for _, tt := range []struct {
		name      string
		call      string
		arguments []string
		answer    string
		asked     string
		wrong     string // part of the trap's reason
	}{
		{"publish", "ipc_publish", []string{"a.b", ` {"b":1,"a":2} `}, "", `publish a.b {"a":2,"b":1}`, ""},
		{"publish, by a pattern", "ipc_publish", []string{"x.y", `1`}, "", `publish x.y 1`, ""},
		{"publish, 8 segments", "ipc_publish", []string{"1.2.3.4.5.6.7.8", `1`}, "", `publish 1.2.3.4.5.6.7.8 1`, ""},
		{"publish, not granted", "ipc_publish", []string{"a.c", `1`}, "", "", `astrid_ipc_publish: may not publish to "a.c": the manifest's ` + "`ipc_publish` grants"},
		{"publish, deeper than granted", "ipc_publish", []string{"x.y.z", `1`}, "", "", "may not publish"},
		{"publish, topic too long", "ipc_publish", []string{long, `1`}, "", "", "topic of 257 bytes is over the limit of 256"},
		{"publish, 9 segments", "ipc_publish", []string{"1.2.3.4.5.6.7.8.9", `1`}, "", "", "has 9 segments, over the limit of 8"},
		{"publish, empty segment", "ipc_publish", []string{"a..b", `1`}, "", "", `topic "a..b" has an empty segment`},
		{"publish, no topic", "ipc_publish", []string{"", `1`}, "", "", "has an empty segment"},
		{"publish, not UTF-8", "ipc_publish", []string{"a.\xff", `1`}, "", "", "is not UTF-8"},
		{"publish, not JSON", "ipc_publish", []string{"a.b", `{"a":}`}, "", "", `payload for topic "a.b" is not JSON`},
		{"publish, no payload", "ipc_publish", []string{"a.b", ``}, "", "", "is not JSON"},
		{"publish, too much", "ipc_publish", []string{"a.b", strings.Repeat(" ", 5<<20) + "1"}, "", "", "payload of 5242881 bytes is over the limit of 5242880"},
		{"subscribe", "ipc_subscribe", []string{"a.b"}, "1", "subscribe a.b", ""},
		{"subscribe, pattern", "ipc_subscribe", []string{"x.*"}, "1", "subscribe x.*", ""},
		{"subscribe, wider than granted", "ipc_subscribe", []string{"a.*"}, "", "", `may not subscribe to "a.*"`},
		{"subscribe, * in the middle", "ipc_subscribe", []string{"a.*.b"}, "", "", "`*` may only be its last segment"},
		{"subscribe, too long", "ipc_subscribe", []string{long}, "", "", "topic pattern of 257 bytes is over the limit of 256"},
		{"subscribe, 9 segments", "ipc_subscribe", []string{"1.2.3.4.5.6.7.8.*"}, "", "", "has 9 segments, over the limit of 8"},
		{"subscribe, empty segment", "ipc_subscribe", []string{".a"}, "", "", "has an empty segment"},
		{"unsubscribe", "ipc_unsubscribe", []string{"3"}, "", "unsubscribe 3", ""},
		{"unsubscribe, plus", "ipc_unsubscribe", []string{"+3"}, "", "unsubscribe 3", ""},
		{"unsubscribe, no number", "ipc_unsubscribe", []string{"-1"}, "", "", `subscription handle "-1" is not a number of 64 bits`},
		{"unsubscribe, empty", "ipc_unsubscribe", []string{""}, "", "", "is not a number"},
		{"unsubscribe, underscore", "ipc_unsubscribe", []string{"1_0"}, "", "", "is not a number"},
		{"unsubscribe, too large", "ipc_unsubscribe", []string{"18446744073709551616"}, "", "", "is not a number"},
		{"unsubscribe, long", "ipc_unsubscribe", []string{strings.Repeat("0", 33)}, "", "", "of 33 bytes is over the limit of 32"},
		{
			"poll", "ipc_poll", []string{"4"},
			`{"dropped":1,"lagged":2,"messages":[` +
				`{"payload":{"data":{"n":1},"type":"custom"},"principal":"ann","seq":7,"signature":null,"source_id":"s","timestamp":"2026-01-02T03:04:05.120Z","topic":"a.b"},` +
				`{"payload":{"data":{"n":1},"type":"custom"},"seq":8,"signature":null,"source_id":"s","timestamp":"2026-01-02T03:04:05.120Z","topic":"c"}]}`,
			"receive 4 0s", "",
		},
		{"poll, no number", "ipc_poll", []string{"x"}, "", "", "subscription handle"},
		{"recv, a minute at most", "ipc_recv", []string{"4", "18446744073709551615"}, "", "receive 4 1m0s", ""},
		{"recv", "ipc_recv", []string{"4", "250"}, "", "receive 4 250ms", ""},
		{"recv, no time", "ipc_recv", []string{"4", "0"}, "", "receive 4 0s", ""},
		{"recv, bad time-out", "ipc_recv", []string{"4", "1s"}, "", "", `time-out "1s" is not a number`},
		{"recv, negative", "ipc_recv", []string{"4", "-1"}, "", "", `time-out "-1" is not a number`},
		{"recv, no number", "ipc_recv", []string{"", "1"}, "", "", "subscription handle"},
		{"handles", "get_interceptor_handles", nil, `[{"handle_id":1,"action":"on \"it\"","topic":"a.*"},{"handle_id":2,"action":"b","topic":"b"}]`, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &busWorld{
				publish: []string{"a.b", "x.*", "1.2.3.4.5.6.7.8", "1.2.3.4.5.6.7.8.9", "a..b"}, subscribe: []string{"a.b", "x.*"},
				batch: waiting, handles: []InterceptorHandle{{1, `on "it"`, "a.*"}, {2, "b", "b"}},
			}
			answer, err := onBus(t, w)("astrid_"+tt.call, tt.arguments...)
			switch {
			case tt.wrong == "" && err != nil:
				t.Fatal(err)
			case tt.wrong != "":
				f, ok := errors.AsType[*Failure](err)
				if !ok || f.Kind != KindHostCall || !strings.Contains(f.Message, tt.wrong) || !strings.HasPrefix(f.Message, "astrid_"+tt.call+": ") {
					t.Fatalf("got %v, want a host call that traps with %q", err, tt.wrong)
				}
			}
			if tt.answer != "" && answer != tt.answer {
				t.Errorf("answer %s\nwant   %s", answer, tt.answer)
			}
			if got := strings.Join(w.asked, "\n"); got != tt.asked {
				t.Errorf("asked %q, want %q", got, tt.asked)
			}
		})
	}
}

// A guest without a bus, or without grants, may do nothing.
func TestBusNotGranted(t *testing.T) {
	for name, api := range map[string]HostAPI{"no bus": &world{}, "no grants": &busWorld{refusal: errors.New("there is no subscription 1")}} {
		call := onBus(t, api)
		for _, tt := range []struct {
			call      string
			arguments []string
			wrong     string
		}{
			{"astrid_ipc_publish", []string{"a", "1"}, "the manifest grants no `ipc_publish`"},
			{"astrid_ipc_subscribe", []string{"a"}, "the manifest grants no `ipc_subscribe`"},
			{"astrid_ipc_unsubscribe", []string{"1"}, "no"},
			{"astrid_ipc_poll", []string{"1"}, "no"},
			{"astrid_ipc_recv", []string{"1", "0"}, "no"},
		} {
			if _, err := call(tt.call, tt.arguments...); err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%s: %s: %v, want %q", name, tt.call, err, tt.wrong)
			}
		}
		if got, err := call("astrid_get_interceptor_handles"); got != "[]" || err != nil {
			t.Errorf("%s: handles %s, %v", name, got, err)
		}
	}
}

// One instance publishes at most 10 MiB in a second, also in refused messages.
func TestPublishRate(t *testing.T) {
	var r publishRate
	now := time.Now()
	for range 2 {
		if err := r.add(5<<20, now); err != nil {
			t.Fatal(err)
		}
		now = now.Add(400 * time.Millisecond)
	}
	if err := r.add(1, now); err == nil || !strings.Contains(err.Error(), "over the limit of 10485760 bytes a second") {
		t.Errorf("a byte more: %v", err)
	}
	if err := r.add(1, now.Add(200*time.Millisecond)); err != nil {
		t.Errorf("in the next second: %v", err)
	}
}

// A wait ends with its context, and traps.
func TestReceiveEndsWithItsContext(t *testing.T) {
	w := &busWorld{receive: func(ctx context.Context) { <-ctx.Done() }}
	i := mustInstantiate(t, newHost(t, Config{}), busDriver(), w)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("stopped")
	time.AfterFunc(time.Millisecond, func() { cancel(why) })
	if err := i.kernel.Reset(nil); err != nil {
		t.Fatal(err)
	}
	one, _ := i.kernel.Store([]byte("1"))
	long, _ := i.kernel.Store([]byte("60000"))
	i.begin(ctx)
	_, err := i.guest.ExportedFunction("astrid_ipc_recv").Call(i.enter(ctx), one, long)
	i.end()
	if f := i.failure(ctx, "astrid_ipc_recv", err); f.Kind != KindCancelled || !errors.Is(f, why) {
		t.Errorf("got %v", f)
	}
}

// Each kind of payload as its receivers see it, printed by astrid-types 0.5.1: as
// interceptors receive it, and in an envelope.
func TestPayloads(t *testing.T) {
	const id = "67e55044-10b1-426f-9247-bb680e5fe0c8"
	for _, tt := range []struct{ in, bytes, tagged string }{
		{`{"b":1,"a":2}`, `{"a":2,"b":1}`, `{"data":{"a":2,"b":1},"type":"custom"}`},
		{`null`, `null`, `{"data":null,"type":"custom"}`},
		{`[1, "x"]`, `[1,"x"]`, `{"data":[1,"x"],"type":"custom"}`},
		{`{"type":7}`, `{"type":7}`, `{"data":{"type":7},"type":"custom"}`},
		{`{"x":{"type":"connect"}}`, `{"x":{"type":"connect"}}`, `{"data":{"x":{"type":"connect"}},"type":"custom"}`},
		{`{"type":"novel","x":1}`, `{"type":"novel","x":1}`, `{"data":{"type":"novel","x":1},"type":"custom"}`},
		{`{"type":"unknown"}`, `{"type":"unknown"}`, `{"data":{"type":"unknown"},"type":"custom"}`},
		{`{"type":"custom","data":[1],"more":2}`, `[1]`, `{"data":[1],"type":"custom"}`},
		{`{"type":"custom"}`, `{"type":"custom"}`, `{"data":{"type":"custom"},"type":"custom"}`},
		{`{"type":"raw_json","zoo":1,"method":"ListCapsules"}`, `{"method":"ListCapsules","zoo":1}`, `{"method":"ListCapsules","type":"raw_json","zoo":1}`},
		{`{"type":"raw_json"}`, `{}`, `{"type":"raw_json"}`},
		{`{"type":"raw_json","a":[]}`, `{"a":[]}`, `{"a":[],"type":"raw_json"}`},
		{`{"type":"raw_json","z":[]}`, `{"z":[]}`, `{"type":"raw_json","z":[]}`},
		{`{"type":"user_input","text":"hi","extra":1}`, `{"type":"user_input","text":"hi","session_id":"default"}`, `{"session_id":"default","text":"hi","type":"user_input"}`},
		{`{"type":"user_input","text":"hi","context":null}`, `{"type":"user_input","text":"hi","session_id":"default"}`, `{"session_id":"default","text":"hi","type":"user_input"}`},
		{`{"type":"user_input","text":"hi","context":{"b":1,"a":1},"session_id":"s"}`, `{"type":"user_input","text":"hi","session_id":"s","context":{"a":1,"b":1}}`, `{"context":{"a":1,"b":1},"session_id":"s","text":"hi","type":"user_input"}`},
		{`{"type":"user_input","text":7}`, `{"text":7,"type":"user_input"}`, `{"data":{"text":7,"type":"user_input"},"type":"custom"}`},
		{`{"type":"agent_response","text":"t","is_final":true}`, `{"type":"agent_response","text":"t","is_final":true,"session_id":"default"}`, `{"is_final":true,"session_id":"default","text":"t","type":"agent_response"}`},
		{`{"type":"agent_response","text":"t"}`, `{"text":"t","type":"agent_response"}`, `{"data":{"text":"t","type":"agent_response"},"type":"custom"}`},
		{`{"type":"connect","x":1}`, `{"type":"connect"}`, `{"type":"connect"}`},
		{`{"type":"disconnect"}`, `{"type":"disconnect"}`, `{"type":"disconnect"}`},
		{`{"type":"disconnect","reason":"quit"}`, `{"type":"disconnect","reason":"quit"}`, `{"reason":"quit","type":"disconnect"}`},
		{`{"type":"tool_cancel_request","call_ids":["a","b"]}`, `{"type":"tool_cancel_request","call_ids":["a","b"]}`, `{"call_ids":["a","b"],"type":"tool_cancel_request"}`},
		{`{"type":"tool_cancel_request","call_ids":["a",1]}`, `{"call_ids":["a",1],"type":"tool_cancel_request"}`, `{"data":{"call_ids":["a",1],"type":"tool_cancel_request"},"type":"custom"}`},
		{`{"type":"tool_execute_result","call_id":"c","result":{"call_id":"c","content":"x"}}`, `{"type":"tool_execute_result","call_id":"c","result":{"call_id":"c","content":"x","is_error":false}}`, `{"call_id":"c","result":{"call_id":"c","content":"x","is_error":false},"type":"tool_execute_result"}`},
		{
			`{"type":"llm_stream_event","request_id":"` + strings.ToUpper(id) + `","event":{"ToolCallStart":{"name":"n","id":"i"}}}`,
			`{"type":"llm_stream_event","request_id":"` + id + `","event":{"ToolCallStart":{"id":"i","name":"n"}}}`,
			`{"event":{"ToolCallStart":{"id":"i","name":"n"}},"request_id":"` + id + `","type":"llm_stream_event"}`,
		},
		{`{"type":"llm_stream_event","request_id":"` + id + `","event":"Done"}`, `{"type":"llm_stream_event","request_id":"` + id + `","event":"Done"}`, `{"event":"Done","request_id":"` + id + `","type":"llm_stream_event"}`},
		{`{"type":"llm_stream_event","request_id":"x","event":"Done"}`, `{"event":"Done","request_id":"x","type":"llm_stream_event"}`, `{"data":{"event":"Done","request_id":"x","type":"llm_stream_event"},"type":"custom"}`},
		{
			`{"type":"llm_request","request_id":"` + id + `","model":"m","system":"s","tools":[{"name":"t","input_schema":{}}],"messages":[{"role":"user","content":"hi"},` +
				`{"role":"assistant","content":[{"id":"1","name":"n","arguments":{"b":1,"a":2}}]},{"role":"tool","content":{"call_id":"1","content":"c"}},{"role":"user","content":[{"type":"text","text":"x"}]}]}`,
			`{"type":"llm_request","request_id":"` + id + `","model":"m","messages":[{"role":"user","content":"hi"},` +
				`{"role":"assistant","content":[{"id":"1","name":"n","arguments":{"a":2,"b":1}}]},{"role":"tool","content":{"call_id":"1","content":"c","is_error":false}},{"role":"user","content":[{"type":"text","text":"x"}]}],` +
				`"tools":[{"name":"t","description":null,"input_schema":{}}],"system":"s"}`,
			`{"messages":[{"content":"hi","role":"user"},{"content":[{"arguments":{"a":2,"b":1},"id":"1","name":"n"}],"role":"assistant"},` +
				`{"content":{"call_id":"1","content":"c","is_error":false},"role":"tool"},{"content":[{"text":"x","type":"text"}],"role":"user"}],` +
				`"model":"m","request_id":"` + id + `","system":"s","tools":[{"description":null,"input_schema":{},"name":"t"}],"type":"llm_request"}`,
		},
		{
			`{"type":"onboarding_required","capsule_id":"c","fields":[{"key":"k","prompt":"p","field_type":{"Enum":["a"]}},{"key":"k","prompt":"p","field_type":"Text","default":"d"}]}`,
			`{"type":"onboarding_required","capsule_id":"c","fields":[{"key":"k","prompt":"p","field_type":{"Enum":["a"]}},{"key":"k","prompt":"p","field_type":"Text","default":"d"}]}`,
			`{"capsule_id":"c","fields":[{"field_type":{"Enum":["a"]},"key":"k","prompt":"p"},{"default":"d","field_type":"Text","key":"k","prompt":"p"}],"type":"onboarding_required"}`,
		},
	} {
		p, err := ParsePayload([]byte(tt.in))
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if got := string(p.Bytes()); got != tt.bytes {
			t.Errorf("%s\nis  %s\nnot %s", tt.in, got, tt.bytes)
		}
		if got := string(p.appendTagged(nil)); got != tt.tagged || len(got) != p.Size() {
			t.Errorf("%s\nis  %s (size %d)\nnot %s", tt.in, got, p.Size(), tt.tagged)
		}
	}
}

// Whatever is published can be printed, and read again as the same.
func FuzzPayload(f *testing.F) {
	for _, seed := range []string{`{"type":"user_input","text":"a"}`, `{"type":"raw_json","tz":1}`, `[{"type":"custom"}]`, `{"type":"llm_response"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := ParsePayload(bytes.Clone(in))
		if err != nil {
			return
		}
		printed := p.appendTagged(nil)
		again, err := ParsePayload(bytes.Clone(printed))
		if err != nil || !bytes.Equal(again.appendTagged(nil), printed) || len(printed) != p.Size() {
			t.Fatalf("%q is printed as %q (size %d), and that is read as %q: %v", in, printed, p.Size(), again.appendTagged(nil), err)
		}
	})
}

// Of interceptors and grants. Subscriptions match in another way: see actors.
// The quick look at a topic accepts nothing that the whole check refuses.
func TestPlainTopic(t *testing.T) {
	for topic, want := range map[string]bool{
		"a": true, "a.b": true, "*": true, "1.2.3.4.5.6.7.8": true, strings.Repeat("a", MaxTopicBytes): true,
		"": false, ".": false, ".a": false, "a.": false, "a..b": false, "1.2.3.4.5.6.7.8.9": false, "é": false, "a.\xff": false,
		strings.Repeat("a", MaxTopicBytes+1): false,
	} {
		if got := isPlainTopic(topic); got != want {
			t.Errorf("%q: %v", topic, got)
		}
		if want && (checkForm("topic", topic) != nil || checkDepth("topic", topic) != nil) {
			t.Errorf("%q is refused", topic)
		}
	}
	if err := CheckTopic("é"); err != nil {
		t.Error(err)
	}
}

func TestTopicMatches(t *testing.T) {
	for _, tt := range []struct {
		topic, pattern string
		want           bool
	}{
		{"a", "a", true}, {"a.b", "a.b", true}, {"a.b", "a.c", false}, {"a.b", "a", false}, {"a", "a.b", false},
		{"a.b", "a.*", true}, {"a.b.c", "a.*", false}, {"a", "a.*", false}, {"a", "*", true}, {"a.b", "*", false},
		{"a.b.c", "a.*.c", true}, {"a.b.c", "*.b.*", true}, {"a.b.c.d", "*.b.*", false}, {"a.b.c", "*.*", false},
		{"a.bc", "a.b*", false}, {"", "*", false}, {"a..b", "a.*.b", false}, {"a.b", "a..b", false},
		{"a.", "a.*", false}, {"a.b", "", false}, {"a.b", ".*", false}, {"a.b", "a.", false},
	} {
		if got := TopicMatches(tt.topic, tt.pattern); got != tt.want {
			t.Errorf("TopicMatches(%q, %q) = %v", tt.topic, tt.pattern, got)
		}
	}
	for topic, want := range map[string]bool{
		"a": true, "a.b": true, "a.*": true, "*": true, "a b.c": true,
		"": false, ".": false, "a.": false, ".a": false, "a..b": false,
	} {
		if got := ValidTopic(topic); got != want {
			t.Errorf("ValidTopic(%q) = %v, want %v", topic, got, want)
		}
	}
}
