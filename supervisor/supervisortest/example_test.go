package supervisortest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// A crash costs a capsule one call; then the capsule is restarted.
func Example() {
	t := newT() // in a test, use its *testing.T
	defer t.end()

	sys := supervisortest.Start(t, supervisor.Config{},
		supervisortest.Func("greeter", "hello.*", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
			return supervisortest.JSON("hi")
		}))

	sys.Inject("greeter", supervisortest.Fault{}) // the next call crashes it
	fmt.Println(supervisortest.Legs(sys.Ask("hello.world", "")))
	sys.AwaitReady("greeter", 2)
	fmt.Println(supervisortest.Legs(sys.Ask("hello.world", "")))
	fmt.Println(strings.Join(sys.Timeline("greeter"), "\n"))

	// Output:
	// [greeter crashed]
	// [greeter continue "hi"]
	// loading 1
	// ready 1
	// crashed 1 in call: trap
	// restart 1/5 after crash
	// loading 2
	// ready 2
}

// A guest in Go has the same environment as a WebAssembly guest: its configuration, its
// caller, other capsules, and variables that are lost when the instance dies.
func ExampleFunc() {
	t := newT()
	defer t.end()

	greeter := supervisortest.Func("greeter", "hello.*", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		seen, _ := c.Vars["seen"].(int)
		c.Vars["seen"] = seen + 1
		titles := c.Trigger(ctx, "title.of", "Ada") // ends this call if the trigger would trap a WebAssembly guest
		return supervisortest.JSON(fmt.Sprintf("%s, %s, no. %d", c.Config("greeting"), titles[0], seen+1))
	})
	greeter.Manifest += "[env.greeting]\ntype = \"string\"\ndefault = \"Good day\"\n"
	titles := supervisortest.Func("titles", "title.of", func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		if string(c.Payload) == `"Ada"` {
			return supervisortest.JSON("Countess")
		}
		return capsulehost.Result{}, errors.New("not in the book")
	})

	sys := supervisortest.Start(t, supervisor.Config{}, greeter, titles)
	sys.Expect("hello.world", ``, `greeter continue "Good day, \"Countess\", no. 1"`)
	sys.Expect("hello.world", ``, `greeter continue "Good day, \"Countess\", no. 2"`)
	sys.Expect("title.of", `"Bob"`, `titles failed`)
	// Output:
}

// Faults strike at a point of an instance, by count or by a predicate.
func ExampleSystem_Inject() {
	t := newT()
	defer t.end()
	sys := supervisortest.Start(t, supervisor.Config{TriggerTimeout: 20 * time.Millisecond},
		supervisortest.Func("a", "ask", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
			return supervisortest.JSON("a")
		}))

	// The guest reports an error, twice.
	sys.Inject("a", supervisortest.Fault{Do: supervisortest.Fail("out of ink"), Times: 2})
	fmt.Println(supervisortest.Legs(sys.Ask("ask", "")))
	fmt.Println(sys.Ask("ask", "").Legs[0].Reason)

	// The guest hangs on one payload, until the trigger's deadline.
	hang := sys.Inject("a", supervisortest.Fault{
		Do: supervisortest.Hang, Times: -1,
		When: func(v supervisortest.Visit) bool { return string(v.Payload) == `"bad"` },
	})
	fmt.Println(supervisortest.Legs(sys.Ask("ask", `"bad"`)))
	fmt.Println("hung:", hang.Struck())

	// The load of the next instance fails at first.
	sys.Inject("a", supervisortest.Fault{At: supervisortest.AtLoad})
	sys.Inject("a", supervisortest.Fault{At: supervisortest.AfterCall})
	sys.AwaitReady("a", 2)
	fmt.Println(supervisortest.Legs(sys.Ask("ask", "")))
	sys.AwaitReady("a", 4)
	fmt.Println(supervisortest.Legs(sys.Ask("ask", "")))

	// Output:
	// [a failed]
	// out of ink
	// [a timeout]
	// hung: 1
	// [a crashed]
	// [a continue "a"]
}

// A run-loop capsule is ready when it signals.
func ExampleLoop() {
	t := newT()
	defer t.end()
	sys := supervisortest.Start(t, supervisor.Config{},
		supervisortest.Loop("clock", func(ctx context.Context, c *supervisortest.Call) error {
			c.SignalReady()
			<-ctx.Done()
			return ctx.Err()
		}))

	sys.Inject("clock", supervisortest.Fault{At: supervisortest.BeforeRun, Do: supervisortest.Exit(3)})
	if err := sys.Kill(context.Background(), "clock"); err != nil {
		fmt.Println(err)
	}
	c := sys.AwaitReady("clock", 3)
	fmt.Println(c.State.String(), c.Generation, c.LastFailure.Message)
	// Output:
	// ready 3 exit: the guest exited with code 3
}

// Begin opens several triggers at once.
func ExampleSystem_Begin() {
	t := newT()
	defer t.end()
	sys := supervisortest.Start(t, supervisor.Config{},
		supervisortest.Func("a", "ask", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
			return supervisortest.JSON("a")
		}))
	hang := sys.Inject("a", supervisortest.Fault{Do: supervisortest.Hang})
	first, second := sys.Begin("ask", ""), sys.Begin("ask", "")
	hang.Await(1)
	if err := sys.Kill(context.Background(), "a"); err != nil {
		fmt.Println(err)
	}
	legs := slices.Concat(supervisortest.Legs(first()), supervisortest.Legs(second()))
	slices.Sort(legs)
	fmt.Println(strings.Join(legs, "\n"))
	sys.NoTriggerLost()
	// Output:
	// a continue "a"
	// a crashed
}

// A capsule is upgraded under load: no call fails, and each is answered by one version or
// the other.
func ExampleSystem_UnderLoad() {
	t := newT()
	defer t.end()
	in := func(version string) supervisor.Capsule {
		c := supervisortest.Func("a", "ask", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
			return supervisortest.JSON(version)
		})
		c.Manifest = strings.Replace(c.Manifest, "1.0.0", version, 1)
		return c
	}
	sys := supervisortest.Start(t, supervisor.Config{}, in("1.0.0"))

	report := sys.UnderLoad(supervisortest.Load{Topic: "ask", Clients: 4, PerSecond: 200}, func() {
		fmt.Println(sys.Upgrade(context.Background(), in("2.0.0")))
	})
	answers := slices.Sorted(maps.Keys(report.Answers))
	fmt.Println(strings.Join(answers, "\n"))

	// Output:
	// upgraded a 1.0.0 -> 2.0.0 <nil>
	// a continue "1.0.0"
	// a continue "2.0.0"
}

// exampleT replaces the *testing.T, which an example does not have.
type exampleT struct{ cleanups []func() }

func newT() *exampleT { return &exampleT{} }

func (*exampleT) Helper()                           {}
func (*exampleT) Errorf(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }
func (*exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (t *exampleT) Cleanup(f func())                { t.cleanups = append(t.cleanups, f) }

func (t *exampleT) TempDir() string {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (t *exampleT) end() {
	for _, cleanup := range slices.Backward(t.cleanups) {
		cleanup()
	}
}
