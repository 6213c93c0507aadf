package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// Everything that the system returns is a copy, shared neither with it nor with other
// readers. All that a snapshot refers to is changed, by reflection, and must be as it was in
// the next one; so the system of this test has something in each field.
func TestWhatIsShownIsACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := eventful(t)
		last := s.Snapshot().Sequence
		show := func() (tree *messages.Tree, text string, all []any) {
			synctest.Wait() // the kernel's messages about what has happened
			tree = s.Snapshot()
			all = []any{tree}
			for _, c := range tree.Capsules {
				detail, err := s.Supervisor.Capsule(c.ID)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, detail)
			}
			for e := range s.Events(t.Context(), 0) {
				all = append(all, &e)
				if e.Sequence >= last {
					break
				}
			}
			tree.Goroutines, tree.ProcessMemoryBytes = 0, 0
			data, err := json.MarshalIndent(all, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			return tree, string(data), all
		}
		tree, before, all := show()
		seen := map[string]bool{}
		look(reflect.ValueOf(tree), seen)
		for field, filled := range seen {
			if !filled {
				t.Errorf("nothing of this system is in %s: it may be shared, and nobody would notice", field)
			}
		}
		for _, one := range all {
			scribble(reflect.ValueOf(one))
		}
		_, after, _ := show()
		diff(t, before, after)
		// The router uses the manifest, not the changed copy.
		reply := s.Ask("test.crash-on-x", "1")
		diff(t, []string{`crash-on-x continue {"alive":true}`}, supervisortest.Legs(reply))
		action := reply.Legs[0].Action
		reply.Legs[0].Action = "changed"
		diff(t, action, s.Ask("test.crash-on-x", "1").Legs[0].Action)
	})
}

// eventful returns a system to which everything has happened that a snapshot shows.
func eventful(t *testing.T) *supervisortest.System {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "rejected"), 0o700),
		os.WriteFile(filepath.Join(dir, "rejected", "Capsule.toml"), []byte("no manifest"), 0o600)); err != nil {
		t.Fatal(err)
	}
	poisoned := consumer(func(context.Context, *supervisortest.Call) error { return errors.New("never") })
	s := supervisortest.Start(t, supervisor.Config{
		CapsuleDirs: append(capsules("crash-on-x", "echo"), dir), Topics: durableOrders,
		Supervisors: []supervisor.Group{{Name: "group", Children: []string{"listener"}, Significant: []string{"listener"}, AutoShutdown: supervisor.ShutdownAny}},
	}, pooled("instances = 2"), poisoned, policed(supervisortest.Func("listener", "talk", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		return capsulehost.Result{}, nil
	}), []string{transient}))
	s.Patience = 24 * time.Hour
	s.AwaitReady("w", 1)
	s.Expect("test.crash-on-x", `"x"`, "crash-on-x crashed")
	s.AwaitReady("crash-on-x", 2)
	s.Expect("ask.w", "", "w continue 1")
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	listens := s.Subscribe(ctx, "talk")
	publish(t, s, "1")
	s.Await("dead letter", func(e supervisor.Event) bool { return e.Name() == "dead_letter" })
	if err := s.Publish(t.Context(), "talk", json.RawMessage("1"), nil); err != nil {
		t.Fatal(err)
	}
	_ = listens
	s.FailActor("registry")
	s.Await("registry restarted", func(e supervisor.Event) bool { return e.Path == "registry" && e.Name() == "actor_restarted" })
	return s
}

// look records which fields can be shared, of the structs in a value, and whether one of them
// has something in it.
func look(v reflect.Value, seen map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			look(v.Elem(), seen)
		}
	case reflect.Slice:
		for _, e := range v.Seq2() {
			look(e, seen)
		}
	case reflect.Map:
		for _, e := range v.Seq2() {
			look(e, seen)
		}
	case reflect.Struct:
		for f, field := range v.Fields() {
			if !f.IsExported() {
				continue
			}
			if slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Map}, field.Kind()) {
				name := v.Type().Name() + "." + f.Name
				seen[name] = seen[name] || !field.IsZero()
			}
			look(field, seen)
		}
	default:
	}
}

// scribble changes all that a value refers to.
func scribble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			scribble(v.Elem())
		}
	case reflect.Interface: // what it holds is a copy; what that refers to may be shared
		if !v.IsNil() {
			held := reflect.New(v.Elem().Type()).Elem()
			held.Set(v.Elem())
			scribble(held)
		}
	case reflect.Slice:
		for _, e := range v.Seq2() {
			scribble(e)
		}
	case reflect.Map:
		for key, e := range v.Seq2() {
			changed := reflect.New(e.Type()).Elem()
			changed.Set(e)
			scribble(changed)
			v.SetMapIndex(key, changed)
		}
	case reflect.Struct:
		for f, field := range v.Fields() {
			if f.IsExported() {
				scribble(field)
			}
		}
	case reflect.String:
		v.SetString("changed")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(99)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(99)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(99)
	default:
	}
}
