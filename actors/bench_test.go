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
			defer w.stop()
			for i := range n {
				w.start(fmt.Sprintf("c%d", i), "t", yes)
			}
			b.ReportAllocs()
			for b.Loop() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				if r := w.trigger(ctx, "t"); len(r.Legs) != n || string(r.Legs[n-1].Value) != "true" {
					b.Fatal("wrong", r)
				}
				cancel()
			}
		})
	}
}

func BenchmarkNestedTrigger(b *testing.B) {
	w := newTree(b)
	defer w.stop()
	w.start("b", "inner", yes)
	w.start("a", "outer", func(ctx context.Context, s *script, _ string, _ []byte) (capsulehost.Result, error) {
		for b.Loop() {
			v, err := s.world.Peers().TriggerHook(ctx, "inner", []byte("null"))
			if err != nil || len(v) != 1 {
				b.Error(v, err)
			}
		}
		return capsulehost.Result{Data: []byte("true")}, nil
	})
	b.ReportAllocs()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	w.trigger(ctx, "outer")
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		w := newTree(b)
		w.stop()
	}
}
