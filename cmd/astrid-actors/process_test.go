package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a daemon that was started by a shell, with its clients.
type process struct {
	t    *testing.T
	home string
	log  string
	cmd  *exec.Cmd
}

// launch starts `astrid-actors run` after a line of shell, and waits until its capsules
// have started.
func launch(t *testing.T, shell string, args ...string) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{t: t, home: filepath.Join(dir, "h"), log: filepath.Join(dir, "log")}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args = append([]string{"-c", shell + ` exec astrid-actors run --home "$0" "$@"`, p.home}, args...)
	p.cmd = exec.Command("sh", args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("the daemon's log:\n%s", text[max(0, len(text)-4096):])
		}
	})
	p.ask("ps", "--wait", patience.String())
	return p
}

// ask runs a client command, which must succeed, and returns its output.
func (p *process) ask(args ...string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "astrid-actors", append(args, "--home", p.home)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		p.t.Fatalf("%s: %v (%v)\n%s", args[0], err, ctx.Err(), &stderr)
	}
	return string(out)
}

// end ends the daemon, and waits until it has ended successfully.
func (p *process) end() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("after SIGTERM: %v", err)
	}
}

// TestManyLogsFewDescriptors checks that 300 capsules that all log leave enough file
// descriptors for clients of a daemon that may open 256 files.
func TestManyLogsFewDescriptors(t *testing.T) {
	const capsules = 300
	wasm, err := os.ReadFile(filepath.Join("..", "..", "test", "capsules", "all-seven", "all-seven.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i := range capsules {
		id := fmt.Sprintf("c%d", i)
		own := filepath.Join(dir, id)
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		manifest := fmt.Sprintf("[package]\nname = %q\nversion = \"1.0.0\"\n\n[[component]]\nid = %q\nfile = \"m.wasm\"\n\n"+
			"[[interceptor]]\nevent = \"test.log\"\naction = \"ask\"\n", id, id)
		for name, data := range map[string][]byte{"Capsule.toml": []byte(manifest), "m.wasm": wasm} {
			if err := os.WriteFile(filepath.Join(own, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := launch(t, "ulimit -n 256;", "--capsules", dir, "--allow-unverified")
	for range 2 {
		p.ask("trigger", "test.log")
		if lines := strings.Count(p.ask("ps"), "\n"); lines < capsules {
			t.Errorf("ps shows %d lines, want %d", lines, capsules)
		}
	}
	logs, err := filepath.Glob(filepath.Join(p.home, "home", "default", ".local", "log", "c*", "*.log"))
	if err != nil || len(logs) < capsules {
		t.Errorf("%d log files, want %d: %v", len(logs), capsules, err)
	}
	p.end()
	text, err := os.ReadFile(p.log)
	if err != nil || bytes.Contains(text, []byte(syscall.EMFILE.Error())) {
		t.Errorf("the daemon ran out of descriptors, or %v", err)
	}
}

// TestNohup checks that a daemon that was started with SIGHUP ignored keeps ignoring it.
func TestNohup(t *testing.T) {
	p := launch(t, "trap '' HUP;", "--capsules", filepath.Join("..", "..", "test", "capsules", "echo"))
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.ask("trigger", "test.echo", "1")
	p.end()
	text, err := os.ReadFile(p.log)
	if err != nil || !bytes.Contains(text, []byte(`"cause":"signal: terminated"`)) {
		t.Errorf("it did not end by the second signal; %v", err)
	}
}
