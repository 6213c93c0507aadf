package guests

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// kept is the state of a world's guest, whose instances come and go.
type kept world

func (k *kept) Get(_ context.Context, _, key string) ([]byte, error) {
	if value, ok := k.state[key]; ok {
		return []byte(value), nil
	}
	return nil, nil
}

func (k *kept) Set(_ context.Context, _, key string, value []byte) error {
	if k.state == nil {
		k.state = map[string]string{}
	}
	k.state[key] = string(value)
	return nil
}

func (k *kept) Delete(_ context.Context, _, key string) error {
	delete(k.state, key)
	return nil
}

func (k *kept) ListKeys(_ context.Context, _, prefix string) ([]string, error) {
	keys := slices.Sorted(maps.Keys(k.state))
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) }), nil
}

func (k *kept) ClearPrefix(ctx context.Context, principal, prefix string) (int, error) {
	keys, _ := k.ListKeys(ctx, principal, prefix)
	for _, key := range keys {
		delete(k.state, key)
	}
	return len(keys), nil
}

// Counters in Go, and in Rust with astrid-sdk, go on where an earlier instance was.
func TestCountersOutliveTheirInstances(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	for name, file := range map[string]string{"go": build(t, examples+"counter"), "rust": "sdk/sdk.wasm"} {
		module, w := compile(t, host, file), &world{}
		for _, want := range []string{"1", "2", "3"} {
			got, err := start(t, module, w).Invoke(context.Background(), "count", []byte("null"))
			if diff := cmp.Diff(capsulehost.Result{Data: []byte(want)}, got); err != nil || diff != "" {
				t.Errorf("%s: %v, -want +got\n%s", name, err, diff)
			}
		}
	}
}

// Every call of astrid-sdk's module kv, through its own types.
func TestStateThroughTheSDK(t *testing.T) {
	t.Parallel()
	w := &world{config: map[string]string{"greeting": "good day"}}
	guest := start(t, compile(t, newHost(t), "sdk/sdk.wasm"), w)
	got, err := guest.Invoke(context.Background(), "state", []byte("null"))
	want := `{"cleared":3,"empty_key":true,"keys":["s/borsh","s/bytes","s/json","s/old"],"left":[],` +
		`"migrated":{"from":1,"was":"one"},"missing":true,"note":{"stars":3,"text":"\"quoted\" \u00fcn\u00efcode"},"numbers":[1,2,3],"setting":"good day"}`
	want = strings.NewReplacer(`\u00fc`, "ü", `\u00ef`, "ï").Replace(want)
	if diff := cmp.Diff(want, string(got.Data)); err != nil || diff != "" {
		t.Errorf("%v, -want +got\n%s", err, diff)
	}
	if len(w.state) != 0 {
		t.Errorf("what is left: %q", w.state)
	}
}
