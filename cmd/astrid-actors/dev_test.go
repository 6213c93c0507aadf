package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// developing is a dev command that runs, with its output.
type developing struct {
	t     *testing.T
	dir   string
	home  string
	cmd   *exec.Cmd
	lines chan string // of both outputs; closed at the end
	built int         // how often it says so
}

// buildScript copies the module. It fails if there is a file named broken, and writes a lock
// file, as the tools of some languages do. While there is a file named slow, somebody saves
// another one meanwhile.
const buildScript = `test ! -e broken || exit 1
cp module echo.wasm
echo >>lock
if test -e slow; then rm slow; echo >saved; fi
`

// develop starts astrid-actors dev for a copy of the capsule echo.
func develop(t *testing.T, home string) *developing {
	t.Helper()
	d := &developing{t: t, dir: filepath.Join(t.TempDir(), "echo"), home: home}
	if err := os.CopyFS(d.dir, os.DirFS(filepath.Join("..", "..", "test", "capsules", "echo"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(d.dir, "echo.wasm"), filepath.Join(d.dir, "module")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(d.dir, "meta.json")); err != nil { // a developer seals nothing
		t.Fatal(err)
	}
	d.edit("[package]", "[build]\ncommand = \"sh build.sh\"\n\n[package]")
	d.write("build.sh", buildScript)
	d.start()
	return d
}

// start starts the command.
func (d *developing) start() {
	d.t.Helper()
	d.lines = make(chan string, 64)
	d.cmd = exec.Command("astrid-actors", "dev", d.dir, "--home", d.home)
	d.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	output, err := d.cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	d.cmd.Stderr = d.cmd.Stdout
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() {
		defer close(d.lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			d.lines <- scanner.Text()
		}
	}()
	d.t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait() // a second Wait if it has ended
	})
}

// write saves a file.
func (d *developing) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// edit replaces a text in the manifest, and saves it.
func (d *developing) edit(old, changed string) {
	d.t.Helper()
	file := filepath.Join(d.dir, "Capsule.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write("Capsule.toml", strings.Replace(string(text), old, changed, 1))
}

// says waits for a line that matches a pattern.
func (d *developing) says(pattern string) {
	d.t.Helper()
	var all []string
	timeout := time.After(patience)
	for {
		select {
		case line, open := <-d.lines:
			if !open {
				d.t.Fatalf("it ended, and did not say %q: %q", pattern, all)
			}
			if strings.HasPrefix(line, "built in ") {
				d.built++
			}
			if all = append(all, line); regexp.MustCompile(pattern).MatchString(line) {
				return
			}
		case <-timeout:
			d.t.Fatalf("it does not say %q: %q", pattern, all)
		}
	}
}

// answers checks the responses to a topic.
func (d *developing) answers(topic, want string) {
	d.t.Helper()
	out, err := exec.Command("astrid-actors", "trigger", topic, "1", "--home", d.home).Output()
	if diff := cmp.Diff(want+"\n", string(out)); err != nil || diff != "" {
		d.t.Errorf("%s: %v\n%s", topic, err, diff)
	}
}

// develops edits the capsule and sees it answer.
func (d *developing) develops() {
	d.t.Helper()
	d.says(`^building: sh build\.sh$`)
	d.says(`^built in `)
	d.says(`^added echo 1\.0\.0, answering after `)
	d.answers("test.echo", "[1]")
	d.says(`^lock changed$`) // it may be a save, until a second build writes it, too
	d.says(`^unchanged echo`)
	d.edit("test.echo", "test.other")
	d.says(`^Capsule\.toml changed$`)
	d.says(`^upgraded echo 1\.0\.0 -> 1\.0\.0, answering after `)
	d.answers("test.other", "[1]")
	d.answers("test.echo", "[]")

	// A build that fails leaves the running capsule alone.
	broken := filepath.Join(d.dir, "broken")
	d.write("broken", "")
	d.says(`^broken changed$`)
	d.says(`^error: sh build\.sh: exit status 1$`)
	d.says(`^waiting for the next save$`)
	d.answers("test.other", "[1]")
	if err := os.Remove(broken); err != nil {
		d.t.Fatal(err)
	}
	d.says(`^unchanged echo`)

	// So does a manifest that is none.
	d.edit("[package]", "[package")
	d.says(`^error: .*Capsule\.toml:[0-9]+: .*not valid TOML: "\[package"$`)
	d.answers("test.other", "[1]")
	d.edit("[package", "[package]")
	d.says(`^unchanged echo`)

	// A directory that is new is watched, too.
	if err := os.Mkdir(filepath.Join(d.dir, "sub"), 0o700); err != nil {
		d.t.Fatal(err)
	}
	d.write("sub/a", "")
	d.says(`^sub/a changed$`)
	d.says(`^unchanged echo`)

	// What is saved during a build is built, too.
	d.write("slow", "")
	d.says(`^slow changed$`)
	d.says(`^unchanged echo`)
	d.says(`^saved changed$`)
	d.says(`^unchanged echo`)
	if d.built != 8 {
		d.t.Errorf("it has built %d times, want 8", d.built)
	}

	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		d.t.Fatal(err)
	}
	for range d.lines {
		continue // until its end
	}
	if err := d.cmd.Wait(); err != nil {
		d.t.Errorf("it ended with %v", err)
	}
}

// Without a daemon, dev is one.
func TestDev(t *testing.T) {
	t.Parallel()
	develop(t, filepath.Join(t.TempDir(), "h")).develops()
}

// With a daemon, the capsule runs there, and goes on there when dev ends.
func TestDevWithADaemon(t *testing.T) {
	t.Parallel()
	p := launch(t, "")
	d := develop(t, p.home)
	d.develops()
	d.answers("test.other", "[1]")
	p.end()
}

// What no daemon runs does not answer, and dev does not say that it does.
func TestDevWithoutItsDaemon(t *testing.T) {
	t.Parallel()
	p := launch(t, "")
	d := develop(t, p.home)
	d.says(`^added echo`)
	p.end()
	d.write("saved", "")
	d.says(`^error: install .*: the daemon has ended: `)
	d.says(`^waiting for the next save$`)

	elsewhere := launch(t, "", "--capsules", t.TempDir())
	d = develop(t, elsewhere.home)
	d.says(`^warning: the daemon does not look for capsules where echo is installed`)
	d.says(`^error: install .*: the daemon does not run it$`)
	elsewhere.end()
}
