package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	"lukechampine.com/blake3"
)

// patience limits how long a script waits. No correct code takes that long.
const patience = 60 * time.Second

// TestMain makes this test's binary act as astrid-actors, too, so that scripts run the
// real main in processes of their own.
func TestMain(m *testing.M) {
	testscript.Main(leakTested{m}, map[string]func(){"astrid-actors": main})
}

type leakTested struct{ m *testing.M }

func (l leakTested) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs testdata/*.txtar. In addition to testscript's own commands they have:
//
//	status N COMMAND...    run a command, whose exit status must be N
//	daemon [FLAG...]       start astrid-actors run, and wait until its capsules have started
//	launch [FLAG...]       start astrid-actors run
//	signal NAME            send the daemon TERM, INT, HUP, KILL, STOP or CONT
//	ended N                wait for the daemon's end, with exit status N; daemon.log has its log
//	await PATTERN COMMAND  run a command, again and again, until a line of its output matches
//	follow FILE [FLAG...]  start astrid-actors events --follow, and continue when the first line is in FILE
//	followed N             wait for its end, with exit status N
//	like FILE WANT         compare JSON; WANT may contain "<number>", "<uuid>", "<time>" or "<text>"
//	mode FILE MODE         compare a file's mode
//	fill FILE N            write a JSON string of N bytes
//	vouch FILE             write the file's hash into the meta.json beside it, whatever it is
//	decide COMMAND...      run approve or deny, with flags, for the first approval that is asked for
//	stale FILE             leave a socket on which no process listens
func TestScripts(t *testing.T) {
	capsules, err := filepath.Abs(filepath.Join("..", "..", "test", "capsules"))
	if err != nil {
		t.Fatal(err)
	}
	demo, err := filepath.Abs("demo")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ASTRID_HOME", filepath.Join(e.WorkDir, "h"))
			e.Setenv("CAPSULES", capsules)
			e.Setenv("DEMO", demo)
			e.Setenv("GORACE", "atexit_sleep_ms=0") // otherwise each process sleeps for a second
			e.Values[daemonKey{}] = &scriptDaemon{}
			e.Values[followerKey{}] = &scriptFollower{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": scriptStatus, "daemon": scriptStart, "launch": scriptLaunch, "signal": scriptSignal, "ended": scriptEnded, "follow": scriptFollow, "followed": scriptFollowed,
			"await": scriptAwait, "like": scriptLike, "mode": scriptMode, "fill": scriptFill, "vouch": scriptVouch, "stale": scriptStale,
			"decide": scriptDecide,
		},
	})
}

func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitCode(ts, ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func exitCode(ts *testscript.TestScript, err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

type daemonKey struct{}

// scriptDaemon is the script's daemon; a script has at most one at a time.
type scriptDaemon struct{ cmd *exec.Cmd }

func daemonOf(ts *testscript.TestScript) *scriptDaemon { return ts.Value(daemonKey{}).(*scriptDaemon) }

func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	scriptLaunch(ts, neg, args)
	client := []string{"ps", "--wait", patience.String()}
	for i, arg := range args {
		if arg == "--socket" || arg == "--home" {
			client = append(client, arg, args[i+1])
		}
	}
	ts.Check(ts.Exec("astrid-actors", client...))
}

func scriptLaunch(ts *testscript.TestScript, neg bool, args []string) {
	d := daemonOf(ts)
	if neg || d.cmd != nil {
		ts.Fatalf("there is a daemon already")
	}
	log, err := os.Create(ts.MkAbs("daemon.log"))
	ts.Check(err)
	defer log.Close()
	d.cmd = command(ts, append([]string{"run"}, args...)...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	ts.Check(d.cmd.Start())
	ts.Defer(func() {
		if d.cmd != nil {
			_ = d.cmd.Process.Kill()
			_ = d.cmd.Wait()
		}
	})
}

// command returns astrid-actors with the script's environment and directory.
func command(ts *testscript.TestScript, args ...string) *exec.Cmd {
	c := exec.Command("astrid-actors", args...)
	c.Dir = ts.MkAbs(".")
	c.Env = append(os.Environ(), "ASTRID_HOME="+ts.Getenv("ASTRID_HOME"), "HOME="+ts.Getenv("HOME"), "GORACE="+ts.Getenv("GORACE"))
	return c
}

func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "TERM": syscall.SIGTERM, "INT": os.Interrupt, "HUP": syscall.SIGHUP, "KILL": os.Kill}
	d := daemonOf(ts)
	if neg || len(args) != 1 || signals[args[0]] == nil || d.cmd == nil {
		ts.Fatalf("usage: signal TERM|INT|HUP|KILL|STOP|CONT, while there is a daemon")
	}
	ts.Check(d.cmd.Process.Signal(signals[args[0]]))
}

func scriptEnded(ts *testscript.TestScript, neg bool, args []string) {
	d := daemonOf(ts)
	if neg || len(args) != 1 || d.cmd == nil {
		ts.Fatalf("usage: ended N, where there is a daemon")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	timer := time.AfterFunc(patience, func() { _ = d.cmd.Process.Kill() })
	got := exitCode(ts, d.cmd.Wait())
	d.cmd = nil
	if !timer.Stop() {
		ts.Fatalf("the daemon did not end; its log:\n%s", ts.ReadFile("daemon.log"))
	}
	if got != want {
		ts.Fatalf("the daemon's exit status is %d, want %d; its log:\n%s", got, want, ts.ReadFile("daemon.log"))
	}
}

func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || args[1] != "astrid-actors" {
		ts.Fatalf("usage: await PATTERN astrid-actors ...")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	for began := time.Now(); ; {
		found, seen, err := runUntil(pattern, command(ts, args[2:]...))
		if found {
			return
		}
		if time.Since(began) > patience {
			ts.Fatalf("no line matched %#q (%v):\n%s", pattern, err, seen)
		}
	}
}

// runUntil runs a command until a line of its output matches, and then ends it.
func runUntil(pattern *regexp.Regexp, c *exec.Cmd) (found bool, seen string, err error) {
	output, err := c.StdoutPipe()
	if err != nil {
		return false, "", err
	}
	if err := c.Start(); err != nil {
		return false, "", err
	}
	timer := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	var text strings.Builder
	lines := bufio.NewScanner(io.TeeReader(output, &text))
	for lines.Scan() {
		if pattern.MatchString(lines.Text()) {
			_ = c.Process.Kill()
			_ = c.Wait()
			return true, "", nil
		}
	}
	return false, text.String(), c.Wait()
}

type followerKey struct{}

// scriptFollower is the script's reader of events; a script has at most one at a time.
type scriptFollower struct {
	cmd  *exec.Cmd
	read chan error // receives one value when all has been read
}

func scriptFollow(ts *testscript.TestScript, neg bool, args []string) {
	f := ts.Value(followerKey{}).(*scriptFollower)
	if neg || len(args) < 1 || f.cmd != nil {
		ts.Fatalf("usage: follow FILE [FLAG...], with no other reader")
	}
	file, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	f.cmd = command(ts, append([]string{"events", "--follow"}, args[1:]...)...)
	output, err := f.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(f.cmd.Start())
	f.read = make(chan error, 1)
	first := make(chan struct{})
	go func() {
		lines := bufio.NewReader(output)
		line, err := lines.ReadString('\n')
		close(first)
		if err == nil {
			_, err = file.WriteString(line)
		}
		if err == nil {
			_, err = io.Copy(file, lines)
		}
		f.read <- errors.Join(err, file.Close())
	}()
	ts.Defer(func() {
		if f.cmd != nil {
			_ = f.cmd.Process.Kill()
			_ = f.cmd.Wait()
		}
	})
	<-first
}

func scriptFollowed(ts *testscript.TestScript, neg bool, args []string) {
	f := ts.Value(followerKey{}).(*scriptFollower)
	if neg || len(args) != 1 || f.cmd == nil {
		ts.Fatalf("usage: followed N, after follow")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	timer := time.AfterFunc(patience, func() { _ = f.cmd.Process.Kill() })
	defer timer.Stop()
	ts.Check(<-f.read)
	got := exitCode(ts, f.cmd.Wait())
	f.cmd = nil
	if got != want {
		ts.Fatalf("the reader's exit status is %d, want %d", got, want)
	}
}

func scriptLike(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: like FILE WANT")
	}
	var got, want any
	for name, value := range map[string]*any{args[0]: &got, args[1]: &want} {
		text := ts.ReadFile(name)
		if err := json.Unmarshal([]byte(text), value); err != nil {
			ts.Fatalf("%s: %v:\n%s", name, err, text)
		}
	}
	if diff := unlike("", got, want); diff != "" {
		ts.Fatalf("%s:\n%s", args[0], diff)
	}
}

// unlike describes the first difference between got and want.
func unlike(path string, got, want any) string {
	var fits bool
	switch want := want.(type) {
	case map[string]any:
		gotMap, ok := got.(map[string]any)
		if !ok {
			break
		}
		gotKeys, wantKeys := slices.Sorted(maps.Keys(gotMap)), slices.Sorted(maps.Keys(want))
		if !slices.Equal(gotKeys, wantKeys) {
			return fmt.Sprintf("%s has the fields %v, want %v", path, gotKeys, wantKeys)
		}
		for key := range want {
			if diff := unlike(path+"."+key, gotMap[key], want[key]); diff != "" {
				return diff
			}
		}
		return ""
	case []any:
		gotList, ok := got.([]any)
		if !ok || len(gotList) != len(want) {
			break
		}
		for i := range want {
			if diff := unlike(fmt.Sprintf("%s[%d]", path, i), gotList[i], want[i]); diff != "" {
				return diff
			}
		}
		return ""
	case string:
		text, isText := got.(string)
		_, isNumber := got.(float64)
		switch want {
		case "<number>":
			fits = isNumber
		case "<text>":
			fits = text != ""
		case "<uuid>":
			fits = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(text)
		case "<time>":
			_, err := time.Parse(time.RFC3339Nano, text)
			fits = err == nil
		default:
			fits = isText && text == want
		}
	default:
		fits = got == want
	}
	if fits {
		return ""
	}
	return fmt.Sprintf("%s is %v, want %v", path, got, want)
}

func scriptMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE MODE")
	}
	info, err := os.Lstat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := info.Mode().String(); got != args[1] {
		ts.Fatalf("%s has the mode %s, want %s", args[0], got, args[1])
	}
}

func scriptFill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fill FILE N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(`"`+strings.Repeat("a", n-2)+`"`), 0o600))
}

// scriptVouch does what seal refuses to do for a module that would not load.
func scriptVouch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: vouch FILE")
	}
	sum := blake3.Sum256([]byte(ts.ReadFile(args[0])))
	meta := fmt.Sprintf(`{"wasm_hash": "%x"}`, sum)
	ts.Check(os.WriteFile(filepath.Join(filepath.Dir(ts.MkAbs(args[0])), "meta.json"), []byte(meta), 0o600))
}

func scriptStale(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stale FILE")
	}
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o700))
	ts.Check(abandonSocket(ts.MkAbs(args[0])))
}

// abandonSocket leaves a socket on which no process listens.
func abandonSocket(path string) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	return l.Close()
}
