package capsulehost

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// shelves is a State in memory: its keys are "<principal>/<key>".
type shelves map[string]string

func (s shelves) Get(_ context.Context, principal, key string) ([]byte, error) {
	if value, ok := s[principal+"/"+key]; ok {
		return []byte(value), nil
	}
	return nil, nil
}

func (s shelves) Set(_ context.Context, principal, key string, value []byte) error {
	s[principal+"/"+key] = string(value)
	return nil
}

func (s shelves) Delete(_ context.Context, principal, key string) error {
	delete(s, principal+"/"+key)
	return nil
}

func (s shelves) ListKeys(_ context.Context, principal, prefix string) ([]string, error) {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if key, ok := strings.CutPrefix(key, principal+"/"); ok && strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func (s shelves) ClearPrefix(ctx context.Context, principal, prefix string) (int, error) {
	keys, _ := s.ListKeys(ctx, principal, prefix)
	for _, key := range keys {
		delete(s, principal+"/"+key)
	}
	return len(keys), nil
}

// broken is a State whose methods all fail; with wait, when their call ends.
type broken struct{ wait bool }

var errBroken = errors.New("the disk is full")

func (b broken) fail(ctx context.Context) error {
	if !b.wait {
		return errBroken
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (b broken) Get(ctx context.Context, _, _ string) ([]byte, error)        { return nil, b.fail(ctx) }
func (b broken) Set(ctx context.Context, _, _ string, _ []byte) error        { return b.fail(ctx) }
func (b broken) Delete(ctx context.Context, _, _ string) error               { return b.fail(ctx) }
func (b broken) ListKeys(ctx context.Context, _, _ string) ([]string, error) { return nil, b.fail(ctx) }
func (b broken) ClearPrefix(ctx context.Context, _, _ string) (int, error)   { return 0, b.fail(ctx) }

func TestStateCalls(t *testing.T) {
	w := &world{state: shelves{}}
	d := drive(t, w)
	get := func(key string) string { return d.read(d.call("astrid_kv_get", d.text(key))) }
	set := func(key, value string) { d.call("astrid_kv_set", d.text(key), d.text(value)) }
	is := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s = %q, want %q", what, got, want)
		}
	}
	is("a missing key", get("a"), "\x00")
	set("a", "one\x00\xff")
	set("b/1", "")
	set("b/\"2", "two")
	is("get a", get("a"), "\x00one\x00\xff")
	is("get b/1", get("b/1"), "\x00")
	is("all keys", d.read(d.call("astrid_kv_list_keys", 0)), "\x00"+`["a","b/\"2","b/1"]`)
	is("no keys", d.read(d.call("astrid_kv_list_keys", d.text("c"))), "\x00[]")
	is("keys with a zero byte", d.read(d.call("astrid_kv_list_keys", d.text("\x00"))), "\x00[]")
	d.call("astrid_kv_delete", d.text("a"))
	d.call("astrid_kv_delete", d.text("a")) // a missing key is no error
	is("deleted", get("a"), "\x00")
	alice := "alice"
	w.caller = &Caller{Principal: &alice}
	is("another principal's", get("b/1")+get(`b/"2`), "\x00\x00")
	set("own", "hers")
	w.caller = &Caller{}
	is("keys without a principal", d.read(d.call("astrid_kv_list_keys", d.text("b"))), "\x00"+`["b/\"2","b/1"]`)
	is("clear", d.read(d.call("astrid_kv_clear_prefix", d.text("b/"))), "\x002")
	is("clear again", d.read(d.call("astrid_kv_clear_prefix", 0)), "\x000")
	if d := w.state.(shelves); len(d) != 1 || d["alice/own"] != "hers" {
		t.Errorf("what is left: %q", d)
	}
}

// What the reference answers with a status does not trap, and everything else does.
func TestInvalidStateArguments(t *testing.T) {
	long, big := strings.Repeat("k", MaxStateKey), string(bytes.Repeat([]byte("v"), MaxStateValue))
	for name, tt := range map[string]struct {
		call      string
		arguments []string
		trap      string // a part of the message; "" means none
		answer    string // a part of it, behind the status
	}{
		"the longest key":        {"astrid_kv_get", []string{long}, "", ""},
		"a longer key":           {"astrid_kv_get", []string{long + "k"}, "key of 4097 bytes is over the limit of 4096", ""},
		"get of an empty key":    {"astrid_kv_get", []string{""}, "", "the key is empty"},
		"get of half UTF-8":      {"astrid_kv_get", []string{"a\xc3"}, "", "the key is empty or not UTF-8"},
		"get of a zero byte":     {"astrid_kv_get", []string{"a\x00"}, "", "has a zero byte"},
		"set of an empty key":    {"astrid_kv_set", []string{"", "v"}, "the key is empty", ""},
		"set of a zero byte":     {"astrid_kv_set", []string{"\x00", "v"}, "has a zero byte", ""},
		"set of a long key":      {"astrid_kv_set", []string{long + "k", "v"}, "key of 4097 bytes", ""},
		"delete of an empty key": {"astrid_kv_delete", []string{""}, "the key is empty", ""},
		"list of half UTF-8":     {"astrid_kv_list_keys", []string{"a\xc3"}, "the prefix is not UTF-8", ""},
		"list of a long prefix":  {"astrid_kv_list_keys", []string{long + "k"}, "prefix of 4097 bytes", ""},
		"clear of half UTF-8":    {"astrid_kv_clear_prefix", []string{"a\xc3"}, "the prefix is not UTF-8", ""},
		"clear of a zero byte":   {"astrid_kv_clear_prefix", []string{"a\x00"}, "", "has a zero byte"},
	} {
		t.Run(name, func(t *testing.T) {
			d := drive(t, &world{state: shelves{}})
			d.checkState(tt.call, tt.arguments, tt.trap, tt.answer)
		})
	}
	d := drive(t, &world{state: shelves{}})
	value := func(s string) uint64 {
		p, err := d.kernel.Store([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	key := d.text("k")
	d.call("astrid_kv_set", key, value(big))
	if _, err := d.try("astrid_kv_set", key, value(big+"v")); err == nil || !strings.Contains(err.Error(), "value of 10485761 bytes is over the limit of 10485760") {
		t.Errorf("a value over the limit: %v", err)
	}
}

func (d *driven) checkState(call string, arguments []string, trap, answer string) {
	d.t.Helper()
	var offsets []uint64
	for _, a := range arguments {
		offsets = append(offsets, d.text(a))
	}
	p, err := d.try(call, offsets...)
	switch {
	case trap != "":
		if err == nil || !strings.Contains(err.Error(), call+": ") || !strings.Contains(err.Error(), trap) {
			d.t.Errorf("%s: %v, want a trap with %q", call, err, trap)
		}
	case err != nil:
		d.t.Errorf("%s: %v", call, err)
	case answer != "":
		if got := d.read(p); !strings.HasPrefix(got, "\x01") || !strings.Contains(got, answer) {
			d.t.Errorf("%s answers %q, want an error with %q", call, got, answer)
		}
	}
}

// An error of the state traps, or is an answer, as in the reference; and so is a missing
// state.
func TestFailuresOfTheState(t *testing.T) {
	for want, s := range map[string]State{errBroken.Error(): broken{}, errNoState.Error(): nil} {
		for call, traps := range map[string]bool{
			"astrid_kv_get": false, "astrid_kv_set": true, "astrid_kv_delete": true, "astrid_kv_list_keys": false, "astrid_kv_clear_prefix": false,
		} {
			arguments, trap, answer := []string{"k"}, "", want
			if traps {
				trap, answer = want, ""
			}
			if call == "astrid_kv_set" {
				arguments = []string{"k", "v"}
			}
			drive(t, &world{state: s}).checkState(call, arguments, trap, answer)
		}
	}
}

// A guest ends with its call, also while it waits for its state.
func TestAStateCallEndsWithItsCall(t *testing.T) {
	h := newHost(t, Config{})
	wasm := fixture(t, "keep")
	for _, action := range []string{"set", "get", "delete", "keys", "clear"} {
		i := mustInstantiate(t, h, wasm, &world{state: broken{wait: true}})
		gaveUp := errors.New("the caller gave up")
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(10*time.Millisecond, func() { cancel(gaveUp) })
		_, err := i.Invoke(ctx, action, []byte(`"k"`))
		if failure, ok := errors.AsType[*Failure](err); !ok || failure.Kind != KindCancelled || !errors.Is(err, gaveUp) {
			t.Errorf("%s: %v", action, err)
		}
		timer.Stop()
		cancel(nil)
	}
}
