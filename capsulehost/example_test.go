package capsulehost_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// desk is the HostAPI of this example: a configuration value, a log, and one other capsule.
type desk struct{}

func (desk) Log(level capsulehost.LogLevel, message string) { fmt.Println(level, message) }
func (desk) Config(key string) string                       { return map[string]string{"name": "Ada"}[key] }
func (desk) Caller() *capsulehost.Caller                    { return nil }
func (desk) Name() string                                   { return "greeter" }
func (desk) SignalReady()                                   {}
func (desk) Now() time.Time                                 { return time.Now() }
func (desk) Services() *capsulehost.Services                { return &capsulehost.Services{Peers: desk{}} }

func (desk) TriggerHook(_ context.Context, topic string, payload json.RawMessage) ([]json.RawMessage, error) {
	fmt.Println("asked for", topic, "with", string(payload))
	return []json.RawMessage{json.RawMessage(`"an answer"`)}, nil
}

func (desk) CheckCapability(context.Context, string, string) bool { return false }

// A capsule is compiled once, and instantiated again after each crash. It needs no actors.
func Example() {
	ctx := context.Background()
	host, err := capsulehost.New(ctx, capsulehost.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer host.Close(ctx)

	for _, call := range []struct{ capsule, payload string }{
		{"whoami", `"name"`},
		{"fan-out", `{"hook": "guard.opinion", "payload": {"b": 2, "a": 1}}`},
		{"guest-error", `null`},
		{"trap", `null`},
	} {
		wasm, err := os.ReadFile("../test/capsules/" + call.capsule + "/" + call.capsule + ".wasm")
		if err != nil {
			fmt.Println(err)
			return
		}
		module, err := host.Compile(ctx, wasm)
		if err != nil {
			fmt.Println(err)
			return
		}
		instance, err := module.Instantiate(ctx, desk{})
		if err != nil {
			fmt.Println(err)
			return
		}
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		result, err := instance.Invoke(limited, "ask", []byte(call.payload))
		cancel()

		var failed *capsulehost.GuestError
		var died *capsulehost.Failure
		switch {
		case errors.As(err, &failed):
			fmt.Println(call.capsule, "says:", failed)
		case errors.As(err, &died):
			fmt.Println(call.capsule, "is gone:", died)
		default:
			fmt.Println(call.capsule, "answers:", string(result.Data))
		}
		_ = instance.Close(ctx)
		_ = module.Close(ctx)
	}
	// Output:
	// whoami answers: {"value":"Ada"}
	// asked for guard.opinion with {"a":1,"b":2}
	// fan-out answers: ["an answer"]
	// guest-error says: the disk is on fire
	// trap is gone: trap in astrid_hook_trigger: wasm error: unreachable
}
