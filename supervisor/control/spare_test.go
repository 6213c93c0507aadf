package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

// socketOfChild is set for the process that TestAnswersWithoutDescriptors starts.
const socketOfChild = "ASTRID_ACTORS_TEST_SOCKET"

// TestAnswersWithoutDescriptors checks that a daemon without free file descriptors still
// answers, one client after the other and several at once.
func TestAnswersWithoutDescriptors(t *testing.T) {
	if path := os.Getenv(socketOfChild); path != "" {
		serveWithoutDescriptors(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "s")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAnswersWithoutDescriptors$")
	child.Env = append(os.Environ(), socketOfChild+"="+path)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(stdout)
	full := func() {
		t.Helper()
		if line, err := said.ReadString('\n'); err != nil || line != "full\n" {
			t.Fatalf("the child says %q, %v", line, err)
		}
	}
	full()
	ask := func() {
		if _, err := Dial(path).Snapshot(within(t), false); err != nil {
			t.Error(err)
		}
	}
	for range spareDescriptors + 4 {
		ask()
		_, _ = io.WriteString(stdin, "again\n") // it uses up the descriptors that are left
		full()
	}
	var asking sync.WaitGroup
	for range spareDescriptors {
		asking.Go(ask)
	}
	asking.Wait()
	_ = stdin.Close()
	rest, _ := io.ReadAll(said)
	if err := child.Wait(); err != nil {
		t.Errorf("the child: %v\n%s", err, rest)
	}
}

// serveWithoutDescriptors is the child. It serves until its input ends.
func serveWithoutDescriptors(t *testing.T, path string) {
	sup, err := supervisor.New(supervisor.Config{Home: t.TempDir(), CapsuleDirs: []string{t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := Serve(ctx, l, sup, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	})
	serving.Go(func() {
		if err := sup.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := sup.AwaitStarted(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 100, Max: 100}); err != nil {
		t.Fatal(err)
	}
	var used []*os.File
	fill := func() {
		for {
			file, err := os.Open(os.DevNull)
			if errors.Is(err, syscall.EMFILE) {
				fmt.Println("full") //nolint:forbidigo // the parent of this process reads it
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			used = append(used, file)
		}
	}
	fill()
	for commands := bufio.NewScanner(os.Stdin); commands.Scan(); {
		fill()
	}
	for _, file := range used {
		_ = file.Close()
	}
	cancel()
	serving.Wait()
}
