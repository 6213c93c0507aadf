package supervisor_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// BenchmarkPublish publishes 128 bytes to one reader in Go, which keeps up. test/compare has
// the same beside NATS and a channel.
func BenchmarkPublish(b *testing.B) {
	s := supervisortest.Start(b, supervisor.Config{})
	payload := json.RawMessage(`"` + strings.Repeat("x", 126) + `"`)
	const window = 512 // fewer than a subscription holds
	read := make(chan struct{})
	messages := s.Subscribe(b.Context(), "bench")
	go func() {
		n := 0
		for _, err := range messages {
			if err != nil {
				return
			}
			if n++; n%window == 0 {
				read <- struct{}{}
			}
		}
	}()
	b.ReportAllocs()
	for n := 1; b.Loop(); n++ {
		if err := s.Publish(b.Context(), "bench", payload, nil); err != nil {
			b.Fatal(err)
		}
		if n%window == 0 {
			<-read
		}
	}
}
