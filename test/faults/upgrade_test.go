package faults

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

var (
	upgrades = flag.Int("upgrades", 10, "how many upgrades TestUpgradeUnderLoad makes; every fifth is to a broken version")
	goGuest  = flag.Bool("upgrade-go", false, "TestUpgradeUnderLoad upgrades a capsule in Go, whose compilation takes a second or more, and not one in WebAssembly text")
	inside   = flag.Bool("upgrade-inside", false, "TestUpgradeUnderLoad compiles beside the calls, and not in processes of their own")
	maxRatio = flag.Float64("upgrade-ratio", 0, "fail if p99 during the upgrades is more than this many times p99 without; 0 only prints it")
)

// The limits of a load: no machine is too slow for the first, and what hangs reaches the
// second.
const patient, impatient = "10m", "300ms"

// compileArgument makes this test's binary compile a module for a test in another process.
const compileArgument = "compile"

// compiles does what compileArgument asks for, if it is there.
func compiles() bool {
	if len(os.Args) != 2 || os.Args[1] != compileArgument {
		return false
	}
	if err := capsulehost.ServeCompile(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// TestUpgradeUnderLoad upgrades a capsule again and again while 20 clients send 500
// triggers a second. No call fails, none is lost, and each answer is of a version that was
// good; versions that can't load leave the one before them. make upgrades runs it with a
// large module.
func TestUpgradeUnderLoad(t *testing.T) {
	wasm, version := answering(t)
	cfg := supervisor.Config{TriggerTimeout: time.Minute, CacheDir: t.TempDir(), CompileCommand: []string{os.Args[0], compileArgument}}
	if *inside {
		cfg.CompileCommand = nil
	}
	sys := supervisortest.Start(t, cfg, version(wasm, "1000", patient))
	load := supervisortest.Load{Topic: "ask", Clients: 20, PerSecond: 500}

	rest := 200 * time.Millisecond // between two upgrades, and before the first
	if *goGuest {
		rest = time.Second
	}
	pause := func() { <-time.After(rest) }
	without := sys.UnderLoad(load, func() {
		for range *upgrades {
			pause()
		}
	})
	good := map[string]bool{`a continue "1000"`: true}
	broken := []string{"garbage", "no-export", "init-trap", "init-spin"}
	failed := 0
	with := sys.UnderLoad(load, func() {
		for n := range *upgrades {
			number := fmt.Sprint(1001 + n)
			if n%5 < 4 {
				change, err := sys.Upgrade(t.Context(), version(wasm, number, patient))
				if err != nil || change.Change != messages.ChangeUpgraded {
					t.Errorf("upgrade to %s: %v, %v", number, change, err)
				}
				good[fmt.Sprintf(`a continue %q`, number)] = true
			} else {
				bad := broken[failed%len(broken)]
				failed++
				if _, err := sys.Upgrade(t.Context(), version(unusable(t, bad), number, impatient)); !errors.Is(err, supervisor.ErrUpgradeFailed) {
					t.Errorf("an upgrade to %s: %v", bad, err)
				}
			}
			pause()
		}
	})
	for answer, n := range with.Answers {
		if !good[answer] {
			t.Errorf("%d times: %s", n, answer)
		}
	}
	if len(with.Answers) < 2 {
		t.Error("only one version has answered")
	}
	c := sys.Capsule("a")
	if c.BudgetSpent != 0 || len(c.Crashes) != 0 || c.Version != fmt.Sprintf("%d.0.0", 1000+*upgrades-1) {
		t.Errorf("a is in version %s, has spent %d, and has crashed: %v", c.Version, c.BudgetSpent, c.Crashes)
	}
	if got, want := sys.Snapshot().Triggers, without.Calls+with.Calls; got != uint64(want) {
		t.Errorf("%d triggers were accepted, and %d answered", got, want)
	}
	ratio := float64(with.Percentile(99)) / float64(without.Percentile(99))
	t.Logf("without upgrades: %d calls, p50 %v, p99 %v, max %v", without.Calls, without.Percentile(50), without.Percentile(99), without.Percentile(100))
	t.Logf("during %d upgrades, %d of them to broken versions: %d calls, p50 %v, p99 %v (%.1f times), max %v",
		*upgrades, failed, with.Calls, with.Percentile(50), with.Percentile(99), ratio, with.Percentile(100))
	if *maxRatio > 0 && ratio > *maxRatio {
		t.Errorf("p99 is %.1f times that without upgrades", ratio)
	}
}

// answering returns a module, and what makes a version of a capsule of it, which answers
// with its number. All versions have different modules, so that each is compiled.
func answering(t *testing.T) (wasm []byte, version func(wasm []byte, number, limit string) supervisor.Capsule) {
	t.Helper()
	manifest := func(number, limit string) string {
		text := strings.Replace(supervisortest.Manifest("a", "ask"), "1.0.0", number+".0.0", 1)
		return text + fmt.Sprintf("[env.version]\ntype = \"string\"\ndefault = %q\n[supervision]\nload_timeout = %q\n", number, limit)
	}
	if !*goGuest {
		wasm, err := os.ReadFile(filepath.Join(fixture("fixed"), "fixed.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		return wasm, func(wasm []byte, number, limit string) supervisor.Capsule {
			wasm = bytes.Replace(wasm, []byte(`{"ok":true}`), []byte(`     "`+number+`"`), 1)
			return supervisor.Capsule{Manifest: manifest(number, limit), Module: wasm}
		}
	}
	file := filepath.Join(t.TempDir(), "versioned.wasm")
	command := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-o", file, ".")
	command.Dir = filepath.Join("..", "guests", "testdata", "versioned")
	command.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return wasm, func(wasm []byte, number, limit string) supervisor.Capsule {
		custom := append([]byte{0, byte(1 + len(number)), byte(len(number))}, number...) // a section without a use
		return supervisor.Capsule{Manifest: manifest(number, limit), Module: append(bytes.Clone(wasm), custom...)}
	}
}

// unusable returns a module of which no instance can be made.
func unusable(t *testing.T, why string) []byte {
	t.Helper()
	if why == "garbage" {
		return []byte("no module")
	}
	wasm, err := os.ReadFile(filepath.Join(fixture(why), why+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}
