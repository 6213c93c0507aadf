package processes

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newGroup(t *testing.T, programs ...string) *Group {
	t.Helper()
	g := New(Config{Programs: programs, Dir: t.TempDir(), TempDir: filepath.Join(t.TempDir(), "tmp")})
	t.Cleanup(g.Close)
	return g
}

func sh(script string) capsulehost.Command {
	return capsulehost.Command{Program: "sh", Arguments: []string{"-c", script}}
}

func mustRun(t *testing.T, g *Group, script string) capsulehost.ProcessOutput {
	t.Helper()
	out, err := g.Run(t.Context(), sh(script))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRun(t *testing.T) {
	g := newGroup(t, "sh")
	out := mustRun(t, g, "echo out; echo err >&2; pwd; exit 3")
	if string(out.Stdout) != "out\n"+g.cfg.Dir+"\n" || string(out.Stderr) != "err\n" || out.ExitCode == nil || *out.ExitCode != 3 || out.Running {
		t.Errorf("%q %q %v", out.Stdout, out.Stderr, out.ExitCode)
	}
	t.Setenv("A_SECRET_OF_THE_HOST", "of which no program may hear")
	if out := mustRun(t, g, "env; cat"); bytes.Contains(out.Stdout, []byte("SECRET")) || !bytes.Contains(out.Stdout, []byte("TMPDIR="+g.cfg.TempDir)) {
		t.Errorf("the environment is %s", out.Stdout)
	}
	out = mustRun(t, g, "head -c 3000000 /dev/zero; echo end")
	if len(out.Stdout) != maxOutput || !bytes.HasSuffix(out.Stdout, []byte("end\n")) {
		t.Errorf("%d bytes were kept", len(out.Stdout))
	}
	if out := mustRun(t, g, "kill -9 $$"); out.ExitCode != nil && *out.ExitCode < 0 {
		t.Errorf("after a signal: %v", *out.ExitCode)
	}
}

func TestOnlyWhatIsGranted(t *testing.T) {
	g := newGroup(t, "sh -c true", "/bin/echo", "")
	for _, c := range []capsulehost.Command{
		{Program: "sh"}, sh("false"), {Program: "sh -c true"}, {Program: "/bin/sh", Arguments: []string{"-c", "true"}},
		{Program: "echo"}, {Program: "cat"}, {Program: ""}, {Program: "../bin/echo"},
	} {
		if _, err := g.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "does not grant") {
			t.Errorf("%q: %v", c, err)
		}
	}
	for _, c := range []capsulehost.Command{sh("true"), {Program: "/bin/echo", Arguments: []string{"; rm -rf /"}}} {
		if _, err := g.Run(t.Context(), c); err != nil {
			t.Errorf("%q: %v", c, err)
		}
	}
	if _, err := newGroup(t, "./x").Run(t.Context(), capsulehost.Command{Program: "./x"}); err == nil || !strings.Contains(err.Error(), "relative path") {
		t.Errorf("a relative path: %v", err)
	}
}

// A process changes files in its directories only, and reads nothing of this user's: each
// of these attempts fails, and leaves everything as it was.
func TestFilesAreOutOfReach(t *testing.T) {
	g := newGroup(t, "sh")
	if out := mustRun(t, g, "echo ok >inside && echo ok >$TMPDIR/inside && mkdir d && mv inside d/x && cat d/x && rm -r d"); string(out.Stdout) != "ok\n" {
		t.Fatalf("in its own directories: %q (%s)", out.Stdout, out.Stderr)
	}
	skipWithout(t, "files")
	outside := t.TempDir()
	private, tool := filepath.Join(outside, "private"), filepath.Join(outside, "tool")
	if err := os.WriteFile(private, []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tool, []byte("#!/bin/sh\necho precious\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, attempt := range []string{
		"cat $P", "cat ../*/private", "echo x >>$P", "echo x >$P", ": >$P", "ls $O", "$O/tool", "sh $O/tool", "rm $P", "mv $P mine", "mv $P $O/other",
		"ln $P mine && cat mine", "ln -s $P mine; cat mine", "echo x >$O/new", "mkdir $O/new", "rm -r $O", "echo ok >m; mv m $O/new", "echo 500 >/proc/self/oom_score_adj",
	} {
		if strings.Contains(attempt, "/proc/") && os.Geteuid() != 0 {
			continue
		}
		out := mustRun(t, g, "P="+private+"; O="+outside+"; rm -f mine; ("+attempt+")")
		if bytes.Contains(out.Stdout, []byte("precious")) || out.ExitCode != nil && *out.ExitCode == 0 {
			t.Errorf("%s: %q (%s)", attempt, out.Stdout, out.Stderr)
		}
		names, err := filepath.Glob(outside + "/*")
		text, err2 := os.ReadFile(private)
		if err := errors.Join(err, err2); err != nil || string(text) != "precious" || len(names) != 2 {
			t.Fatalf("%s: there are %q, and the file has %q, %v", attempt, names, text, err)
		}
	}
}

// Without a process namespace, the process group is what is killed.
func TestTheGroupIsKilled(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo begun; wait")
	cmd.Stdout, cmd.SysProcAttr = w, &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = w.Close()
	if err == nil {
		_, err = r.Read(make([]byte, 16)) // both run
	}
	if err == nil {
		err = r.SetReadDeadline(time.Now().Add(10 * time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	killGroup(cmd.Process.Pid)
	if n, err := r.Read(make([]byte, 16)); !errors.Is(err, io.EOF) { // nobody has the pipe any more
		t.Errorf("read %d bytes, %v", n, err)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it has ended by itself")
	}
}

func TestBackground(t *testing.T) {
	g := newGroup(t, "sh")
	id, err := g.Start(t.Context(), sh("echo begun; exec sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for text == "" {
		out, err := g.Logs(id)
		if err != nil || !out.Running {
			t.Fatalf("%+v, %v", out, err)
		}
		text += string(out.Stdout)
	}
	if text != "begun\n" {
		t.Errorf("it has written %q", text)
	}
	if out, err := g.Kill(t.Context(), id); err != nil || out.Running || out.ExitCode != nil {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := g.Kill(t.Context(), id); err == nil {
		t.Error("it was killed twice")
	}
	if _, err := g.Logs(id); err == nil {
		t.Error("it still has logs")
	}
	for n := range maxBackground + 1 {
		if _, err := g.Start(t.Context(), sh("exec sleep 1000")); (err != nil) != (n == maxBackground) {
			t.Errorf("process %d: %v", n, err)
		}
	}
}

// A process, and those that it has started, also in sessions of their own, are gone with
// the group.
func TestNothingIsLeft(t *testing.T) {
	g := newGroup(t, "sh")
	const script = "setsid sleep 1000 & sleep 1000 & echo begun; wait"
	id, err := g.Start(t.Context(), sh(script))
	if err != nil {
		t.Fatal(err)
	}
	for text := ""; text == ""; {
		out, err := g.Logs(id)
		if err != nil {
			t.Fatal(err)
		}
		text = string(out.Stdout)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := g.Run(ctx, sh(script))
		done <- err
	}()
	stop := errors.New("stopped")
	cancel(stop)
	if err := <-done; !errors.Is(err, stop) {
		t.Errorf("run: %v", err)
	}
	g.Close()
	if _, err := g.Start(t.Context(), sh("true")); err == nil {
		t.Error("a group that is closed has started a process")
	}
	skipWithout(t, "namespace") // one in a session of its own may be left
	if left := inDirectory(t, g.cfg.Dir); len(left) > 0 {
		t.Errorf("these are left: %v", left)
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// inDirectory returns the processes that work in a directory.
func inDirectory(t *testing.T, dir string) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range all {
		if at, err := os.Readlink(link); err == nil && at == dir {
			pid, err := strconv.Atoi(strings.Split(link, "/")[2])
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}
