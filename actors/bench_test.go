package actors

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

func BenchmarkTrigger(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newTree(b)
			for i := range n {
				w.start(fmt.Sprintf("c%d", i), says("true"), func(c *CapsuleConfig) { c.Version.Interceptors = wants("t") })
			}
			for id := range w.handles {
				w.awaitReady(id, 1)
			}
			b.ReportAllocs()
			for b.Loop() {
				if legs := w.trigger("t"); len(legs) != n || string(legs[n-1].Value) != "true" {
					b.Fatal("not answered", show(legs))
				}
			}
			w.stop()
		})
	}
}

func BenchmarkNestedTrigger(b *testing.B) {
	w := newTree(b)
	w.start("inner", says("true"))
	w.start("outer", func(ctx context.Context, s *script, _ string) (capsulehost.Result, error) {
		b.ReportAllocs()
		for b.Loop() {
			if values, err := s.Services().Peers.TriggerHook(ctx, "inner", []byte("null")); err != nil || len(values) != 1 {
				b.Error("not answered", values, err)
			}
		}
		return capsulehost.Result{Data: []byte("true")}, nil
	})
	w.awaitReady("inner", 1)
	w.awaitReady("outer", 1)
	if _, err := w.triggerWithin(time.Hour, TriggerRequest{Topic: "outer"}); err != nil {
		b.Error(err)
	}
	w.stop()
}

// What a trigger costs over the guest's own time: the second is the first's guest alone.
func BenchmarkTriggerInWebAssembly(b *testing.B) {
	host := newHost(b)
	b.Run("trigger", func(b *testing.B) {
		w := newTree(b)
		w.start("fixed", nil, wasm(b, host, "fixed"))
		w.awaitReady("fixed", 1)
		b.ReportAllocs()
		for b.Loop() {
			if legs := w.trigger("fixed"); len(legs) != 1 || len(legs[0].Value) == 0 {
				b.Fatal("not answered", show(legs))
			}
		}
		w.stop()
	})
	b.Run("guest", func(b *testing.B) {
		edited := CapsuleConfig{Version: &Version{}}
		wasm(b, host, "fixed")(&edited)
		g, err := edited.Version.Load(b.Context(), &hostAPI{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := g.Invoke(b.Context(), "on-fixed", []byte("null")); err != nil {
				b.Fatal(err)
			}
		}
		if err := g.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
}
