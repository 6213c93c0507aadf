package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The daemon compiles a large module in a process of its own, which is gone when the capsule
// is stopped, and also when the daemon is killed. A signal that systemd sends to both does
// not end it before the daemon decides.
func TestDaemonCompilesInAChild(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := launch(t, "", "--capsules", filepath.Join("..", "..", "test", "capsules", "echo"), "--capsules", dir, "--allow-unverified")
	own := filepath.Join(dir, "slow")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"Capsule.toml": []byte("[package]\nname = \"slow\"\nversion = \"1.0.0\"\n[[component]]\nfile = \"slow.wasm\"\n"),
		"slow.wasm":    slowModule(),
	} {
		if err := os.WriteFile(filepath.Join(own, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	meanwhile := func(args ...string) (wait func()) {
		t.Helper()
		c := exec.Command("astrid-actors", append(args, "--home", p.home)...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return func() { _ = c.Wait() } // what it asked for was prevented
	}

	reloaded := meanwhile("reload")
	child := childOf(t, p.cmd.Process.Pid, "compile-module")
	awaitIgnores(t, child, syscall.SIGTERM)
	p.ask("stop", "slow")
	awaitGone(t, child)
	reloaded()
	p.ask("trigger", "test.echo", "1")

	started := meanwhile("start", "slow")
	child = childOf(t, p.cmd.Process.Pid, "compile-module")
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // killed
	awaitGone(t, child)
	started()
	if text, err := os.ReadFile(p.log); err != nil || bytes.Contains(text, []byte("process of their own has failed")) {
		t.Errorf("the command has failed: %s, %v", text, err)
	}
}

// slowModule returns a module whose compilation takes a second or more.
func slowModule() []byte {
	const functions = 4000
	body := []byte{0x01, 0x08, 0x7f} // eight i32
	for i := range 120 {
		a, b, c := byte(i%8), byte(i*3%8), byte(i*5%8)
		body = append(body, 0x20, a, 0x20, b, 0x6c, 0x20, c, 0x73, 0x21, c) // c = a * b ^ c
	}
	body = append(body, 0x0b)
	body = append(binary.AppendUvarint(nil, uint64(len(body))), body...)
	section := func(out []byte, id byte, content []byte) []byte {
		return append(binary.AppendUvarint(append(out, id), uint64(len(content))), content...)
	}
	count := binary.AppendUvarint(nil, functions)
	out := section([]byte("\x00asm\x01\x00\x00\x00"), 1, []byte("\x01\x60\x00\x00")) // () -> ()
	out = section(out, 3, append(bytes.Clone(count), make([]byte, functions)...))
	return section(out, 10, append(count, bytes.Repeat(body, functions)...))
}

// childOf waits until a process has a child with an argument, and returns the child's id.
func childOf(t *testing.T, parent int, argument string) (pid string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		all, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		for _, process := range all {
			stat, _ := os.ReadFile(filepath.Join(process, "stat"))
			if _, rest, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(strings.TrimLeft(rest, "RSD "), fmt.Sprint(parent, " ")) &&
				hasArgument(process, argument) {
				return process
			}
		}
	}
	t.Fatalf("process %d has no child with the argument %q", parent, argument)
	return ""
}

func hasArgument(process, argument string) bool {
	line, _ := os.ReadFile(filepath.Join(process, "cmdline")) // empty if it has ended
	return bytes.Contains(line, append([]byte{0}, argument...))
}

// awaitIgnores waits until a process ignores a signal.
func awaitIgnores(t *testing.T, process string, signal syscall.Signal) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		status, err := os.ReadFile(filepath.Join(process, "status"))
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%s does not ignore %v: %v", process, signal, err)
		}
		_, line, _ := strings.Cut(string(status), "SigIgn:\t")
		mask, _, _ := strings.Cut(line, "\n")
		if ignored, err := strconv.ParseUint(mask, 16, 64); err == nil && ignored>>(signal-1)&1 == 1 {
			return
		}
	}
}

// awaitGone waits until a process, which is not asked to end, has ended.
func awaitGone(t *testing.T, process string) {
	t.Helper()
	for deadline := time.Now().Add(patience); hasArgument(process, "compile-module"); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", process)
		}
	}
}
